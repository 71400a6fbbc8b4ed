import numpy as np
import pytest
import torch
from scipy import ndimage

from dgafvsr.analysis.domains import DomainComparison, compare_domains, compare_pair
from dgafvsr.errors import InputError, UsageError
from dgafvsr.flow.dis import DISFlow
from dgafvsr.flow.fm import BidirectionalFlows, upsample_frames
from dgafvsr.sampling.ogwm import OGWM
from dgafvsr.sampling.sampler import StepEvent
from dgafvsr.video.color import to_tensor
from tests import factories

C, H, W = 3, 18, 23


class RepeatingCodec:
    """Decodes by repeating every latent 4 x 4 times."""

    def decode(self, latents, lr):
        assert lr.shape == (1, 3, *latents.shape[-2:])
        return latents.repeat_interleave(4, 2).repeat_interleave(4, 3)


def event(frame, x0, *, step=0, direction="forward"):
    return StepEvent(
        step=step,
        steps=2,
        frame=frame,
        frames=3,
        timestep=900.0 - step,
        direction=direction,
        latents=x0,
        x0=x0,
        aligned=None,
    )


def pair(seed=0):
    generator = torch.Generator().manual_seed(seed)
    current = torch.randn(1, C, H, W, generator=generator)
    aligned = current + 0.2 * torch.randn(1, C, H, W, generator=generator)
    visible = torch.zeros(1, 1, H, W, dtype=torch.bool)
    visible[..., 3:-4, 2:-5] = True
    return aligned, current, visible


@pytest.mark.parametrize("normalisation", ["range", "deviation"])
def test_measures_equal_an_independent_computation(normalisation):
    aligned, current, visible = pair()
    found = compare_pair(aligned, current, visible, normalisation)
    first, second = aligned[0].double().numpy(), current[0].double().numpy()
    inner = (slice(None), slice(3, -4), slice(2, -5))
    both = np.concatenate([part[inner].reshape(C, -1) for part in (first, second)], axis=1)
    low, high = both.min(1), both.max(1)
    if normalisation == "deviation":
        low, high = both.mean(1) - 3 * both.std(1), both.mean(1) + 3 * both.std(1)
    first, second = ((part - low[:, None, None]) / (high - low)[:, None, None] for part in (first, second))
    difference = (first - second)[inner]
    levels = np.bincount(np.rint(255 * difference).astype(int).ravel() + 1000)
    shares = levels[levels > 0] / levels.sum()
    assert found["psnr"] == pytest.approx(10 * np.log10(1 / np.mean(difference**2)), rel=1e-6)
    assert found["entropy"] == pytest.approx(-np.sum(shares * np.log2(shares)), rel=1e-6)
    assert found["sigma"] == pytest.approx(255 * difference.std(), rel=1e-6)
    assert found["f_sigma"] == pytest.approx(1 / (1 + 255 * difference.std()), rel=1e-6)
    assert found["f_entropy"] == pytest.approx(1 / (1 + found["entropy"]))
    assert found["ssim"] == pytest.approx(similarity(first, second)[:, 8:-9, 7:-10].mean(), rel=1e-4)


def similarity(first, second):
    """SSIM as in Wang et al. 2004, borders mirrored, by scipy."""

    def mean(x):
        return ndimage.gaussian_filter(x, 1.5, axes=(1, 2), mode="mirror", radius=5)

    a, b = mean(first), mean(second)
    covariance = mean(first * second) - a * b
    variances = mean(first**2) - a**2 + mean(second**2) - b**2
    return (2 * a * b + 1e-4) * (2 * covariance + 9e-4) / ((a**2 + b**2 + 1e-4) * (variances + 9e-4))


def test_equal_pictures_have_nothing_between_them():
    _, current, visible = pair()
    found = compare_pair(current, current, visible, "range")
    assert (found["psnr"], found["entropy"], found["sigma"]) == (float("inf"), 0, 0)
    assert (found["f_entropy"], found["f_sigma"], found["ssim"]) == (1, 1, pytest.approx(1))


def test_the_range_of_the_numbers_does_not_matter():
    aligned, current, visible = pair()
    plain, scaled = (compare_pair(aligned * k + 5, current * k + 5, visible, "range") for k in (1, 30))
    assert plain["psnr"] == pytest.approx(scaled["psnr"], rel=1e-4)
    assert plain["ssim"] == pytest.approx(scaled["ssim"], rel=1e-3)


def test_neighbours_are_aligned_by_the_flow_of_their_sweep():
    """Frame i + 1 shows what frame i showed two latent pixels to the right: perfectly aligned, nothing differs."""
    scene = torch.randn(1, 4, H, W + 4)
    frames = [scene[..., 2 * i : 2 * i + W] for i in range(3)]
    forward = torch.zeros(2, 2, 4 * H, 4 * W)
    forward[:, 0] = 8
    comparison = DomainComparison(RepeatingCodec(), OGWM(convention="centered"))
    hear = comparison.listen(torch.rand(3, 3, H, W), BidirectionalFlows(forward=forward, backward=-forward))
    for step, direction, order in ((0, "forward", (0, 1, 2)), (1, "backward", (2, 1, 0))):
        for frame in order:
            hear(event(frame, frames[frame], step=step, direction=direction))
    result = comparison.result()
    assert [(step.step, step.timestep, step.pairs) for step in result.steps] == [(0, 900.0, 2), (1, 899.0, 2)]
    for domain in ("feature", "pixel"):
        assert result.mean(domain, "psnr") > 80
        assert result.mean(domain, "ssim") == pytest.approx(1, abs=1e-4)
    assert result.relative_difference("ssim") == pytest.approx(0, abs=1e-4)


def test_detail_leaves_the_enlarged_frame_out():
    lr = torch.rand(2, 3, H, W)

    class OnlyEnlarging(RepeatingCodec):
        def decode(self, latents, lr):
            return upsample_frames(lr) + super().decode(latents, lr)[:, :3]

    latent, still = torch.randn(1, 4, H, W), torch.zeros(1, 2, 4 * H, 4 * W)
    results = {}
    for detail in (False, True):
        comparison = DomainComparison(OnlyEnlarging(), OGWM(convention="centered"), detail=detail)
        hear = comparison.listen(lr, BidirectionalFlows(forward=still, backward=still))
        hear(event(0, latent))
        hear(event(1, latent))
        results[detail] = comparison.result()
    assert results[True].mean("pixel", "psnr") > 80  # equal latents: equal detail, whatever the frames
    assert results[False].mean("pixel", "psnr") < 40
    assert results[True].mean("feature", "psnr") == results[False].mean("feature", "psnr")


def test_motion_out_of_sight_is_no_pair():
    comparison = DomainComparison(RepeatingCodec(), OGWM())
    flow = torch.full((2, 2, 4 * H, 4 * W), 500.0)
    hear = comparison.listen(torch.rand(3, 3, H, W), BidirectionalFlows(forward=flow, backward=flow))
    hear(event(0, torch.randn(1, 4, H, W)))
    hear(event(1, torch.randn(1, 4, H, W)))
    with pytest.raises(InputError):
        comparison.result()


def test_every_step_of_the_sampler_is_compared_and_repeatable():
    pipe = factories.pipeline()
    clips = [to_tensor(factories.clip(3, 20, 24)), to_tensor(factories.clip(2, 20, 24, seed=8))]
    events = []
    first = compare_domains(pipe, clips, DISFlow("fast"), steps=2, seed=4, on_event=events.append)
    again = compare_domains(pipe, clips, DISFlow("fast"), steps=2, seed=4)
    assert first == again
    assert [step.pairs for step in first.steps] == [3, 3]
    assert len(events) == 2 * 5
    assert first.relative_difference("psnr") == first.mean("feature", "psnr") / first.mean("pixel", "psnr") - 1


def test_wrong_requests_are_refused():
    with pytest.raises(UsageError):
        DomainComparison(RepeatingCodec(), OGWM(), normalisation="x")
    with pytest.raises(InputError):
        compare_pair(torch.rand(1, 3, 8, 20), torch.rand(1, 3, 8, 20), torch.ones(1, 1, 8, 20).bool(), "range")
