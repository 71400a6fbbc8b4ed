"""Between pixels and latents: one interface over the paper's VAE and the packaged autoencoder.

The paper's VAE (diffusers' AutoencoderKL, f4, 4 channels) does not look at the LR frame; the packaged model's
`ResidualAutoencoder` does. Everything else in the package talks to a `LatentCodec` and need not know which one it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dgafvsr.errors import ModelError
from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.video.color import from_signed

__all__ = ["LatentCodec"]


@dataclass(frozen=True)
class LatentCodec:
    """Encodes HR frames and decodes latents, scaled as the denoiser expects them.

    Args:
        vae: a `ResidualAutoencoder`, or diffusers' `AutoencoderKL` with factor 4.
    """

    vae: Any

    def encode(self, hr: Tensor, lr: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Scaled latents of HR frames.

        Args:
            hr: N 3 4h 4w in [-1, 1].
            lr: N 3 h w in [-1, 1].
            generator: draws a sample of the posterior, as training does; None takes its mean.

        Returns:
            N 4 h w float32, about unit variance.
        """
        hr, lr = hr.to(self.vae.dtype), lr.to(self.vae.dtype)
        if isinstance(self.vae, ResidualAutoencoder):
            return self.vae.encode(hr, lr).float()
        posterior = self.vae.encode(hr).latent_dist
        latents = posterior.mode() if generator is None else posterior.sample(generator)
        return latents.float() * self.vae.config.scaling_factor

    def decode(self, latents: Tensor, lr: Tensor) -> Tensor:
        """HR frames of scaled latents: N 4 h w and N 3 h w in [-1, 1] -> N 3 4h 4w float32, not clamped."""
        latents, lr = latents.to(self.vae.dtype), lr.to(self.vae.dtype)
        if isinstance(self.vae, ResidualAutoencoder):
            return self.vae.decode(latents, lr).float()
        return self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0].float()

    def decode_pixels(self, latents: Tensor, lr: Tensor) -> Tensor:
        """Finished frames: N 4 h w and N 3 h w in [-1, 1] -> N 3 4h 4w float32 in [0, 1].

        Raises:
            ModelError: the decoder gave values that are not numbers.
        """
        pixels = from_signed(self.decode(latents, lr))
        if not torch.isfinite(pixels).all():
            raise ModelError(
                "The decoder produced values that are not numbers",
                got=f"{int((~torch.isfinite(pixels)).sum())} of {pixels.numel()} values",
                remedy="use dtype float32 or bfloat16, or check the model's weights",
            )
        return pixels
