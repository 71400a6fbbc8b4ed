"""Changes that leave a training sample as natural as it was: flips, quarter turns, time reversal, mild colour jitter.

Flips and turns only move pixels, and a flow moves with them exactly: its grid is turned and so are its arrows. Colour
jitter is one affine map of RGB for all frames of a sequence, so it moves nothing and keeps brightness constant along
the motion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgafvsr.errors import UsageError
from dgafvsr.training.data.blobs import Frames

__all__ = ["Augmentation", "Pose", "draw_pose", "jitter_colors"]

Pixels = TypeVar("Pixels", bound=NDArray[np.uint8])

_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What may be changed."""

    flips: bool = True
    """Half of the samples are mirrored left to right."""

    turns: bool = True
    """Samples are turned by a random multiple of 90 degrees."""

    reverse: bool = True
    """Half of the sequences from clips run backwards."""

    max_stride: int = 1
    """Sequences from clips take every n-th frame, n drawn from 1 to this: larger motion."""

    jitter_share: float = 0.0
    """Share of samples with another brightness, contrast, saturation and white balance, 0 to 1."""

    jitter_strength: float = 0.15
    """Largest relative change of each, 0 to below 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.jitter_share <= 1:
            raise UsageError("jitter_share is out of range", got=self.jitter_share, expected="0 to 1")
        if not 0 <= self.jitter_strength < 1:
            raise UsageError("jitter_strength is out of range", got=self.jitter_strength, expected="0 to below 1")
        if self.max_stride < 1:
            raise UsageError("max_stride is out of range", got=self.max_stride, expected="1 or more")


@dataclass(frozen=True)
class Pose:
    """A flip left to right, then quarter turns against the clock."""

    flipped: bool = False
    turns: int = 0
    """0 to 3."""

    def frames(self, frames: Pixels) -> Pixels:
        """(T) S S 3 frames so posed, contiguous."""
        posed = frames[..., :, ::-1, :] if self.flipped else frames
        return np.ascontiguousarray(np.rot90(posed, self.turns, axes=(-3, -2)))  # type: ignore[return-value]

    def maps(self, maps: Tensor) -> Tensor:
        """N C S S maps, such as masks, so posed."""
        posed = maps.flip(-1) if self.flipped else maps
        return torch.rot90(posed, self.turns, dims=(-2, -1)).contiguous()

    def flow(self, flow: Tensor) -> Tensor:
        """N 2 S S flow so posed: of frames posed alike, it says the same as before of the frames as they were."""
        dx, dy = self.maps(flow).unbind(1)
        dx = -dx if self.flipped else dx
        for _ in range(self.turns):  # a quarter turn sends right to up and down to right, y pointing down
            dx, dy = dy, -dx
        return torch.stack([dx, dy], dim=1)


def draw_pose(rng: np.random.Generator, augmentation: Augmentation) -> Pose:
    """A random pose; the draws are used up whatever is allowed."""
    flipped, turns = bool(rng.random() < 0.5), int(rng.integers(4))
    return Pose(flipped and augmentation.flips, turns if augmentation.turns else 0)


def jitter_colors(frames: Frames, rng: np.random.Generator, augmentation: Augmentation) -> Frames:
    """The frames in other colours, all by the same map; as they are in most samples.

    Args:
        frames: T H W 3.
        rng: source of the draws.
        augmentation: share and strength.
    """
    if augmentation.jitter_share <= 0 or rng.random() >= augmentation.jitter_share:
        return frames
    matrix, offset = _color_map(rng, augmentation.jitter_strength)
    whole = np.concatenate([matrix, offset[:, None]], axis=1)
    stacked = frames.reshape(-1, frames.shape[-2], 3)
    return np.asarray(cv2.transform(stacked, whole), dtype=np.uint8).reshape(frames.shape)


def _color_map(rng: np.random.Generator, strength: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """3 x 3 and 3, on 8-bit levels: saturation about the luma, white balance, contrast about grey, brightness."""
    saturation, contrast = 1 + strength * rng.uniform(-1, 1, 2)
    balance = 1 + strength / 3 * rng.uniform(-1, 1, 3)
    brightness = 255 * strength / 2 * rng.uniform(-1, 1)
    grey = np.ones((3, 1)) * _LUMA
    matrix = contrast * np.diag(balance) @ (saturation * np.eye(3) + (1 - saturation) * grey)
    return matrix, np.full(3, 127.5 * (1 - contrast) + brightness)
