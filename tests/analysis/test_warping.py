from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from dgafvsr.analysis.samples import WarpSample, moving_textures
from dgafvsr.analysis.warping import Variant, WarpingSettings, measure_warping
from dgafvsr.errors import InputError, UsageError
from dgafvsr.sampling.ogwm import OGWM

C, H, W = 3, 22, 26


def sample(dx=0.0, dy=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    neighbor = torch.randn(1, C, H, W, generator=generator)
    flow = torch.tensor([float(dx), float(dy)]).view(1, 2, 1, 1).expand(1, 2, 4 * H, 4 * W).contiguous()
    current = torch.roll(neighbor, (round(-dy / 4), round(-dx / 4)), (2, 3))
    return WarpSample(neighbor=neighbor, current=current, flow=flow)


def by_method(result, method, **wanted):
    found = [
        kept
        for variant, kept in result.kept.items()
        if variant.method == method and all(getattr(variant, key) == value for key, value in wanted.items())
    ]
    assert found
    return found


def test_whole_pixel_motion_keeps_everything_when_centered():
    settings = WarpingSettings(scales=(1, 4), rescalings=("nearest",), conventions=("centered",))
    result = measure_warping([sample(4, -8), sample(-4, 4, seed=1)], settings)
    assert (result.features, result.skipped, len(result.kept)) == (2, 0, 3)
    for kept in result.kept.values():
        # Positions of up to 100 px in float32 are off by 1e-5 px.
        assert kept.edge == pytest.approx(1, abs=1e-3)
        assert kept.high_pass == pytest.approx(1, abs=1e-3)
        assert kept.alignment_error == pytest.approx(0, abs=1e-3)


def test_half_pixel_low_resolution_warp_is_the_mean_of_two_pixels():
    one = sample(2, 0)
    settings = WarpingSettings(scales=(1,), conventions=("centered",))
    (kept,) = measure_warping([one], settings).kept.values()
    after = (one.neighbor + torch.roll(one.neighbor, -1, 3)) / 2
    inner = (..., slice(4, H - 4), slice(4, W - 5))  # x + 0.5 stays 4 px off the right border
    expected = ((after - one.current)[inner] ** 2).sum()
    energy = ((one.current[inner] - one.current[inner].mean((2, 3), keepdim=True)) ** 2).sum()
    assert kept.alignment_error == pytest.approx(float((expected / energy).sqrt()), rel=1e-4)
    assert 0.4 < kept.edge < 0.95
    assert 0.4 < kept.high_pass < 0.95


def test_up_warp_down_is_ogwm_of_the_sampler():
    one = replace(sample(1.3, -2.6), current=torch.randn(1, C, H, W))
    settings = WarpingSettings(scales=(4,), rescalings=("nearest",), conventions=("released",))
    result = measure_warping([one], settings)
    ogwm = OGWM()
    aligned = ogwm(one.neighbor, ogwm.keep(one.flow))
    inner = (..., slice(5, H - 4), slice(4, W - 5))  # where p and p + (0.325, -0.65) are 4 px off every border
    energy = ((one.current[inner] - one.current[inner].mean((2, 3), keepdim=True)) ** 2).sum()
    expected = (((aligned - one.current)[inner] ** 2).sum() / energy).sqrt()
    (kept,) = by_method(result, "up_warp_down")
    assert kept.alignment_error == pytest.approx(float(expected), rel=1e-4)


def test_known_motion_is_exact_and_repeatable():
    one, again = (next(moving_textures(1, seed=5)) for _ in range(2))
    assert torch.equal(one.neighbor, again.neighbor)
    dx, dy = (one.flow[0, :, 0, 0] / 4).tolist()
    # A period in x has passed when the texture moved by its width.
    rows, columns = torch.fft.fftfreq(32)[:, None], torch.fft.rfftfreq(40)
    back = torch.fft.rfft2(one.current) * torch.exp(-2j * torch.pi * (columns * dx + rows * dy))
    assert torch.allclose(torch.fft.irfft2(back, s=(32, 40)), one.neighbor, atol=1e-5)
    fine = F.interpolate(one.neighbor, scale_factor=8, mode="bicubic", align_corners=False)
    ogwm = OGWM(convention="centered", rescaling="bicubic", scale=8)
    assert fine.shape == ogwm.enlarge(one.neighbor).shape
    aligned = ogwm(one.neighbor, ogwm.keep(one.flow))
    assert (aligned - one.current)[..., 4:-4, 4:-4].square().mean().sqrt() < 0.1


def test_released_aligns_worse_than_centered_on_known_motion():
    settings = WarpingSettings(scales=(4,), rescalings=("nearest",))
    result = measure_warping(moving_textures(6), settings)
    (released,), (centered,) = (by_method(result, "up_warp_down", convention=name) for name in ("released", "centered"))
    assert centered.alignment_error < released.alignment_error


def test_sums_do_not_depend_on_the_chunking():
    settings = WarpingSettings(scales=(1,), conventions=("centered",))
    singles = [measure_warping([sample(2, 0, seed)], settings).kept for seed in (0, 1)]
    both = measure_warping((sample(2, 0, seed) for seed in (0, 1)), settings).kept
    (variant,) = both
    low, high = sorted(kept[variant].edge for kept in singles)
    assert low < both[variant].edge < high


def test_features_out_of_sight_are_skipped_and_told():
    settings = WarpingSettings(scales=(1,))
    assert measure_warping([sample(400, 0), sample()], settings).skipped == 1
    with pytest.raises(InputError):
        measure_warping([sample(400, 0)], settings)


def test_every_variant_is_measured_once():
    result = measure_warping([sample(1, 1)], WarpingSettings(scales=(1, 2, 3)))
    assert len(result.kept) == 2 * (1 + 3 * 2 * 2)
    assert Variant(method="direct", convention="released") in result.kept


@pytest.mark.parametrize("scales", [(), (0,), (2, 2)])
def test_impossible_scales_are_refused(scales):
    with pytest.raises(UsageError):
        WarpingSettings(scales=scales)
