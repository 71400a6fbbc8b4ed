"""Stage 2: the denoiser D_U on single pictures, first as a denoiser, then as the sampler it is used in.

`DenoiserStage`    mean squared error of v at random t: the textbook objective.
`SamplerStage`     L1 + LPIPS-VGG of the *decoded* result of the unrolled few-step sampler, decoder frozen. With so few
                   steps and so small a network this is the largest single gain; put on every t instead of the
                   sampler's end it over-textures, and an unfrozen decoder learns a screen-door grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.models.guided_unet import GuidedUNet
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.training.objective import Diffusion, denoiser_loss, unrolled
from dgafvsr.training.perceptual import PerceptualLoss, grid_loss, random_window
from dgafvsr.training.trainer import Stage

__all__ = ["DenoiserStage", "SamplerLoss", "SamplerStage", "draw_timesteps"]


@dataclass(frozen=True, kw_only=True)
class SamplerLoss:
    """Loss on decoded pictures."""

    perceptual_weight: float = 1.0
    """Weight of LPIPS-VGG beside L1; 0 needs no VGG."""

    perceptual_side: int = 96
    """Side in HR pixels of the window that LPIPS sees, to save time."""

    grid_weight: float = 5.0
    """Weight of `grid_loss`; 0 leaves it out."""

    gradient_steps: int | None = None
    """Gradients flow through this many last sampler steps; None is all."""


def draw_timesteps(count: int, diffusion: Diffusion, *, sampler_share: float, generator: torch.Generator) -> Tensor:
    """Random timesteps, `count`: a share from those of the default sampler, the others uniform."""
    uniform = torch.randint(len(diffusion.alpha_bars), (count,), generator=generator)
    used = torch.tensor(diffusion.steps)[torch.randint(len(diffusion.steps), (count,), generator=generator)]
    return torch.where(torch.rand(count, generator=generator) < sampler_share, used, uniform)


class DenoiserStage(Stage):
    """Learns v at random t.

    Args:
        denoiser: D_U.
        autoencoder: frozen.
        diffusion: forward process.
        data: samples with `hr` and `lr`.
        sampler_share: share of the timesteps that are the default sampler's own, 0 to 1.
    """

    trained: GuidedUNet

    def __init__(
        self,
        denoiser: GuidedUNet,
        autoencoder: ResidualAutoencoder,
        diffusion: Diffusion,
        data: Dataset[dict[str, Tensor]],
        *,
        sampler_share: float = 0.5,
    ) -> None:
        super().__init__()
        self.trained = denoiser.to(memory_format=torch.channels_last)
        self.autoencoder = autoencoder.requires_grad_(False).to(memory_format=torch.channels_last)
        self.diffusion, self.data, self.sampler_share = diffusion, data, sampler_share

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of a batch: hr N 3 4h 4w, lr N 3 h w in [-1, 1] -> loss."""
        with torch.no_grad():
            x0 = LatentCodec(self.autoencoder).encode(batch["hr"], batch["lr"])
        noise = torch.randn(x0.shape, generator=generator).to(x0)
        times = draw_timesteps(len(x0), self.diffusion, sampler_share=self.sampler_share, generator=generator)
        loss = denoiser_loss(
            self.trained, self.diffusion, x0=x0, lr=batch["lr"], noise=noise, timesteps=times.to(x0.device)
        )
        return {"loss": loss}


class SamplerStage(Stage):
    """Learns what the few-step sampler shows.

    Args:
        denoiser: D_U, trained by `DenoiserStage`.
        autoencoder: frozen.
        diffusion: process and the sampler's timesteps.
        data: samples with `hr` and `lr`.
        loss: weights.
    """

    trained: GuidedUNet

    def __init__(
        self,
        denoiser: GuidedUNet,
        autoencoder: ResidualAutoencoder,
        diffusion: Diffusion,
        data: Dataset[dict[str, Tensor]],
        loss: SamplerLoss,
    ) -> None:
        super().__init__()
        self.trained = denoiser.to(memory_format=torch.channels_last)
        self.autoencoder = autoencoder.requires_grad_(False).to(memory_format=torch.channels_last)
        self.diffusion, self.data, self.weights = diffusion, data, loss
        self.perceptual = PerceptualLoss() if loss.perceptual_weight > 0 else None

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of a batch: hr N 3 4h 4w, lr N 3 h w in [-1, 1] -> loss, l1, grid, lpips."""
        hr, lr = batch["hr"], batch["lr"]
        noise = torch.randn((len(lr), 4, *lr.shape[-2:]), generator=generator).to(lr)
        x0 = unrolled(self.trained, self.diffusion, lr=lr, noise=noise, gradient_steps=self.weights.gradient_steps)
        output = LatentCodec(self.autoencoder).decode(x0, lr)
        losses = {"l1": F.l1_loss(output, hr), "grid": grid_loss(output, hr)}
        losses["loss"] = losses["l1"] + self.weights.grid_weight * losses["grid"]
        if self.perceptual is not None:
            window = random_window(output, hr, side=self.weights.perceptual_side, generator=generator)
            losses["lpips"] = self.perceptual(*window)
            losses["loss"] = losses["loss"] + self.weights.perceptual_weight * losses["lpips"]
        return losses
