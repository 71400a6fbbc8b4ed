"""The shots of a film as a file that people and programs read and write.

    {"shots": [{"start_frame": 0, "stop_frame": 48, "start_seconds": 0.0, "stop_seconds": 2.0},
               {"start_frame": 48, "stop_frame": 61, "start_seconds": 2.0, "stop_seconds": 2.541667}]}

A shot is the frames [start_frame, stop_frame), counted from 0; together the shots are the whole film. Frame numbers
decide; the seconds are for people, and reading passes over them. In a list that is read, `stop_frame` may be left out:
a shot stops where the next one starts, and the last one with the film.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from dgafvsr.errors import InputError
from dgafvsr.video.shots import MarkedFrame

__all__ = ["Shot", "ShotList", "ShotRecorder", "dump_shots", "read_shots"]

EXPECTED = '{"shots": [{"start_frame": 0, "stop_frame": 48}, {"start_frame": 48, "stop_frame": 61}]}'


@dataclass(frozen=True, kw_only=True)
class Shot:
    """Frames [start_frame, stop_frame) of a film, shown from start_seconds until stop_seconds."""

    start_frame: int
    """Index of the first frame in the film."""
    stop_frame: int
    """Index after the last frame's."""
    start_seconds: Fraction
    """When the first frame is shown."""
    stop_seconds: Fraction
    """When the next shot's first frame is shown; for the last shot, when its last frame ends."""


@dataclass(frozen=True, kw_only=True)
class ShotList:
    """Where shots start, as a file says it."""

    path: Path
    """The file."""
    starts: tuple[int, ...]
    """Index of each shot's first frame, ascending from 0."""
    stop: int | None = None
    """Index after the film's last frame, None where the file does not say."""

    def check_fits(self, frame_count: int) -> None:
        """Raise InputError if the list goes on after a film of so many frames."""
        reach = self.starts[-1] + 1 if self.stop is None else self.stop
        if reach > frame_count:
            raise InputError(
                f"The shots in {self.path} are not of this film",
                got=f"a shot with frame {reach - 1}",
                expected=f"frames 0 to {frame_count - 1}",
                remedy="correct the list, or let the shots be found (leave --shots out)",
            )


class ShotRecorder:
    """Passes marked frames on and notes the shots; a shot takes a few bytes, a frame none.

    Args:
        marked: the frames of one film.
    """

    def __init__(self, marked: Iterable[MarkedFrame]) -> None:
        self._marked = marked
        self._starts: list[tuple[int, Fraction]] = []
        self._end = Fraction(0)
        self.frames = 0

    def __iter__(self) -> Iterator[MarkedFrame]:
        for each in self._marked:
            if each.starts_shot:
                self._starts.append((self.frames, each.frame.pts_seconds))
            self.frames += 1
            self._end = each.frame.pts_seconds + each.frame.duration * each.frame.time_base
            yield each

    @property
    def shots(self) -> tuple[Shot, ...]:
        """The shots passed so far; the last one ends with the last frame passed."""
        borders = [*self._starts, (self.frames, self._end)]
        return tuple(
            Shot(start_frame=start, stop_frame=stop, start_seconds=begins, stop_seconds=ends)
            for (start, begins), (stop, ends) in pairwise(borders)
        )


def dump_shots(shots: Sequence[Shot]) -> str:
    """The text of a shot list.

    Args:
        shots: of one film, in order.
    """
    rows = [
        {
            "start_frame": shot.start_frame,
            "stop_frame": shot.stop_frame,
            "start_seconds": round(float(shot.start_seconds), 6),
            "stop_seconds": round(float(shot.stop_seconds), 6),
        }
        for shot in shots
    ]
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    return f'{{"shots": [\n{lines}\n]}}\n'


def read_shots(path: Path) -> ShotList:
    """The shot list in a file.

    Args:
        path: a local file.

    Raises:
        InputError: it cannot be read, is no shot list, or its shots do not follow one another from frame 0 on.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"The shot list {path} cannot be read", got=error.strerror, remedy="check the path") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a shot list", got=error, expected=EXPECTED) from error
    rows = content.get("shots") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{path} holds no shots", expected=EXPECTED)
    borders = [_borders(path, number, row) for number, row in enumerate(rows, start=1)]
    for number, (start, stop) in enumerate(borders, start=1):
        before_start, before_stop = borders[number - 2] if number > 1 else (-1, 0)
        expected = before_stop if before_stop is not None else f"more than {before_start}"
        if start <= before_start or before_stop not in (None, start):
            raise _wrong_row(path, number, got=f"start_frame {start}", expected=expected)
        if stop is not None and stop <= start:
            raise _wrong_row(path, number, got=f"stop_frame {stop}", expected=f"more than {start}")
    return ShotList(path=path, starts=tuple(start for start, _ in borders), stop=borders[-1][1])


def _borders(path: Path, number: int, row: Any) -> tuple[int, int | None]:
    values = (row.get("start_frame"), row.get("stop_frame")) if isinstance(row, dict) else (None, None)
    start, stop = values
    if type(start) is not int or type(stop) not in (int, type(None)):  # a bool is no frame number
        raise _wrong_row(path, number, got=json.dumps(row)[:80], expected='whole numbers, {"start_frame": 48, ...}')
    return start, stop


def _wrong_row(path: Path, number: int, *, got: object, expected: object) -> InputError:
    return InputError(
        f"Shot {number} in {path} is wrong", got=got, expected=expected, remedy="list the shots in order, without gaps"
    )
