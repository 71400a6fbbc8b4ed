"""Overlapping windows of a shot, as data: which frames are sampled together and which of them are held back.

A window is what the sampler holds in memory at once. Windows of a shot are sampled one after the other, and neighbours
share `overlap` frames: the earlier one holds them back (its tail), the later one begins with them (its head), and
`seams.py` makes one latent of the two. So a window gives out the frames [start, stop - tail), and every frame of the
shot is given out, and decoded, exactly once. The last window holds nothing back.

Noise belongs to the frame's index in the film, not to the window, so the shared frames start from the same noise in
both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeVar

from dgafvsr.errors import UsageError

__all__ = ["Window", "batch_windows", "check_window", "count_visits", "plan_windows", "stream_windows"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Window:
    """Frames [start, stop) of a shot are sampled together.

    Attributes:
        start: index in the shot of the first frame.
        stop: index in the shot after the last frame.
        head: leading frames that the window before has held back.
        tail: trailing frames that this window holds back for the next.
    """

    start: int
    stop: int
    head: int = 0
    tail: int = 0

    @property
    def emitted(self) -> int:
        """Leading frames that this window gives out, the head among them: [start, start + emitted) of the shot."""
        return self.stop - self.start - self.tail


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


def plan_windows(
    frame_count: int, length: int | None, overlap: int = 0, *, head: int = 0, tail: int = 0
) -> list[Window]:
    """Windows that give out the frames of a shot, or of a part of one, exactly once and in order.

    Args:
        frame_count: frames of the shot or part, at least 1.
        length: frames in a window; None means one window for all.
        overlap: frames that neighbouring windows share.
        head: leading frames of the part that the part before has held back.
        tail: trailing frames of the part that are held back for the next.

    Raises:
        UsageError: the overlap does not fit the window; the head does not fit the first window or the tail the last.
    """
    plan = [window for window, _ in stream_windows(range(frame_count), length, overlap)]
    _check_ends(plan, head, tail)
    plan[0] = replace(plan[0], head=head)
    plan[-1] = replace(plan[-1], tail=tail)
    return plan


def count_visits(frame_count: int, length: int | None, overlap: int = 0) -> int:
    """Frames of all windows of `plan_windows`, those that windows share once for each; without planning them.

    Args:
        frame_count: frames of the shot, at least 1.
        length: frames in a window; None means one window for all.
        overlap: frames that neighbouring windows share, fewer than `length`.
    """
    if length is None or frame_count <= length:
        return frame_count
    further = -(-(frame_count - length) // (length - overlap))
    return frame_count + further * overlap


def stream_windows(frames: Iterable[T], length: int | None, overlap: int = 0) -> Iterator[tuple[Window, list[T]]]:
    """Windows of a stream whose length is not known beforehand, each with its frames.

    Holds one window and one frame of look-ahead, so memory does not grow with the stream. Gives the same windows as
    `plan_windows` on the same number of frames.

    Raises:
        UsageError: the overlap does not fit the window.
    """
    if length is not None:
        check_window(length, overlap)
    start, head, held = 0, 0, list[T]()
    for frame in frames:
        if length is not None and len(held) == length:  # this frame proves that another window follows
            yield Window(start=start, stop=start + length, head=head, tail=overlap), held
            start, head, held = start + length - overlap, overlap, held[length - overlap :]
        held.append(frame)
    if held:
        yield Window(start=start, stop=start + len(held), head=head), held


def batch_windows(windows: Iterable[Window], size: int) -> Iterator[list[Window]]:
    """Runs of up to `size` neighbouring windows of equal length, which can be sampled in lockstep.

    Raises:
        UsageError: `size` is below 1.
    """
    if size < 1:
        raise UsageError("window_batch is out of range", got=size, expected="at least 1")
    for _, group in groupby(windows, key=lambda window: window.stop - window.start):
        run = list(group)
        yield from (run[start : start + size] for start in range(0, len(run), size))


def _check_ends(plan: list[Window], head: int, tail: int) -> None:
    first, last = plan[0].stop - plan[0].start, plan[-1].stop - plan[-1].start
    for name, shared, limit in (("head", head, first), ("tail", tail, last - 1)):
        if not 0 <= shared <= limit:
            raise UsageError(
                f"The {name} that two calls share does not fit the frames",
                got=f"{shared} frames",
                expected=f"0 to {limit}",
                remedy="give more frames, or an inner window and overlap that are at least as long",
            )
