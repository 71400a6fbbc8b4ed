"""How far the job at work is, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dgafvsr.jobs.progress import UpscaleProgress

__all__ = ["Eta", "JobProgress"]

LEAST_SECONDS = 2.0
"""Of work before a forecast: the first units of a run are slower than the rest."""


@dataclass(frozen=True, kw_only=True)
class JobProgress:
    """Where a job is."""

    phase: str
    """What is being done, for people."""
    share: float | None = None
    """What part of it is done, in [0, 1]; None where unknown."""
    frames_done: int = 0
    """Frames written."""
    frames_total: int | None = None
    """Frames in all, as far as known."""
    seconds_left: float | None = None
    """Forecast, None while there is none."""
    notes: tuple[str, ...] = ()
    """What there is to say so far, one sentence each."""


class Eta:
    """Turns the progress of upscaling into a forecast. Work that an earlier run had done does not count as speed.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._done_before, self._last = 0, 0

    def __call__(self, progress: UpscaleProgress) -> JobProgress:
        """The same for people."""
        now, done, total = self._clock(), progress.work_done, progress.work_total
        if self._since is None or done > self._last + 1:  # the first unit, or a window that was finished before
            self._since, self._done_before = now, done
        self._last = done
        worked, seconds = done - self._done_before, now - self._since
        left = None
        finishing = total is not None and done >= total  # decoding and storing the last frames is no unit of work
        if total is not None and not finishing and worked > 0 and seconds >= LEAST_SECONDS:
            left = seconds / worked * (total - done)
        if progress.phase_share is not None:
            return JobProgress(
                phase=progress.phase.capitalize(),
                share=progress.phase_share,
                frames_done=progress.frames_done,
                frames_total=progress.frames_total,
            )
        return JobProgress(
            phase="Finishing" if finishing else "Upscaling",
            share=None if not total else min(1.0, done / total),
            frames_done=progress.frames_done,
            frames_total=progress.frames_total,
            seconds_left=left,
        )
