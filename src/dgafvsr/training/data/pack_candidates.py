"""What could go into a pack: photographs and short runs of frames, each looked at once.

Soft and large pictures are reduced. What is kept of a candidate is small: a description of its contents, and its coded
size at every quality.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dgafvsr.errors import InputError, UsageError
from dgafvsr.training.data.blobs import Blob, Frames, Picture, decode_picture, halve
from dgafvsr.training.data.clip_files import open_clip
from dgafvsr.training.data.photos import SOFT_SIDE
from dgafvsr.training.data.sources import ClipSource
from dgafvsr.training.data.spread import describe_picture, is_soft

__all__ = ["Candidate", "PackSettings", "encode_picture", "look_at", "render"]

# Smaller pictures are of no use for crops of 128 pixels.
_SMALLEST_SIDE: Final = 128


@dataclass(frozen=True, kw_only=True)
class PackSettings:
    """What a pack is like."""

    max_mb: float = 50.0
    """Bound of the file in megabytes of 1,000,000 bytes."""

    format: Literal["jpeg", "webp"] = "jpeg"
    """JPEG keeps colour at full resolution; WebP is smaller and does not."""

    clip_share: float = 0.3
    """Share of the space for clips where there are photographs too, 0 to 1."""

    run_frames: int = 16
    """Frames of a run, at least 2; a shorter clip is one run."""

    runs_per_clip: int = 8
    """Runs looked at in each clip, evenly spread."""

    qualities: tuple[int, ...] = (95, 92, 88, 84, 80)
    """Tried from the first on, each 1 to 100."""

    max_candidates: int = 5000
    """Photographs, and clips, that are looked at; of more, this many evenly spread ones."""

    def __post_init__(self) -> None:
        if self.format not in ("jpeg", "webp"):
            raise UsageError("Unknown format of a pack", got=self.format, expected="jpeg or webp")
        if not self.max_mb >= 0.1:
            raise UsageError("The pack is too small", got=f"{self.max_mb} MB", expected="at least 0.1 MB")
        if not 0 <= self.clip_share <= 1:
            raise UsageError("clip_share is out of range", got=self.clip_share, expected="0 to 1")
        if self.run_frames < 2 or self.runs_per_clip < 1 or self.max_candidates < 1:
            raise UsageError("Runs are too short or too few", expected="at least 2 frames, 1 run and 1 candidate")
        if not self.qualities or not all(1 <= quality <= 100 for quality in self.qualities):
            raise UsageError("The qualities are out of range", got=self.qualities, expected="1 to 100")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A photograph, or a run of a clip's frames."""

    source: Blob | ClipSource
    path: Path
    """The file or folder it comes from."""

    start: int = 0
    stop: int = 1
    """Frames of the clip; a photograph is one."""

    halvings: int
    """How often it is halved, beyond what the source says."""

    description: NDArray[np.float32]
    """See `describe_picture`."""

    sizes: tuple[tuple[int, ...], ...]
    """Coded bytes, quality x picture."""


def look_at(source: Blob | ClipSource, settings: PackSettings) -> Iterator[Candidate]:
    """The candidates of a source: one for a photograph, some runs for a clip.

    Raises:
        InputError: it cannot be read, or a clip has fewer than 2 frames.
    """
    if isinstance(source, Blob):
        yield _candidate(source, 0, 1, decode_picture(source)[None], settings)
        return
    clip = open_clip(source)
    length = min(settings.run_frames, len(clip))
    if length < 2:
        raise InputError(f"{source.name} is no clip", got=f"{len(clip)} frames", expected="at least 2 frames")
    runs = min(settings.runs_per_clip, len(clip) // length)
    for run in range(runs):
        start = (len(clip) - length) * (2 * run + 1) // (2 * runs)
        yield _candidate(source, start, start + length, clip.read(start, start + length), settings)


def render(candidate: Candidate) -> Frames:
    """Its pictures as they are packed, T H W 3.

    Raises:
        InputError: the source cannot be read any more.
    """
    if isinstance(candidate.source, Blob):
        frames = decode_picture(candidate.source)[None]
    else:
        frames = open_clip(candidate.source).read(candidate.start, candidate.stop)
    return _reduce(frames, candidate.halvings)


def encode_picture(picture: Picture, settings: PackSettings, quality: int) -> bytes:
    """H W 3 as JPEG or WebP; the same picture gives the same bytes."""
    suffix, flags = ".webp", [cv2.IMWRITE_WEBP_QUALITY, quality]
    if settings.format == "jpeg":
        full_color = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        suffix, flags = ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full_color]
    ok, code = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
    assert ok
    return bytes(code)


def _candidate(source: Blob | ClipSource, start: int, stop: int, frames: Frames, settings: PackSettings) -> Candidate:
    halvings = _needed_halvings(frames[0], photo=isinstance(source, Blob))
    small = _reduce(frames, halvings)
    return Candidate(
        source=source,
        path=source.path,
        start=start,
        stop=stop,
        halvings=halvings,
        description=describe_picture(small[0], small[-1] if len(small) > 1 else None),
        sizes=tuple(
            tuple(len(encode_picture(frame, settings, quality)) for frame in small) for quality in settings.qualities
        ),
    )


def _needed_halvings(picture: Picture, *, photo: bool) -> int:
    """How often a picture is halved until it is sharp and, if a photograph, no larger than such are trained on."""
    halvings = 0
    while min(picture.shape[:2]) >= 2 * _SMALLEST_SIDE:
        if not (photo and max(picture.shape[:2]) > SOFT_SIDE) and not is_soft(picture):
            break
        picture = halve(picture)
        halvings += 1
    return halvings


def _reduce(frames: Frames, halvings: int) -> Frames:
    for _ in range(halvings):
        frames = np.stack([halve(frame) for frame in frames])
    return frames
