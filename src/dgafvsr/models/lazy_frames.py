"""Finished frames that are still latents: each is decoded when somebody asks for it, on the thread that asks.

Latents take a forty-eighth of the memory of the pictures, and whoever stores pictures can decode them one after the
other while the next window is sampled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgafvsr.models.autoencoder import FACTOR
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.video.color import to_array

__all__ = ["LazyFrames"]


class LazyFrames:
    """A sequence of pictures, 4H 4W 3 float32 in [0, 1]. Nothing is kept: asking twice decodes twice.

    Args:
        codec: what decodes.
        latents: T 4 h w, scaled.
        lr: T 3 h w in [-1, 1].
        device: where they are decoded.
    """

    def __init__(self, codec: LatentCodec, latents: Tensor, lr: Tensor, device: torch.device) -> None:
        self._codec, self._latents, self._lr, self._device = codec, latents, lr, device

    @property
    def tile(self) -> int | None:
        """Latent pixels in the side of the tiles that are decoded, None for the VAE's own setting."""
        return self._codec.tile

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the latents."""
        height, width = self._latents.shape[-2:]
        return height, width

    def in_tiles(self, tile: int) -> Self:
        """The same frames, decoded in tiles of that side."""
        return type(self)(replace(self._codec, tile=tile), self._latents, self._lr, self._device)

    def decoded(self) -> Tensor:
        """All of them, T 3 4H 4W float32 laid out as arrays are.

        Pictures are by far the largest thing there is, so each is put where it stays.
        """
        room = np.empty((len(self), *(FACTOR * side for side in self.sides), 3), np.float32)
        for index, picture in enumerate(self):
            room[index] = picture
        return torch.from_numpy(room).permute(0, 3, 1, 2)

    def __len__(self) -> int:
        return len(self._latents)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (self[index] for index in range(len(self)))

    @torch.no_grad()
    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """One picture.

        Raises:
            IndexError: there is no such frame.
            ModelError: the decoder gave values that are not numbers.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        latent, lr = (frames[index : index + 1].to(self._device) for frames in (self._latents, self._lr))
        pixels = self._codec.decode_pixels(latent, lr)
        return np.asarray(to_array(pixels)[0])
