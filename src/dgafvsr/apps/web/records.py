"""What is known of films and jobs, as JSON files that outlive the server."""

from __future__ import annotations

import json
import math
import re
import secrets
import time
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Self, get_args

from dgafvsr.errors import UsageError
from dgafvsr.jobs.manifest import write_durably
from dgafvsr.jobs.parts import FilmPart, Place
from dgafvsr.sampling.presets import Quality, check_quality

__all__ = ["FORMATS", "SCALES", "Film", "Job", "JobOptions", "Kind", "Pairs", "State", "is_id", "new_id"]

State = Literal["waiting", "running", "done", "stopped", "failed"]
"""Of a job. Those that are stopped or failed can be gone on with."""
Kind = Literal["preview", "full"]
Pairs = tuple[tuple[str, str], ...]
"""Names and values to show, in order."""

ID = re.compile(r"[0-9a-f]{16}")
MICROSECOND = 1_000_000
SCALES = (2, 3, 4)
FORMATS = {"MP4 (H.264)": (".mp4", "h264"), "MP4 (HEVC)": (".mp4", "hevc"), "WebM (AV1)": (".webm", "av1")}
"""Name of a kind of output -> suffix and codec."""


def new_id() -> str:
    """A name that nobody can guess, for a film or a job."""
    return secrets.token_hex(8)


def is_id(text: object) -> bool:
    """Whether a text that came from outside can be the name of a film or a job; such a text is safe in a path."""
    return isinstance(text, str) and ID.fullmatch(text) is not None


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What was chosen for a job.

    Raises:
        UsageError: a value out of its range.
    """

    quality: Quality = "balanced"
    """The preset between speed and quality."""
    start_seconds: float = 0.0
    """Where the part begins, after the film's first frame; at least 0."""
    stop_seconds: float | None = None
    """Where it ends; None for the film's end."""
    scale: int = 4
    """Times as wide and high, one of SCALES."""
    format: str = "MP4 (H.264)"
    """One of FORMATS."""
    seed: int = 0
    """Of the noise."""

    def __post_init__(self) -> None:
        check_quality(self.quality)
        if self.scale not in SCALES:
            raise UsageError("The scale is unknown", got=self.scale, expected=f"one of {', '.join(map(str, SCALES))}")
        if self.format not in FORMATS:
            raise UsageError("The format is unknown", got=self.format, expected=f"one of {', '.join(FORMATS)}")
        if not all(math.isfinite(each) for each in (self.start_seconds, self.stop_seconds or 0.0)):
            raise UsageError("The range is not understood", expected="seconds")
        if self.start_seconds < 0:
            raise UsageError("The range begins before the film", got=self.start_seconds, expected="0 seconds or more")
        if self.stop_seconds is not None and self.stop_seconds <= self.start_seconds:
            raise UsageError(
                "The range holds no frame",
                got=f"{self.start_seconds:g} s to {self.stop_seconds:g} s",
                expected="an end after the start",
            )


@dataclass(frozen=True, kw_only=True)
class _Record:
    """Something that has a file of its own."""

    id: str
    """Its name, as `new_id` makes them."""
    created: float = field(default_factory=time.time)
    """Seconds since the epoch."""

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The record in a file; None where there is none or it cannot be read as one."""
        try:
            values = json.loads(path.read_bytes())
            record = cls(**{each.name: cls._revived(each.name, values[each.name]) for each in fields(cls)})
        except (OSError, ValueError, TypeError, KeyError, RecursionError, UsageError):
            return None
        return record if is_id(record.id) else None

    @classmethod
    def _revived(cls, name: str, value: Any) -> Any:
        return (
            tuple(tuple(each) if isinstance(each, list) else each for each in value) if type(value) is list else value
        )

    def write(self, path: Path) -> None:
        """Put it on disk, whole or not at all."""
        write_durably(path, json.dumps(asdict(self), indent=1).encode())


@dataclass(frozen=True, kw_only=True)
class Film(_Record):
    """A video that somebody has uploaded, looked at and found usable."""

    name: str
    """As its owner calls it, without a folder; for people, never for paths."""
    file: str
    """Name that it is stored under."""
    width: int
    """Columns of pixels, as stored."""
    height: int
    """Rows of pixels."""
    seconds: float
    """Length."""
    interlaced: bool
    """Whether its pictures hold two fields, of which one picture will be made."""
    facts: Pairs
    """What it is, in words."""


@dataclass(frozen=True, kw_only=True)
class Job(_Record):
    """A film that is, was or will be upscaled, in whole or in part."""

    film_id: str
    """Of its film."""
    film_name: str
    """What the film is called."""
    kind: Kind
    """A short look, or the real thing."""
    options: JobOptions = field(default_factory=JobOptions)
    """What was chosen."""
    state: State = "waiting"
    """Where it stands."""
    changed: float = field(default_factory=time.time)
    """When the state was last changed, in seconds since the epoch."""
    message: str = ""
    """Why it stopped or failed, one sentence."""
    output: str | None = None
    """Name of the upscaled film, once it is complete."""
    moments: tuple[float, ...] = ()
    """Seconds, from the start of the part, of the pictures that were kept for comparing."""
    split: str | None = None
    """Name of the film that shows before and after, if there is one."""
    facts: Pairs = ()
    """What came of it, in words."""
    warnings: tuple[str, ...] = ()
    """What has to be known of the result, one sentence each."""

    @classmethod
    def _revived(cls, name: str, value: Any) -> Any:
        if name == "options":
            return JobOptions(**value)
        if name == "state" and value not in get_args(State):
            raise ValueError(value)
        return super()._revived(name, value)

    @property
    def part(self) -> FilmPart | None:
        """The part of the film that is made, None for all of it."""
        start, stop = self.options.start_seconds, self.options.stop_seconds
        if not start and stop is None:
            return None
        return FilmPart(start=_place(start), stop=None if stop is None else _place(stop))

    @property
    def active(self) -> bool:
        """Whether it is waiting or being worked on."""
        return self.state in ("waiting", "running")

    @property
    def resumable(self) -> bool:
        """Whether it can be gone on with."""
        return self.state in ("stopped", "failed")


def _place(seconds: float) -> Place:
    """The moment, to the microsecond."""
    return Place(seconds=Fraction(round(seconds * MICROSECOND), MICROSECOND))
