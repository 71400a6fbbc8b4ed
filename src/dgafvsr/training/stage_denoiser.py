"""Stage 2: the denoiser D_U on single pictures, first as a denoiser, then as the sampler it is used in.

`DenoiserStage`    mean squared error of v at random t: the textbook objective.
`SamplerStage`     `PictureLoss` of the *decoded* result of the unrolled few-step sampler, decoder frozen. With so few
                   steps and so small a network this is the largest single gain, its critic the larger part of it; put
                   on every t instead of the sampler's end it over-textures, and an unfrozen decoder learns a
                   screen-door grid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from dgafvsr.flow.estimator import create_flow_estimator
from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.models.guided_unet import GuidedUNet
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.training.draws import Draws
from dgafvsr.training.objective import Diffusion, denoiser_errors, unrolled
from dgafvsr.training.picture_loss import PictureLoss, SamplerLoss
from dgafvsr.training.rollout import Rollout
from dgafvsr.training.stage import ClipSampler, Stage, by_noise_level

__all__ = ["DenoiserStage", "SamplerStage", "draw_timesteps"]


def draw_timesteps(diffusion: Diffusion, *, sampler_share: float, draws: Draws) -> Tensor:
    """A random timestep for each sample, N: a share from those of the default sampler, the others uniform."""
    uniform = draws.integers(len(diffusion.alpha_bars))
    used = torch.tensor(diffusion.steps)[draws.integers(len(diffusion.steps))]
    return torch.where(draws.uniform() < sampler_share, used, uniform)


class _PictureStage(Stage):
    """D_U learns; the autoencoder does not."""

    trained: GuidedUNet

    def __init__(
        self,
        denoiser: GuidedUNet,
        autoencoder: ResidualAutoencoder,
        diffusion: Diffusion,
        data: Dataset[dict[str, Tensor]],
    ) -> None:
        super().__init__()
        self.trained = denoiser.to(memory_format=torch.channels_last)
        self.autoencoder = autoencoder.requires_grad_(False).to(memory_format=torch.channels_last)
        self.diffusion, self.data = diffusion, data

    def samplers(self) -> dict[str, ClipSampler]:
        """Every frame alone, under the name `off`: there is no guidance yet."""
        return {
            "off": Rollout(
                denoiser=self.trained,
                autoencoder=self.autoencoder,
                diffusion=self.diffusion,
                guidance=None,
                flow=create_flow_estimator("dis"),
            )
        }


class DenoiserStage(_PictureStage):
    """Learns v at random t.

    Args:
        denoiser: D_U.
        autoencoder: frozen.
        diffusion: forward process.
        data: samples with `hr` and `lr`.
        sampler_share: share of the timesteps that are the default sampler's own, 0 to 1.
    """

    def __init__(
        self,
        denoiser: GuidedUNet,
        autoencoder: ResidualAutoencoder,
        diffusion: Diffusion,
        data: Dataset[dict[str, Tensor]],
        *,
        sampler_share: float = 0.5,
    ) -> None:
        super().__init__(denoiser, autoencoder, diffusion, data)
        self.sampler_share = sampler_share

    def forward(self, batch: dict[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Losses of a batch: hr N 3 4h 4w, lr N 3 h w in [-1, 1] -> loss, by_level."""
        with torch.no_grad():
            x0 = LatentCodec(self.autoencoder).encode(batch["hr"], batch["lr"])
        noise = draws.normal(*x0.shape[1:]).to(x0)
        times = draw_timesteps(self.diffusion, sampler_share=self.sampler_share, draws=draws)
        errors = denoiser_errors(
            self.trained, self.diffusion, x0=x0, lr=batch["lr"], noise=noise, timesteps=times.to(x0.device)
        )
        return {"loss": errors.mean(), "by_level": by_noise_level(errors, times, len(self.diffusion.alpha_bars))}


class SamplerStage(_PictureStage):
    """Learns what the few-step sampler shows.

    Args:
        denoiser: D_U, trained by `DenoiserStage`.
        autoencoder: frozen.
        diffusion: process and the sampler's timesteps.
        data: samples with `hr` and `lr`.
        loss: weights.
    """

    def __init__(
        self,
        denoiser: GuidedUNet,
        autoencoder: ResidualAutoencoder,
        diffusion: Diffusion,
        data: Dataset[dict[str, Tensor]],
        loss: SamplerLoss,
    ) -> None:
        super().__init__(denoiser, autoencoder, diffusion, data)
        self.loss = PictureLoss(loss)

    @property
    def critic(self) -> nn.Module | None:
        """The picture's, if it has one."""
        return self.loss.critic

    def forward(self, batch: dict[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Losses of a batch: hr N 3 4h 4w, lr N 3 h w in [-1, 1] -> those of `PictureLoss`."""
        hr, lr = batch["hr"], batch["lr"]
        noise = draws.normal(self.trained.config.out_channels, *lr.shape[-2:]).to(lr)
        x0 = unrolled(self.trained, self.diffusion, lr=lr, noise=noise, gradient_steps=self.loss.weights.gradient_steps)
        return self.loss(LatentCodec(self.autoencoder).decode(x0, lr), hr, draws)  # type: ignore[no-any-return]
