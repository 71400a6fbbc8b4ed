from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toys import CONFIG, ToyStage

from dgafvsr.errors import ResourceError
from dgafvsr.training.checkpoints import latest_checkpoint
from dgafvsr.training.trainer import train


class Greedy(ToyStage):
    """Its fourth step does not fit."""

    error: Exception

    def forward(self, batch, draws):
        if len(self.data.seen) > 12:
            raise self.error
        return super().forward(batch, draws)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_a_full_memory_names_the_settings_that_need_less(tmp_path, error):
    stage = Greedy()
    stage.error = error
    with pytest.raises(ResourceError, match=r"toy.*4 samples at once.*micro_batch, or gradient_checkpointing=true"):
        train(stage, CONFIG, folder=tmp_path, name="toy")
    assert latest_checkpoint(tmp_path).name == "checkpoint-000002.safetensors"


def test_what_is_set_already_is_not_proposed(tmp_path, monkeypatch):
    stage = Greedy()
    stage.error = MemoryError()
    monkeypatch.setattr(stage, "checkpoint_gradients", lambda: None)
    config = replace(CONFIG, micro_batch=2, gradient_checkpointing=True)
    with pytest.raises(ResourceError, match=r"2 samples at once\. Remedy: set a smaller micro_batch, which"):
        train(stage, config, folder=tmp_path, name="toy")


def test_other_faults_are_left_as_they_are(tmp_path):
    stage = Greedy()
    stage.error = RuntimeError("size mismatch")
    with pytest.raises(RuntimeError, match="size mismatch"):
        train(stage, CONFIG, folder=tmp_path, name="toy")
