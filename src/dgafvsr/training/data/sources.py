"""What lies below a data folder: photographs, picture folders that are clips, and videos; found by layout.

    REDS         train/train_sharp/000/00000000.png ...
    Vimeo-90K    sequences/00001/0001/im1.png ... im7.png, and sep_trainlist.txt
    LDV          001/f001.png ... or 001.mkv
    any other    folders of numbered pictures of one size, one a clip; videos; other pictures are photographs

A folder `photos` holds photographs, whatever their names. Elsewhere a folder is a clip if its pictures are numbered in
one run, have one size, and neighbours look alike. What is held out (`splits.py`) is left out and told, also where links
lead from it into the data (`places.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args

import cv2
import numpy as np
from PIL import Image

from dgafvsr.errors import InputError, UsageError
from dgafvsr.evaluation.clips import VIDEO_SUFFIXES
from dgafvsr.training.data.blobs import Blob, decode_picture
from dgafvsr.training.data.places import Places
from dgafvsr.training.data.splits import (
    VIMEO_TRAIN_LIST,
    held_out_reason,
    refuse_held_out,
    vimeo_training_clips,
)
from dgafvsr.video.folders import IMAGE_SUFFIXES, natural_order

__all__ = ["ClipSource", "HeldOut", "SourceKind", "SourceSet", "find_sources", "list_pictures"]

SourceKind = Literal["auto", "photos", "clips"]

Item = TypeVar("Item")

_PHOTO_FOLDERS: Final = frozenset({"photos", "photographs"})
_LOW_RESOLUTION: Final = re.compile(r"(train|test)_blur.*|.*bicubic.*|bix4|bdx4|x4|lr", re.IGNORECASE)
# Mean difference of 32 x 32 thumbnails of neighbouring pictures, in 8-bit levels: clips are below, photographs above.
_ALIKE: Final = 24.0


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """A clip on disk: a video file, or pictures."""

    name: str
    """For messages: its path."""

    path: Path
    """The video file, or the folder of pictures."""

    pictures: tuple[Blob, ...] | None = None
    """The pictures in order where they are known already, such as in a pack; None lists the folder when it is used."""

    halved: bool = False
    """Frames are reduced by 2 when read: hides the compression of ordinary videos."""

    @property
    def is_video(self) -> bool:
        """Whether it is a video file."""
        return self.pictures is None and not self.path.is_dir()

    def lies_in(self, places: Places) -> bool:
        """Whether it, or one of its pictures, is held out with these places."""
        return places.share(self.path) or any(_made_in(picture, places) for picture in self.pictures or ())


@dataclass(frozen=True)
class HeldOut:
    """Something that is there and not trained on."""

    path: Path
    reason: str


@dataclass(frozen=True, kw_only=True)
class SourceSet:
    """What was found."""

    photos: tuple[Blob, ...] = ()
    clips: tuple[ClipSource, ...] = ()
    held_out: tuple[HeldOut, ...] = ()

    def __add__(self, other: SourceSet) -> SourceSet:
        return SourceSet(
            photos=self.photos + other.photos,
            clips=self.clips + other.clips,
            held_out=self.held_out + other.held_out,
        )

    def without(self, folder: Path) -> SourceSet:
        """The same, with what lies in a folder, or is that file, held out; also by links, and what packs have of it.

        Raises:
            InputError: a pack does not tell what it was made of.
        """
        untold = next((picture for picture in self._packed() if not picture.origin), None)
        if untold is not None:
            raise InputError(
                f"the training pack {untold.path} does not say which files it was made of, "
                f"so what of it is validated on in {folder} cannot be told",
                expected="a pack made by this version",
                remedy="pack the data again",
            )
        kept = self.outside(Places([folder]))
        left_out = len(self.clips) + len(self.photos) > len(kept.clips) + len(kept.photos)
        told = (HeldOut(folder, "validated on"),) if left_out else ()
        return SourceSet(photos=kept.photos, clips=kept.clips, held_out=self.held_out + told)

    def outside(self, places: Places) -> SourceSet:
        """What has nothing to do with these places."""
        return SourceSet(
            photos=tuple(each for each in self.photos if not places.hold(each.path) and not _made_in(each, places)),
            clips=tuple(clip for clip in self.clips if not clip.lies_in(places)),
            held_out=self.held_out,
        )

    def _packed(self) -> Iterator[Blob]:
        every = (*self.photos, *(picture for clip in self.clips for picture in clip.pictures or ()))
        return (picture for picture in every if picture.member)


def find_sources(folder: Path, kind: SourceKind = "auto") -> SourceSet:
    """The training material below a folder, in the order of the names.

    Args:
        folder: searched recursively; links to folders are followed.
        kind: "photos": all pictures are photographs and videos are left out; "clips": every folder of pictures is a
            clip; "auto" tells them apart.

    Raises:
        InputError: no such folder, it is validation material, nothing to train on in it, or a list that keeps test
            clips out is missing.
        UsageError: unknown kind.
    """
    if kind not in get_args(SourceKind):
        raise UsageError("Unknown kind of training data", got=kind, expected=", ".join(get_args(SourceKind)))
    if not folder.is_dir():
        raise InputError(f"there is no training data folder {folder}", remedy="check the path")
    refuse_held_out(folder)
    _refuse_part_of_vimeo(folder.absolute())
    finder = _Finder(kind)
    found = finder.find(folder)
    if finder.held_out_places:
        found = found.outside(Places(finder.held_out_places))
    if not found.photos and not found.clips:
        held_out = [f"nothing but held-out material ({each.path})" for each in found.held_out[:1]]
        raise InputError(
            f"no training data in {folder}",
            got=held_out[0] if held_out else "no picture or video",
            expected="pictures, folders of numbered pictures, or videos",
        )
    return found


def list_pictures(folder: Path) -> list[Path]:
    """The picture files directly in a folder, in natural order of names.

    Raises:
        InputError: the folder is missing or closed.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder} cannot be read", got=error.strerror or str(error)) from error
    files = [folder / name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    return sorted(files, key=natural_order)


class _Finder:
    """Walks a tree once."""

    def __init__(self, kind: SourceKind) -> None:
        self.kind = kind
        self.photos: list[Blob] = []
        self.clips: list[ClipSource] = []
        self.held_out: list[HeldOut] = []
        self.held_out_places: list[Path] = []
        self._seen: set[Path] = set()

    def find(self, folder: Path) -> SourceSet:
        self._enter(folder, photos=folder.name.lower() in _PHOTO_FOLDERS)
        return SourceSet(photos=tuple(self.photos), clips=tuple(self.clips), held_out=tuple(self.held_out))

    def _enter(self, folder: Path, *, photos: bool) -> None:
        real = folder.resolve()
        if real in self._seen:  # links in a circle
            return
        self._seen.add(real)
        if _is_vimeo(folder):
            self._add_vimeo(folder)
            return
        self._add_files(folder, photos=photos)
        inner = sorted((e for e in folder.iterdir() if e.is_dir() and not e.name.startswith(".")), key=natural_order)
        names = [entry.name for entry in inner]
        alike: bool | None = None
        for entry in inner:
            reason = held_out_reason(entry, siblings=names) or held_out_reason(entry.resolve(), siblings=names)
            if reason is not None:
                self.held_out_places.append(entry)
            if _LOW_RESOLUTION.fullmatch(entry.name):
                reason = "a reduced or blurred copy"
            if reason is not None:
                self.held_out.append(HeldOut(entry, reason))
                continue
            within = photos or entry.name.lower() in _PHOTO_FOLDERS
            pictures = [] if within or self.kind == "photos" else list_pictures(entry)
            if pictures and self.kind == "auto" and alike is None and _is_one_run(pictures):
                alike = _look_alike(pictures)  # one folder speaks for those beside it
            if len(pictures) > 1 and (self.kind == "clips" or (alike and _is_one_run(pictures))):
                self._seen.add(entry.resolve())
                self.clips.append(ClipSource(name=str(entry), path=entry))
            else:
                self._enter(entry, photos=within)

    def _add_files(self, folder: Path, *, photos: bool) -> None:
        """The folder's own pictures and videos."""
        pictures = list_pictures(folder)
        runs = len(pictures) > 1 and not photos and self.kind != "photos"
        if runs and (self.kind == "clips" or (_is_one_run(pictures) and _look_alike(pictures))):
            self.clips.append(ClipSource(name=str(folder), path=folder))
        elif self.kind != "clips":
            self.photos += [Blob(path) for path in pictures]
        if self.kind != "photos":
            videos = sorted((e for e in folder.iterdir() if e.suffix.lower() in VIDEO_SUFFIXES), key=natural_order)
            self.clips += [
                ClipSource(name=str(path), path=path, halved=True)
                for path in videos
                if path.is_file() and not path.name.startswith(".")
            ]

    def _add_vimeo(self, folder: Path) -> None:
        names, tested = vimeo_training_clips(folder)
        if tested:
            self.held_out.append(HeldOut(folder / "sequences", f"{tested} clips of the test list"))
        if self.kind != "photos":
            paths = [folder / "sequences" / name for name in names]
            self.clips += [ClipSource(name=str(path), path=path) for path in paths]


def _made_in(picture: Blob, places: Places) -> bool:
    """Whether a pack's picture was made of a file in these places."""
    return bool(picture.origin) and picture.origin in places.fingerprints


def _refuse_part_of_vimeo(folder: Path) -> None:
    """Without its list, which lies at the top, test clips could not be told from the others."""
    for part in (folder, folder.parent, folder.parent.parent):
        if part.name == "sequences" and _is_vimeo(part.parent):
            raise InputError(f"{folder} is a part of Vimeo-90K", remedy=f"name its top folder, {part.parent}")


def _is_vimeo(folder: Path) -> bool:
    sequences = folder / "sequences"
    return sequences.is_dir() and (
        (folder / VIMEO_TRAIN_LIST).is_file() or next(sequences.glob("[0-9]*/[0-9]*/im1.png"), None) is not None
    )


def _is_one_run(pictures: Sequence[Path]) -> bool:
    """Whether the names count on without a gap, with one prefix, and the pictures have one size."""
    if len(pictures) < 2:
        return False
    matches = [re.fullmatch(r"(.*?)(\d+)", path.stem) for path in pictures]
    numbers = [int(match[2]) for match in matches if match]
    prefixes = {match[1] for match in matches if match}
    if len(numbers) < len(pictures) or len(prefixes) > 1:
        return False
    if any(after != before + 1 for before, after in pairwise(numbers)):
        return False
    return len({_size(path) for path in _spread(pictures, 12)} - {None}) == 1


def _size(path: Path) -> tuple[int, int] | None:
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _look_alike(pictures: Sequence[Path]) -> bool:
    """Whether neighbouring pictures are frames of one clip, by thumbnails of a few pairs."""
    differences = list(_differences([pair for pair in _spread(list(pairwise(pictures)), 3)]))
    return bool(differences) and float(np.median(differences)) < _ALIKE


def _differences(pairs: Sequence[tuple[Path, Path]]) -> Iterator[float]:
    for pair in pairs:
        try:
            small = [cv2.resize(decode_picture(Blob(path)), (32, 32), interpolation=cv2.INTER_AREA) for path in pair]
        except InputError:
            continue
        yield float(np.abs(small[0].astype(np.float32) - small[1]).mean())


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of the items, evenly spread."""
    if len(items) <= count:
        return list(items)
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]
