"""Two films seen together: a video with both, and a contact sheet of the places where they differ most.

Frames are paired by their number. The smaller film is enlarged by a bicubic filter to the size of the larger one, so an
input can be compared with what was made of it. A film that players turn is turned first, so a turned film can be
compared with an upright one. Times and sound are the first film's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from dgafvsr.errors import InputError, OutputError, UsageError
from dgafvsr.jobs.contact_sheet import PlaceFinder, draw_label, draw_sheet
from dgafvsr.video.atomic import PendingFile, writing_error
from dgafvsr.video.codecs import EncoderSettings
from dgafvsr.video.color import at_depth
from dgafvsr.video.decoding import OnError
from dgafvsr.video.frames import Frame, FrameSource, SourceInfo
from dgafvsr.video.limits import InputLimits
from dgafvsr.video.reader import InterlacedError, open_source
from dgafvsr.video.upright import upright_info, upright_picture
from dgafvsr.video.writer import open_sink

__all__ = ["CompareSettings", "CompareSummary", "Layout", "compare_films", "lay_out"]

Layout = Literal["side", "split", "stack"]
"""side: the films beside each other; stack: one above the other; split: the left half of the first, the right of the
second."""

MOST_DIFFERENT_SHAPES = 0.01
"""Films whose ratio of width to height differs by more than this share are not the same film."""
SAME_RATE = 0.02
"""Films whose average rates differ by less than this share run on one clock."""
Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """How films are compared.

    Raises:
        UsageError: the layout is unknown, or there are not two labels.
    """

    layout: Layout = "side"
    """How both are shown."""
    labels: tuple[str, str] | None = None
    """The names that are drawn; None for the files' names."""
    sheet: Path | None = None
    """Where the contact sheet is written, a PNG; None for nowhere."""
    reference: Path | None = None
    """A third film for the contact sheet, such as the truth."""
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    """How the video is stored."""
    overwrite: bool = False
    """Whether existing outputs may be replaced; an input never is."""
    limits: InputLimits = field(default_factory=InputLimits)
    """What input is refused as too large."""
    deinterlace: bool = False
    """Whether one picture is made of the two fields of each picture of an interlaced film, which is refused else. Other
    films are left as they are."""
    on_error: OnError = "stop"
    """What damage in the middle of a film does: stop with an error, or skip the damaged frames with a warning."""

    def __post_init__(self) -> None:
        if self.layout not in get_args(Layout):
            raise UsageError("The layout is unknown", got=self.layout, expected=f"one of {', '.join(get_args(Layout))}")
        if self.labels is not None and len(self.labels) != 2:
            raise UsageError("Two films have two labels", got=len(self.labels))
        if self.reference is not None and self.sheet is None:
            raise UsageError("A reference is only shown in the contact sheet", remedy="name one with --sheet")
        if self.sheet is not None and self.sheet.suffix.lower() != ".png":
            raise UsageError("The contact sheet is a PNG", got=self.sheet, expected="a name that ends with .png")


@dataclass(frozen=True, kw_only=True)
class CompareSummary:
    """What was made."""

    output: Path
    """The video or folder."""
    frames: int
    """Frames in it."""
    sheet: Path | None
    """The contact sheet, if one was asked for."""
    warnings: tuple[str, ...]
    """What has to be known to judge it, one sentence each."""


def compare_films(
    first: Path | str,
    second: Path | str,
    target: Path | str,
    settings: CompareSettings | None = None,
    listener: Callable[[int, int | None], None] | None = None,
) -> CompareSummary:
    """The summary of having laid two films beside each other.

    Args:
        first: a film or a folder of pictures.
        second: a film or a folder of pictures.
        target: a film by its suffix, or a folder.
        settings: None for the defaults.
        listener: called with the frames done and, where known, the frames in all.

    Raises:
        InputError: a film cannot be used, or their shapes differ.
        OutputError: an output exists, cannot be written, or is or touches an input.
        UsageError: a setting does not fit.
    """
    settings = settings or CompareSettings()
    paths = [Path(first), Path(second), *([settings.reference] if settings.reference else [])]
    _check_apart(Path(target), paths)
    if settings.sheet is not None:
        _check_apart(settings.sheet, paths)
        _check_sheet(settings.sheet, Path(target))
    with ExitStack() as stack:
        films = [stack.enter_context(_open(path, settings)) for path in paths]
        size = _common_size([upright_info(film.info) for film in films])
        comparison = _Comparison(films, size, settings)
        info = comparison.laid_out_info
        sheet = None
        if settings.sheet is not None:
            sheet = PendingFile(settings.sheet, overwrite=settings.overwrite)
            stack.callback(sheet.discard)  # a published file no longer has this name
        expected = films[0].info.expected_frames
        with open_sink(target, info, settings.encoder, overwrite=settings.overwrite) as sink:
            for frame in comparison.frames():
                sink.write(frame)
                if listener is not None:
                    listener(sink.frames_written, expected)
            if comparison.ended_early:
                sink.end_early()
            if sheet is not None:
                comparison.save_sheet(sheet)
        if sheet is not None:
            sheet.publish()
        return CompareSummary(
            output=Path(target),
            frames=sink.frames_written,
            sheet=settings.sheet,
            warnings=(*_told_by(films), *comparison.notes, *sink.warnings),
        )


class _Comparison:
    """The frames of both films as one, and the places where they differ."""

    def __init__(self, films: Sequence[FrameSource], size: tuple[int, int], settings: CompareSettings) -> None:
        self._films, self._size, self._settings = films, size, settings
        self._names = settings.labels or _names_of(films[0].info.path, films[1].info.path)
        self._finder = PlaceFinder(width=size[0], height=size[1])
        self.notes: tuple[str, ...] = ()
        self.ended_early = False
        """Whether one film is shorter than another."""

    @property
    def laid_out_info(self) -> SourceInfo:
        """Of the frames to come: sides of even length, which every codec takes; the last row or column may go."""
        width, height = self._size
        width *= 2 if self._settings.layout == "side" else 1
        height *= 2 if self._settings.layout == "stack" else 1
        info = replace(upright_info(self._films[0].info), bit_depth=8, has_alpha=False, stereo=None)
        return info.resized(width=width - width % 2, height=height - height % 2)

    def frames(self) -> Iterator[Frame]:
        """Both films laid out, frame by frame, up to the end of the shorter one."""
        info, started, apart = self.laid_out_info, [Fraction(0)] * len(self._films), False
        for index, frames in enumerate(self._paired()):
            started = [frame.pts_seconds for frame in frames] if index == 0 else started
            if not apart and (note := self._apart(index, frames, started)):
                apart, self.notes = True, (*self.notes, note)
            pictures = [_picture(frame, film.info, self._size) for frame, film in zip(frames, self._films, strict=True)]
            if self._settings.sheet is not None:
                self._finder.look(index, frames[0].pts_seconds - started[0], pictures)
            both = lay_out(pictures[0], pictures[1], self._settings.layout, self._names)
            yield frames[0].with_pixels(np.ascontiguousarray(both[: info.height, : info.width]))

    def _paired(self) -> Iterator[tuple[Frame, ...]]:
        streams = [iter(film) for film in self._films]
        for index, frames in enumerate(zip_longest(*streams)):
            if None in frames:
                shorter = " and ".join(
                    str(film.info.path) for film, each in zip(self._films, frames, strict=True) if each is None
                )
                self.notes = (*self.notes, f"{shorter} ends after {index} frames; the others go on")
                self.ended_early = True
                return
            yield frames

    def _apart(self, index: int, frames: Sequence[Frame], started: Sequence[Fraction]) -> str | None:
        """What to say where films of one rate show frames of one number at different times: one has lost frames."""
        rate, own = self._films[0].info.frame_rate, frames[0].pts_seconds - started[0]
        for film, frame, start in zip(self._films, frames, started, strict=True):
            time = frame.pts_seconds - start
            if abs(film.info.frame_rate / rate - 1) < SAME_RATE and abs(time - own) * rate > Fraction(1, 2):
                here = f"{float(own):.3f} s in {self._films[0].info.path}"
                there = f"{float(time):.3f} s in {film.info.path}"
                return f"frame {index} is at {here} and at {there}: from there on, other moments may lie side by side"
        return None

    def save_sheet(self, sheet: PendingFile) -> None:
        """Write the contact sheet, which has still to get its name.

        Raises:
            OutputError: it cannot be written.
            ResourceError: the disk is full.
        """
        labels = [*self._names, *(["reference"] if len(self._films) > 2 else [])]
        try:
            draw_sheet(self._finder.places, labels).save(sheet.path, format="png")
        except OSError as error:
            raise writing_error(sheet.target, error) from error


def lay_out(first: Picture, second: Picture, layout: Layout, labels: tuple[str, str]) -> Picture:
    """Both pictures as one, with their names drawn: 2W wide for "side", 2H high for "stack", W x H for "split".

    Args:
        first: H W 3 in [0, 255].
        second: H W 3 in [0, 255].
        layout: how both are shown.
        labels: their names.
    """
    if layout == "split":
        middle = first.shape[1] // 2
        both = first.copy()
        both[:, middle:] = second[:, middle:]
        both[:, middle - 1 : middle + 1] = 255
        return draw_label(draw_label(both, labels[0]), labels[1], right=True)
    labelled = draw_label(first, labels[0]), draw_label(second, labels[1])
    return np.concatenate(labelled, axis=1 if layout == "side" else 0)


def _names_of(first: Path, second: Path) -> tuple[str, str]:
    """What to call two films: as little of their paths as tells one from the other."""
    paths = first.absolute(), second.absolute()
    for parts in (
        [path.stem for path in paths],
        [path.name for path in paths],
        [f"{path.parent.name}/{path.name}" for path in paths],
    ):
        if parts[0] != parts[1]:
            return parts[0], parts[1]
    return "first", "second"


def _common_size(infos: Sequence[SourceInfo]) -> tuple[int, int]:
    """Columns and rows of the largest film."""
    largest = max(infos, key=lambda info: info.width * info.height)
    for info in infos:
        shape = info.width * largest.height / (info.height * largest.width)
        if abs(shape - 1) > MOST_DIFFERENT_SHAPES:
            raise InputError(
                f"{info.path} has another shape than {largest.path}",
                got=f"{info.width}x{info.height} and {largest.width}x{largest.height}",
                expected="films of one ratio of width to height",
            )
    return largest.width, largest.height


def _open(path: Path, settings: CompareSettings) -> FrameSource:
    """The film, deinterlaced only if it is marked as interlaced: the filter softens what has whole pictures."""
    film = partial(open_source, path, limits=settings.limits, on_error=settings.on_error)
    try:
        return film()
    except InterlacedError:
        if not settings.deinterlace:
            raise
        return film(deinterlace=True)


def _told_by(films: Sequence[FrameSource]) -> tuple[str, ...]:
    """What the films' readers warn of, each with the film that it is about."""
    notes = ((str(film.info.path), note) for film in films for note in film.warnings)
    return tuple(dict.fromkeys(note if note.startswith(f"{path} ") else f"{path}: {note}" for path, note in notes))


def _check_apart(output: Path, sources: Sequence[Path]) -> None:
    """Refuse an output in whose place, or around which, an input lies: it could be replaced or be read as a picture."""
    made = Path(os.path.realpath(output))  # unlike resolve() also of a link that leads in a circle
    for source in sources:
        read = Path(os.path.realpath(source))
        both_exist = os.path.exists(made) and os.path.exists(read)
        if made == read or (both_exist and os.path.samefile(made, read)):
            raise OutputError(f"{output} is one of the inputs", remedy="choose another name for the output")
        if made in read.parents:
            raise OutputError(f"{output} holds the input {source}", remedy="choose another place for the output")
        if read in made.parents:
            raise OutputError(f"{output} lies in the input {source}", remedy="choose another place for the output")


def _check_sheet(sheet: Path, target: Path) -> None:
    made, beside = Path(os.path.realpath(sheet)), Path(os.path.realpath(target))
    if made == beside or beside in made.parents:
        raise OutputError(f"{sheet} lies in the other output, {target}", remedy="choose another place for the sheet")


def _picture(frame: Frame, info: SourceInfo, size: tuple[int, int]) -> Picture:
    """8-bit RGB of the common size, upright."""
    pixels = upright_picture(at_depth(frame.pixels, 8), info)
    if pixels.shape[1::-1] == size:
        return pixels
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
