"""Training samples: pictures for the autoencoder and the denoiser, sequences for the guidance network.

All are map-style data sets: sample `index` is a function of (seed, index).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dgafvsr.errors import UsageError
from dgafvsr.flow.estimator import FlowEstimator
from dgafvsr.models.autoencoder import FACTOR, upsample_lr
from dgafvsr.training.data.clips import ClipLibrary
from dgafvsr.training.data.degradations import draw_fault, to_lr
from dgafvsr.training.data.motion import MotionRanges, MotionSequence, draw_motion, draw_silhouette, move
from dgafvsr.training.data.photos import PhotoLibrary, augment

__all__ = ["PictureSamples", "SequenceSamples", "SequenceSettings", "to_network_range"]


def to_network_range(frames: NDArray[np.uint8]) -> Tensor:
    """T H W 3 uint8 -> T 3 H W float32 in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1


class PictureSamples(Dataset[dict[str, Tensor]]):
    """Single pictures: `hr` 3 S S and `lr` 3 S/4 S/4, both in [-1, 1].

    Args:
        photos: source of the crops.
        side: HR side in pixels, a multiple of 4.
        fault_share: share of samples with a mildly degraded LR frame, 0 to 1.
        seed: makes another sequence of samples.
    """

    def __init__(self, photos: PhotoLibrary, *, side: int, fault_share: float = 0.2, seed: int = 0) -> None:
        _check_side(side)
        self.photos, self.side, self.fault_share, self.seed = photos, side, fault_share, seed

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, index])
        frames = augment(self.photos.crop(rng, self.side), rng)[None]
        lr = to_lr(frames, draw_fault(rng, share=self.fault_share), rng)
        return {"hr": to_network_range(frames)[0], "lr": lr[0] * 2 - 1}


@dataclass(frozen=True, kw_only=True)
class SequenceSettings:
    """What sequences are made of."""

    frames: int = 2
    """Frames of a sequence; the last is the centre, the others its past."""

    side: int = 128
    """HR side in pixels, a multiple of 4."""

    clip_share: float = 0.2
    """Share of sequences from real clips, 0 to 1; the others are photographs in synthetic motion."""

    exact_flow_share: float = 0.4
    """Share of synthetic sequences that get their exact flow; the others the estimator's, as at inference."""

    fault_share: float = 0.2
    """Share of sequences with mildly degraded LR frames, 0 to 1."""

    motion: MotionRanges = field(default_factory=MotionRanges)

    def __post_init__(self) -> None:
        _check_side(self.side)


class SequenceSamples(Dataset[dict[str, Tensor]]):
    """Short sequences: `hr` T 3 S S, `lr` T 3 S/4 S/4 in [-1, 1], and `flow` T-1 2 S S in HR pixels.

    flow[k] leads from frame k+1 to frame k: frame_{k+1}(p) ~ frame_k(p + flow[k](p)).

    Args:
        photos: source of synthetic motion.
        clips: source of real motion; may be empty.
        estimator: the flow estimator of inference, used on the LR frames upsampled x4.
        settings: shares and sizes.
        seed: makes another sequence of samples.
    """

    def __init__(
        self,
        photos: PhotoLibrary,
        clips: ClipLibrary,
        estimator: FlowEstimator,
        settings: SequenceSettings,
        *,
        seed: int = 0,
    ) -> None:
        self.photos, self.clips, self.estimator = photos, clips, estimator
        self.settings, self.seed = settings, seed

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, 1, index])
        settings = self.settings
        sequence = None
        if len(self.clips) and rng.random() < settings.clip_share:
            frames = self.clips.crop(rng, frames=settings.frames, side=settings.side)
        else:
            sequence = self._synthetic(rng)
            frames = sequence.frames
        lr = to_lr(frames, draw_fault(rng, share=settings.fault_share), rng)
        if sequence is not None and rng.random() < settings.exact_flow_share:
            flow = torch.from_numpy(sequence.flow_to_previous)
        else:
            upsampled = upsample_lr(lr).clamp(0, 1)
            flow = self.estimator(upsampled[1:], upsampled[:-1])
        return {"hr": to_network_range(frames), "lr": lr * 2 - 1, "flow": flow}

    def _synthetic(self, rng: np.random.Generator) -> MotionSequence:
        settings = self.settings
        margin = round(settings.motion.shift_px) * (settings.frames - 1) + FACTOR
        background = augment(self.photos.crop(rng, settings.side + 2 * margin), rng)
        foreground = None
        if rng.random() < settings.motion.object_share:
            texture = augment(self.photos.crop(rng, settings.side + 2 * margin), rng)
            silhouette = draw_silhouette(rng, settings.side)
            foreground = (texture, silhouette, draw_motion(rng, settings.motion, settings.side))
        motion = draw_motion(rng, settings.motion, settings.side)
        return move(background, motion, frames=settings.frames, side=settings.side, foreground=foreground)


def _check_side(side: int) -> None:
    if side < FACTOR or side % FACTOR:
        raise UsageError("the side of training crops is out of range", got=side, expected=f"a multiple of {FACTOR}")
