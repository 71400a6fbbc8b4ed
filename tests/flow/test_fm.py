import pytest
import torch
import torch.nn.functional as F

from dgafvsr.errors import InputError, UsageError
from dgafvsr.flow.dis import DISFlow
from dgafvsr.flow.fields import backward_warp
from dgafvsr.flow.fm import BidirectionalFlows, bidirectional_flows, upsample_frames


def difference(current, neighbor):
    """A stand-in that tells which frames it was given: (mean of current, mean of neighbor)."""
    means = torch.stack([current.mean(), neighbor.mean()])
    return means.view(1, 2, 1, 1).expand(1, 2, *current.shape[-2:])


def test_directions_follow_the_names():
    frames = torch.tensor([0.0, 0.25, 1.0]).view(3, 1, 1, 1).expand(3, 3, 6, 10)
    flows = bidirectional_flows(frames, difference)
    torch.testing.assert_close(flows.forward[:, :, 0, 0], torch.tensor([[0.25, 0.0], [1.0, 0.25]]))
    torch.testing.assert_close(flows.backward[:, :, 0, 0], torch.tensor([[0.0, 0.25], [0.25, 1.0]]))
    assert flows.forward.shape == (2, 2, 24, 40)


def test_each_flow_aligns_its_neighbor_to_its_frame():
    noise = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(3))
    scene = F.interpolate(noise, size=(60, 72), mode="bicubic").clamp(0, 1)
    frames = torch.cat([scene[..., 5 + t : 45 + t, 4 + 2 * t : 52 + 2 * t] for t in range(3)])
    flows = bidirectional_flows(frames, DISFlow())
    high = upsample_frames(frames)
    inner = (..., slice(32, -32), slice(32, -32))
    for i in range(2):
        towards_next = backward_warp(high[i : i + 1], flows.forward[i : i + 1])
        towards_this = backward_warp(high[i + 1 : i + 2], flows.backward[i : i + 1])
        still = (high[i + 1] - high[i])[inner].abs().mean()
        assert (towards_next[0] - high[i + 1])[inner].abs().mean() < still / 5
        assert (towards_this[0] - high[i])[inner].abs().mean() < still / 5


def test_keep_reduces_every_flow_at_once():
    sizes = []

    def keep(flow):
        sizes.append(tuple(flow.shape))
        return flow[..., ::4, ::4]

    flows = bidirectional_flows(torch.rand(4, 3, 5, 7), DISFlow("ultrafast"), keep=keep)
    assert flows.forward.shape == flows.backward.shape == (3, 2, 5, 7)
    assert sizes == [(1, 2, 20, 28)] * 6


def test_one_frame_has_no_flow_but_its_shape():
    flows = bidirectional_flows(torch.rand(1, 3, 5, 7), DISFlow())
    assert flows.forward.shape == flows.backward.shape == (0, 2, 20, 28)
    kept = bidirectional_flows(torch.rand(1, 3, 5, 7), DISFlow(), keep=lambda flow: flow[..., ::4, ::4])
    assert kept.forward.shape == (0, 2, 5, 7)


def test_upsampling_is_not_clamped():
    step = torch.zeros(1, 3, 6, 10)
    step[..., 5:] = 1
    assert upsample_frames(step).max() > 1


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (3, 4, 4), (2, 1, 4, 4)])
def test_what_is_no_clip_is_refused(shape):
    with pytest.raises(InputError):
        bidirectional_flows(torch.zeros(shape), DISFlow())


def test_directions_must_fit_each_other():
    with pytest.raises(InputError):
        BidirectionalFlows(forward=torch.zeros(2, 2, 4, 5), backward=torch.zeros(2, 2, 5, 4))


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_flow_at_a_lower_scale_is_the_same_motion_in_pixels_of_the_x4_grid(scale):
    noise = torch.rand(1, 3, 24, 28, generator=torch.Generator().manual_seed(3))
    scene = F.interpolate(noise, size=(120, 140), mode="bicubic").clamp(0, 1)
    frames = torch.cat([scene[..., 5 + t : 85 + t, 4 + 2 * t : 104 + 2 * t] for t in range(2)])
    flows = bidirectional_flows(frames, DISFlow(), scale=scale)
    assert flows.forward.shape == (1, 2, 320, 400)
    inner = flows.forward[0, :, 48:-48, 48:-48]
    # The scene moves by (-2, -1) LR pixels: what frame 1 shows at p lies at p + (8, 4) on frame 0's x4 grid.
    assert (inner[0].median() - 8).abs() < 0.5
    assert (inner[1].median() - 4).abs() < 0.5


def test_impossible_flow_scale_is_refused():
    with pytest.raises(UsageError, match="1, 2 or 4"):
        bidirectional_flows(torch.rand(2, 3, 20, 24), DISFlow(), scale=3)
