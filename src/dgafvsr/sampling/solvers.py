"""Solvers: how a prediction becomes the next, less noisy latent.

A solver is one of diffusers' schedulers. Multistep solvers (DPM-Solver++, UniPC) remember predictions of earlier steps;
in a sweep the frames take turns, so every frame has a scheduler, hence a memory, of its own.

A model whose noise schedule ends in pure noise (abar = 0) has no finite log signal-to-noise ratio there, which the
multistep solvers are written in. diffusers computes them with abar = 2^-24 at that one time instead. For v- and
x0-prediction that moves the estimate by 2.4e-4 of the noise, next to nothing; a predicted epsilon would be divided by
it and is refused.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any, Literal, get_args

import diffusers
import torch
from torch import Tensor

from dgafvsr.errors import ModelError, UsageError
from dgafvsr.sampling.predictions import check_prediction_type, to_x0

__all__ = ["Solver", "Stepper", "check_solver", "make_scheduler"]

Solver = Literal["ddim", "ddpm", "dpm++", "unipc"]
"""DDIM; DDPM, which draws noise at every step; DPM-Solver++ (2M) and UniPC, which need fewer steps than DDIM."""

_CLASSES: dict[str, type[Any]] = {
    "ddim": diffusers.DDIMScheduler,
    "ddpm": diffusers.DDPMScheduler,
    "dpm++": diffusers.DPMSolverMultistepScheduler,
    "unipc": diffusers.UniPCMultistepScheduler,
}


def check_solver(solver: str | None) -> None:
    """Raise UsageError unless there is a solver of that name; None, the model's own, always is."""
    if solver is not None and solver not in get_args(Solver):
        raise UsageError("Unknown solver", got=solver, expected=", ".join(get_args(Solver)))


def make_scheduler(solver: Solver | None, own: Any) -> Any:
    """The scheduler of a solver, with a model's noise schedule.

    Steps of another solver than the model's own are spread to begin at pure noise ("trailing"): diffusers' "leading"
    ones, which SD-x4 has, would begin at t = 667 for two steps of a multistep solver.

    Args:
        solver: by name; None gives `own`.
        own: the model's scheduler; it is returned as it is where it is such a solver already.

    Raises:
        UsageError: no solver has that name.
        ModelError: the model's scheduler has no noise schedule that another solver could take over.
    """
    check_solver(solver)
    if solver is None or type(own) is _CLASSES[solver]:
        return own
    if not hasattr(own, "alphas_cumprod"):
        raise ModelError(
            f"The solver {solver} cannot take over this model's noise schedule",
            got=type(own).__name__,
            expected="a variance-preserving schedule, such as DDPM's",
            remedy="leave the solver out",
        )
    changes: dict[str, Any] = {"timestep_spacing": "trailing"}
    if "clip_sample" not in own.config:  # diffusers would clip latents as if they were pixels
        changes["clip_sample"] = False
    accepted = set(inspect.signature(_CLASSES[solver].__init__).parameters)
    return _CLASSES[solver].from_config(own.config, **{name: changes[name] for name in changes if name in accepted})


class Stepper:
    """A scheduler for every frame of a window, until the frame is done.

    Holds what a scheduler remembers: nothing for DDIM and DDPM, the x0 estimates of two steps for DPM-Solver++, those
    and a latent for UniPC, 3 B 4 h w float32 a frame at most.

    Args:
        scheduler: copied, never changed.
        frames: N of the window.
        steps: T, at least 1.
        eta: stochasticity of DDIM; ignored by schedulers that do not take it.

    Attributes:
        timesteps: T diffusion times, in the order they are visited.
        init_noise_sigma: standard deviation of the initial latents.
        draws: whether a step may draw noise.

    Raises:
        UsageError: the scheduler cannot do that many steps.
        ModelError: the scheduler gives no x0 estimate, or the noise schedule is none for it.
    """

    def __init__(self, scheduler: Any, frames: int, steps: int, eta: float) -> None:
        scheduler = copy.deepcopy(scheduler)
        if not all(hasattr(scheduler, name) for name in ("init_noise_sigma", "scale_model_input", "alphas_cumprod")):
            raise _no_estimate(scheduler)
        trained = scheduler.config.num_train_timesteps
        if not 1 <= steps <= trained:
            raise UsageError("The number of steps is out of range", got=steps, expected=f"1 to {trained}")
        scheduler.set_timesteps(steps)
        _check_terminal_noise(scheduler)
        accepted = set(inspect.signature(scheduler.step).parameters)
        self._options: dict[str, Any] = {"eta": eta} if "eta" in accepted else {}
        self.draws = "generator" in accepted
        self.timesteps: Tensor = scheduler.timesteps
        self.init_noise_sigma = float(scheduler.init_noise_sigma)
        self._schedulers = [copy.deepcopy(scheduler) for _ in range(frames)]

    def scale(self, latents: Tensor, timestep: Tensor, frame: int) -> Tensor:
        """The latents B 4 h w as the network wants them at this time."""
        return self._schedulers[frame].scale_model_input(latents, timestep)

    def step(
        self,
        prediction: Tensor,
        noisy: Tensor,
        timestep: Tensor,
        frame: int,
        generators: list[torch.Generator] | None,
    ) -> tuple[Tensor, Tensor]:
        """z_{t-1} and the x0 estimate, each B 4 h w float32.

        Args:
            prediction: of the network, B 4 h w float32.
            noisy: z_t before `scale`, B 4 h w float32.
            timestep: t.
            frame: of the window.
            generators: one a window, for schedulers that draw; None for the others.
        """
        scheduler = self._schedulers[frame]
        options = dict(self._options)
        if generators is not None:
            options["generator"] = generators[0] if len(generators) == 1 else generators
        output = scheduler.step(prediction, timestep, noisy, **options)
        x0 = getattr(output, "pred_original_sample", None)
        return output.prev_sample, self._estimate(prediction, noisy, timestep, scheduler) if x0 is None else x0

    def preview(self, prediction: Tensor, noisy: Tensor, timestep: Tensor, frame: int) -> Tensor:
        """The x0 estimate that `step` would give, B 4 h w float32; the frame's own scheduler stays as it is."""
        kept = self._schedulers[frame]
        self._schedulers[frame] = copy.deepcopy(kept)
        try:  # the estimate does not depend on what the generator draws
            generators = [torch.Generator().manual_seed(0)] if self.draws else None
            return self.step(prediction, noisy, timestep, frame, generators)[1]
        finally:
            self._schedulers[frame] = kept

    def forget(self, frame: int) -> None:
        """Free what is remembered of a frame that has taken its last step."""
        self._schedulers[frame] = None

    def _estimate(self, prediction: Tensor, noisy: Tensor, timestep: Tensor, scheduler: Any) -> Tensor:
        """x0 of schedulers that do not return it but share the variance-preserving process."""
        if self.init_noise_sigma != 1.0:
            raise _no_estimate(scheduler)
        kind = check_prediction_type(scheduler.config.prediction_type)
        return to_x0(prediction, noisy, scheduler.alphas_cumprod[int(timestep)], kind)


def _check_terminal_noise(scheduler: Any) -> None:
    """Raise ModelError where the first step would divide by a signal of zero."""
    config, first = scheduler.config, int(scheduler.timesteps[0])
    rescaled = config.get("rescale_betas_zero_snr", False) and first == config.num_train_timesteps - 1
    silent = rescaled or float(scheduler.alphas_cumprod[first]) == 0
    if silent and config.get("prediction_type") == "epsilon":
        raise ModelError(
            "A model that predicts noise cannot start from nothing but noise",
            got="prediction_type epsilon with a zero-terminal-SNR schedule",
            expected="v_prediction or sample",
        )
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is not None and not torch.isfinite(sigmas).all():
        raise ModelError(
            f"{type(scheduler).__name__} cannot use a noise schedule that ends in pure noise and is given by its betas",
            expected="rescale_betas_zero_snr, which diffusers computes at a signal of 2^-12",
            remedy="choose the solver ddim or ddpm",
        )


def _no_estimate(scheduler: Any) -> ModelError:
    return ModelError(
        "This scheduler gives no x0 estimate, which the guidance is made of",
        got=type(scheduler).__name__,
        expected="one whose step returns pred_original_sample, such as DDPM or DDIM",
        remedy="choose another scheduler",
    )
