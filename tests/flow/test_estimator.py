import pytest
import torch

from dgafvsr.errors import UsageError
from dgafvsr.flow.dis import DISFlow
from dgafvsr.flow.estimator import create_flow_estimator


@pytest.mark.parametrize(("name", "preset"), [("dis", "medium"), ("dis_fast", "fast")])
def test_dis_names(name, preset):
    estimator = create_flow_estimator(name, device=torch.device("cpu"))
    assert isinstance(estimator, DISFlow)
    assert estimator.preset == preset


def test_unknown_name_lists_the_names():
    with pytest.raises(UsageError, match="dis, dis_fast, raft_large, raft_large_half, raft_small, raft_small_half"):
        create_flow_estimator("farneback", device="cpu")


def test_dis_takes_no_weights(tmp_path):
    with pytest.raises(UsageError, match="DIS has no weights"):
        create_flow_estimator("dis", weights=tmp_path / "x.safetensors")
