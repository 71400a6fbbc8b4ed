"""Files that a measurement leaves: found out early whether they can be written, and written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dgafvsr.errors import UsageError
from dgafvsr.video.atomic import PendingFile, PendingFolder, writing_error

__all__ = ["PICTURE_SUFFIXES", "REPORT_SUFFIXES", "check_folder", "check_targets", "write_atomically"]

REPORT_SUFFIXES = (".csv", ".json", ".md")
PICTURE_SUFFIXES = (".png",)


def check_targets(paths: Sequence[Path], suffixes: Sequence[str] = REPORT_SUFFIXES, *, overwrite: bool = False) -> None:
    """Find out before hours of computing whether these files can be written.

    Args:
        paths: files to come.
        suffixes: with which their names may end, lower-case.
        overwrite: whether existing files may be replaced.

    Raises:
        UsageError: another suffix.
        OutputError: one exists or its place cannot be written to.
    """
    for path in paths:
        if path.suffix.lower() not in suffixes:
            raise UsageError(f"{path} has the wrong ending", expected=f"a name that ends with {' or '.join(suffixes)}")
        PendingFile(path, overwrite=overwrite).discard()


def check_folder(path: Path, *, overwrite: bool = False) -> None:
    """Find out whether a folder of pictures can be made.

    Raises:
        OutputError: it holds something that may not be replaced, or its place cannot be written to.
    """
    PendingFolder(path, overwrite=overwrite, may_hold=PICTURE_SUFFIXES).discard()


def write_atomically(path: Path, write: Callable[[Path], object], *, overwrite: bool) -> None:
    """Let `write` make the file under a hidden name and put it in its place when it is complete.

    Raises:
        OutputError: it exists or cannot be written.
        ResourceError: the disk is full.
    """
    pending = PendingFile(path, overwrite=overwrite)
    try:
        write(pending.path)
        pending.publish()
    except OSError as error:
        raise writing_error(path, error) from error
    finally:
        pending.discard()
