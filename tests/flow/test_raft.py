import pytest
import torch
from safetensors.torch import save_file

from dgafvsr.errors import InputError, ModelError, UsageError
from dgafvsr.flow import raft
from dgafvsr.flow.estimator import create_flow_estimator
from dgafvsr.flow.raft import RAFTFlow, RAFTMode, build_raft


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return build_raft("small")


@pytest.mark.parametrize(("height", "width"), [(1, 7), (61, 130), (136, 129)])
def test_any_size_works(network, height, width):
    current, neighbor = torch.rand(2, 2, 3, height, width)
    flow = RAFTFlow(network, mode=RAFTMode(updates=2))(current, neighbor)
    assert flow.shape == (2, 2, height, width)
    assert flow.dtype == torch.float32
    assert not flow.requires_grad
    assert flow.isfinite().all()


def test_frames_reach_the_network_in_minus_one_to_one(network):
    current, neighbor = torch.rand(2, 1, 3, 128, 128)
    with torch.no_grad():
        expected = network.eval()(2 * current - 1, 2 * neighbor - 1, num_flow_updates=3)[-1]
    assert torch.equal(RAFTFlow(network, mode=RAFTMode(updates=3))(current, neighbor), expected)


def test_authors_mode_feeds_the_plain_range_in_train_mode(network):
    current, neighbor = torch.rand(2, 1, 3, 128, 128)
    estimator = RAFTFlow(network, mode=RAFTMode(updates=2, signed=False, train=True))
    assert network.training
    with torch.no_grad():
        expected = network(current, neighbor, num_flow_updates=2)[-1]
    assert torch.equal(estimator(current, neighbor), expected)
    RAFTFlow(network)
    assert not network.training


def test_local_weights_round_trip(network, tmp_path):
    path = tmp_path / "raft.safetensors"
    save_file(network.state_dict(), path)
    current, neighbor = torch.rand(2, 1, 3, 128, 128)
    loaded = create_flow_estimator("raft_small", weights=path)
    assert torch.equal(loaded(current, neighbor), RAFTFlow(network)(current, neighbor))


def test_weights_of_another_network_are_refused(network, tmp_path):
    path = tmp_path / "raft.safetensors"
    save_file(network.state_dict(), path)
    with pytest.raises(ModelError, match=r"raft\.safetensors does not hold"):
        create_flow_estimator("raft_large", weights=path)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"absent\.safetensors"):
        create_flow_estimator("raft_small", weights=tmp_path / "absent.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00")
    with pytest.raises(ModelError, match=r"cut\.safetensors is damaged"):
        create_flow_estimator("raft_small", weights=tmp_path / "cut.safetensors")


def test_failed_download_says_what_to_do(monkeypatch):
    class Unreachable:
        url = "https://example.invalid/raft.pth"

        def get_state_dict(self, **options):
            assert options["check_hash"]
            assert options["weights_only"]
            raise OSError("no route to host")

    monkeypatch.setitem(raft._PUBLISHED, "large", Unreachable())
    with pytest.raises(ModelError, match=r"--flow dis") as caught:
        create_flow_estimator("raft_large")
    assert "raft.pth" in str(caught.value)


def test_frames_of_two_sizes_are_refused(network):
    with pytest.raises(InputError):
        RAFTFlow(network)(torch.rand(1, 3, 128, 130), torch.rand(1, 3, 130, 128))


def test_updates_are_checked():
    with pytest.raises(UsageError):
        RAFTMode(updates=0)


@pytest.mark.parametrize("size", ["large", "small"])
def test_half_precision_gives_nearly_the_same_flow(size):
    """bfloat16 keeps 8 bits of the features; the flow adds up in float32, so 12 updates stay within 3 % of its mean."""
    torch.manual_seed(1)
    network = build_raft(size)
    current, neighbor = torch.rand(2, 1, 3, 128, 136)
    full, half = (RAFTFlow(network, mode=RAFTMode(half=half))(current, neighbor) for half in (False, True))
    assert full.dtype == half.dtype == torch.float32
    assert not torch.equal(full, half)
    assert (half - full).abs().mean() < 0.03 * full.abs().mean()
    assert all(weight.dtype == torch.float32 for weight in network.parameters())


def test_half_precision_has_a_name(network, tmp_path):
    path = tmp_path / "raft.safetensors"
    save_file(network.state_dict(), path)
    assert create_flow_estimator("raft_small_half", weights=path).mode == RAFTMode(half=True)
    assert create_flow_estimator("raft_small", weights=path).mode == RAFTMode()
