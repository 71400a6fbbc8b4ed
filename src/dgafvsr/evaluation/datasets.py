"""The benchmarks' folders: what belongs there, and what is missing or misnamed.

A set is a folder of clips; a benchmark holds one set of ground truth and any number of low-resolution sets beside it
(docs/datasets.md shows each). Vimeo-90K-T is one list of seven-frame clips under `sequences`.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from dgafvsr.errors import InputError, UsageError
from dgafvsr.video.folders import IMAGE_SUFFIXES, natural_order

__all__ = ["LAYOUTS", "DatasetCheck", "Layout", "Problem", "check_dataset", "guess_layout", "layout_of"]

SCALE = 4
PICTURE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a complete benchmark holds."""

    name: str
    """As the option spells it."""
    clips: Mapping[str, int | None] = field(default_factory=dict)
    """Clip -> frames, None where they differ; empty where the clips' names are not laid down."""
    clip_count: int | None = None
    """How many clips, where their names are not laid down."""
    frames: int | None = None
    """In every clip, where the clips' names are not laid down."""
    size: tuple[int, int] | None = None
    """Width and height of the ground truth, None where clips differ."""
    truth: str | None = "GT"
    """The folder of the ground truth; None where there is none and the clips lie at the top."""
    inputs: tuple[str, ...] = ("BIx4", "BDx4")
    """Folders of low-resolution clips, each of which may be absent."""


def _numbered(count: int, frames: int | None) -> dict[str, int | None]:
    return {f"{index:03d}": frames for index in range(count)}


LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            name="reds4",
            clips=dict.fromkeys(("000", "011", "015", "020"), 100),
            size=(1280, 720),
            inputs=("BIx4", "BDx4", "sharp_bicubic"),
        ),
        Layout(name="vid4", clips={"calendar": 41, "city": 34, "foliage": 49, "walk": 47}),
        Layout(name="videolq", clips=_numbered(50, None), truth=None, inputs=()),
        Layout(name="udm10", clip_count=10, frames=32, size=(1272, 720)),
        Layout(name="spmcs", clip_count=30, frames=31, size=(960, 540)),
        Layout(name="vimeo90k-t", frames=7, size=(448, 256), truth="sequences", inputs=()),
    )
}
"""Benchmark -> layout."""

VIMEO_LIST = "sep_testlist.txt"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong."""

    path: Path
    """What it is about; it may not exist."""
    what: str
    """What is wrong and what to do."""


@dataclass(frozen=True, kw_only=True)
class DatasetCheck:
    """What was found."""

    layout: str
    """The benchmark."""
    sets: Mapping[str, int]
    """Folder of a set -> clips found in it."""
    pictures: int
    """Picture files that were looked at."""
    problems: tuple[Problem, ...]
    """In the order of the folders; empty if all is well."""


def guess_layout(folder: Path) -> Layout:
    """The benchmark that a folder's name, or its clips' names, tell.

    Raises:
        InputError: no folder there, or neither tells.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder", remedy="check the path")
    plain = _plain(folder.resolve().name)
    for layout in LAYOUTS.values():
        if plain.startswith(_plain(layout.name)):
            return layout
    if (folder / VIMEO_LIST).is_file():
        return LAYOUTS["vimeo90k-t"]
    names = {entry.name for part in (folder, *_folders(folder)) for entry in _folders(part)}
    shares = {
        layout.name: len(names & set(layout.clips)) / len(layout.clips) for layout in LAYOUTS.values() if layout.clips
    }
    best = max(shares, key=lambda name: shares[name])
    if shares[best] < 0.5:
        raise InputError(
            f"{folder} is no benchmark that is known",
            expected=f"the clips of one of {', '.join(LAYOUTS)}",
            remedy="name the benchmark with --layout",
        )
    return LAYOUTS[best]


def check_dataset(folder: Path, layout: Layout | None = None) -> DatasetCheck:
    """Compare a folder with a benchmark's layout; picture headers are read, pixels are not.

    Args:
        folder: the benchmark's top.
        layout: what it should be; None guesses.

    Raises:
        InputError: the folder is not there, or is no benchmark that is known.
    """
    layout = layout or guess_layout(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder", remedy="check the path")
    checker = _Checker(layout)
    if layout.name == "vimeo90k-t":
        checker.check_vimeo(folder)
    elif layout.truth is None:
        checker.check_set(folder, scale=None)
    else:
        checker.check_pairs(folder)
    return DatasetCheck(
        layout=layout.name, sets=checker.sets, pictures=checker.pictures, problems=tuple(checker.problems)
    )


class _Checker:
    """Collects what is wrong."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.problems: list[Problem] = []
        self.sets: dict[str, int] = {}
        self.pictures = 0

    def tell(self, path: Path, what: str) -> None:
        self.problems.append(Problem(path=path, what=what))

    def check_pairs(self, folder: Path) -> None:
        """Ground truth, and every low-resolution set against it."""
        assert self.layout.truth is not None
        truth = self._find_set(folder, self.layout.truth)
        if truth is None:
            inside = any(entry.name in self.layout.clips for entry in _folders(folder))
            hint = f"; the clips lie in {folder} itself: name the folder above it" if inside else ""
            self.tell(folder / self.layout.truth, f"is missing: the folder of the ground truth{hint}")
            return
        sizes = self.check_set(truth, scale=1)
        for name in self.layout.inputs:
            found = self._find_set(folder, name)
            if found is not None:
                self._compare(truth, sizes, found, self.check_set(found, scale=SCALE))
        known = {self.layout.truth.lower(), *(name.lower() for name in self.layout.inputs)}
        for entry in _folders(folder):
            if entry.name.lower() not in known:
                expected = (self.layout.truth, *self.layout.inputs)
                self.tell(entry, f"is not expected here{_nearest(entry.name, expected)}")

    def check_set(self, folder: Path, *, scale: int | None) -> dict[str, tuple[int, int]]:
        """Clips of one set; the size of each that has one. `scale` divides the layout's size, None: any size."""
        found = {entry.name: entry for entry in _folders(folder)}
        self.sets[folder.name] = len(found)
        expected = self.layout.clips
        extra = [name for name in found if expected and name not in expected]
        for name in expected:
            if name not in found:
                close = difflib.get_close_matches(name.lower(), [other.lower() for other in extra], n=1)
                self.tell(folder / name, f"is missing{f'; is it {close[0]!r}, misnamed?' if close else ''}")
        for name in extra:
            self.tell(folder / name, f"is no clip of {self.layout.name}{_nearest(name, tuple(expected))}")
        if self.layout.clip_count is not None and len(found) != self.layout.clip_count:
            self.tell(folder, f"holds {len(found)} clips instead of {self.layout.clip_count}")
        sizes = {}
        for name, path in found.items():
            frames = expected.get(name) if expected else self.layout.frames
            size = self.check_clip(path, frames, None if scale is None else _divided(self.layout.size, scale))
            if size is not None:
                sizes[name] = size
        return sizes

    def check_clip(self, folder: Path, frames: int | None, size: tuple[int, int] | None) -> tuple[int, int] | None:
        """Pictures of one clip: how many, numbered without gaps, readable, of one size; the size that most have."""
        pictures = _pictures(folder)
        if not pictures:
            self.tell(folder, "holds no pictures")
            return None
        if frames is not None and len(pictures) != frames:
            self.tell(folder, f"holds {len(pictures)} pictures instead of {frames}")
        gap = _gap(pictures)
        if gap is not None:
            self.tell(folder, f"lacks a picture after {gap.name}, or one is misnamed")
        sizes: dict[Path, tuple[int, int]] = {}
        for picture in pictures:
            self.pictures += 1
            try:
                with Image.open(picture) as image:
                    sizes[picture] = image.size
            except PICTURE_ERRORS as error:
                self.tell(picture, f"cannot be read as a picture: {error}")
        if not sizes:
            return None
        most = Counter(sizes.values()).most_common(1)[0][0]
        wanted = size or most
        for picture, here in sizes.items():
            if here != wanted:
                self.tell(picture, f"is {here[0]}x{here[1]} instead of {wanted[0]}x{wanted[1]}")
        return most

    def check_vimeo(self, folder: Path) -> None:
        """The clips that the test list names, `sequences/00001/0266/im1.png` to `im7.png`."""
        listing = folder / VIMEO_LIST
        if not listing.is_file():
            self.tell(listing, "is missing: the list of the test clips")
            return
        names = [line.strip() for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()]
        found = 0
        for name in names:
            clip = folder / "sequences" / name
            if not clip.is_dir():
                self.tell(clip, "is missing")
                continue
            found += 1
            self.check_clip(clip, self.layout.frames, self.layout.size)
        self.sets["sequences"] = found

    def _find_set(self, folder: Path, name: str) -> Path | None:
        return next((entry for entry in _folders(folder) if entry.name.lower() == name.lower()), None)

    def _compare(
        self, truth: Path, sizes: dict[str, tuple[int, int]], inputs: Path, input_sizes: dict[str, tuple[int, int]]
    ) -> None:
        for name in sizes.keys() & input_sizes.keys():
            expected = tuple(side // SCALE for side in sizes[name])
            if input_sizes[name] != expected:
                got = "x".join(map(str, input_sizes[name]))
                self.tell(inputs / name, f"is {got}, not a quarter of its ground truth ({expected[0]}x{expected[1]})")
            stems, input_stems = ([path.stem for path in _pictures(part / name)] for part in (truth, inputs))
            if stems != input_stems:
                odd = next(iter(sorted(set(stems) ^ set(input_stems))))
                self.tell(inputs / name, f"has other picture names than its ground truth, the first is {odd}")


def _divided(size: tuple[int, int] | None, scale: int) -> tuple[int, int] | None:
    return None if size is None else (size[0] // scale, size[1] // scale)


def _folders(folder: Path) -> list[Path]:
    return sorted((e for e in folder.iterdir() if e.is_dir() and not e.name.startswith(".")), key=natural_order)


def _pictures(folder: Path) -> list[Path]:
    return sorted(_iterate_pictures(folder), key=natural_order)


def _iterate_pictures(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.suffix.lower() in IMAGE_SUFFIXES and not entry.name.startswith(".") and entry.is_file():
            yield entry


def _gap(pictures: Sequence[Path]) -> Path | None:
    """The picture after which the numbering jumps, or the first one without a number; None where it runs."""
    before: int | None = None
    for index, picture in enumerate(pictures):
        numbers = re.findall(r"\d+", picture.stem)
        if not numbers:
            return picture
        if before is not None and int(numbers[-1]) != before + 1:
            return pictures[index - 1]
        before = int(numbers[-1])
    return None


def _nearest(name: str, expected: tuple[str, ...]) -> str:
    lower = {other.lower(): other for other in expected}
    close = difflib.get_close_matches(name.lower(), list(lower), n=1)
    return f"; rename it to {lower[close[0]]}?" if close else ""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def layout_of(name: str) -> Layout:
    """The layout of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in LAYOUTS:
        raise UsageError("Unknown benchmark layout", got=name, expected=f"one of {', '.join(LAYOUTS)}")
    return LAYOUTS[name]
