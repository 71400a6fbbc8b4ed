"""Training samples: pictures for the autoencoder and the denoiser, sequences for the guidance network.

All are map-style data sets: sample `index` is a function of (seed, index) and of the material, whatever process makes
it and whatever was made before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from dgafvsr.errors import InputError, UsageError
from dgafvsr.flow.estimator import FlowEstimator
from dgafvsr.flow.fields import with_reliability
from dgafvsr.models.autoencoder import FACTOR, upsample_lr
from dgafvsr.training.data.augmentation import Augmentation, draw_pose, jitter_colors
from dgafvsr.training.data.blobs import Frames, Picture
from dgafvsr.training.data.clips import ClipLibrary
from dgafvsr.training.data.degradations import check_fault_shares, draw_fault, to_lr
from dgafvsr.training.data.flow_cache import FlowCache
from dgafvsr.training.data.library import Library
from dgafvsr.training.data.motion import MotionRanges, MotionSequence, draw_motion, draw_silhouette, move

__all__ = ["PictureSamples", "SequenceSamples", "SequenceSettings", "to_network_range"]

MOST_FRAMES = 16


def to_network_range(frames: NDArray[np.uint8]) -> Tensor:
    """T H W 3 uint8 -> T 3 H W float32 in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1


class PictureSamples(Dataset[dict[str, Tensor]]):
    """Single pictures: `hr` 3 S S and `lr` 3 S/4 S/4, both in [-1, 1].

    Args:
        photos: source of the crops: photographs, clips, or both.
        side: HR side in pixels, a multiple of 4.
        fault_share: share of samples with a mildly degraded LR frame, 0 to 1.
        realistic_share: share of samples with a realistically, that is strongly, degraded LR frame, 0 to 1.
        augmentation: flips, turns and colours.
        seed: makes another sequence of samples.
    """

    def __init__(
        self,
        photos: Library,
        *,
        side: int,
        fault_share: float = 0.2,
        realistic_share: float = 0.0,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        _check_side(side)
        self.photos, self.side, self.seed = photos, side, seed
        self.fault_share, self.realistic_share = fault_share, realistic_share
        self.augmentation = augmentation or Augmentation()

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        _settle_in_worker()
        rng = np.random.default_rng([self.seed, index])
        frames = self.photos.picture(rng, self.side)[None]
        frames = draw_pose(rng, self.augmentation).frames(frames)
        frames = jitter_colors(frames, rng, self.augmentation)
        fault = draw_fault(rng, share=self.fault_share, realistic_share=self.realistic_share)
        return {"hr": to_network_range(frames)[0], "lr": to_lr(frames, fault, rng)[0] * 2 - 1}


@dataclass(frozen=True, kw_only=True)
class SequenceSettings:
    """What sequences are made of."""

    frames: int = 2
    """Frames of a sequence, 2 to 16; the last is the centre, the others its past."""

    side: int = 128
    """HR side in pixels, a multiple of 4."""

    clip_share: float = 0.2
    """Share of sequences from real clips, 0 to 1; the others are photographs in synthetic motion."""

    exact_flow_share: float = 0.4
    """Share of synthetic sequences that get their exact flow; the others the estimator's, as at inference."""

    fault_share: float = 0.2
    """Share of sequences with mildly degraded LR frames, 0 to 1."""

    realistic_share: float = 0.0
    """Share of sequences with realistically, that is strongly, degraded LR frames, 0 to 1."""

    flow_backward: bool = False
    """Samples also have `flow_backward`: from each frame to the one after it."""

    reliability: bool = False
    """`flow` has a third channel: 1 where forward and backward flow agree, 0 where the flow cannot be trusted."""

    motion: MotionRanges = field(default_factory=MotionRanges)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        _check_side(self.side)
        if not 2 <= self.frames <= MOST_FRAMES:
            raise UsageError("the length of sequences is out of range", got=self.frames, expected=f"2 to {MOST_FRAMES}")
        for name in ("clip_share", "exact_flow_share", "fault_share", "realistic_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is out of range", got=getattr(self, name), expected="0 to 1")
        check_fault_shares(self.fault_share, self.realistic_share)


@dataclass(frozen=True, kw_only=True)
class _Sequence:
    """Frames, and their flow where it is known without the estimator."""

    frames: Frames
    flow: Tensor | None = None
    flow_backward: Tensor | None = None


class SequenceSamples(Dataset[dict[str, Tensor]]):
    """Short sequences: `hr` T 3 S S, `lr` T 3 S/4 S/4 in [-1, 1], and `flow` T-1 2 S S in HR pixels.

    `flow[k]` leads from frame k+1 to frame k: `frame_{k+1}(p) ~ frame_k(p + flow[k](p))`. If asked for, there are also

        flow_backward    T-1 2 S S: from frame k to frame k+1, frame_k(p) ~ frame_{k+1}(p + flow_backward[k](p))
        reliability      a third channel of `flow`, 0 or 1 on the grid of frame k+1 (`with_reliability`)

    Both are of the kind of `flow`: exact where it is exact, estimated where it is estimated.

    Args:
        photos: source of synthetic motion: photographs, clips, or both.
        clips: source of real motion; may be empty.
        estimator: the flow estimator of inference, used on the LR frames upsampled x4.
        settings: shares and sizes.
        flow_cache: keeps flow of undegraded clips on disk; None estimates it each time.
        seed: makes another sequence of samples.

    Raises:
        InputError: there is neither a picture nor a clip.
    """

    def __init__(
        self,
        photos: Library,
        clips: ClipLibrary,
        estimator: FlowEstimator,
        settings: SequenceSettings,
        *,
        flow_cache: FlowCache | None = None,
        seed: int = 0,
    ) -> None:
        if not len(photos) and not len(clips):
            raise InputError("there is no training data", expected="at least one photograph or clip")
        self.photos, self.clips, self.estimator = photos, clips, estimator
        self.settings, self.flow_cache, self.seed = settings, flow_cache, seed

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        _settle_in_worker()
        rng = np.random.default_rng([self.seed, 1, index])
        settings = self.settings
        real = bool(len(self.clips)) and (rng.random() < settings.clip_share or not len(self.photos))
        fault = draw_fault(rng, share=settings.fault_share, realistic_share=settings.realistic_share)
        sequence = self._real(rng, cached=fault.kind == "none") if real else self._synthetic(rng)
        frames = jitter_colors(sequence.frames, rng, settings.augmentation)
        lr = to_lr(frames, fault, rng)
        return {"hr": to_network_range(frames), "lr": lr * 2 - 1, **self._flows(sequence, lr)}

    def _flows(self, sequence: _Sequence, lr: Tensor) -> dict[str, Tensor]:
        """`flow` and what else is asked for; estimated where the sequence does not bring it."""
        settings = self.settings
        upsampled = upsample_lr(lr).clamp(0, 1)
        flow, back = sequence.flow, sequence.flow_backward
        if flow is None:
            flow = self.estimator(upsampled[1:], upsampled[:-1])
        sample = {"flow": flow}
        if not settings.flow_backward and not settings.reliability:
            return sample
        if back is None:
            back = self.estimator(upsampled[:-1], upsampled[1:])
        if settings.flow_backward:
            sample["flow_backward"] = back
        if settings.reliability:
            sample["flow"] = with_reliability(flow, back)
        return sample

    def _real(self, rng: np.random.Generator, *, cached: bool) -> _Sequence:
        settings, augmentation = self.settings, self.settings.augmentation
        crop = self.clips.crop(
            rng,
            frames=settings.frames,
            side=settings.side,
            max_stride=augmentation.max_stride,
            reverse=augmentation.reverse,
        )
        pose = draw_pose(rng, augmentation)
        flow = back = None
        if self.flow_cache is not None and cached:
            flow = pose.flow(self.flow_cache.flow(self.clips, crop))
            if settings.flow_backward or settings.reliability:
                back = pose.flow(self.flow_cache.flow_backward(self.clips, crop))
        return _Sequence(frames=pose.frames(crop.frames), flow=flow, flow_backward=back)

    def _synthetic(self, rng: np.random.Generator) -> _Sequence:
        moved = self._moved(rng)
        if rng.random() >= self.settings.exact_flow_share:
            return _Sequence(frames=moved.frames)
        flow, back = torch.from_numpy(moved.flow_to_previous), torch.from_numpy(moved.flow_to_next)
        return _Sequence(frames=moved.frames, flow=flow, flow_backward=back)

    def _moved(self, rng: np.random.Generator) -> MotionSequence:
        settings = self.settings
        side = settings.side + 2 * (round(settings.motion.shift_px) * (settings.frames - 1) + FACTOR)
        background = self._texture(rng, side)
        foreground = None
        if rng.random() < settings.motion.object_share:
            texture = self._texture(rng, side)
            silhouette = draw_silhouette(rng, settings.side)
            foreground = (texture, silhouette, draw_motion(rng, settings.motion, settings.side))
        motion = draw_motion(rng, settings.motion, settings.side)
        return move(background, motion, frames=settings.frames, side=settings.side, foreground=foreground)

    def _texture(self, rng: np.random.Generator, side: int) -> Picture:
        picture = self.photos.picture(rng, side)
        return draw_pose(rng, self.settings.augmentation).frames(picture)


def _settle_in_worker() -> None:
    """OpenCV without threads in a DataLoader process: its pool does not survive a fork, and workers share cores."""
    if get_worker_info() is not None and cv2.getNumThreads() > 1:
        cv2.setNumThreads(0)


def _check_side(side: int) -> None:
    if side < 2 * FACTOR or side % FACTOR:
        expected = f"a multiple of {FACTOR}, at least {2 * FACTOR}"
        raise UsageError("the side of training crops is out of range", got=side, expected=expected)
