"""Overlapping windows of a shot, as data: which frames are sampled together and which of them are kept.

A window is what the sampler holds in memory at once. Neighbouring windows share `overlap` frames; each of the two keeps
its half of them, the half that lies farther from its own border, where the sweeps have already gathered guidance from
both sides. Noise belongs to the frame's index in the film, not to the window, so the shared frames start from the same
noise in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from dgafvsr.errors import UsageError

__all__ = ["Window", "batch_windows", "check_window", "plan_windows", "stream_windows"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Window:
    """Frames [start, stop) of a shot are sampled together, frames [keep_start, keep_stop) of them are kept."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int

    @property
    def kept(self) -> slice:
        """The kept frames, counted from the window's own first frame."""
        return slice(self.keep_start - self.start, self.keep_stop - self.start)


def check_window(length: int, overlap: int) -> None:
    """Raise UsageError unless a window of `length` frames can share `overlap` of them with the next."""
    if length < 1:
        raise UsageError("The window is too short", got=length, expected="at least 1 frame")
    if not 0 <= overlap < length:
        raise UsageError(
            "The overlap does not fit the window",
            got=f"overlap {overlap}, window {length}",
            expected="0 <= overlap < window",
            remedy="lengthen the window or shorten the overlap",
        )


def plan_windows(frame_count: int, length: int | None, overlap: int = 0) -> list[Window]:
    """Windows that keep every frame of a shot exactly once, in order.

    Args:
        frame_count: frames of the shot, at least 1.
        length: frames in a window; None means one window for the whole shot.
        overlap: frames that neighbouring windows share.
    """
    return [window for window, _ in stream_windows(range(frame_count), length, overlap)]


def stream_windows(frames: Iterable[T], length: int | None, overlap: int = 0) -> Iterator[tuple[Window, list[T]]]:
    """Windows of a stream whose length is not known beforehand, each with its frames.

    Holds one window and one frame of look-ahead, so memory does not grow with the stream. Gives the same windows as
    `plan_windows` on the same number of frames.

    Raises:
        UsageError: the overlap does not fit the window.
    """
    if length is not None:
        check_window(length, overlap)
    start, keep_start, held = 0, 0, list[T]()
    for frame in frames:
        if length is not None and len(held) == length:  # this frame proves that another window follows
            stop = start + length
            keep_stop = stop - overlap // 2
            yield Window(start=start, stop=stop, keep_start=keep_start, keep_stop=keep_stop), held
            start, keep_start, held = stop - overlap, keep_stop, held[length - overlap :]
        held.append(frame)
    if held:
        stop = start + len(held)
        yield Window(start=start, stop=stop, keep_start=keep_start, keep_stop=stop), held


def batch_windows(windows: Iterable[Window], size: int) -> Iterator[list[Window]]:
    """Runs of up to `size` neighbouring windows of equal length, which can be sampled in lockstep."""
    for _, group in groupby(windows, key=lambda window: window.stop - window.start):
        run = list(group)
        yield from (run[start : start + size] for start in range(0, len(run), size))
