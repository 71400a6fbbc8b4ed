from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from toys import ToyStage

from dgafvsr.errors import UsageError
from dgafvsr.training.sharding import is_sharded


@pytest.fixture(autouse=True)
def _asked(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")


def accelerator(kind=DistributedType.FSDP, processes=2, **plugin):
    made = FullyShardedDataParallelPlugin(**{"fsdp_version": 2, **plugin})
    return SimpleNamespace(
        distributed_type=kind,
        num_processes=processes,
        device=torch.device("cpu"),
        is_fsdp2=made.fsdp_version == 2,
        state=SimpleNamespace(fsdp_plugin=made),
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"auto_wrap_policy": "TRANSFORMER_BASED_WRAP", "transformer_cls_names_to_wrap": ["ResnetBlock2D"]},
        {"auto_wrap_policy": "SIZE_BASED_WRAP", "min_num_params": 0},  # which accelerate takes for no cuts
    ],
)
def test_weights_are_sharded_where_accelerate_does(settings):
    assert is_sharded(accelerator(**settings), ToyStage(), "bf16")


@pytest.mark.parametrize(
    ("made", "precision", "message"),
    [
        (accelerator(fsdp_version=1), "no", "version 1"),
        (accelerator(), "fp16", "bf16 or float32"),
        (accelerator(auto_wrap_policy="SIZE_BASED_WRAP", min_num_params=10), "no", "by size.*ResnetBlock2D"),
        (accelerator(DistributedType.MULTI_CPU), "no", r"GPUs only\. Got: 2 processes on cpu \(MULTI_CPU\)"),
    ],
)
def test_what_cannot_be_sharded_is_refused(made, precision, message):
    with pytest.raises(UsageError, match=message):
        is_sharded(made, ToyStage(), precision)


def test_a_process_that_is_alone_has_all_weights(monkeypatch):
    assert not is_sharded(accelerator(DistributedType.NO, processes=1), ToyStage(), "fp16")
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    assert not is_sharded(accelerator(DistributedType.MULTI_CPU), ToyStage(), "fp16")
