from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler
from tests import factories

from dgafvsr.errors import ModelError, UsageError
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.sampling.ftcm import FTCM
from dgafvsr.sampling.noise import KeyedNoise
from dgafvsr.sampling.ogwm import OGWM
from dgafvsr.sampling.predictions import to_x0
from dgafvsr.sampling.sampler import Sampler, SamplerInput

N, H, W = 4, 17, 20


def sampler(scheduler=None, guided=True, attention=False, turns="unguided"):
    unet = factories.denoiser(attention=attention)
    ftcm = FTCM(network=factories.guidance(unet), ogwm=OGWM()) if guided else None
    prompt = torch.randn(1, 5, 6) if attention else None
    return Sampler(
        denoiser=unet,
        guidance=ftcm,
        scheduler=scheduler or factories.scheduler(),
        prompt_embeds=prompt,
        turns=turns,
    )


def window(frames=N, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    flows = [torch.randn(batch, frames - 1, 2, 4 * H, 4 * W, generator=generator) * 4 for _ in range(2)]
    kept = [flow[..., None, ::4, ::4] for flow in flows]
    return SamplerInput(
        latents=torch.randn(batch, frames, 4, H, W, generator=generator),
        lr=torch.rand(batch, frames, 3, H, W, generator=generator) * 2 - 1,
        noise=tuple(KeyedNoise(seed=index) for index in range(batch)),
        flow_forward=kept[0],
        flow_backward=kept[1],
    )


def part(inputs, index):
    """One window of a batch."""
    one = slice(index, index + 1)
    return SamplerInput(
        latents=inputs.latents[one],
        lr=inputs.lr[one],
        noise=inputs.noise[one],
        flow_forward=inputs.flow_forward[one],
        flow_backward=inputs.flow_backward[one],
    )


@torch.no_grad()
def run(sampler, inputs, steps=3):
    latents = list(inputs.latents.unbind(1))
    for event in sampler.sample(inputs, steps):
        latents[event.frame] = event.latents
    return torch.stack(latents, dim=1)


@torch.no_grad()
def test_one_event_a_visit_in_sweep_order():
    events = list(sampler().sample(window(), 3))
    assert [(e.step, e.frame) for e in events] == [
        *((0, f) for f in (0, 1, 2, 3)),
        *((1, f) for f in (3, 2, 1, 0)),
        *((2, f) for f in (0, 1, 2, 3)),
    ]
    assert [e.step for e in events if e.aligned is None] == [0, 1, 2]
    assert all((e.steps, e.frames) == (3, N) for e in events)


@torch.no_grad()
def test_each_visit_reads_the_x0_of_the_one_before_through_the_flow_of_its_direction():
    inputs, machine = window(), sampler()
    before = None
    for event in machine.sample(inputs, 2):
        if event.aligned is not None:
            neighbor = event.frame - 1 if event.direction == "forward" else event.frame + 1
            flow = inputs.flow_forward if event.direction == "forward" else inputs.flow_backward
            expected = OGWM()(before, flow[:, min(event.frame, neighbor)])
            assert torch.equal(event.aligned, expected)
        before = event.x0


@pytest.mark.parametrize("make", [factories.scheduler, DDPMScheduler])
@torch.no_grad()
def test_guided_turns_read_what_the_neighbor_would_be_alone(make):
    inputs = window()
    first = next(sampler(make(), turns="guided").sample(inputs, 2))
    alone = next(event for event in sampler(make(), guided=False).sample(inputs, 2) if event.frame == 1)
    assert torch.equal(first.aligned, OGWM()(alone.x0, inputs.flow_backward[:, 0]))


@torch.no_grad()
def test_a_preview_at_the_last_frame_reads_the_flow_from_the_frame_before():
    inputs = window(frames=2)
    events = list(sampler(turns="guided").sample(inputs, 2))
    turn = events[2]
    assert (turn.step, turn.frame) == (1, 1)
    previewed = sampler(guided=False)
    stepped = next(iter(sampler(turns="guided").sample(inputs, 2))).latents
    timestep = torch.as_tensor(int(turn.timestep))
    sample = torch.cat([stepped, inputs.lr[:, 0]], dim=1)
    prediction = previewed.denoiser(sample, timestep, return_dict=False)[0]
    scheduler = previewed.scheduler
    scheduler.set_timesteps(2)
    x0 = scheduler.step(prediction, timestep, stepped).pred_original_sample
    torch.testing.assert_close(turn.aligned, OGWM()(x0, inputs.flow_forward[:, 0]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_previews_leave_multistep_histories_alone():
    """An untrained G_U adds nothing, so frames are what they are alone, whatever the solver remembers of them."""
    scheduler = DPMSolverMultistepScheduler(prediction_type="v_prediction")
    machine = sampler(scheduler, turns="guided")
    untrained = FTCM(network=GuidanceUNet.from_denoiser(machine.denoiser, 4).eval(), ogwm=OGWM())
    previewed = run(replace(machine, guidance=untrained), window(), 4)
    assert torch.allclose(previewed, run(sampler(scheduler, guided=False), window(), 4), atol=1e-5)


@torch.no_grad()
def test_guided_turns_need_guidance_and_a_neighbor():
    alone = window(frames=1)
    assert torch.equal(run(sampler(), alone), run(sampler(turns="guided"), alone))
    unguided = run(sampler(guided=False), window())
    assert torch.equal(unguided, run(sampler(guided=False, turns="guided"), window()))


@pytest.mark.parametrize("make", [factories.scheduler, DDPMScheduler])
def test_batch_of_windows_equals_the_windows_alone(make):
    inputs, machine = window(batch=3), sampler(make())
    together = run(machine, inputs)
    for index in range(3):
        # Batched convolutions may sum in another order.
        assert torch.allclose(together[index], run(machine, part(inputs, index))[0], atol=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("frames", [1, 2])
def test_short_clips_and_odd_steps(frames, steps):
    assert torch.isfinite(run(sampler(), window(frames=frames), steps)).all()


def test_frames_do_not_depend_on_each_other_without_guidance():
    inputs = window()
    other = SamplerInput(latents=inputs.latents.clone(), lr=inputs.lr, noise=inputs.noise)
    other.latents[:, 0] = 0
    first, second = run(sampler(guided=False), inputs), run(sampler(guided=False), other)
    assert torch.equal(first[:, 1:], second[:, 1:])


def test_guidance_carries_the_first_frame_to_the_last():
    inputs = window()
    other = SamplerInput(
        latents=inputs.latents.clone(),
        lr=inputs.lr,
        noise=inputs.noise,
        flow_forward=inputs.flow_forward,
        flow_backward=inputs.flow_backward,
    )
    other.latents[:, 0] += 1
    assert not torch.equal(run(sampler(), inputs)[:, -1], run(sampler(), other)[:, -1])


def test_stochastic_scheduler_draws_by_frame_and_step():
    inputs, machine = window(), sampler(DDPMScheduler())
    assert torch.equal(run(machine, inputs), run(machine, inputs))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@torch.no_grad()
def test_x0_agrees_with_the_schedulers_for_every_prediction_type(kind):
    scheduler = DDIMScheduler(prediction_type=kind, clip_sample=False)
    machine = sampler(scheduler, guided=False)
    inputs = window(frames=1)
    event = next(machine.sample(inputs, 4))
    time = torch.tensor(event.timestep)
    sample = torch.cat([inputs.latents[:, 0], inputs.lr[:, 0]], dim=1)
    prediction = machine.denoiser(sample, time).sample
    alpha_bar = scheduler.alphas_cumprod[int(time)]
    assert torch.allclose(event.x0, to_x0(prediction, inputs.latents[:, 0], alpha_bar, kind), rtol=1e-4, atol=1e-4)


def test_multistep_solvers_keep_a_history_a_frame():
    inputs = window()
    machine = sampler(DPMSolverMultistepScheduler(prediction_type="v_prediction"), guided=False)
    together = run(machine, inputs, steps=4)
    alone = SamplerInput(latents=inputs.latents[:, 2:3], lr=inputs.lr[:, 2:3], noise=inputs.noise)
    assert torch.equal(together[:, 2:3], run(machine, alone, steps=4))


def test_scheduler_is_not_changed():
    scheduler = EulerDiscreteScheduler(prediction_type="v_prediction")
    before = scheduler.timesteps.clone()
    run(sampler(scheduler), window(), steps=2)
    assert torch.equal(scheduler.timesteps, before)


def test_scheduler_without_an_x0_estimate_is_refused():
    from diffusers import FlowMatchEulerDiscreteScheduler

    with pytest.raises(ModelError, match="FlowMatchEulerDiscreteScheduler"):
        run(sampler(FlowMatchEulerDiscreteScheduler()), window(), steps=2)


@pytest.mark.parametrize("steps", [0, 1001])
def test_impossible_step_counts_are_refused(steps):
    with pytest.raises(UsageError, match="1 to 1000"):
        run(sampler(), window(), steps)


def test_prompt_reaches_the_denoiser():
    inputs, machine = window(), sampler(attention=True)
    other = Sampler(
        denoiser=machine.denoiser,
        guidance=machine.guidance,
        scheduler=machine.scheduler,
        prompt_embeds=machine.prompt_embeds + 1,
    )
    assert not torch.equal(run(machine, inputs), run(other, inputs))
