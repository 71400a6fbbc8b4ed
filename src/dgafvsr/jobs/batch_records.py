"""What a finished result was made of, so that a batch passes over what is done and never takes other things for it.

Beside the result film.mp4 lies .film.mp4.dgafvsr-done.json. It is written when the film's job begins, without the
fingerprint of a result, and again when the result has its name.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from dgafvsr.errors import OutputError
from dgafvsr.jobs.fingerprints import fingerprint_input
from dgafvsr.jobs.job_folder import is_unfinished, job_folder_of
from dgafvsr.jobs.manifest import write_durably
from dgafvsr.video.atomic import writing_error

__all__ = ["ResultRecord", "is_there", "make_folder", "record_of", "remove_empty"]

LONGEST_NAME = 240
"""Bytes of a record's name: of the 255 that file systems allow, some are needed while it is written."""


def record_of(target: Path) -> Path:
    """Where the record of a result is: hidden, beside it; a name near the longest becomes its hash."""
    name = f".{target.name}.dgafvsr-done.json"
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:32]}.dgafvsr-done.json"
    return target.with_name(name)


def is_there(target: Path) -> bool:
    """Whether something lies where a result belongs; an empty folder is nothing."""
    return os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir()))


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and those above it; gives those that were not there, innermost first.

    Raises:
        OutputError: it cannot be made.
    """
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise writing_error(folder, error) from error
    return new


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders up to the first that holds something.

    Args:
        folders: of `make_folder`.
    """
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


@dataclass(frozen=True, kw_only=True)
class ResultRecord:
    """What a result was made of; JSON values only, as in the manifest of a job."""

    source: Mapping[str, Any]
    """Fingerprint of the input."""
    settings: Mapping[str, Any]
    """What was asked for, by the names of the options."""
    model: Mapping[str, Any]
    """Fingerprint of the model, and the kind of device it ran on."""
    result: Mapping[str, Any] | None = None
    """Fingerprint of the result; None while its job is under way."""
    summary: Mapping[str, Any] | None = None
    """What the job told at its end, by the fields of `UpscaleSummary`; None where it was killed right after it."""

    @classmethod
    def read(cls, target: Path) -> Self | None:
        """The record of a result; None where there is none or it cannot be read as one."""
        try:
            return cls(**json.loads(record_of(target).read_bytes()))
        except (OSError, ValueError, TypeError, RecursionError):
            return None

    def write(self, target: Path) -> None:
        """Put it on disk, whole or not at all.

        Raises:
            ResourceError: the disk is full.
            OutputError: it cannot be written.
        """
        write_durably(record_of(target), json.dumps(asdict(self), indent=1).encode())

    def done_before(self, target: Path) -> Self:
        """The record that lies beside a result, if that was made of the same input with the same settings and model.

        Args:
            target: where a result is.

        Raises:
            OutputError: it was made otherwise, is not known, or was changed since.
        """
        made = self.read(target)
        remedy = "choose another --output, or allow to replace it (--overwrite)"
        if made is None:
            raise OutputError(f"{target} exists, and nothing says what it was made of", remedy=remedy)
        for name, what in (("source", "another input"), ("settings", "other settings"), ("model", "another model")):
            now, then = json.loads(json.dumps(getattr(self, name))), getattr(made, name)
            changed = sorted(key for key in {*now, *then} if now.get(key) != then.get(key))
            if changed:
                raise OutputError(
                    f"{target} was made with {what}",
                    got=_listing(now, changed),
                    expected=_listing(then, changed),
                    remedy=remedy,
                )
        found = fingerprint_input(target)
        if made.result is None:  # killed after the result had its name, and before that was recorded
            if is_unfinished(job_folder_of(target)):
                raise OutputError(f"{target} exists although its job is not finished", remedy=remedy)
            return replace(made, result=found)
        if {**found, "modified_ns": None} != {**made.result, "modified_ns": None}:
            raise OutputError(f"{target} was changed since it was made", remedy=remedy)
        return made


def _listing(values: Mapping[str, Any], keys: list[str]) -> str:
    return ", ".join(f"{key} {values.get(key)}" for key in keys)
