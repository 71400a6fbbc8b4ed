"""The losses of D_U and G_U as pure functions: no data, no optimiser, randomness passed in.

    z_t      = sqrt(abar) z_0 + sqrt(1 - abar) n                      forward process
    L_D      = | D_U(<z_t, x>) - v |^2                                 denoiser
    z~'_0    = x0 estimate of the neighbour by the frozen D_U alone
    L_G      = | D_U(<z_t, x>; G_U(<z_t, x, OGWM(z~'_0)>)) - v |^2     the authors' guidance step

Frame and neighbour share t and have noise of their own. The unrolled versions run the sampler itself (deterministic
DDIM) instead of one step of it, so that a loss can be put on what a user sees.

Networks are called through the same `FTCM` and `predictions` as at inference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dgafvsr.models.guided_unet import GuidanceResiduals, GuidedUNet
from dgafvsr.sampling.ftcm import FTCM
from dgafvsr.sampling.predictions import PredictionType, add_noise, check_prediction_type, target, to_x0

__all__ = [
    "Diffusion",
    "GuidanceLoss",
    "denoiser_loss",
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

    @classmethod
    def of(cls, scheduler: Any, steps: int) -> Diffusion:
        """The process of a diffusers scheduler and its timesteps for `steps` steps; the scheduler's are set to them."""
        scheduler.set_timesteps(steps)
        return cls(
            alpha_bars=scheduler.alphas_cumprod.float(),
            kind=check_prediction_type(scheduler.config.prediction_type),
            steps=tuple(int(step) for step in scheduler.timesteps),
        )

    def alpha_bar(self, timesteps: Tensor) -> Tensor:
        """Cumulative products abar of N timesteps, N."""
        return self.alpha_bars.to(timesteps.device)[timesteps]


@dataclass(frozen=True, kw_only=True)
class GuidanceLoss:
    """Result of the guidance step."""

    loss: Tensor
    """Scalar: mean squared error of the guided prediction."""

    aligned: Tensor
    """The condition of G_U: the neighbour's x0 estimate after OGWM, N 4 h w."""

    x0: Tensor
    """The guided x0 estimate, N 4 h w."""


def predict(
    denoiser: GuidedUNet,
    noisy: Tensor,
    lr: Tensor,
    timesteps: Tensor,
    *,
    residuals: GuidanceResiduals | None = None,
    prompt_embeds: Tensor | None = None,
) -> Tensor:
    """D_U's prediction, N 4 h w float32.

    Args:
        denoiser: D_U.
        noisy: z_t, N 4 h w.
        lr: LR frames in [-1, 1], N 3 h w.
        timesteps: N.
        residuals: of G_U, or None.
        prompt_embeds: 1 L D, for denoisers with cross-attention.
    """
    prompt = None if prompt_embeds is None else prompt_embeds.expand(noisy.shape[0], -1, -1)
    sample = torch.cat([noisy, lr], dim=1).to(denoiser.dtype)
    output = denoiser(sample, timesteps, prompt, residuals=residuals, return_dict=False)
    return output[0].float()


def denoiser_loss(
    denoiser: GuidedUNet, diffusion: Diffusion, *, x0: Tensor, lr: Tensor, noise: Tensor, timesteps: Tensor
) -> Tensor:
    """L_D: scalar.

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
    return F.mse_loss(prediction, target(x0, noise, alpha_bar, diffusion.kind))


def guidance_loss(
    denoiser: GuidedUNet,
    ftcm: FTCM,
    diffusion: Diffusion,
    *,
    x0: Tensor,
    lr: Tensor,
    flow: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    prompt_embeds: Tensor | None = None,
) -> GuidanceLoss:
    """L_G, exactly the authors' step.

    Args:
        denoiser: D_U, frozen.
        ftcm: G_U, learning, and its warp.
        diffusion: forward process.
        x0: latents of [neighbour, centre], N 2 4 h w.
        lr: LR frames of [neighbour, centre] in [-1, 1], N 2 3 h w.
        flow: from the centre to the neighbour, N 2 4h 4w in HR pixels.
        noise: of [neighbour, centre], N 2 4 h w.
        timesteps: shared by both frames, N.
        prompt_embeds: 1 L D, for denoisers with cross-attention.
    """
    alpha_bar = diffusion.alpha_bar(timesteps)
    noisy_neighbor, noisy = (add_noise(x0[:, k], noise[:, k], alpha_bar) for k in range(2))
    with torch.no_grad():
        plain = predict(denoiser, noisy_neighbor, lr[:, 0], timesteps, prompt_embeds=prompt_embeds)
        neighbor_x0 = to_x0(plain, noisy_neighbor, alpha_bar, diffusion.kind)
        aligned = ftcm.align(neighbor_x0, lr[:, 0], ftcm.keep(flow))
    residuals = ftcm.residuals(latents=noisy, lr=lr[:, 1], aligned=aligned, timestep=timesteps)
    guided = predict(denoiser, noisy, lr[:, 1], timesteps, residuals=residuals, prompt_embeds=prompt_embeds)
    loss = F.mse_loss(guided, target(x0[:, 1], noise[:, 1], alpha_bar, diffusion.kind))
    return GuidanceLoss(loss=loss, aligned=aligned, x0=to_x0(guided, noisy, alpha_bar, diffusion.kind))


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
    ftcm: FTCM,
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
        ftcm: G_U and its warp.
        diffusion: process and timesteps.
        lr: LR frames in [-1, 1], N T 3 h w.
        flow: flow[:, k] from frame k+1 to frame k, N T-1 2 4h 4w in HR pixels.
        noise: z_T of every frame, N T 4 h w.
        gradient_steps: gradients flow through this many last steps; None is all.
    """
    frames = lr.shape[1]
    kept = [ftcm.keep(flow[:, k]) for k in range(frames - 1)]
    noisy, x0 = list(noise.unbind(1)), list(noise.unbind(1))
    for step, alpha_bar, next_alpha_bar in _steps(diffusion):
        times = _times(step, diffusion, noise)
        for k in range(frames):
            learns = k == frames - 1 and _learns(step, diffusion, gradient_steps)
            with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
                residuals = None
                if k > 0:
                    aligned = ftcm.align(x0[k - 1], lr[:, k - 1], kept[k - 1])
                    residuals = ftcm.residuals(latents=noisy[k], lr=lr[:, k], aligned=aligned, timestep=times)
                prediction = predict(denoiser, noisy[k], lr[:, k], times, residuals=residuals)
                x0[k], noisy[k] = _ddim(prediction, noisy[k], alpha_bar, next_alpha_bar, diffusion.kind)
    return torch.stack(x0, dim=1)


def _steps(diffusion: Diffusion) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Index, abar and next abar of each step, as diffusers' DDIMScheduler takes them: abar 1 after the last step."""
    stride = len(diffusion.alpha_bars) // len(diffusion.steps)
    for index, step in enumerate(diffusion.steps):
        following = diffusion.alpha_bars[step - stride] if step >= stride else torch.ones(())
        yield index, diffusion.alpha_bars[step], following


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
