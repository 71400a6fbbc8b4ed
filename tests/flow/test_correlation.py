import pytest
import torch
from torchvision.models.optical_flow import raft_large, raft_small
from torchvision.models.optical_flow.raft import CorrBlock

from dgafvsr.errors import InputError
from dgafvsr.flow.correlation import OnDemandCorrBlock
from dgafvsr.flow.raft import RAFTFlow, build_raft


@pytest.mark.parametrize("radius", [3, 4])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 23), (19, 16)])
def test_lookups_equal_the_all_pairs_volume_inside_and_outside(radius, height, width):
    generator = torch.Generator().manual_seed(radius)
    fmap1, fmap2 = (torch.randn(2, 20, height, width, generator=generator) for _ in range(2))
    # Centres reach three map sizes beyond every border; the first are whole pixels.
    centers = (torch.rand(2, 2, height, width, generator=generator) * 7 - 3) * max(height, width)
    centers[:, :, :3] = centers[:, :, :3].round()
    ours, theirs = OnDemandCorrBlock(radius=radius, chunk_numbers=40_000), CorrBlock(radius=radius)
    assert ours.out_channels == theirs.out_channels
    for block in (ours, theirs):
        block.build_pyramid(fmap1, fmap2)
    # torchvision normalises and denormalises coordinates in float32: up to 1e-5 px beside ours.
    torch.testing.assert_close(ours.index_pyramid(centers), theirs.index_pyramid(centers), atol=2e-4, rtol=0)


@pytest.mark.parametrize("size", ["large", "small"])
@pytest.mark.parametrize(("height", "width"), [(128, 136), (131, 150)])
def test_flow_equals_torchvisions_with_random_weights(size, height, width):
    torch.manual_seed(0)
    theirs = raft_large() if size == "large" else raft_small()
    ours = build_raft(size)
    ours.load_state_dict(theirs.state_dict())
    current, neighbor = torch.rand(2, 1, 3, height, width)
    flow = RAFTFlow(ours)(current, neighbor)
    expected = RAFTFlow(theirs)(current, neighbor)
    assert expected.abs().mean() > 0.05, "the comparison would be empty"
    torch.testing.assert_close(flow, expected, atol=1e-3, rtol=0)


def test_chunks_do_not_change_the_result():
    fmaps = torch.randn(2, 1, 6, 16, 18)
    centers = torch.rand(1, 2, 16, 18) * 16
    results = []
    for chunk_numbers in (1, 5_000, 1 << 30):
        block = OnDemandCorrBlock(radius=2, chunk_numbers=chunk_numbers)
        block.build_pyramid(*fmaps)
        results.append(block.index_pyramid(centers))
    torch.testing.assert_close(results[0], results[2], atol=1e-6, rtol=0)
    torch.testing.assert_close(results[1], results[2], atol=1e-6, rtol=0)


def test_maps_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="at least 16"):
        OnDemandCorrBlock().build_pyramid(torch.zeros(1, 2, 15, 16), torch.zeros(1, 2, 15, 16))
    with pytest.raises(InputError, match="one shape"):
        OnDemandCorrBlock().build_pyramid(torch.zeros(1, 2, 18, 16), torch.zeros(1, 2, 16, 18))
