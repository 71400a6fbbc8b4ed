"""Real clips as a source of sequences: decoded, halved (which hides compression) and kept in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dgafvsr.errors import InputError

__all__ = ["ClipLibrary", "list_clips"]

_SUFFIXES: Final = frozenset({".mp4", ".mkv", ".mov", ".webm", ".avi"})

Frames = NDArray[np.uint8]


def list_clips(folder: Path) -> list[Path]:
    """Video files below a folder, sorted by path; none if the folder is missing: clips are optional."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)


class ClipLibrary:
    """Clips of a folder as T H W 3 uint8 RGB at half their size.

    Args:
        folder: searched recursively; may be empty or missing.
        frames_per_clip: how many frames of each clip are kept, from its start.
    """

    def __init__(self, folder: Path, *, frames_per_clip: int = 120) -> None:
        self._paths = list_clips(folder)
        self._frames_per_clip = frames_per_clip
        self._cache: dict[int, Frames] = {}

    def __len__(self) -> int:
        return len(self._paths)

    def clip(self, index: int) -> Frames:
        """Clip number `index`, decoded at its first use: T H/2 W/2 3 uint8 RGB.

        Raises:
            InputError: the file cannot be decoded, or has fewer than 2 frames.
        """
        if index not in self._cache:
            self._cache[index] = _decode_halved(self._paths[index], self._frames_per_clip)
        return self._cache[index]

    def crop(self, rng: np.random.Generator, *, frames: int, side: int, tries: int = 4) -> Frames:
        """Consecutive frames of a random place, in a random direction of time: frames side side 3 uint8.

        Of `tries` random places the one with the most change is taken, since most of a picture stands still.
        """
        clip = self.clip(int(rng.integers(len(self))))
        count, height, width = clip.shape[:3]
        if count < frames or min(height, width) < side:
            raise InputError(
                "a training clip is too short or too small",
                got=f"{count} frames of {width}x{height} after halving",
                expected=f"at least {frames} frames of {side}x{side}",
            )
        best, most = clip[:frames, :side, :side], -1.0
        for _ in range(tries):
            start = int(rng.integers(count - frames + 1))
            top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
            crop = clip[start : start + frames, top : top + side, left : left + side]
            change = float(np.abs(crop[0].astype(np.int16) - crop[-1]).mean())
            if change > most:
                best, most = crop, change
        return np.ascontiguousarray(best[::-1] if rng.random() < 0.5 else best)


def _decode_halved(path: Path, frames: int) -> Frames:
    import av

    halved: list[NDArray[np.uint8]] = []
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                picture = frame.to_ndarray(format="rgb24")
                small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
                halved.append(np.asarray(small, dtype=np.uint8))
                if len(halved) == frames:
                    break
    except av.FFmpegError as error:
        raise InputError(f"{path} cannot be decoded", got=error, remedy="remove it from the data folder") from error
    if len(halved) < 2:
        raise InputError(f"{path} is no clip", got=f"{len(halved)} frames", expected="at least 2 frames")
    return np.stack(halved)
