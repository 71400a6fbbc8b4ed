"""Real clips as a source of sequences and of single pictures.

Frames of videos are halved, which hides their compression; those of picture folders are taken as they are. Both are
decoded when they are needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

from dgafvsr.errors import InputError
from dgafvsr.evaluation.clips import VIDEO_SUFFIXES
from dgafvsr.training.data.blobs import Frames, Picture
from dgafvsr.training.data.clip_files import ClipFile, open_clip
from dgafvsr.training.data.disk_cache import DiskCache, content_key
from dgafvsr.training.data.memory import DEFAULT_CACHE_BYTES, ByteCache
from dgafvsr.training.data.photos import fit
from dgafvsr.training.data.problems import DEFAULT_BAD_SHARE, ProblemList
from dgafvsr.training.data.sources import ClipSource

__all__ = ["ClipCrop", "ClipLibrary", "list_clips"]

# Draws until a usable clip is met; one in a thousand is enough.
MOST_TRIALS: Final = 20_000


@dataclass(frozen=True, kw_only=True)
class ClipCrop:
    """Frames cut out of a clip, and where."""

    clip: int
    """Number of the clip in its library."""

    indices: tuple[int, ...]
    """Of the frames in the clip, in the order of the sequence; falling where time runs backwards."""

    top: int
    left: int
    """Of the cut, in pixels of the frames as the library gives them."""

    frames: Frames
    """T S S 3."""


def list_clips(folder: Path) -> list[ClipSource]:
    """Video files below a folder, sorted by path; none if the folder is missing: clips are optional."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    return [ClipSource(name=str(path), path=path, halved=True) for path in paths]


class ClipLibrary:
    """Clips, decoded in segments when they are needed and kept while there is room.

    Args:
        folder: searched recursively for videos, may be empty or missing; or the clips themselves.
        frames_per_clip: how many frames of each clip are used, from its start; None uses all.
        cache_bytes: bound of what is kept decoded in each process.
        disk: also keeps decoded segments of videos on disk, where all processes share them.
        bad_share: more unreadable clips than this share are an error, 0 to 1.
    """

    def __init__(
        self,
        folder: Path | Sequence[ClipSource],
        *,
        frames_per_clip: int | None = None,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        disk: DiskCache | None = None,
        bad_share: float = DEFAULT_BAD_SHARE,
    ) -> None:
        self.sources = list_clips(folder) if isinstance(folder, Path) else list(folder)
        self.disk = disk
        self._frames_per_clip = frames_per_clip
        self._cache = ByteCache(cache_bytes)
        self._files: dict[int, ClipFile] = {}
        self._contents: dict[tuple[int, int], bytes] = {}
        self._fitness: dict[tuple[int, int], dict[int, bool]] = {}
        self._sizes: dict[int, tuple[int, int]] = {}
        self._closed: set[int] = set()
        self._broken: set[tuple[int, int]] = set()
        self.problems = ProblemList(len(self.sources), bad_share=bad_share)

    def __len__(self) -> int:
        return len(self.sources)

    def length(self, index: int) -> int:
        """Usable frames of clip number `index`.

        Raises:
            InputError: it cannot be opened.
        """
        count = len(self._file(index))
        return count if self._frames_per_clip is None else min(count, self._frames_per_clip)

    def frame(self, index: int, number: int) -> Picture:
        """Frame `number` of clip number `index`, H W 3 uint8 RGB, not to be written to.

        Raises:
            InputError: it cannot be decoded.
        """
        file = self._file(index)
        start = number // file.segment * file.segment
        stop = min(start + file.segment, self.length(index))
        return np.asarray(self._cache.get((index, start), lambda: self._read(index, start, stop))[number - start])

    def content(self, index: int, numbers: Sequence[int]) -> bytes:
        """Bytes that change whenever these frames change; what is asked again is not read again."""
        for number in numbers:
            if (index, number) not in self._contents:
                raw = self._file(index).content(number)
                self._contents[index, number] = hashlib.blake2b(raw, digest_size=20).digest()
        return b"".join(self._contents[index, number] for number in numbers)

    def picture(self, rng: np.random.Generator, side: int) -> Picture:
        """A random cut of a random frame: side side 3 uint8 RGB; a smaller frame is mirrored at its edges.

        Raises:
            InputError: too many clips cannot be read.
        """
        for trial in _trials(rng):
            index = int(trial.integers(len(self)))
            length = self._length_or_none(index)
            pictures = None if not length else self._frames(index, [int(trial.integers(length))])
            if pictures is None:
                continue
            height, width = pictures[0].shape[:2]
            taken = min(side, height, width)
            top, left = int(trial.integers(height - taken + 1)), int(trial.integers(width - taken + 1))
            return fit(pictures[0][top : top + taken, left : left + taken], side)
        raise self._nothing_usable()

    def crop(
        self,
        rng: np.random.Generator,
        *,
        frames: int,
        side: int,
        max_stride: int = 1,
        reverse: bool = True,
        tries: int = 4,
    ) -> ClipCrop:
        """Frames of a random place of a random clip.

        Of `tries` random places the one with the most change is taken, since most of a picture stands still. Clips that
        cannot be read, or are too short or too small, are noted in `problems` and another is drawn.

        Args:
            rng: source of the draws.
            frames: T, at least 1.
            side: S.
            max_stride: every n-th frame is taken, n from 1 to this as far as the clip is long enough.
            reverse: half of the sequences run backwards.
            tries: places looked at.

        Raises:
            InputError: too many clips cannot be read, or none is long and large enough.
        """
        for trial in _trials(rng):
            index = int(trial.integers(len(self)))
            if not self._fits(index, frames, side):
                continue
            indices = _draw_indices(trial, self.length(index), frames, max_stride)
            pictures = self._frames(index, indices)
            if pictures is None or not self._have_one_size(index, indices, pictures):
                continue
            place = _liveliest(trial, pictures[0], pictures[-1], side, tries)
            cut = np.stack([picture[place[0] : place[0] + side, place[1] : place[1] + side] for picture in pictures])
            order = slice(None, None, -1 if reverse and trial.random() < 0.5 else 1)
            return ClipCrop(
                clip=index,
                indices=tuple(indices[order]),
                top=place[0],
                left=place[1],
                frames=np.ascontiguousarray(cut[order]),
            )
        raise self._nothing_usable()

    def _frames(self, index: int, numbers: Sequence[int]) -> list[Picture] | None:
        """These frames of a clip; None, and a note, if one of them cannot be read.

        Only what is broken is avoided from then on, not the clip: otherwise a sample would depend on what was read
        before it.
        """
        segment = self._file(index).segment
        if any((index, number // segment) in self._broken for number in numbers):
            return None
        frames = []
        for number in numbers:
            try:
                frames.append(self.frame(index, number))
            except InputError as error:
                self._broken.add((index, number // segment))
                self.problems.add(self.sources[index].name, "unreadable", error.what)
                return None
        return frames

    def _have_one_size(self, index: int, numbers: Sequence[int], pictures: Sequence[Picture]) -> bool:
        """Whether frames of a clip are as large as its first, which its fitness was told by; noted if not."""
        expected = self._sizes[index]
        for number, picture in zip(numbers, pictures, strict=True):
            if picture.shape[:2] != expected:
                name = self.sources[index].name
                own, first = (f"{width}x{height}" for height, width in (picture.shape[:2], expected))
                self.problems.add(name, "unreadable", f"frame {number} of {name} is {own}, the first is {first}")
                return False
        return True

    def _length_or_none(self, index: int) -> int | None:
        """Usable frames of a clip; None, and a note, if it cannot be opened."""
        if index in self._closed:
            return None
        try:
            return self.length(index)
        except InputError as error:
            self._closed.add(index)
            self.problems.add(self.sources[index].name, "unreadable", error.what)
            return None

    def _fits(self, index: int, frames: int, side: int) -> bool:
        """Whether a clip can give such a crop, by its length and its first frame; noted if not."""
        known = self._fitness.setdefault((frames, side), {})
        if index not in known:
            known[index] = self._find_fitness(index, frames, side)
            if len(known) == len(self) and not any(known.values()):
                raise InputError(
                    f"no training clip has {frames} frames of {side}x{side}",
                    got=self.problems.summary().splitlines()[0],
                    remedy="add longer or larger clips, or ask for fewer frames or a smaller side",
                )
        return known[index]

    def _find_fitness(self, index: int, frames: int, side: int) -> bool:
        name, length = self.sources[index].name, self._length_or_none(index)
        if length is None:
            return False
        if length < frames:
            self.problems.add(name, "too short", f"{length} frames instead of {frames} or more")
            return False
        first = self._frames(index, [0])
        if first is None:
            return False
        height, width = self._sizes[index] = first[0].shape[:2]
        if min(height, width) < side:
            self.problems.add(name, "too small", f"{width}x{height} instead of {side}x{side} or more")
            return False
        return True

    def _nothing_usable(self) -> InputError:
        return InputError("no usable frames are left in the training clips", got=self.problems.summary())

    def _file(self, index: int) -> ClipFile:
        if index not in self._files:
            self._files[index] = open_clip(self.sources[index])
        return self._files[index]

    def _read(self, index: int, start: int, stop: int) -> Frames:
        file = self._file(index)
        if self.disk is None or file.segment == 1:
            return file.read(start, stop)
        key = content_key(self.content(index, [start]), {"what": "frames", "start": start, "stop": stop})
        kept = self.disk.get(key, lambda: {"frames": torch.from_numpy(file.read(start, stop))})
        return np.asarray(kept["frames"].numpy())


def _trials(rng: np.random.Generator) -> Iterator[np.random.Generator]:
    """Generators for one attempt after the other, so that a failed one uses up nothing of the next."""
    seed = int(rng.integers(2**62))
    for attempt in range(MOST_TRIALS):
        yield np.random.default_rng([seed, attempt])


def _draw_indices(rng: np.random.Generator, length: int, frames: int, max_stride: int) -> range:
    """Numbers of `frames` frames of a clip, evenly apart by at most `max_stride`."""
    longest = max(1, min(max_stride, (length - 1) // max(1, frames - 1)))
    stride = 1 + int(rng.integers(longest))
    span = (frames - 1) * stride + 1
    start = int(rng.integers(length - span + 1))
    return range(start, start + span, stride)


def _liveliest(rng: np.random.Generator, first: Picture, last: Picture, side: int, tries: int) -> tuple[int, int]:
    """Top and left of the random place with the most change between two frames."""
    height, width = first.shape[:2]
    best, most = (0, 0), -1.0
    for _ in range(tries):
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        area = slice(top, top + side), slice(left, left + side)
        change = float(np.abs(first[area].astype(np.int16) - last[area]).mean())
        if change > most:
            best, most = (top, left), change
    return best
