import pytest
import torch

from dgafvsr.analysis.domains import DOMAINS, DomainComparison, compare_domains
from dgafvsr.errors import InputError, UsageError
from dgafvsr.flow.dis import DISFlow
from dgafvsr.flow.fm import BidirectionalFlows, upsample_frames
from dgafvsr.sampling.ogwm import OGWM
from dgafvsr.sampling.sampler import StepEvent
from dgafvsr.video.color import to_tensor
from tests import factories

H, W = 18, 23


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
    for domain in DOMAINS:
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
    for detail in (False, True):  # the current LR frame is known to the decoder: only the latents count
        assert results[detail].mean("decoded", "psnr") > 80


def test_decoded_judges_the_aligned_latent_on_the_pictures_of_the_pixel_domain():
    """With a decoder that repeats latents, decoding commutes with OGWM where nothing moves: the same as in latents."""
    still = torch.zeros(1, 2, 4 * H, 4 * W)
    comparison = DomainComparison(RepeatingCodec(), OGWM(convention="centered"))
    hear = comparison.listen(torch.rand(2, 3, H, W), BidirectionalFlows(forward=still, backward=still))
    generator = torch.Generator().manual_seed(1)
    for frame in range(2):
        hear(event(frame, torch.randn(1, 4, H, W, generator=generator)))
    result = comparison.result()
    for measure in ("psnr", "entropy", "sigma"):
        assert result.mean("decoded", measure) == pytest.approx(result.mean("feature", measure), rel=1e-3)
        assert result.mean("decoded", measure) == pytest.approx(result.mean("pixel", measure), rel=1e-3)
    assert result.relative_difference("psnr", "decoded") == pytest.approx(0, abs=1e-3)


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


def test_compared_warp_may_differ_from_the_models():
    clip = [to_tensor(factories.clip(2, 20, 24))]
    own, same, other = (
        compare_domains(factories.pipeline(warp="released"), clip, DISFlow("fast"), steps=1, convention=convention)
        for convention in (None, "released", "centered")
    )
    assert own == same
    assert other.mean("feature", "psnr") != own.mean("feature", "psnr")


def test_unknown_normalisation_is_refused():
    with pytest.raises(UsageError):
        DomainComparison(RepeatingCodec(), OGWM(), normalisation="x")
