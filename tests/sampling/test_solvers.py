import gc
import weakref

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from tests import factories
from tests.sampling.test_sampler import part, run, sampler, window

from dgafvsr.errors import ModelError, UsageError
from dgafvsr.sampling.solvers import Stepper, make_scheduler

CLASSES = {
    "ddim": DDIMScheduler,
    "ddpm": DDPMScheduler,
    "dpm++": DPMSolverMultistepScheduler,
    "unipc": UniPCMultistepScheduler,
}


def sdx4_scheduler():
    """The published configuration: 50 steps of DDPM, not from pure noise."""
    return DDPMScheduler(
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="leading",
        steps_offset=1,
        clip_sample=False,
    )


@torch.no_grad()
def upstream(scheduler, denoiser, latents, lr, steps, generator=None):
    """diffusers' own loop over one frame."""
    scheduler.set_timesteps(steps)
    for time in scheduler.timesteps:
        prediction = denoiser(torch.cat([latents, lr], dim=1), time).sample
        options = {"generator": generator(len(scheduler.timesteps))} if generator else {}
        latents = scheduler.step(prediction, time, latents, **options).prev_sample
    return latents


@pytest.mark.parametrize("make", [factories.scheduler, sdx4_scheduler])
@pytest.mark.parametrize("steps", [2, 4, 16])
@pytest.mark.parametrize("solver", ["ddim", "dpm++", "unipc"])
def test_one_frame_equals_the_loop_of_diffusers(solver, steps, make):
    own, inputs = make(), window(frames=1)
    machine = sampler(make_scheduler(solver, own), guided=False)
    theirs = CLASSES[solver].from_config(own.config, timestep_spacing="trailing")
    expected = upstream(theirs, machine.denoiser, inputs.latents[:, 0], inputs.lr[:, 0], steps)
    assert expected.isfinite().all()
    assert torch.equal(run(machine, inputs, steps)[:, 0], expected)


@pytest.mark.parametrize("solver", ["dpm++", "unipc"])
def test_frames_in_turn_are_what_each_is_alone(solver):
    inputs, machine = window(), sampler(make_scheduler(solver, factories.scheduler()), guided=False)
    together = run(machine, inputs, 4)
    own, denoiser = machine.scheduler, machine.denoiser
    for frame in range(together.shape[1]):
        alone = upstream(own, denoiser, inputs.latents[:, frame], inputs.lr[:, frame], 4)
        assert torch.equal(together[:, frame], alone)


@pytest.mark.parametrize("solver", ["ddpm", "dpm++", "unipc"])
def test_windows_in_lockstep_equal_windows_alone(solver):
    inputs, machine = window(batch=2), sampler(make_scheduler(solver, factories.scheduler()))
    together = run(machine, inputs, 4)
    for index in range(2):
        # Batched convolutions may sum in another order.
        assert torch.allclose(together[index], run(machine, part(inputs, index), 4)[0], atol=1e-4)


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "dpm++", "unipc"])
def test_zero_terminal_snr_is_the_velocity_of_pure_noise(solver):
    """At abar = 0, x0 = -v; the multistep solvers take 2^-24 for abar, which reads 2^-12 of the noise."""
    machine, inputs = sampler(make_scheduler(solver, factories.scheduler()), guided=False), window(frames=1)
    with torch.no_grad():
        event = next(iter(machine.sample(inputs, 4)))
        sample = torch.cat([inputs.latents[:, 0], inputs.lr[:, 0]], dim=1)
        velocity = machine.denoiser(sample, torch.tensor(999)).sample
    assert event.timestep == 999
    assert (event.x0 + velocity).abs().max() < 5 * 2**-12  # noise is hardly ever beyond 5


def test_noise_prediction_from_pure_noise_is_refused():
    own = DDIMScheduler(rescale_betas_zero_snr=True, timestep_spacing="trailing", prediction_type="epsilon")
    for solver in ("ddim", "dpm++"):
        with pytest.raises(ModelError, match="predicts noise"):
            Stepper(make_scheduler(solver, own), 1, 4, 0.0)


def test_pure_noise_by_betas_is_refused_for_multistep_solvers_only():
    betas = torch.linspace(0.001, 1, 1000).tolist()
    own = DDIMScheduler(trained_betas=betas, prediction_type="v_prediction", timestep_spacing="trailing")
    Stepper(own, 1, 4, 0.0)
    with pytest.raises(ModelError, match="pure noise"):
        Stepper(make_scheduler("unipc", own), 1, 4, 0.0)


def test_a_models_own_solver_is_its_scheduler_and_others_begin_at_pure_noise():
    own = sdx4_scheduler()
    assert make_scheduler(None, own) is own
    assert make_scheduler("ddpm", own) is own
    for solver in ("ddim", "dpm++", "unipc"):
        other = make_scheduler(solver, own)
        other.set_timesteps(2)
        assert other.timesteps.tolist() == [999, 499]
        assert torch.equal(other.betas, own.betas)
        assert not other.config.get("clip_sample", False)


def test_latents_are_never_clipped_by_a_solver_whose_setting_the_model_lacks():
    own = UniPCMultistepScheduler(prediction_type="v_prediction")
    assert not make_scheduler("ddim", own).config.clip_sample


def test_unknown_solvers_and_schedules_are_refused():
    with pytest.raises(UsageError, match="Unknown solver"):
        make_scheduler("euler", factories.scheduler())
    with pytest.raises(ModelError, match="noise schedule"):
        make_scheduler("dpm++", FlowMatchEulerDiscreteScheduler())


def test_a_finished_frame_leaves_nothing_behind():
    stepper = Stepper(make_scheduler("unipc", factories.scheduler()), 2, 2, 0.0)
    noisy = torch.randn(1, 4, 3, 5)
    remembered = weakref.ref(noisy)
    stepper.step(torch.randn(1, 4, 3, 5), noisy, stepper.timesteps[0], 0, None)
    del noisy
    assert remembered() is not None
    stepper.forget(0)
    gc.collect()
    assert remembered() is None
