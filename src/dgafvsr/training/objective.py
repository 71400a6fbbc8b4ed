"""The losses of D_U and G_U as pure functions: no data, no optimiser, randomness passed in.

    z_t      = sqrt(abar) z_0 + sqrt(1 - abar) n                      forward process
    L_D      = | D_U(<z_t, x>) - v |^2                                 denoiser
    z~'_0    = x0 estimate of the neighbour by the frozen D_U alone
    L_G      = | D_U(<z_t, x>; G_U(<z_t, x, OGWM(z~'_0)>)) - v |^2     the authors' guidance step

Frame and neighbour share t and have noise of their own. The unrolled versions run the sampler itself (deterministic
DDIM) instead of one step of it, so that a loss can be put on what a user sees.

Networks are called through the same guidance and `predictions` as at inference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dgafvsr.models.guided_unet import EncoderResiduals, GuidanceResiduals, GuidedUNet
from dgafvsr.sampling.predictions import PredictionType, add_noise, check_prediction_type, target, to_x0
from dgafvsr.sampling.sampler import Guidance

__all__ = [
    "Condition",
    "Diffusion",
    "GuidanceLoss",
    "denoiser_errors",
    "guidance_loss",
    "predict",
    "unrolled",
    "unrolled_guided",
]


@dataclass(frozen=True, kw_only=True)
class Diffusion:
    """The forward process of a scheduler."""

    alpha_bars: Tensor
    """abar by timestep, T float32."""

    kind: PredictionType
    """What the networks predict."""

    steps: tuple[int, ...]
    """Timesteps of the default sampler, falling."""

    scheduler: Any
    """The diffusers scheduler that these numbers are from."""

    @classmethod
    def of(cls, scheduler: Any, steps: int) -> Diffusion:
        """The process of a diffusers scheduler and its timesteps for `steps` steps; the scheduler's are set to them."""
        scheduler.set_timesteps(steps)
        return cls(
            alpha_bars=scheduler.alphas_cumprod.float(),
            kind=check_prediction_type(scheduler.config.prediction_type),
            steps=tuple(int(step) for step in scheduler.timesteps),
            scheduler=scheduler,
        )

    def alpha_bar(self, timesteps: Tensor) -> Tensor:
        """Cumulative products abar of N timesteps, N."""
        return self.alpha_bars.to(timesteps.device)[timesteps]


@dataclass(frozen=True, kw_only=True)
class GuidanceLoss:
    """Result of the guidance step."""

    errors: Tensor
    """Mean squared error of each guided prediction, N."""

    aligned: Tensor
    """What the guidance network read of the neighbour, after alignment: N 4 h w with OGWM."""

    x0: Tensor
    """The guided x0 estimate, N 4 h w."""

    @property
    def loss(self) -> Tensor:
        """Scalar: the mean over samples."""
        return self.errors.mean()


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What a denoiser is told besides the frames."""

    prompt_embeds: Tensor | None = None
    """1 L D, for denoisers with cross-attention."""

    noise_level: int | None = None
    """Class label, for denoisers that have one (stabilityai's SD-x4)."""

    def prompt(self, like: Tensor) -> Tensor | None:
        """The prompt for the batch of `like`, N L D."""
        return None if self.prompt_embeds is None else self.prompt_embeds.to(like.device).expand(len(like), -1, -1)

    def labels(self, like: Tensor) -> Tensor | None:
        """The noise level for the batch of `like`, N."""
        if self.noise_level is None:
            return None
        return torch.full((len(like),), self.noise_level, dtype=torch.long, device=like.device)


def predict(
    denoiser: GuidedUNet,
    noisy: Tensor,
    lr: Tensor,
    timesteps: Tensor,
    *,
    residuals: GuidanceResiduals | EncoderResiduals | None = None,
    condition: Condition = Condition(),
) -> Tensor:
    """D_U's prediction, N 4 h w float32.

    Args:
        denoiser: D_U.
        noisy: z_t, N 4 h w.
        lr: LR frames in [-1, 1], N 3 h w.
        timesteps: N.
        residuals: of the guidance network, or None.
        condition: prompt and noise level.
    """
    sample = torch.cat([noisy, lr], dim=1).to(denoiser.dtype)
    prompt, labels = condition.prompt(noisy), condition.labels(noisy)
    return denoiser(sample, timesteps, prompt, labels, residuals=residuals, return_dict=False)[0].float()


def denoiser_errors(
    denoiser: GuidedUNet, diffusion: Diffusion, *, x0: Tensor, lr: Tensor, noise: Tensor, timesteps: Tensor
) -> Tensor:
    """L_D of each sample, N.

    Args:
        denoiser: D_U, learning.
        diffusion: forward process.
        x0: latents, N 4 h w.
        lr: LR frames in [-1, 1], N 3 h w.
        noise: unit variance, N 4 h w.
        timesteps: N.
    """
    alpha_bar = diffusion.alpha_bar(timesteps)
    prediction = predict(denoiser, add_noise(x0, noise, alpha_bar), lr, timesteps)
    return _squared_errors(prediction, target(x0, noise, alpha_bar, diffusion.kind))


def guidance_loss(
    denoiser: GuidedUNet,
    guidance: Guidance,
    diffusion: Diffusion,
    *,
    x0: Tensor,
    lr: Tensor,
    flow: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    condition: Condition = Condition(),
) -> GuidanceLoss:
    """L_G: exactly the authors' step for two frames.

    With more frames the neighbour's x0 estimate is what the sampler has: guided by the frame before it, and so on back
    to the first, which is unguided. Only the last frame carries gradients.

    Args:
        denoiser: D_U, frozen.
        guidance: FTCM with G_U, learning, or pixel guidance.
        diffusion: forward process.
        x0: latents of [..., neighbour, centre], N T 4 h w.
        lr: LR frames of the same in [-1, 1], N T 3 h w.
        flow: flow[:, k] from frame k+1 to frame k, N T-1 2 4h 4w in HR pixels, or 3 with its reliability.
        noise: of the frames, N T 4 h w.
        timesteps: shared by all frames, N.
        condition: prompt and noise level.
    """
    alpha_bar = diffusion.alpha_bar(timesteps)
    frames = x0.shape[1]
    noisy = [add_noise(x0[:, k], noise[:, k], alpha_bar) for k in range(frames)]

    def estimate(k: int, aligned: Tensor | None) -> tuple[Tensor, Tensor]:
        residuals = None
        if aligned is not None:
            residuals = guidance.residuals(
                latents=noisy[k],
                lr=lr[:, k],
                aligned=aligned,
                timestep=timesteps,
                prompt_embeds=condition.prompt(noisy[k]),
                class_labels=condition.labels(noisy[k]),
            )
        prediction = predict(denoiser, noisy[k], lr[:, k], timesteps, residuals=residuals, condition=condition)
        return prediction, to_x0(prediction, noisy[k], alpha_bar, diffusion.kind)

    aligned: Tensor | None = None
    with torch.no_grad():
        for k in range(frames - 1):
            past = estimate(k, aligned)[1]
            aligned = guidance.align(past, lr[:, k], guidance.keep(flow[:, k]))
    assert aligned is not None, "guidance needs two frames"
    guided, guided_x0 = estimate(frames - 1, aligned)
    errors = _squared_errors(guided, target(x0[:, -1], noise[:, -1], alpha_bar, diffusion.kind))
    return GuidanceLoss(errors=errors, aligned=aligned, x0=guided_x0)


def unrolled(
    denoiser: GuidedUNet, diffusion: Diffusion, *, lr: Tensor, noise: Tensor, gradient_steps: int | None = None
) -> Tensor:
    """Latents at the end of the default sampler, every frame alone: N 4 h w.

    Args:
        denoiser: D_U.
        diffusion: process and timesteps.
        lr: LR frames in [-1, 1], N 3 h w.
        noise: z_T, N 4 h w.
        gradient_steps: gradients flow through this many last steps; None is all.
    """
    noisy = x0 = noise
    for step, alpha_bar, next_alpha_bar in _steps(diffusion):
        with torch.set_grad_enabled(torch.is_grad_enabled() and _learns(step, diffusion, gradient_steps)):
            prediction = predict(denoiser, noisy, lr, _times(step, diffusion, noisy))
            x0, noisy = _ddim(prediction, noisy, alpha_bar, next_alpha_bar, diffusion.kind)
    return x0


def unrolled_guided(
    denoiser: GuidedUNet,
    guidance: Guidance,
    diffusion: Diffusion,
    *,
    lr: Tensor,
    flow: Tensor,
    noise: Tensor,
    gradient_steps: int | None = None,
) -> Tensor:
    """Latents of all frames at the end of the sampler, each guided by the frame before it: N T 4 h w.

    The first frame is unguided; only the last frame carries gradients, the others are its past.

    Args:
        denoiser: D_U, frozen.
        guidance: FTCM with G_U, or pixel guidance.
        diffusion: process and timesteps.
        lr: LR frames in [-1, 1], N T 3 h w.
        flow: flow[:, k] from frame k+1 to frame k, N T-1 2 4h 4w in HR pixels, or 3 with its reliability.
        noise: z_T of every frame, N T 4 h w.
        gradient_steps: gradients flow through this many last steps; None is all.
    """
    frames = lr.shape[1]
    kept = [guidance.keep(flow[:, k]) for k in range(frames - 1)]
    noisy, x0 = list(noise.unbind(1)), list(noise.unbind(1))
    for step, alpha_bar, next_alpha_bar in _steps(diffusion):
        times = _times(step, diffusion, noise)
        for k in range(frames):
            learns = k == frames - 1 and _learns(step, diffusion, gradient_steps)
            with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
                residuals = None
                if k > 0:
                    aligned = guidance.align(x0[k - 1], lr[:, k - 1], kept[k - 1])
                    residuals = guidance.residuals(latents=noisy[k], lr=lr[:, k], aligned=aligned, timestep=times)
                prediction = predict(denoiser, noisy[k], lr[:, k], times, residuals=residuals)
                x0[k], noisy[k] = _ddim(prediction, noisy[k], alpha_bar, next_alpha_bar, diffusion.kind)
    return torch.stack(x0, dim=1)


def _steps(diffusion: Diffusion) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Index, abar and next abar of each step, as diffusers' DDIMScheduler takes them: abar 1 after the last step."""
    stride = len(diffusion.alpha_bars) // len(diffusion.steps)
    for index, step in enumerate(diffusion.steps):
        following = diffusion.alpha_bars[step - stride] if step >= stride else torch.ones(())
        yield index, diffusion.alpha_bars[step], following


def _squared_errors(prediction: Tensor, wanted: Tensor) -> Tensor:
    return F.mse_loss(prediction, wanted, reduction="none").flatten(1).mean(dim=1)


def _learns(index: int, diffusion: Diffusion, gradient_steps: int | None) -> bool:
    return gradient_steps is None or index >= len(diffusion.steps) - gradient_steps


def _times(index: int, diffusion: Diffusion, like: Tensor) -> Tensor:
    return torch.full((like.shape[0],), diffusion.steps[index], device=like.device, dtype=torch.long)


def _ddim(
    prediction: Tensor, noisy: Tensor, alpha_bar: Tensor, next_alpha_bar: Tensor, kind: PredictionType
) -> tuple[Tensor, Tensor]:
    """x0 estimate and z of the next step, without noise of its own (DDIM, eta 0)."""
    x0 = to_x0(prediction, noisy, alpha_bar, kind)
    signal, sigma = alpha_bar.sqrt().to(noisy), (1 - alpha_bar).sqrt().to(noisy)
    noise = signal * prediction + sigma * noisy if kind == "v_prediction" else (noisy - signal * x0) / sigma
    return x0, add_noise(x0, noise, next_alpha_bar.to(noisy))
