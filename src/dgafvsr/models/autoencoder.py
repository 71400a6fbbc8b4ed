"""The packaged model's f4 autoencoder: it codes what a low-resolution frame cannot carry.

A plain autoencoder with 4 channels at a quarter of the side has to spend them on what the LR frame already shows. This
one codes the *residual* y - bicubic(x) and lets the decoder see x, so all four channels hold detail:

    z  = E(y - up(x), x)          4 x h x w, normalised to zero mean and unit variance per channel
    y' = up(x) + D(z, x)          up = bicubic x4, align_corners=False

A change to the paper's decoder that only our own small models use (docs/deviations.md). The latent grid equals the LR
grid, as in the paper, so OGWM, FTCM and the sampler do not know the difference.

No layer normalises over space: a crop and a full frame give the same values in the interior.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FACTOR", "ResidualAutoencoder", "upsample_lr"]

FACTOR = 4
"""Side of an HR frame over side of its latent: x4, as the paper's f4 autoencoder."""


def upsample_lr(lr: Tensor) -> Tensor:
    """N 3 h w -> N 3 4h 4w: bicubic, pixel centres aligned (align_corners=False), no antialiasing; range kept."""
    return F.interpolate(lr, scale_factor=FACTOR, mode="bicubic", align_corners=False)


class _ResidualBlock(nn.Module):
    def __init__(self, width: int, *, identity: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        if identity:
            _zero(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


def _trunk(in_channels: int, width: int, blocks: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1),
        *(_ResidualBlock(width) for _ in range(blocks)),
        nn.SiLU(),
        nn.Conv2d(width, out_channels, 3, padding=1),
    )


def _fine(width: int) -> nn.Sequential:
    """Correction of a picture, beside the enlarged LR frame; starts at zero."""
    return nn.Sequential(
        nn.Conv2d(6, width, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.SiLU(),
        _zero(nn.Conv2d(width, 3, 3, padding=1)),
    )


def _zero(convolution: nn.Conv2d) -> nn.Conv2d:
    for parameter in convolution.parameters():
        nn.init.zeros_(parameter)
    return convolution


class ResidualAutoencoder(ModelMixin, ConfigMixin):
    """f4 autoencoder of the residual y - bicubic(x), conditioned on the LR frame x.

    Args:
        latent_channels: channels of the latent; the denoiser's `out_channels`.
        width: channels of the convolutions at the latent's resolution.
        encoder_blocks: residual blocks in the encoder.
        decoder_blocks: residual blocks in the decoder, all at the latent's resolution.
        detail_width: channels of the decoder's last stage at twice the latent's resolution, which keeps sub-pixel
            shuffling from printing a grid.
        detail_blocks: residual blocks of that stage; they start as the identity.
        fine_width: channels of a correction at full resolution, where nothing knows of cells any more; 0 for none. It
            starts at zero.
        latents_mean: per-channel mean of raw latents over the training set; None before it was measured.
        latents_std: per-channel standard deviation of raw latents; None before it was measured.
    """

    _supports_gradient_checkpointing = False

    @register_to_config
    def __init__(
        self,
        *,
        latent_channels: int = 4,
        width: int = 96,
        encoder_blocks: int = 4,
        decoder_blocks: int = 8,
        detail_width: int = 48,
        detail_blocks: int = 0,
        fine_width: int = 0,
        latents_mean: tuple[float, ...] | None = None,
        latents_std: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        rgb = 3
        self.encoder = _trunk(rgb * FACTOR**2 + rgb, width, encoder_blocks, latent_channels)
        self.decoder = _trunk(latent_channels + rgb, width, decoder_blocks, detail_width * 4)
        self.detail = nn.Sequential(
            nn.PixelShuffle(2),
            nn.SiLU(),
            nn.Conv2d(detail_width, detail_width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(detail_width, rgb * 4, 3, padding=1),
            nn.PixelShuffle(2),
        )
        self.detail_trunk = nn.Sequential(*(_ResidualBlock(detail_width, identity=True) for _ in range(detail_blocks)))
        self.fine = _fine(fine_width) if fine_width else None
        self.use_tiling = False
        self.tile = 128

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        channels = self.config.latent_channels
        mean = self.config.latents_mean or (0.0,) * channels
        std = self.config.latents_std or (1.0,) * channels
        return like.new_tensor(mean).view(1, -1, 1, 1), like.new_tensor(std).view(1, -1, 1, 1)

    @apply_forward_hook
    def encode(self, hr: Tensor, lr: Tensor) -> Tensor:
        """Latent of an HR frame given its LR version; deterministic.

        Args:
            hr: N 3 4h 4w in [-1, 1].
            lr: N 3 h w in [-1, 1].

        Returns:
            N C h w, zero mean and unit variance per channel over the training set.
        """
        detail = F.pixel_unshuffle(hr - upsample_lr(lr), FACTOR)
        raw = self.encoder(torch.cat([detail, lr], dim=1))
        mean, std = self._statistics(raw)
        return (raw - mean) / std

    @apply_forward_hook
    def decode(self, latents: Tensor, lr: Tensor) -> Tensor:
        """HR frame of a latent, given the LR frame: N C h w and N 3 h w in [-1, 1] -> N 3 4h 4w, about [-1, 1].

        The LR frame may be of a wider type than latent and weights. It is then enlarged and summed with the detail in
        that type: bfloat16 alone would round the picture to 7 bits.
        """
        mean, std = self._statistics(latents)
        raw = latents * std + mean
        return self._picture_in_tiles(raw, lr) if self.use_tiling else self._picture(raw, lr)

    def _picture(self, raw: Tensor, lr: Tensor) -> Tensor:
        """HR frame of a raw latent and an LR frame, in the LR frame's type."""
        shuffle, finish = self.detail[0], self.detail[1:]
        detail = finish(self.detail_trunk(shuffle(self.decoder(torch.cat([raw, lr.to(raw)], dim=1)))))
        large = upsample_lr(lr)
        if self.fine is not None:
            detail = detail + self.fine(torch.cat([detail, large.to(detail)], dim=1))
        return large + detail

    def enable_tiling(self, tile: int = 128) -> None:
        """Decode in tiles of `tile` latent pixels a side: the same values, for less memory on large frames."""
        self.use_tiling, self.tile = True, tile

    def disable_tiling(self) -> None:
        """Decode whole frames."""
        self.use_tiling = False

    def _picture_in_tiles(self, raw: Tensor, lr: Tensor) -> Tensor:
        """Tiles with a margin as wide as the decoder can see, so that nothing has to be blended."""
        config = self.config
        margin = 2 * config.decoder_blocks + config.detail_blocks + 4 + (2 if config.fine_width else 0)
        height, width = raw.shape[-2:]
        rows = []
        for top in range(0, height, self.tile):
            row = []
            for left in range(0, width, self.tile):
                y, x = max(top - margin, 0), max(left - margin, 0)
                bottom, right = min(top + self.tile, height), min(left + self.tile, width)
                window = (..., slice(y, bottom + margin), slice(x, right + margin))
                picture = self._picture(raw[window], lr[window])
                crop = [slice((a - b) * FACTOR, (c - b) * FACTOR) for a, b, c in ((top, y, bottom), (left, x, right))]
                row.append(picture[:, :, crop[0], crop[1]])
            rows.append(torch.cat(row, dim=3))
        return torch.cat(rows, dim=2)

    def forward(self, hr: Tensor, lr: Tensor) -> Tensor:
        """Reconstruction decode(encode(hr, lr), lr): N 3 4h 4w in [-1, 1] -> the same shape."""
        return self.decode(self.encode(hr, lr), lr)
