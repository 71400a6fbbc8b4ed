from dataclasses import replace

import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from tests import factories
from tests.sampling.test_sampler import N, run, sampler, window

from dgafvsr.errors import UsageError
from dgafvsr.models.deep_features import DeepFeatures
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.sampling.reuse import Recall, Reuse
from dgafvsr.sampling.stablevsr import PixelGuidance
from dgafvsr.sampling.tiles import Tiling


def counted(machine):
    """The sampler, and how often G_U and the mid block of D_U ran."""
    calls = {"guidance": 0, "mid": 0}

    def count(name):
        def hook(*_):
            calls[name] += 1

        return hook

    machine.guidance.network.conv_in.register_forward_hook(count("guidance"))
    machine.denoiser.mid_block.register_forward_hook(count("mid"))
    return calls


def test_everything_at_every_step_is_the_method_to_the_last_bit():
    for turns in ("unguided", "guided"):
        machine, inputs = sampler(turns=turns), window()
        plain = run(machine, inputs)
        for between in ("reused", "skipped"):
            same = Reuse(guidance_every=(0, 1, 2), guidance_between=between)
            assert torch.equal(run(replace(machine, reuse=same), inputs), plain)


@torch.no_grad()
def test_an_empty_place_for_features_changes_nothing():
    unet = factories.denoiser(attention=True)
    guidance = factories.guidance(unet)
    sample, prompt, time = torch.randn(2, 7, 17, 20), torch.randn(2, 5, 6), torch.tensor(40)
    aligned = torch.randn(2, 4, 17, 20)
    residuals = guidance(sample[:, :4], sample[:, 4:], aligned, time)
    kept = guidance(sample[:, :4], sample[:, 4:], aligned, time, deep=DeepFeatures())
    assert all(torch.equal(*pair) for pair in zip(residuals.up, kept.up, strict=True))
    plain = unet(sample, time, prompt, residuals=residuals).sample
    assert torch.equal(unet(sample, time, prompt, residuals=residuals, deep=DeepFeatures()).sample, plain)


@torch.no_grad()
def test_features_of_the_same_step_give_the_same_result():
    """The outermost level on features of this very input is the whole network."""
    unet = factories.denoiser()
    guidance = factories.guidance(unet)
    sample, time, aligned = torch.randn(2, 7, 17, 20), torch.tensor(40), torch.randn(2, 4, 17, 20)
    deep, own = DeepFeatures(), DeepFeatures()
    residuals = guidance(sample[:, :4], sample[:, 4:], aligned, time, deep=own)
    whole = unet(sample, time, residuals=residuals, deep=deep).sample
    outer = guidance(sample[:, :4], sample[:, 4:], aligned, time, deep=own)
    assert outer.mid is None
    assert (len(outer.down), len(outer.up)) == (4, 3)
    assert all(torch.equal(*pair) for pair in zip(outer.down, residuals.down, strict=False))
    assert all(torch.equal(*pair) for pair in zip(outer.up, residuals.up[-3:], strict=True))
    assert torch.equal(unet(sample, time, residuals=outer, deep=deep).sample, whole)
    assert torch.equal(unet(sample, time, residuals=residuals, deep=deep).sample, whole)


def test_steps_can_be_named_from_the_end():
    assert Reuse(guidance_every=(-1, 0)).guided_steps(4) == {0, 3}
    assert Reuse(guidance_every=(-1,)).guided_steps(1) == {0}
    assert Reuse(guidance_every=3).guided_steps(7) == {0, 3, 6}


def test_guidance_runs_at_its_steps_only():
    for every, between, expected in (((1,), "skipped", N - 1), (2, "reused", 2 * (N - 1))):
        machine = sampler(turns="unguided")
        calls = counted(machine)
        run(replace(machine, reuse=Reuse(guidance_every=every, guidance_between=between)), window(), 4)
        assert calls["guidance"] == expected


def test_steps_without_guidance_need_no_previews():
    machine = sampler(turns="guided")
    calls = counted(machine)
    run(replace(machine, reuse=Reuse(guidance_every=(0,))), window(), 3)
    assert calls["mid"] == 3 * N + 1


def test_skipped_guidance_at_every_step_but_none_is_no_guidance():
    """A guided step whose residuals are forgotten leaves later steps alone."""
    inputs = window()
    machine = sampler()
    skipped = run(replace(machine, reuse=Reuse(guidance_every=(2,), guidance_between="skipped")), inputs, 3)
    reused = run(replace(machine, reuse=Reuse(guidance_every=(2,), guidance_between="reused")), inputs, 3)
    assert torch.equal(skipped, reused)  # there is nothing to reuse before the first guided step
    alone = list(sampler(guided=False).sample(inputs, 2))
    assert torch.equal(next(event for event in alone if event.step == 1).latents, _after(machine, inputs))


@torch.no_grad()
def _after(machine, inputs):
    late = replace(machine, reuse=Reuse(guidance_every=(1,), guidance_between="skipped"))
    events = [event for event in late.sample(inputs, 2) if event.step == 1]
    return events[0].latents  # the frame at which the sweep turns: unguided too


def test_reused_residuals_are_those_of_the_frames_last_guided_step():
    inputs, machine = window(), sampler()
    made, used = {}, []
    guidance, denoiser = machine.guidance.network, machine.denoiser
    guidance.register_forward_hook(lambda _, arguments, output: made.setdefault("now", output))
    denoiser.register_forward_pre_hook(
        lambda _, arguments, options: used.append((made.pop("now", None), options["residuals"])), with_kwargs=True
    )
    run(replace(machine, reuse=Reuse(guidance_every=2)), inputs, 2)
    first, second = used[:N], used[N:]
    assert all(made is given for made, given in used[:N])
    assert [given for _, given in second] == [given for _, given in reversed(first)]
    assert second[-1][1] is None  # frame 0 was unguided


def test_features_run_whole_at_their_steps_only():
    machine = sampler(turns="guided")
    calls = counted(machine)
    run(replace(machine, reuse=Reuse(features_every=2)), window(), 4)
    assert calls["guidance"] == 4 * N
    assert calls["mid"] == 2 * (N + 1)  # previews of whole steps are whole too


def test_a_frame_without_features_of_the_guidance_is_visited_in_full():
    machine = sampler(turns="unguided")
    calls = counted(machine)
    run(replace(machine, reuse=Reuse(features_every=2)), window(), 2)
    assert calls["mid"] == N + 1  # frame 0 was unguided in the first sweep


@pytest.mark.parametrize("tiling", [None, Tiling(tile=32, overlap=8)])
@pytest.mark.parametrize(
    "reuse",
    [
        Reuse(guidance_every=2),
        Reuse(features_every=2),
        Reuse(guidance_every=3, features_every=2),
        Reuse(guidance_every=(0, 3), guidance_between="skipped", features_every=3),
    ],
)
def test_reuse_is_deterministic_finite_and_near(reuse, tiling):
    machine = replace(sampler(turns="guided"), tiling=tiling)
    inputs = window(frames=3)
    plain, reused = run(machine, inputs, 6), run(replace(machine, reuse=reuse), inputs, 6)
    assert reused.isfinite().all()
    assert not torch.equal(plain, reused)
    assert torch.equal(reused, run(replace(machine, reuse=reuse), inputs, 6))


def test_an_untrained_guidance_can_be_reused_without_a_trace():
    machine = sampler()
    untrained = replace(machine.guidance, network=GuidanceUNet.from_denoiser(machine.denoiser).eval())
    machine = replace(machine, guidance=untrained)
    plain = run(machine, window(), 4)
    assert torch.equal(run(replace(machine, reuse=Reuse(guidance_every=2)), window(), 4), plain)


def test_encoder_only_guidance_reuses_features_too():
    machine = sampler()
    network = GuidanceUNet.from_denoiser(machine.denoiser, dense=False).eval()
    machine = replace(machine, guidance=replace(machine.guidance, network=network))
    assert run(replace(machine, reuse=Reuse(features_every=2, guidance_every=3)), window(), 4).isfinite().all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"guidance_every": 0},
        {"guidance_every": ()},
        {"guidance_every": -1},
        {"guidance_between": "guessed"},
        {"features_every": 0},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(UsageError):
        Reuse(**wrong)


def test_steps_that_there_are_not_and_guidance_without_features_are_refused():
    with pytest.raises(UsageError, match="0 to 2"):
        Recall(Reuse(guidance_every=(0, 3)), 3)
    with pytest.raises(UsageError, match="-3 to -1"):
        Recall(Reuse(guidance_every=(-4,)), 3)
    machine = sampler()
    control = ControlNetModel.from_unet(factories.denoiser(attention=True))
    pixels = PixelGuidance(network=control, codec=LatentCodec(factories.autoencoder()))
    with pytest.raises(UsageError, match="FTCM"):
        run(replace(machine, guidance=pixels, reuse=Reuse(features_every=2)), window(), 2)
