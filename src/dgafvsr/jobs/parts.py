"""A part of a film: the frames of a time range or a range of frame numbers, for a look before the whole is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain

from dgafvsr.errors import InputError, UsageError
from dgafvsr.video.frames import Frame, FrameSource, PlacedFrame, SourceInfo

__all__ = ["FilmPart", "Place", "TakenPart", "parse_part", "parse_place"]

TIME = re.compile(r"(?:(?:(\d{1,18}):)?(\d{1,18}):)?(\d{1,18}(?:\.\d{1,18})?)s?", re.ASCII)
FRAME = re.compile(r"(\d{1,18})f", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A moment of a film: seconds after its first frame, or a frame number. Exactly one of the two is given.

    Its text is exact: jobs are told apart by it.
    """

    seconds: Fraction | None = None
    """After the first frame is shown."""
    frame: int | None = None
    """Counted from 0."""

    def reached(self, index: int, seconds: Fraction) -> bool:
        """Whether a frame is not before this place.

        Args:
            index: of the frame in the film.
            seconds: between the first frame and this one.
        """
        return index >= self.frame if self.frame is not None else self.seconds is None or seconds >= self.seconds

    def __str__(self) -> str:
        return f"frame {self.frame}" if self.frame is not None else f"{_exact_text(self.seconds or Fraction(0))} s"


@dataclass(frozen=True, kw_only=True)
class FilmPart:
    """The frames from one place up to another, without that one.

    Raises:
        UsageError: both ends are of one kind and the part would be empty.
    """

    start: Place = Place(frame=0)
    """The first frame is the first that is not before this place."""
    stop: Place | None = None
    """The first frame that is not before this place is left out; None for the film's end."""

    def __post_init__(self) -> None:
        if self.stop is None:
            return
        pairs = ((self.start.seconds, self.stop.seconds), (self.start.frame, self.stop.frame))
        if self.stop == self.start or any(a is not None and b is not None and a >= b for a, b in pairs):
            raise UsageError("The range holds no frame", got=str(self), expected="an end after the start")
        if 0 in (self.stop.seconds, self.stop.frame):
            raise UsageError("The range holds no frame", got=str(self), expected="an end after the film's start")

    def __str__(self) -> str:
        return f"{self.start} to {'the end' if self.stop is None else self.stop}"

    def take(self, film: FrameSource) -> TakenPart:
        """The part's frames, to be read once; nothing is read after the part.

        Reads up to the first frame, which is then shown at 0.

        Args:
            film: the whole.

        Raises:
            InputError: the film ends before the part begins.
        """
        placed = film.read_from(self.start.reached)
        first = next(placed, None)
        if first is None or self._stopped(first):
            raise InputError(
                f"{film.info.path} ends before the range {self} begins"
                if first is None
                else f"{film.info.path} has no frame in the range {self}",
                remedy="choose a range that lies in the film",
            )
        return TakenPart(first, placed, self._stopped)

    def _stopped(self, placed: PlacedFrame) -> bool:
        return self.stop is not None and self.stop.reached(placed.index, placed.seconds)

    def expected_frames(self, info: SourceInfo) -> int | None:
        """About how many frames the part has, None where nothing is known. For progress, not for decisions.

        Args:
            info: of the film.
        """
        total = info.expected_frames
        start = _about(self.start, info)
        stop = total if self.stop is None else min(_about(self.stop, info), total or _about(self.stop, info))
        return None if stop is None else max(1, stop - start)


class TakenPart:
    """A part of a film, cut out.

    Args:
        first: its first frame.
        later: what follows in the film.
        stopped: whether a frame lies after the part.
    """

    def __init__(
        self, first: PlacedFrame, later: Iterator[PlacedFrame], stopped: Callable[[PlacedFrame], bool]
    ) -> None:
        self.first_index = first.index
        """Index in the film of the part's first frame."""
        self.start_seconds = first.frame.pts_seconds
        """When the film shows that frame, on the film's own clock."""
        self.stop_seconds: Fraction | None = None
        """When the film shows the frame after the part: known once all frames are read, None where there is none."""
        self.frames = self._shown_from_0(first, later, stopped)
        """The frames, the first of them at 0; to be read once."""

    def _shown_from_0(
        self, first: PlacedFrame, later: Iterator[PlacedFrame], stopped: Callable[[PlacedFrame], bool]
    ) -> Iterator[Frame]:
        for placed in chain([first], later):
            if stopped(placed):
                self.stop_seconds = placed.frame.pts_seconds
                return
            yield replace(placed.frame, pts=placed.frame.pts - first.frame.pts)


def _exact_text(number: Fraction) -> str:
    """A decimal number where nine places hold it exactly, else a quotient."""
    decimal = f"{float(number):.9f}".rstrip("0").rstrip(".")
    return decimal if Fraction(decimal) == number else str(number)


def _about(place: Place, info: SourceInfo) -> int:
    return place.frame if place.frame is not None else round((place.seconds or 0) * info.frame_rate)


def parse_place(text: str) -> Place:
    """The place that a text names: `90`, `90s`, `1:30`, `1:02:03.5` (times) or `48f` (a frame).

    Raises:
        UsageError: it names none.
    """
    frame, time = FRAME.fullmatch(text.strip()), TIME.fullmatch(text.strip())
    if frame is not None:
        return Place(frame=int(frame[1]))
    if time is None:
        raise UsageError(
            "The time is not understood", got=text, expected="seconds (2, 2.5s), a time (1:02.5) or a frame (48f)"
        )
    hours, minutes, seconds = time.groups()
    return Place(seconds=3600 * int(hours or 0) + 60 * int(minutes or 0) + Fraction(seconds))


def parse_part(text: str) -> FilmPart:
    """The part that `START-END` names; either end may be left out, both are as `parse_place` reads them.

    Raises:
        UsageError: it names none.
    """
    start, dash, stop = text.partition("-")
    if not dash or not (start.strip() or stop.strip()):
        raise UsageError("The range is not understood", got=text, expected="START-END, such as 1:00-1:02.5 or 48f-96f")
    return FilmPart(
        start=parse_place(start) if start.strip() else Place(frame=0),
        stop=parse_place(stop) if stop.strip() else None,
    )
