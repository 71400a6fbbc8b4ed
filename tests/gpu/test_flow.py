"""RAFT on a GPU (random weights): correlation on demand equals all pairs, and the CPU's flow."""

import pytest
import torch

from dgafvsr.flow.raft import RAFTFlow, build_raft

pytestmark = pytest.mark.gpu


def frames():
    """A pair of 1 3 H W in [0, 1]."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, 1, 3, 128, 160, generator=generator)


@pytest.mark.parametrize("size", ["small", "large"])
def test_flow_is_that_of_the_cpu(device, size):
    network = build_raft(size)
    expected = RAFTFlow(network)(*frames())
    found = RAFTFlow(network.to(device))(*frames().to(device))
    assert found.device.type == device.type
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-2, atol=5e-2)  # TF32, twelve updates
