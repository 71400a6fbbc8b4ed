import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from tests import factories

from dgafvsr.errors import InputError
from dgafvsr.flow.fm import BidirectionalFlows
from dgafvsr.sampling.ftcm import FTCM
from dgafvsr.sampling.ogwm import OGWM
from dgafvsr.sampling.transport import Grains, NoiseTransport, latent_flow

N, H, W = 6, 24, 31


def motion(frames=N, seed=0, scale=1.5):
    """Flows that neither agree with each other nor with anything: the worst case."""
    generator = torch.Generator().manual_seed(seed)
    forward, backward = (torch.randn(frames - 1, 2, H, W, generator=generator) * scale for _ in range(2))
    return BidirectionalFlows(forward=forward, backward=backward)


def uniform(x, y, frames=N):
    """A film that moves by (x, y) pixels a frame: frame k at p shows what frame k - 1 shows at p - (x, y)."""
    forward = torch.tensor([-x, -y], dtype=torch.float32).view(1, 2, 1, 1).expand(frames - 1, 2, H, W)
    return BidirectionalFlows(forward=forward.clone(), backward=-forward)


def noise(flows, seed=4, first_frame=3):
    return NoiseTransport(seed, None).latents(flows, first_frame=first_frame, tail=0, channels=4)


def grains(flows):
    """The grains of every frame."""
    held = [Grains.born(0, H, W)]
    for index, flow in enumerate(flows.forward):
        held.append(held[-1].carried(flow, torch.ones(H, W, dtype=torch.bool), index + 1))
    return held


def test_without_motion_every_frame_starts_from_the_same_noise():
    drawn = noise(uniform(0, 0))
    assert drawn.shape == (N, 4, H, W)
    assert all(torch.equal(frame, drawn[0]) for frame in drawn)


def test_whole_motion_moves_the_grain_and_fills_what_comes_in():
    drawn = noise(uniform(3, -2))
    for before, after in itertools.pairwise(drawn):
        assert torch.equal(after[:, : H - 2, 3:], before[:, 2:, : W - 3])
        assert not torch.isclose(after[:, H - 2 :], before[:, H - 2 :]).any()


def test_slow_motion_adds_up():
    drawn = noise(uniform(0.3, 0, frames=11))
    assert torch.equal(drawn[1], drawn[0])
    assert torch.equal(drawn[10][:, :, 3:], drawn[0][:, :, : W - 3])


def test_motion_that_comes_back_finds_its_grain_again():
    there, back = uniform(2, 0, frames=2), uniform(-2, 0, frames=2)
    both = BidirectionalFlows(
        forward=torch.cat([there.forward, back.forward]), backward=torch.cat([there.backward, back.backward])
    )
    drawn = noise(both)
    assert torch.equal(drawn[2][:, :, : W - 2], drawn[0][:, :, : W - 2])


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), scale=st.floats(0, 8))
def test_no_two_pixels_of_a_frame_read_the_same_grain(seed, scale):
    for held in grains(motion(seed=seed, scale=scale)):
        whole = torch.stack([held.birth, *(held.place + 0.501).floor().long()]).flatten(1)
        assert whole.unique(dim=1).shape[1] == H * W


def test_of_two_pixels_with_one_grain_the_confirmed_one_keeps_it():
    flow = torch.zeros(2, H, W)
    flow[0, 5, 7] = 1  # pixel (7, 5) reads what (8, 5) reads too
    confirmed = torch.ones(H, W, dtype=torch.bool)
    confirmed[5, 8] = False
    for who, loser in ((confirmed, (5, 8)), (torch.ones_like(confirmed), (5, 8)), (~confirmed, (5, 7))):
        births = Grains.born(0, H, W).carried(flow, who, 1).birth
        assert births[loser] == 1
        assert births.sum() == 1


def test_flow_that_is_no_number_gives_birth():
    flow = torch.zeros(2, H, W)
    flow[1, 2, 3], flow[0, 4, 5] = math.nan, math.inf
    held = Grains.born(0, H, W).carried(flow, torch.ones(H, W, dtype=torch.bool), 1)
    assert held.birth.nonzero().tolist() == [[2, 3], [4, 5]]
    assert held.place.isfinite().all()


@pytest.mark.parametrize("flows", [motion(40, scale=0.7), motion(40, scale=4), uniform(0.4, 1.3, frames=40)])
def test_each_frame_is_white_standard_normal_noise(flows):
    """Tolerances are four standard errors of the statistic over the numbers that go into it."""
    drawn = noise(flows)
    last = drawn[-1].double()
    count = last.numel()
    assert last.mean().abs() < 4 / math.sqrt(count)
    assert (last.var() - 1).abs() < 4 * math.sqrt(2 / count)
    assert ((last**4).mean() - 3).abs() < 4 * math.sqrt(96 / count)
    for shifted in (last[:, 1:] * last[:, :-1], last[..., 1:] * last[..., :-1], last[1:] * last[:-1]):
        assert shifted.mean().abs() < 4 / math.sqrt(shifted.numel())
    # A white frame has the same energy in all frequencies: the mean of the lower half equals that of the upper.
    power = torch.fft.rfft2(last, norm="ortho").abs().square()
    low, high = power[:, 1 : H // 4].mean(), power[:, H // 4 : H // 2].mean()
    assert (low / high - 1).abs() < 4 * math.sqrt(2 / (power[:, 1 : H // 4].numel() / 2))


def test_values_have_the_normal_distribution():
    """Kolmogorov and Smirnov's distance of 200,000 values; 1.95 / sqrt(n) has the probability 0.001."""
    values = Grains.born(0, 200, 250).draw(1, 4).flatten().double().sort().values
    expected = 0.5 * (1 + torch.erf(values / math.sqrt(2)))
    rank = torch.arange(1, len(values) + 1) / len(values)
    assert (expected - rank).abs().max() < 1.95 / math.sqrt(len(values))


def test_seeds_frames_and_channels_draw_differently():
    held = Grains.born(5, H, W)
    first, other, later = held.draw(1, 4), held.draw(2, 4), Grains.born(6, H, W).draw(1, 4)
    draws = torch.cat([first, other, later]).flatten(1)
    correlation = torch.from_numpy(np.corrcoef(draws.numpy())) - torch.eye(len(draws))
    assert correlation.abs().max() < 5 / math.sqrt(H * W)
    assert torch.equal(held.draw(1, 3), first[:3])


@pytest.mark.parametrize(("length", "overlap"), [(4, 1), (5, 3), (3, 2)])
def test_windows_with_their_state_through_a_file_give_the_same_noise(length, overlap):
    flows = motion(11)
    whole = noise(flows)
    state, start = None, 0
    while start + length <= 11:
        pairs = slice(start, start + length - 1)
        part = BidirectionalFlows(forward=flows.forward[pairs], backward=flows.backward[pairs])
        transport = NoiseTransport(4, state)
        drawn = transport.latents(part, first_frame=3 + start, tail=overlap, channels=4)
        assert torch.equal(drawn, whole[start : start + length])
        state = load(save(transport.state))
        start += length - overlap


def test_state_is_of_one_frame_and_nothing_without_a_tail():
    transport = NoiseTransport(0, None)
    transport.latents(motion(), first_frame=0, tail=2, channels=4)
    assert {name: tuple(tensor.shape) for name, tensor in transport.state.items()} == {
        "noise_birth": (1, H, W),
        "noise_place": (1, 2, H, W),
    }
    transport.latents(motion(), first_frame=0, tail=0, channels=4)
    assert transport.state == {}


def test_one_frame_is_born_where_it_is():
    alone = noise(uniform(0, 0, frames=1))
    assert torch.equal(alone[0], noise(uniform(1, 1))[0])


def test_a_state_of_other_noise_is_refused():
    with pytest.raises(InputError, match="says nothing of its noise"):
        NoiseTransport(0, {"latents": torch.zeros(2, 4, H, W)})


@pytest.mark.parametrize("convention", ["released", "centered"])
def test_flow_on_the_latent_grid_is_what_guidance_keeps(convention):
    flow = torch.tensor([6.0, -10.0]).view(1, 2, 1, 1).expand(2, 2, 4 * H, 4 * W)
    unet = factories.denoiser()
    kept = FTCM(network=factories.guidance(unet), ogwm=OGWM(convention=convention)).keep(flow)
    expected = torch.tensor([1.5, -2.5]).view(1, 2, 1, 1).expand(2, 2, H, W)
    assert torch.allclose(latent_flow(kept, H, W), expected)
    assert torch.allclose(latent_flow(flow, H, W), expected)
    assert torch.equal(latent_flow(expected, H, W), expected)
