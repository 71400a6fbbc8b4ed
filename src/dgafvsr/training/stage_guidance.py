"""Stage 3: the guidance network G_U; the denoiser is frozen.

`GuidanceStage`        the authors' training step (docs/method.md, section 3): pair (neighbour, centre), same t, the
                       neighbour's x0 from the frozen unguided D_U, OGWM, mean squared error on v, only G_U learns.
                       Two additions, both off by default: a share of pairs with the same noise in both frames, since
                       our sampler can start all frames from one noise; a share of t from the sampler's own.
`GuidedSamplerStage`   ours: short sequences through the unrolled guided sampler, L1 + LPIPS-VGG on the decoded centre,
                       and |error of the centre - error of its past carried along the flow|_1, so that what is
                       invented moves with the picture instead of flickering. A denoiser that was finished by
                       `SamplerStage` is no longer the minimum of the squared error, so the authors' step alone would
                       undo part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.guided_unet import GuidedUNet
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.sampling.ftcm import FTCM
from dgafvsr.sampling.ogwm import OGWM, Convention, warp
from dgafvsr.training.objective import Diffusion, guidance_loss, unrolled_guided
from dgafvsr.training.perceptual import PerceptualLoss, grid_loss, random_window
from dgafvsr.training.stage_denoiser import SamplerLoss, draw_timesteps
from dgafvsr.training.trainer import Stage

__all__ = ["GuidanceStage", "GuidedSamplerLoss", "GuidedSamplerStage", "draw_noise"]


def draw_noise(shape: tuple[int, ...], *, shared_share: float, generator: torch.Generator) -> Tensor:
    """Noise of sequences, N T C h w; in a share of the sequences all frames have the first frame's."""
    noise = torch.randn(shape, generator=generator)
    shared = torch.rand(shape[0], generator=generator) < shared_share
    return torch.where(shared.view(-1, 1, 1, 1, 1), noise[:, :1], noise)


class _FrozenDenoiserStage(Stage):
    """G_U learns; D_U and the autoencoder do not."""

    def __init__(
        self,
        guidance: GuidanceUNet,
        denoiser: GuidedUNet,
        autoencoder: ResidualAutoencoder,
        diffusion: Diffusion,
        data: Dataset[dict[str, Tensor]],
        *,
        convention: Convention,
    ) -> None:
        super().__init__()
        self.trained = guidance.to(memory_format=torch.channels_last)
        self.denoiser = denoiser.requires_grad_(False).to(memory_format=torch.channels_last)
        self.autoencoder = autoencoder.requires_grad_(False).to(memory_format=torch.channels_last)
        self.diffusion, self.data = diffusion, data
        self.ftcm = FTCM(network=guidance, ogwm=OGWM(convention=convention))


class GuidanceStage(_FrozenDenoiserStage):
    """The authors' step.

    Args:
        guidance: G_U, learning.
        denoiser: D_U, frozen.
        autoencoder: frozen.
        diffusion: forward process.
        data: sequences of two frames: `hr`, `lr`, `flow`.
        convention: of the warp.
        shared_noise_share: share of pairs with the same noise in both frames, 0 to 1; the authors' is 0.
        sampler_share: share of the timesteps that are the default sampler's own, 0 to 1; the authors' is 0.
    """

    def __init__(
        self,
        guidance: GuidanceUNet,
        denoiser: GuidedUNet,
        autoencoder: ResidualAutoencoder,
        diffusion: Diffusion,
        data: Dataset[dict[str, Tensor]],
        *,
        convention: Convention = "released",
        shared_noise_share: float = 0.0,
        sampler_share: float = 0.0,
    ) -> None:
        super().__init__(guidance, denoiser, autoencoder, diffusion, data, convention=convention)
        self.shared_noise_share, self.sampler_share = shared_noise_share, sampler_share

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of a batch: hr N 2 3 4h 4w, lr N 2 3 h w in [-1, 1], flow N 1 2 4h 4w -> loss."""
        hr, lr = batch["hr"], batch["lr"]
        with torch.no_grad():
            x0 = LatentCodec(self.autoencoder).encode(hr.flatten(0, 1), lr.flatten(0, 1)).unflatten(0, hr.shape[:2])
        noise = draw_noise(tuple(x0.shape), shared_share=self.shared_noise_share, generator=generator).to(x0)
        times = draw_timesteps(len(x0), self.diffusion, sampler_share=self.sampler_share, generator=generator)
        result = guidance_loss(
            self.denoiser,
            self.ftcm,
            self.diffusion,
            x0=x0,
            lr=lr,
            flow=batch["flow"][:, 0],
            noise=noise,
            timesteps=times.to(x0.device),
        )
        return {"loss": result.loss}


@dataclass(frozen=True, kw_only=True)
class GuidedSamplerLoss(SamplerLoss):
    """Loss on decoded sequences."""

    temporal_weight: float = 0.5
    """Weight of the change of the error along the motion, L1; 0 leaves it out."""

    shared_noise_share: float = 0.5
    """Share of sequences in which all frames start from one noise, 0 to 1."""


class GuidedSamplerStage(_FrozenDenoiserStage):
    """Finishes G_U on what the guided few-step sampler shows.

    Args:
        guidance: G_U, learning.
        denoiser: D_U, frozen.
        autoencoder: frozen.
        diffusion: process and the sampler's timesteps.
        data: sequences: `hr`, `lr`, `flow`.
        loss: weights.
        convention: of the warp.
    """

    def __init__(
        self,
        guidance: GuidanceUNet,
        denoiser: GuidedUNet,
        autoencoder: ResidualAutoencoder,
        diffusion: Diffusion,
        data: Dataset[dict[str, Tensor]],
        loss: GuidedSamplerLoss,
        *,
        convention: Convention = "released",
    ) -> None:
        super().__init__(guidance, denoiser, autoencoder, diffusion, data, convention=convention)
        self.weights = loss
        self.perceptual = PerceptualLoss() if loss.perceptual_weight > 0 else None

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of sequences: hr N T 3 4h 4w, lr N T 3 h w, flow N T-1 2 4h 4w -> the losses."""
        hr, lr, flow = batch["hr"], batch["lr"], batch["flow"]
        shape = (*lr.shape[:2], self.autoencoder.config.latent_channels, *lr.shape[-2:])
        noise = draw_noise(shape, shared_share=self.weights.shared_noise_share, generator=generator).to(lr)
        latents = unrolled_guided(
            self.denoiser,
            self.ftcm,
            self.diffusion,
            lr=lr,
            flow=flow,
            noise=noise,
            gradient_steps=self.weights.gradient_steps,
        )
        codec = LatentCodec(self.autoencoder)
        output = codec.decode(latents[:, -1], lr[:, -1])
        losses = {"l1": F.l1_loss(output, hr[:, -1]), "grid": grid_loss(output, hr[:, -1])}
        losses["loss"] = losses["l1"] + self.weights.grid_weight * losses["grid"]
        if self.weights.temporal_weight > 0:
            with torch.no_grad():
                past_error = codec.decode(latents[:, -2], lr[:, -2]) - hr[:, -2]
                carried = warp(past_error, flow[:, -1], "centered")
            losses["temporal"] = F.l1_loss(output - hr[:, -1], carried)
            losses["loss"] = losses["loss"] + self.weights.temporal_weight * losses["temporal"]
        if self.perceptual is not None:
            window = random_window(output, hr[:, -1], side=self.weights.perceptual_side, generator=generator)
            losses["lpips"] = self.perceptual(*window)
            losses["loss"] = losses["loss"] + self.weights.perceptual_weight * losses["lpips"]
        return losses
