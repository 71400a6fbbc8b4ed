"""How a job comes to the shots of its film, and where it writes them down."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from dgafvsr.errors import UsageError
from dgafvsr.jobs.background import read_ahead
from dgafvsr.video.atomic import PendingFile, writing_error
from dgafvsr.video.frames import Frame, SourceInfo
from dgafvsr.video.shot_lists import ShotList, ShotRecorder, dump_shots, read_shots
from dgafvsr.video.shots import MarkedFrame, ShotStream, detect_cuts, mark_cuts, split_shots

__all__ = ["FRAMES_AHEAD", "ShotPlan", "check_shot_options"]

FRAMES_AHEAD = 8
"""Frames that are decoded and looked at for cuts, on a thread of their own, before they are asked for."""


def check_shot_options(*, detect: bool, given: Path | None, save: Path | None) -> None:
    """Raise UsageError unless the options of `ShotPlan` go together."""
    if not detect and (given is not None or save is not None):
        raise UsageError(
            "The film cannot be taken as one shot and have a shot list",
            got=f"--no-shots and {'--save-shots' if given is None else '--shots'}",
            remedy="leave one of them out",
        )


class ShotPlan:
    """The shots of one film: found, read from a list, or the whole film as one.

    Frames are read and cuts are found on another thread, a few frames ahead. Leaving the context ends that thread, and,
    without an error, writes the shots down if that was asked for; with an error nothing is written.

    Args:
        info: of the film.
        target: the job's own output, which the list may not replace or lie in.
        detect: whether cuts are looked for; False without a list: the film is one shot.
        given: a shot list to follow instead.
        save: where the shots are written as a list, None for nowhere.
        overwrite: whether an existing list may be replaced.

    Raises:
        InputError: the given list cannot be used, or goes on after the film's end.
        OutputError: the list to write exists or cannot be written.
        UsageError: the options contradict one another.
    """

    def __init__(
        self,
        info: SourceInfo,
        target: Path,
        *,
        detect: bool = True,
        given: Path | None = None,
        save: Path | None = None,
        overwrite: bool = False,
    ) -> None:
        check_shot_options(detect=detect, given=given, save=save)
        self._detect, self._recorder = detect, ShotRecorder(())
        self._given: ShotList | None = None if given is None else read_shots(given)
        if self._given is not None and info.frame_count is not None:
            self._given.check_fits(info.frame_count)
        self._reading: Generator[MarkedFrame] | None = None
        self._is_whole = True
        self._save: Callable[[], PendingFile] | None = None
        if save is not None:
            _check_apart(save, target)
            self._save = partial(PendingFile, save, overwrite=overwrite, source=info.path)
            self._save().discard()  # the proof that it can be written; made anew at the end, lest a kill leave it there

    @property
    def count(self) -> int:
        """Shots so far."""
        return len(self._recorder.shots)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the given list was not used, after the last frame; for films whose container counts no frames."""
        if not self._is_whole:
            return ()
        beyond = [start for start in (self._given.starts if self._given else ()) if start >= self._recorder.frames]
        if not beyond:
            return ()
        return (f"the film ends with frame {self._recorder.frames - 1}; {len(beyond)} listed shots lie after that",)

    def split(self, frames: Iterable[Frame], *, first_frame: int | None = None) -> Iterator[ShotStream]:
        """The shots, in order, each to be read before the next is asked for.

        Args:
            frames: of the film, or of a part of it.
            first_frame: index in the film of the part's first frame; None for the whole film.
        """
        self._is_whole = first_frame is None
        if self._given is not None:
            marked = mark_cuts(frames, frozenset(start - (first_frame or 0) for start in self._given.starts))
        else:
            marked = detect_cuts(frames) if self._detect else mark_cuts(frames)
        self._reading = read_ahead(marked, FRAMES_AHEAD)
        self._recorder = ShotRecorder(self._reading)
        return split_shots(self._recorder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reading is not None:
            self._reading.close()
        if self._save is None or kind is not None:
            return
        pending = self._save()
        try:
            pending.path.write_text(dump_shots(self._recorder.shots), encoding="utf-8")
            pending.publish()
        except OSError as failure:
            raise writing_error(pending.target, failure) from failure
        finally:
            pending.discard()  # a published file no longer has this name


def _check_apart(save: Path, target: Path) -> None:
    resolved, output = Path(os.path.realpath(save)), Path(os.path.realpath(target))
    if resolved == output or output in resolved.parents:
        raise UsageError(
            f"The shot list {save} would replace the output or lie in it",
            got=f"{save} and {target}",
            remedy="choose another name for the shot list",
        )
