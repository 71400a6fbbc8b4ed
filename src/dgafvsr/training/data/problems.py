"""What of the training material could not be used, counted across all processes that prepare data.

A source is only known to be bad when it is first read, deep in a worker. So each list is a small file that every
process appends to, one line a problem: `entries()` in the training process tells of them all.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dgafvsr.errors import InputError, UsageError

__all__ = ["DEFAULT_BAD_SHARE", "Problem", "ProblemKind", "ProblemList"]

ProblemKind = Literal["unreadable", "too short", "too small"]

DEFAULT_BAD_SHARE = 0.1
"""More unreadable sources than this share of them all, and more than one, are an error."""


@dataclass(frozen=True)
class Problem:
    """A source that is skipped."""

    source: str
    """Path of the picture or clip."""

    kind: ProblemKind

    what: str
    """What was found."""


class ProblemList:
    """The skipped sources of a library.

    Args:
        total: number of sources of the library.
        bad_share: above this share of unreadable sources training stops, 0 to 1; one bad source is always borne.

    Raises:
        UsageError: the share is out of range.
    """

    def __init__(self, total: int, *, bad_share: float = DEFAULT_BAD_SHARE) -> None:
        if not 0 <= bad_share <= 1:
            raise UsageError("The share of unreadable sources is out of range", got=bad_share, expected="0 to 1")
        self.total, self.bad_share = total, bad_share
        folder = Path(tempfile.mkdtemp(prefix="dgafvsr-problems-"))
        self._file = folder / "problems.jsonl"
        self._mine: dict[str, Problem] = {}
        # Removed by the process that made it, not by its workers.
        self._remove = weakref.finalize(self, _remove_folder, folder, os.getpid())

    def __len__(self) -> int:
        return len(self.entries())

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.entries())

    def is_unreadable(self, source: str) -> bool:
        """Whether this process has found the source unreadable."""
        return source in self._mine and self._mine[source].kind == "unreadable"

    def entries(self) -> tuple[Problem, ...]:
        """All problems that any process has found, by name of the source."""
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
        found = {entry["source"]: Problem(**entry) for entry in map(json.loads, lines)} | self._mine
        return tuple(found[name] for name in sorted(found))

    def add(self, source: str, kind: ProblemKind, what: str) -> None:
        """Note that a source is skipped from now on.

        Raises:
            InputError: too many sources are unreadable.
        """
        if source in self._mine:
            return
        self._mine[source] = Problem(source, kind, what)
        line = json.dumps({"source": source, "kind": kind, "what": what}) + "\n"
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError:  # the list's folder is gone or full: this process still knows
            pass
        self._check()

    def _check(self) -> None:
        bad = [problem for problem in self._mine.values() if problem.kind == "unreadable"]
        if len(bad) > max(1.0, self.bad_share * self.total) or len(bad) == self.total:
            raise InputError(
                f"{len(bad)} of {self.total} training sources cannot be read, the last one: {bad[-1].what}",
                expected=f"at most {self.bad_share:.0%} of them",
                remedy="repair or remove them",
            )

    def summary(self) -> str:
        """The list for people, one line a source; empty if there is nothing to tell."""
        return "\n".join(f"{problem.source} is skipped ({problem.kind}): {problem.what}" for problem in self.entries())

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_remove"}


def _remove_folder(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
