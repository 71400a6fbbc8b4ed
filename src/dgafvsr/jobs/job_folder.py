"""Where a job keeps what is finished, so that it can be stopped at any moment and gone on with.

    .film.mp4.dgafvsr-job/      beside the output film.mp4, or where --job says
        manifest.json           what the job was begun with
        lock                    held while a process works on it
        windows/
            00000000            the frames that a window gave out: a piece of film, or a folder of pictures
            00000000.json       written last: the window is finished, with the checksums of the files
            00000020.state.safetensors   what the next window of the shot needs of the newest one
        result/                 the whole, before it gets its name
        naming                  the output is about to get its name; once it has it, whatever is left here goes

Only the newest state of a shot is kept: states are as large as latents, and a film has thousands of windows. A damaged
window is therefore sampled again from the nearest state before it, which may be the start of its shot; sampling is
deterministic, so the windows after it stay valid as long as it comes to the same state as before. Shots may be finished
out of order, for a cluster works on several; within a shot windows are finished one after the other.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise, zip_longest
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout
from safetensors.torch import load

from dgafvsr.errors import OutputError
from dgafvsr.jobs.fingerprints import file_sha256
from dgafvsr.jobs.manifest import Manifest, WindowRecord, write_durably
from dgafvsr.sampling.seams import SeamState
from dgafvsr.video.atomic import writing_error
from dgafvsr.video.segments import Segment, is_whole

__all__ = ["OUTPUT", "JobFolder", "is_unfinished", "job_folder_of", "windows_to_redo"]

MANIFEST, LOCK, WINDOWS, RESULT, NAMING = "manifest.json", "lock", "windows", "result", "naming"
LONGEST_NAME = 255
OUTPUT = "output.partial"
"""Name in a job folder of the output on its last step."""
KNOWN = frozenset([MANIFEST, LOCK, WINDOWS, RESULT, NAMING, OUTPUT, f"{MANIFEST}.partial", f"{NAMING}.partial"])


def job_folder_of(target: Path) -> Path:
    """The job folder of an output where none is named: hidden, beside it; a name near the longest becomes its hash."""
    name = f".{target.name}.dgafvsr-job"
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:32]}.dgafvsr-job"
    return target.with_name(name)


def is_unfinished(path: Path) -> bool:
    """Whether a folder holds a job that has not come to its end."""
    return (path / MANIFEST).is_file() and not _is_named(path)


def _is_named(path: Path) -> bool:
    """Whether the output of the job in a folder has got its name, though nothing could be said of it any more."""
    try:
        hidden, target = json.loads((path / NAMING).read_bytes())
    except (OSError, ValueError):
        return False
    return os.path.lexists(target) and not os.path.lexists(hidden)


def windows_to_redo(records: Sequence[WindowRecord], damaged: Collection[int], states: Collection[int]) -> set[int]:
    """The windows, by their start, that have to be sampled again.

    The damaged ones, and those before them back to the nearest state that is there, or to where a window needs none.

    Args:
        records: finished windows in order, each starting where the one before it stops, or with a later shot.
        damaged: starts of windows whose frames are lost.
        states: starts of windows whose state is at hand.
    """
    redo = set(damaged)
    for before, after in reversed(list(zip_longest(records, records[1:]))):
        unfollowed = after is None or after.start != before.stop
        needed = before.state_sha256 is not None and (unfollowed or (after.head > 0 and after.start in redo))
        if needed and before.start not in states:
            redo.add(before.start)
    return redo


class JobFolder:
    """The folder of one job, held by this process while the context is open.

    Leaving the context removes the folder if the job is complete, or if nothing in it is worth keeping.

    Args:
        path: of the folder; its parent must exist.
        keep: leave it there even when the job is complete.

    Raises:
        OutputError: it cannot be made, holds other things, or another process works on it.
    """

    def __init__(self, path: Path, *, keep: bool = False) -> None:
        self.path, self._keep = path, keep
        self._lock = FileLock(path / LOCK)
        self._records: dict[int, WindowRecord] = {}
        self._redo: set[int] = set()
        self._complete = False

    @property
    def result(self) -> Path:
        """A folder for the whole output while it is being made; empty when a run begins."""
        (self.path / RESULT).mkdir(exist_ok=True)
        return self.path / RESULT

    @property
    def manifest(self) -> Manifest | None:
        """What the job was begun with; None where it has still to begin or nothing of it was finished."""
        return Manifest.read(self.path / MANIFEST) if self._records else None

    @property
    def unspoilt(self) -> tuple[WindowRecord, ...]:
        """Those of the finished windows that need not be sampled again, as far as `verify` knows."""
        return tuple(record for record in self.finished if record.start not in self._redo)

    @property
    def finished(self) -> tuple[WindowRecord, ...]:
        """The finished windows in order, those to redo among them."""
        return tuple(self._records[start] for start in sorted(self._records))

    def __enter__(self) -> Self:
        self._refuse_others()
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise OutputError(
                f"Another process is working on the job in {self.path}",
                remedy="wait until it has finished, or choose another output",
            ) from error
        except OSError as error:
            raise writing_error(self.path, error) from error
        if _is_named(self.path):  # the run that completed it was killed before it had removed all
            self.clear()
        _delete(self.path / NAMING)
        self._remove_unfinished()
        self._records = {record.start: record for record in self._read_records()}
        self._states = {int(file.name.partition(".")[0]) for file in self._windows.glob("*.state.safetensors")}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (self._complete and not self._keep) or not self._records:
            self._remove()
        else:
            self._lock.release()

    def _refuse_others(self) -> None:
        if not self.path.parent.is_dir():
            raise OutputError(f"The folder {self.path.parent} does not exist", remedy="create it first")
        if self.path.is_dir():
            try:
                others = {each.name for each in self.path.iterdir()} - KNOWN
            except OSError as error:  # of another user, perhaps
                raise writing_error(self.path, error) from error
            if not others:
                return
            got = ", ".join(sorted(others)[:3])
        elif not self.path.exists():
            return
        else:
            got = "a file"
        raise OutputError(f"{self.path} is not a job folder", got=got, remedy="choose another folder for the job")

    def _remove_unfinished(self) -> None:
        for leftover in [*self.path.glob("*.partial"), *self._windows.glob("*.partial")]:
            _delete(leftover)
        _delete(self.path / RESULT)

    @property
    def _windows(self) -> Path:
        return self.path / WINDOWS

    def _read_records(self) -> Iterator[WindowRecord]:
        """The records up to the first gap in each shot; what lies after one has nothing to go on from."""
        stop = 0
        for file in sorted(self._windows.glob("*.json")):
            record = WindowRecord.read(file)
            if record is not None and (record.start == stop or stop < record.start == record.shot_start):
                stop = record.stop
                yield record

    def clear(self) -> None:
        """Forget all that is finished."""
        self._records, self._redo, self._states = {}, set(), set()
        for name in (WINDOWS, MANIFEST, NAMING):
            _delete(self.path / name)

    def begin(self, manifest: Manifest) -> None:
        """Start a new job in the folder.

        Raises:
            ResourceError: the disk is full.
            OutputError: it cannot be written.
        """
        self.clear()
        try:
            self._windows.mkdir()
        except OSError as error:
            raise writing_error(self.path, error) from error
        manifest.write(self.path / MANIFEST)

    def verify(self, on_share: Callable[[float], None] = lambda share: None) -> tuple[str, ...]:
        """Read every finished file again and settle which windows are to be redone; one sentence if there are any.

        Args:
            on_share: told after every file what part of them is read, in (0, 1].
        """
        records, damaged = self.finished, set[int]()
        for index, each in enumerate(records, start=1):
            if not is_whole(each.segment_in(self._windows)):
                damaged.add(each.start)
            on_share(index / len(records))
        damaged |= {
            after.start
            for before, after in pairwise(records)
            if after.head and after.begun_from_sha256 != before.state_sha256
        }
        states = {each.start for each in records if self._has_state(each)}
        self._redo = windows_to_redo(records, damaged, states)
        if not self._redo:
            return ()
        reason = (
            f"{len(damaged)} finished windows are damaged" if damaged else "the state of the last window is damaged"
        )
        frames = sum(self._records[start].frames for start in self._redo)
        return (f"{reason}; {frames} frames from frame {min(self._redo)} on are made again",)

    def kept(self, start: int, *, sampled: int, shot_start: int, state_sha256: str | None) -> WindowRecord | None:
        """The record of a window that need not be sampled again, None where it must be.

        Args:
            start: index of its first frame.
            sampled: frames in the window.
            shot_start: index of the first frame of its shot.
            state_sha256: of the state that the window begins with, None for none.
        """
        record = self._records.get(start)
        if record is None or start in self._redo:
            return None
        same = (sampled, shot_start, state_sha256)
        return record if (record.sampled, record.shot_start, record.begun_from_sha256) == same else None

    def lost(self, start: int) -> WindowRecord | None:
        """The record of a window that is to be made again, None for one that was never finished."""
        return self._records.get(start) if start in self._redo else None

    def state_before(self, start: int) -> SeamState:
        """What the window that stops there has left to the one that starts there."""
        before = next(each for each in self.finished if each.stop == start)
        try:
            return load(self.state_path(before.start).read_bytes())
        except OSError as error:
            raise OutputError(
                f"The job in {self.path} has lost the state of the window before frame {start}",
                got=error.strerror,
                remedy="start over with --restart",
            ) from error

    def place_for(self, start: int) -> Path:
        """Where the frames of a window belong; what an earlier run left there is gone.

        Args:
            start: index of its first frame.
        """
        path = self._windows / f"{start:08d}"
        _delete(path)
        return path

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The frames of every finished window, in order."""
        return tuple(record.segment_in(self._windows) for record in self.finished)

    def finish(self, record: WindowRecord, state: bytes | None) -> None:
        """Count a window as finished; its segment is in its place already.

        Args:
            record: of the window.
            state: what the next window of the shot needs, as safetensors; None where it needs nothing, or where its
                file is in its place already.

        Raises:
            ResourceError: the disk is full.
            OutputError: it cannot be written.
        """
        if state is not None:
            write_durably(self.state_path(record.start), state)
        record.write(self._windows / f"{record.start:08d}.json")
        self._records[record.start] = record
        self._redo.discard(record.start)
        self._states.add(record.start)
        for start in sorted(self._states):  # a few, whatever the length of the film
            before = self._records.get(start)
            after = None if before is None else self._records.get(before.stop)
            if after is not None and after.start not in self._redo:
                self.state_path(start).unlink(missing_ok=True)
                self._states.discard(start)

    def _has_state(self, record: WindowRecord) -> bool:
        path = self.state_path(record.start)
        return path.is_file() and file_sha256(path) == record.state_sha256

    def state_path(self, start: int) -> Path:
        """Where the state of a window belongs.

        Args:
            start: index of its first frame.
        """
        return self._windows / f"{start:08d}.state.safetensors"

    @contextmanager
    def naming(self, hidden: Path, target: Path) -> Iterator[None]:
        """Around the renaming of the whole output, so that after a kill it is known whether that has been done.

        Args:
            hidden: its name until then.
            target: its name from then on.
        """
        if self._keep:  # the folder outlives the job, done or not
            yield
            return
        names = [os.fspath(path.absolute()) for path in (hidden, target)]
        write_durably(self.path / NAMING, json.dumps(names).encode())
        try:
            yield
        except BaseException:
            if not _is_named(self.path):
                _delete(self.path / NAMING)
            raise

    def complete(self) -> None:
        """Say that the output has its name; the folder is no longer needed."""
        self._complete = True

    def _remove(self) -> None:
        for name in (RESULT, WINDOWS, MANIFEST, NAMING):
            _delete(self.path / name)
        with suppress(OSError):  # Windows deletes no open file
            (self.path / LOCK).unlink()
        self._lock.release()
        with suppress(OSError):  # somebody else has begun a job here meanwhile
            self.path.rmdir()


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
