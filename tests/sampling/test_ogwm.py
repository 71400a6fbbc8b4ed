import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from dgafvsr.errors import UsageError
from dgafvsr.sampling.ogwm import OGWM, _rescale_warp_rescale, warp

H, W = 6, 10


def uniform_flow(dx, dy, height=H, width=W):
    flow = torch.zeros(1, 2, 4 * height, 4 * width)
    flow[:, 0], flow[:, 1] = dx, dy
    return flow


def align(ogwm, feature, flow):
    return ogwm(feature, ogwm.keep(flow))


@pytest.mark.parametrize("convention", ["released", "centered"])
@settings(deadline=None)
@given(seed=st.integers(0, 10_000), size=st.floats(0, 60))
def test_gather_equals_the_high_resolution_warp(convention, seed, size):
    generator = torch.Generator().manual_seed(seed)
    feature = torch.randn(2, 4, H, W, generator=generator)
    flow = torch.randn(2, 2, 4 * H, 4 * W, generator=generator) * size
    ogwm = OGWM(convention=convention)
    # Both round positions of up to 40 px in float32 (4e-6 px), times a feature of up to 4.
    assert torch.allclose(align(ogwm, feature, flow), _rescale_warp_rescale(feature, flow, ogwm), atol=5e-5)


@pytest.mark.parametrize("convention", ["released", "centered"])
def test_gather_is_as_near_to_exact_arithmetic_as_the_high_resolution_warp(convention):
    """At 320 latents a row a float32 position is 1.2e-4 px coarse, which both ways round, each in its own order.

    So the two differ by that, times what two neighbouring latents differ by, in the worst pixel, and next to nothing
    on average."""
    height, width = 9, 320
    generator = torch.Generator().manual_seed(1)
    feature = torch.randn(1, 4, height, width, generator=generator)
    flow = 8 * torch.randn(1, 2, 4 * height, 4 * width, generator=generator)
    ogwm = OGWM(convention=convention)
    gather, wide = align(ogwm, feature, flow).double(), _rescale_warp_rescale(feature, flow, ogwm).double()
    exact = exact_warp(feature.double(), flow.double(), convention)
    largest = (feature.max() - feature.min()).item()
    assert (gather - wide).abs().max() < 2**-13 * largest
    assert (gather - wide).abs().mean() < 5e-6
    assert (gather - exact).abs().max() < 1.1 * (wide - exact).abs().max() < 1e-3


def exact_warp(feature, flow, convention):
    """The module in double precision, with its x4 tensors."""
    large = feature.repeat_interleave(4, dim=-1).repeat_interleave(4, dim=-2)
    axes = []
    for axis, size in ((0, large.shape[-1]), (1, large.shape[-2])):
        pixels = torch.arange(size, dtype=torch.float64)
        position = flow[:, axis] + (pixels if axis == 0 else pixels[:, None])
        axes.append(2 * position / (size - 1) - 1 if convention == "released" else (2 * position + 1) / size - 1)
    sampled = F.grid_sample(large, torch.stack(axes, dim=-1), mode="bilinear", align_corners=False)
    return sampled[..., ::4, ::4] if convention == "released" else F.avg_pool2d(sampled, 4)


def test_released_warp_is_grid_sample_with_the_authors_normalisation():
    image, flow = torch.randn(1, 3, 11, 17), torch.randn(1, 2, 11, 17) * 3
    x = torch.arange(17.0) + flow[0, 0]
    y = torch.arange(11.0)[:, None] + flow[0, 1]
    grid = torch.stack([2 * x / 16 - 1, 2 * y / 10 - 1], dim=-1)[None]
    expected = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    assert torch.allclose(warp(image, flow, "released"), expected, atol=1e-5)


def test_zero_flow_is_identity_when_centered():
    feature = torch.randn(1, 4, H, W)
    assert torch.allclose(align(OGWM(convention="centered"), feature, uniform_flow(0, 0)), feature, atol=1e-6)
    assert torch.allclose(warp(feature, torch.zeros(1, 2, H, W), "centered"), feature, atol=1e-6)


def test_zero_flow_is_not_identity_when_released():
    feature = torch.ones(1, 1, H, W)
    aligned = align(OGWM(), feature, uniform_flow(0, 0))
    assert aligned[0, 0, 0, 0] == pytest.approx(0.25, abs=1e-4)  # the corner: half of a half, by the zero padding
    assert aligned[0, 0, 2:, 2:].min() == 1


def test_whole_latent_motion_is_exact_when_centered():
    feature = torch.randn(1, 4, H, W)
    aligned = align(OGWM(convention="centered"), feature, uniform_flow(8, -4))
    assert torch.allclose(aligned[..., 1:, :-2], feature[..., :-1, 2:], atol=1e-6)


def test_corner_pick_floors_the_motion_when_released():
    """0.25 and 0.75 latent pixels of motion give almost the same feature: the bias of Sec. OGWM in the method notes."""
    feature = torch.randn(1, 4, 32, 40)
    inner = (..., slice(12, 20), slice(16, 24))  # where the normalisation slip is near zero
    little, much = (align(OGWM(), feature, uniform_flow(d, 0, 32, 40))[inner] for d in (1.2, 2.8))
    assert torch.allclose(little, much, atol=1e-5)
    little, much = (align(OGWM(convention="centered"), feature, uniform_flow(d, 0, 32, 40))[inner] for d in (1.2, 2.8))
    assert (little - much).abs().max() > 0.1


@pytest.mark.parametrize("convention", ["released", "centered"])
@pytest.mark.parametrize("far", [1e4, -1e9, float("inf")])
def test_positions_outside_read_zero(convention, far):
    feature = torch.randn(1, 4, H, W)
    assert not align(OGWM(convention=convention), feature, uniform_flow(far, 0)).any()


def test_only_the_needed_flow_samples_are_kept():
    flow = torch.randn(1, 2, 4 * H, 4 * W)
    assert torch.equal(OGWM().keep(flow), flow[:, :, None, ::4, ::4])
    kept = OGWM(convention="centered").keep(flow)
    assert kept.shape == (1, 2, 16, H, W)
    assert torch.equal(kept[0, 1, 4 * 2 + 3], flow[0, 1, 2::4, 3::4])


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("rescaling", ["nearest", "bilinear", "bicubic"])
def test_zero_flow_is_identity_at_every_scale_when_centered(scale, rescaling):
    feature = F.interpolate(torch.randn(1, 4, 2, 3), size=(H, W), mode="bicubic")  # smooth, for bicubic's sake
    ogwm = OGWM(convention="centered", scale=scale, rescaling=rescaling)
    aligned = align(ogwm, feature, uniform_flow(0, 0))
    assert aligned.shape == feature.shape
    assert torch.allclose(aligned, feature, atol=1e-5 if rescaling == "nearest" else 0.2)


def test_direct_low_resolution_warp_moves_by_a_quarter_of_the_flow():
    feature = torch.randn(1, 4, H, W)
    aligned = align(OGWM(convention="centered", scale=1), feature, uniform_flow(4, 0))
    assert torch.allclose(aligned[..., :-1], feature[..., 1:], atol=1e-5)


@pytest.mark.parametrize("convention", ["released", "centered"])
@pytest.mark.parametrize("rescaling", ["nearest", "bilinear", "bicubic"])
def test_module_is_its_three_steps(convention, rescaling):
    feature, flow = torch.randn(1, 4, H, W), torch.randn(1, 2, 4 * H, 4 * W)
    ogwm = OGWM(convention=convention, rescaling=rescaling, scale=3)
    enlarged = ogwm.enlarge(feature)
    assert torch.allclose(enlarged, F.interpolate(feature, size=(3 * H, 3 * W), mode=rescaling))
    steps = ogwm.reduce(warp(enlarged, ogwm.rescale_flow(flow), convention))
    assert torch.equal(align(ogwm, feature, flow), steps)


def test_type_of_the_feature_is_kept():
    feature = torch.randn(1, 4, H, W, dtype=torch.bfloat16)
    assert align(OGWM(), feature, uniform_flow(1, 1)).dtype == torch.bfloat16


@pytest.mark.parametrize("options", [{"convention": "x"}, {"rescaling": "x"}, {"scale": 0}])
def test_unknown_options_are_refused(options):
    with pytest.raises(UsageError):
        OGWM(**options)
