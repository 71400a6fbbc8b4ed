"""Stage 1: the LR-conditioned f4 autoencoder.

    L = |y' - y|_1 + w_p LPIPS(y', y) + w_z mean(mean(z)^2 + (std(z) - 1)^2),   y' = D(z + sigma_n n, x)

Noise n in the latent makes nearby latents decode alike, so that the denoiser's errors are forgiven and the latents can
be diffused (`latent` looks at a forward pass as a whole: the one loss that depends on how a batch is divided among
processes); without the pull w_z the latents would grow until the noise no longer matters. What is left of their mean
and standard deviation is measured after training and divided out by the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.training.draws import Draws
from dgafvsr.training.perceptual import PerceptualLoss, random_windows
from dgafvsr.training.picture_loss import check_weights
from dgafvsr.training.stage import Stage

__all__ = ["AutoencoderLoss", "AutoencoderStage", "measure_latents"]


@dataclass(frozen=True, kw_only=True)
class AutoencoderLoss:
    """Weights of the autoencoder's loss."""

    perceptual_weight: float = 0.2
    """Weight of LPIPS-VGG; 0 needs no VGG."""

    perceptual_side: int = 64
    """Side in HR pixels of the window that LPIPS sees, to save time."""

    latent_noise: float = 0.1
    """Standard deviation of the noise added to raw latents, which have a standard deviation near 1."""

    latent_weight: float = 1e-2
    """Weight of the pull of raw latents to unit size."""

    def __post_init__(self) -> None:
        check_weights(self)


class AutoencoderStage(Stage):
    """Learns encoder and decoder together.

    Args:
        autoencoder: latents_mean and latents_std must still be None.
        data: samples with `hr` and `lr`.
        loss: weights.
    """

    trained: ResidualAutoencoder

    def __init__(
        self,
        autoencoder: ResidualAutoencoder,
        data: Dataset[dict[str, Tensor]],
        loss: AutoencoderLoss,
    ) -> None:
        super().__init__()
        self.trained = autoencoder.to(memory_format=torch.channels_last)
        self.data = data
        self.weights = loss
        self.perceptual = PerceptualLoss() if loss.perceptual_weight > 0 else None

    def forward(self, batch: dict[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Losses of a batch: hr N 3 4h 4w and lr N 3 h w in [-1, 1] -> loss, l1, lpips, latent."""
        hr = batch["hr"].contiguous(memory_format=torch.channels_last)
        lr = batch["lr"].contiguous(memory_format=torch.channels_last)
        latents = self.trained.encode(hr, lr)
        noise = draws.normal(*latents.shape[1:]).to(latents)
        output = self.trained.decode(latents + self.weights.latent_noise * noise, lr)
        mean, std = latents.float().mean(dim=(0, 2, 3)), latents.float().std(dim=(0, 2, 3))
        losses = {"l1": F.l1_loss(output, hr), "latent": (mean**2 + (std - 1) ** 2).mean()}
        losses["loss"] = losses["l1"] + self.weights.latent_weight * losses["latent"]
        if self.perceptual is not None:
            windows = random_windows(output, hr, side=self.weights.perceptual_side, draws=draws)
            losses["lpips"] = self.perceptual(*windows)
            losses["loss"] = losses["loss"] + self.weights.perceptual_weight * losses["lpips"]
        return losses


@torch.no_grad()
def measure_latents(
    autoencoder: ResidualAutoencoder, data: Dataset[dict[str, Tensor]], *, samples: int = 128
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per-channel mean and standard deviation of raw latents over the first samples of a data set.

    Args:
        autoencoder: with latents_mean and latents_std None.
        data: samples with `hr` and `lr`.
        samples: how many to encode.

    Returns:
        Means and standard deviations, one per latent channel.
    """
    device = next(autoencoder.parameters()).device
    values = []
    for index in range(samples):
        sample = data[index]
        latents = autoencoder.encode(sample["hr"][None].to(device), sample["lr"][None].to(device))
        values.append(latents.transpose(0, 1).flatten(1).float().cpu())
    joined = torch.cat(values, dim=1)
    return tuple(joined.mean(dim=1).tolist()), tuple(joined.std(dim=1).tolist())
