"""What a job folder says about itself, as JSON: what the job was begun with, and which windows are finished.

`manifest.json` is written once, when the job begins. Every finished window adds one small file of its own, so that
finishing the last window of a film costs as little as finishing the first. A file appears under its name only when it
is whole and on disk, so a kill or a power cut never leaves half of one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from dgafvsr.errors import DGAFVSRError, InputError, ModelError, UsageError
from dgafvsr.video.atomic import flush_folder, writing_error
from dgafvsr.video.segments import Segment

__all__ = ["FORMAT", "Manifest", "WindowRecord", "write_durably"]

FORMAT = 1
"""Raised when a job folder of an older program can no longer be gone on with."""

SECTIONS: Mapping[str, tuple[type[DGAFVSRError], str]] = {
    "program": (UsageError, "another version of the program"),
    "source": (InputError, "another input, or the input was changed since"),
    "settings": (UsageError, "other settings"),
    "model": (ModelError, "another model"),
}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What the frames of a job depend on; JSON values only."""

    program: Mapping[str, Any]
    """Version of the program and of this format."""
    source: Mapping[str, Any]
    """Fingerprint of the input."""
    settings: Mapping[str, Any]
    """What was asked for, by the names of the options."""
    model: Mapping[str, Any]
    """Fingerprint of the model, and the kind of device it runs on."""
    plan: Mapping[str, Any]
    """What was settled when the job began (window, tile) and holds to its end."""

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The manifest in a file; None where there is none or it cannot be read as one."""
        values = _read_json(path)
        if not all(isinstance(values.get(each.name), dict) for each in fields(cls)):
            return None
        return cls(**{each.name: values[each.name] for each in fields(cls)})

    def write(self, path: Path) -> None:
        """Put it on disk, whole or not at all."""
        write_durably(path, json.dumps(asdict(self), indent=1).encode())

    def check(self, folder: Path, **sections: Mapping[str, Any]) -> None:
        """Raise unless the job was begun with these.

        Args:
            folder: the job folder, for the message.
            sections: values of some of the fields.

        Raises:
            UsageError: other settings or another version.
            InputError: another input.
            ModelError: another model.
        """
        for name, now in sections.items():
            begun: Mapping[str, Any] = getattr(self, name)
            now = json.loads(json.dumps(now))
            changed = sorted(key for key in {*begun, *now} if begun.get(key) != now.get(key))
            if changed:
                kind, what = SECTIONS[name]
                raise kind(
                    f"The unfinished job in {folder} was begun with {what}",
                    got=_listing(now, changed),
                    expected=_listing(begun, changed),
                    remedy="go back to what it was begun with, or start over with --restart",
                )


def _listing(values: Mapping[str, Any], keys: list[str]) -> str:
    return ", ".join(f"{key} {values.get(key)}" for key in keys)


@dataclass(frozen=True, kw_only=True)
class WindowRecord:
    """One finished window. Frames are counted from the first frame that the job makes."""

    start: int
    """Index of its first frame."""
    shot_start: int
    """Index of the first frame of its shot."""
    sampled: int
    """Frames that were sampled together."""
    head: int
    """Leading frames of them that the window before held back."""
    begun_from_sha256: str | None
    """Of the state of the window before that it began with; None without a head."""
    frames: int
    """Frames that it gave out, from `start` on: the frames of its segment."""
    state_sha256: str | None
    """Of what the next window of the shot needs; None where it needs nothing."""
    segment: Mapping[str, Any] = field(default_factory=dict)
    """Name, times and checksum of what holds the frames given out; empty until it is written."""
    reduction: Mapping[str, Any] = field(default_factory=dict)
    """What the memory there was had made smaller when the window was sampled, by the fields of `Reduction`."""
    notes: tuple[str, ...] = ()
    """What happened on the way, one sentence each."""

    @property
    def stop(self) -> int:
        """Index after the last frame given out, where the next window starts."""
        return self.start + self.frames

    def stored_as(self, segment: Segment) -> Self:
        """The same with the segment that was written.

        Args:
            segment: directly in the folder of the record.
        """
        return replace(self, segment={**asdict(segment), "path": segment.path.name})

    def segment_in(self, folder: Path) -> Segment:
        """The segment.

        Args:
            folder: of the record.
        """
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in self.segment.items()
        }
        return Segment(**values | {"path": folder / self.segment["path"]})

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The record in a file; None where it cannot be read as one."""
        values = _read_json(path)
        if set(values) != {each.name for each in fields(cls)}:
            return None
        return cls(**values | {"notes": tuple(values["notes"])})

    def write(self, path: Path) -> None:
        """Put it on disk, whole or not at all."""
        write_durably(path, json.dumps(asdict(self)).encode())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def write_durably(path: Path, content: bytes) -> None:
    """Put a file on disk, whole or not at all: written beside its name, flushed, renamed, and the folder flushed.

    Raises:
        ResourceError: the disk is full.
        OutputError: it cannot be written.
    """
    unfinished = path.with_name(f"{path.name}.partial")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        raise writing_error(path, error) from error
