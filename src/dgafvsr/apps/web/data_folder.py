"""The one folder that the web app reads and writes.

DATA/                       private to its owner (0700), held by one server at a time
    dgafvsr-web.json        says that the folder is ours
    lock                    held while a server works with it
    uploads/                what arrives, until it has been looked at
    films/ID/               film.json, source/NAME
    jobs/ID/                job.json, work/ (the resumable job of `dgafvsr upscale`)
    shown/ID/               what a browser may fetch: results, comparisons, small pictures
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from dgafvsr.errors import OutputError
from dgafvsr.jobs.manifest import write_durably
from dgafvsr.video.atomic import writing_error

__all__ = ["DataFolder"]

MARKER, LOCK = "dgafvsr-web.json", "lock"
FORMAT = 1


class DataFolder:
    """The folder, held by this process while the context is open.

    Args:
        path: of the folder; it is made if it is not there.

    Raises:
        OutputError: it cannot be made private, holds other things, or another server works with it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self._lock = FileLock(self.path / LOCK)

    @property
    def uploads(self) -> Path:
        """Files that arrived and are not yet films."""
        return self.path / "uploads"

    @property
    def films(self) -> Path:
        """A folder for each film."""
        return self.path / "films"

    @property
    def jobs(self) -> Path:
        """A folder for each job."""
        return self.path / "jobs"

    @property
    def shown(self) -> Path:
        """A folder for each film or job with the files that a browser may fetch."""
        return self.path / "shown"

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_private()
            self._lock.acquire(blocking=False)
            if not (self.path / MARKER).exists():
                write_durably(self.path / MARKER, json.dumps({"format": FORMAT}).encode())
            for folder in (self.uploads, self.films, self.jobs, self.shown):
                folder.mkdir(mode=0o700, exist_ok=True)
        except Timeout as error:
            raise OutputError(
                f"Another server works with {self.path}", remedy="stop it, or choose another folder with --data"
            ) from error
        except OSError as error:
            raise writing_error(self.path, error) from error
        self.empty(self.uploads)  # nobody is waiting for what an earlier server was sent
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def _make_private(self) -> None:
        """Shuts out everybody else, after making sure that the folder is ours to shut."""
        if hasattr(os, "geteuid") and self.path.stat().st_uid != os.geteuid():
            raise OutputError(f"{self.path} belongs to another user", remedy="choose another folder with --data")
        held = {each.name for each in self.path.iterdir()}
        if held and MARKER not in held:
            raise OutputError(
                f"{self.path} holds other things",
                got=", ".join(sorted(held)[:3]),
                expected="an empty folder, or one of the web app",
                remedy="choose another folder with --data",
            )
        if stat.S_IMODE(self.path.stat().st_mode) != 0o700:
            self.path.chmod(0o700)

    def empty(self, folder: Path, *, older_than: float | None = None) -> None:
        """Remove what lies in a folder.

        Args:
            folder: one of this one.
            older_than: seconds since the epoch; what was changed later stays. None for everything.
        """
        for entry in folder.iterdir():
            if older_than is None or entry.lstat().st_mtime < older_than:
                self.remove(entry)

    def remove(self, path: Path) -> None:
        """Remove a file or a folder inside this one; a link is removed, never followed."""
        assert path.parent.resolve().is_relative_to(self.path)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def plain(self, text: str) -> str:
        """A message without the names of our folders, which mean nothing to somebody at a browser."""
        words = text.split(" ")
        return " ".join(Path(word).name if word.startswith(f"{self.path}{os.sep}") else word for word in words)
