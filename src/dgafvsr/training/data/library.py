"""The training data of a run: libraries of photographs and clips from folders and packs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from dgafvsr.errors import InputError, UsageError
from dgafvsr.training.data.blobs import Picture
from dgafvsr.training.data.clips import ClipLibrary
from dgafvsr.training.data.disk_cache import DiskCache
from dgafvsr.training.data.memory import DEFAULT_CACHE_BYTES
from dgafvsr.training.data.packs import is_pack, read_pack
from dgafvsr.training.data.photos import PhotoLibrary
from dgafvsr.training.data.problems import DEFAULT_BAD_SHARE, Problem
from dgafvsr.training.data.sources import HeldOut, SourceKind, SourceSet, find_sources

__all__ = ["DataSettings", "Library", "TrainingData", "UnitedLibrary", "open_data"]


class Library(Protocol):
    """Anything that sharp pictures can be cut out of."""

    def __len__(self) -> int:
        """Photographs or clips in it."""
        ...

    def picture(self, rng: np.random.Generator, side: int) -> Picture:
        """A random picture, side side 3 uint8 RGB: a function of the generator's state.

        Raises:
            InputError: too much of the material cannot be read.
        """
        ...


class UnitedLibrary:
    """Several libraries as one.

    Args:
        libraries: those that are empty are left out.
        weights: how often each is drawn from, above 0, one a library.

    Raises:
        InputError: all are empty.
        UsageError: the weights do not fit.
    """

    def __init__(self, libraries: Sequence[Library], weights: Sequence[float]) -> None:
        if len(weights) != len(libraries) or min(weights, default=0) <= 0:
            raise UsageError("The weights of the libraries do not fit", got=list(weights), expected="one above 0 each")
        used = [(each, weight) for each, weight in zip(libraries, weights, strict=True) if len(each)]
        if not used:
            raise InputError("there is no training picture", expected="at least one photograph or clip")
        self.libraries = [each for each, _ in used]
        shares = np.array([weight for _, weight in used], dtype=np.float64)
        self._upper = np.cumsum(shares / shares.sum())

    def __len__(self) -> int:
        return sum(map(len, self.libraries))

    def picture(self, rng: np.random.Generator, side: int) -> Picture:
        """A random picture of one of them; see `Library`."""
        which = int(np.searchsorted(self._upper[:-1], rng.random(), side="right"))
        return self.libraries[which].picture(rng, side)


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """How training data is read."""

    kind: SourceKind = "auto"
    """What pictures are: "photos", "clips", or told apart by layout."""

    clip_picture_share: float = 0.2
    """Share of single pictures that are frames of clips where there are photographs too, above 0 and below 1."""

    frames_per_clip: int | None = None
    """Frames of each clip that are used, from its start; None uses all."""

    memory_bytes: int = DEFAULT_CACHE_BYTES
    """Bound of decoded photographs, and again of decoded clips, in each process that prepares data."""

    cache_bytes: int = 20 * 2**30
    """Bound of the cache on disk."""

    bad_share: float = DEFAULT_BAD_SHARE
    """More unreadable sources than this share are an error, 0 to 1."""

    def __post_init__(self) -> None:
        if not 0 < self.clip_picture_share < 1:
            raise UsageError("clip_picture_share is out of range", got=self.clip_picture_share, expected="0 to 1")


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a run trains on."""

    photos: PhotoLibrary
    """May be empty."""

    clips: ClipLibrary
    """May be empty."""

    pictures: Library
    """Single pictures of both."""

    held_out: tuple[HeldOut, ...]
    """Validation and test material that was found and left out."""

    disk: DiskCache | None
    """The cache that was asked for."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Sources that were skipped so far, in any process that prepares this data."""
        return (*self.photos.problems, *self.clips.problems)

    def summary(self) -> str:
        """What there is, in a line."""
        folders = _counted(len(self.held_out), "folder is held out", "folders are held out")
        left_out = f"; {folders}" if self.held_out else ""
        photos = _counted(len(self.photos), "photograph", "photographs")
        return f"{photos} and {_counted(len(self.clips), 'clip', 'clips')}{left_out}"

    def problems_summary(self) -> str:
        """The skipped sources, one line each; empty if there are none."""
        return "\n".join(f"{problem.source} is skipped ({problem.kind}): {problem.what}" for problem in self.problems)


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def open_data(
    data: Path | Sequence[Path],
    *,
    cache: Path | None = None,
    settings: DataSettings | None = None,
    val: Path | None = None,
    keeps_flow: bool = True,
) -> TrainingData:
    """Photographs and clips below folders, or in packs.

    Args:
        data: folders as `find_sources` takes them, and packs of `dgafvsr data pack`; one or several.
        cache: a folder in which decoded video is kept, and flow if a `FlowCache` is given it; None keeps none.
        settings: how it is read.
        val: a folder or video that is validated on; what of the data lies in it is not trained on.
        keeps_flow: whether the caller has a `FlowCache`; without, only video is worth a cache.

    Raises:
        InputError: nothing there, nothing to train on, validation material, or a damaged pack.
        OutputError: the cache folder cannot be made.
        UsageError: there is nothing that the cache would keep.

    Example:
        >>> data = open_data(Path("train"))                                    # doctest: +SKIP
        >>> PictureSamples(data.pictures, side=128)                            # doctest: +SKIP
        >>> SequenceSamples(data.pictures, data.clips, estimator, settings)    # doctest: +SKIP
        >>> data.problems_summary()                                            # doctest: +SKIP
    """
    settings = settings or DataSettings()
    found = SourceSet()
    for path in [data] if isinstance(data, Path) else data:
        found += read_pack(path) if is_pack(path) else find_sources(path, settings.kind)
    if not found.photos and not found.clips:
        raise InputError("there is no training data", expected="at least one folder or pack")
    if val is not None:
        found = found.without(val)
        if not found.photos and not found.clips:
            raise InputError(
                f"all training data lies in {val}, which is validated on", remedy="name other clips with --val"
            )
    if cache is not None and not keeps_flow and not any(clip.is_video for clip in found.clips):
        raise UsageError(
            "the cache would keep nothing: this recipe estimates flow in the training step, anew for every crop",
            got="no video in the data",
            remedy="leave --cache out",
        )
    disk = None if cache is None else DiskCache(cache, max_bytes=settings.cache_bytes)
    photos = PhotoLibrary(found.photos, cache_bytes=settings.memory_bytes, bad_share=settings.bad_share)
    clips = ClipLibrary(
        found.clips,
        frames_per_clip=settings.frames_per_clip,
        cache_bytes=settings.memory_bytes,
        disk=disk,
        bad_share=settings.bad_share,
    )
    share = settings.clip_picture_share
    return TrainingData(
        photos=photos,
        clips=clips,
        pictures=UnitedLibrary([photos, clips], [1 - share, share]),
        held_out=found.held_out,
        disk=disk,
    )
