"""Between pixels and latents: one interface over the paper's VAE and the packaged autoencoder.

The paper's VAE (diffusers' AutoencoderKL, f4, 4 channels) does not look at the LR frame; the packaged model's
`ResidualAutoencoder` does. Everything else in the package talks to a `LatentCodec` and need not know which one it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dgafvsr.errors import ModelError
from dgafvsr.models.autoencoder import FACTOR, ResidualAutoencoder
from dgafvsr.video.color import from_signed

__all__ = ["LatentCodec"]


@dataclass(frozen=True)
class LatentCodec:
    """Encodes HR frames and decodes latents, scaled as the denoiser expects them.

    Args:
        vae: a `ResidualAutoencoder`, or diffusers' `AutoencoderKL` with factor 4.
        tile: latent pixels in the side of the tiles that are decoded; None leaves the VAE's own setting. Exact for
            the former, blended by diffusers for the latter.
    """

    vae: Any
    tile: int | None = None

    def encode(
        self, hr: Tensor, lr: Tensor, generator: torch.Generator | list[torch.Generator] | None = None
    ) -> Tensor:
        """Scaled latents of HR frames.

        Args:
            hr: N 3 4h 4w in [-1, 1].
            lr: N 3 h w in [-1, 1].
            generator: draws a sample of the posterior, as training does, from one generator or from one a frame; None
                takes its mean.

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
        latents = latents.to(self.vae.dtype)
        with _tiled(self.vae, self.tile):
            if isinstance(self.vae, ResidualAutoencoder):
                return self.vae.decode(latents, lr.float())
            return self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0].float()

    def decode_pixels(self, latents: Tensor, lr: Tensor) -> Tensor:
        """Finished frames: N 4 h w and N 3 h w in [-1, 1] -> N 3 4h 4w float32 in [0, 1].

        Raises:
            ModelError: the decoder gave values that are not numbers, or infinite ones.
        """
        decoded = self.decode(latents, lr)
        if not torch.isfinite(decoded).all():  # before the clamp, which makes white or black of what is infinite
            raise ModelError(
                "The decoder produced values that are not numbers",
                got=f"{int((~torch.isfinite(decoded)).sum())} of {decoded.numel()} values",
                remedy="use dtype float32 or bfloat16, or check the model's weights",
            )
        return from_signed(decoded)


@contextmanager
def _tiled(vae: Any, tile: int | None) -> Iterator[None]:
    """The VAE with tiles of that size, and afterwards as it was."""
    if tile is None:
        yield
        return
    sizes = {"tile": tile} if isinstance(vae, ResidualAutoencoder) else _diffusers_sizes(tile)
    wanted = {"use_tiling": True, **sizes}
    before = {name: getattr(vae, name) for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(vae, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(vae, name, value)


def _diffusers_sizes(tile: int) -> dict[str, int]:
    """AutoencoderKL's settings for that tile; its blending needs a multiple of 4, a quarter being overlap."""
    latent = max(tile // 4, 1) * 4
    return {"tile_latent_min_size": latent, "tile_sample_min_size": FACTOR * latent}
