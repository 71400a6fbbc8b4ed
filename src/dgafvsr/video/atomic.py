"""Results that appear only when they are complete.

A result is made under a hidden name beside its target, on the same disk, and renamed at the end, when its contents are
on the disk and not only on their way there: a power cut leaves all of it or nothing. Making the hidden one is also the
proof, before any work is done, that the place can be written to.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Collection
from pathlib import Path

from dgafvsr.errors import DGAFVSRError, OutputError, ResourceError

__all__ = ["PendingFile", "PendingFolder", "flush_folder", "publish_folder", "writing_error"]


def writing_error(target: Path, error: OSError) -> DGAFVSRError:
    """The typed error for a failed write.

    Args:
        target: what the user asked for.
        error: what the system said.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(f"The disk is full while writing {target}", remedy="free some space and run again")
    return OutputError(
        f"{target} cannot be written", got=error.strerror or str(error), remedy="choose another place for the output"
    )


def flush_folder(folder: Path) -> None:
    """Put the names in a folder on disk, where the system can: some disks cannot, and some folders are only written."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    try:
        _flush(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):
            raise


def _flush_file(file: Path) -> None:
    _flush(file, os.O_RDWR)  # Windows flushes only what is open for writing


def _flush(path: Path, flags: int) -> None:
    opened = os.open(path, flags)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def publish_folder(made: Path, target: Path, *, aside: Path) -> None:
    """Put a finished folder under its name, on disk; what it replaces goes only after that.

    At every moment one of the two is complete: a process that is killed between the two renamings leaves the old one as
    `aside`.

    Args:
        made: the finished folder, on the target's disk.
        target: its name; a folder may be there.
        aside: where that one waits meanwhile; what is there now goes.

    Raises:
        OSError: the system refuses; what was there before is under its name.
    """
    for entry in (*made.rglob("*"), made):
        (flush_folder if entry.is_dir() else _flush_file)(entry)
    replaces = target.is_dir()
    if replaces:
        shutil.rmtree(aside, ignore_errors=True)
        target.rename(aside)
    try:
        made.rename(target)
    except OSError:
        if replaces:
            aside.rename(target)
        raise
    flush_folder(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _hidden_name(target: Path) -> Path:
    return target.with_name(f".dgafvsr-{secrets.token_hex(6)}.partial")


def _check_place(target: Path, source: Path | None) -> None:
    if not target.parent.is_dir():
        raise OutputError(f"The folder {target.parent} does not exist", remedy="create it first")
    if source is None:
        return
    # unlike resolve() realpath also takes a link that leads in a circle
    resolved, origin = Path(os.path.realpath(target)), Path(os.path.realpath(source))
    if resolved == origin or (target.exists() and source.exists() and os.path.samefile(target, source)):
        raise OutputError(f"{target} is the input itself", remedy="choose another output")
    if resolved in origin.parents:
        raise OutputError(f"{target} is a folder that holds the input", remedy="choose another output")


class PendingFile:
    """A file in the making.

    Args:
        target: where it will be.
        overwrite: whether an existing file may be replaced.
        source: what the result is made from; it is never replaced.
        hidden: its name until then, on the same disk; None for one beside the target.

    Raises:
        OutputError: the target exists, is the source, or cannot be written.
    """

    def __init__(
        self, target: Path, *, overwrite: bool = False, source: Path | None = None, hidden: Path | None = None
    ) -> None:
        self.target, self._overwrite = target, overwrite
        _check_place(target, source)
        self._refuse_existing()
        self.path = hidden or _hidden_name(target)
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except OSError as error:
            raise writing_error(target, error) from error

    def _refuse_existing(self) -> None:
        if self.target.is_dir():
            raise OutputError(f"{self.target} is a folder", expected="the name of a file")
        if os.path.lexists(self.target) and not self._overwrite:
            raise OutputError(f"{self.target} exists", remedy="choose another name or allow overwriting (--overwrite)")

    def publish(self) -> None:
        """Put the file under its name, on disk.

        Raises:
            OutputError: meanwhile a file of that name appeared, or the system refuses.
        """
        self._refuse_existing()
        try:
            _flush_file(self.path)
            self.path.replace(self.target)
            flush_folder(self.target.parent)
        except OSError as error:
            raise writing_error(self.target, error) from error

    def discard(self) -> None:
        """Remove what was written."""
        self.path.unlink(missing_ok=True)


class PendingFolder:
    """A folder in the making.

    Args:
        target: where it will be. An empty folder may be there.
        overwrite: whether a folder with files of the kinds `may_hold` may be replaced.
        source: what the result is made from; it is never replaced.
        may_hold: lower-case suffixes of the files that may be lost in replacing.
        hidden: its name until then, on the same disk; None for one beside the target.

    Raises:
        OutputError: the target exists, holds other files, is or holds the source, or cannot be written.
    """

    def __init__(
        self,
        target: Path,
        *,
        overwrite: bool = False,
        source: Path | None = None,
        may_hold: Collection[str] = (),
        hidden: Path | None = None,
    ) -> None:
        self.target, self._overwrite, self._may_hold = target, overwrite, may_hold
        _check_place(target, source)
        self._refuse_existing()
        self.path = hidden or _hidden_name(target)
        try:
            self.path.mkdir()
        except OSError as error:
            raise writing_error(target, error) from error

    def _refuse_existing(self) -> None:
        if not os.path.lexists(self.target):
            return
        if not self.target.is_dir() or self.target.is_symlink():
            raise OutputError(f"{self.target} exists and is not a folder", remedy="choose another name")
        held = list(self.target.iterdir())
        if held and not self._overwrite:
            raise OutputError(
                f"{self.target} exists and is not empty",
                remedy="choose another name or allow overwriting (--overwrite)",
            )
        others = [entry.name for entry in held if entry.is_dir() or entry.suffix.lower() not in self._may_hold]
        if others:
            raise OutputError(
                f"{self.target} holds other files than pictures and is not replaced",
                got=", ".join(sorted(others)[:3]),
                remedy="choose another name or empty the folder",
            )

    def publish(self) -> None:
        """Put the folder under its name, on disk; what it replaces goes only after that.

        Raises:
            OutputError: meanwhile something else appeared there, or the system refuses.
        """
        self._refuse_existing()
        try:
            publish_folder(self.path, self.target, aside=_hidden_name(self.target))
        except OSError as error:
            raise writing_error(self.target, error) from error

    def discard(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.path, ignore_errors=True)
