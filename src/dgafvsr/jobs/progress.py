"""How far a job is, told to whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from dgafvsr.sampling.windows import count_visits

__all__ = ["Listener", "Meter", "UpscaleProgress"]


@dataclass(frozen=True, kw_only=True)
class UpscaleProgress:
    """How far a job is. Work is counted in (step, frame) units; frames in overlaps count once for each window."""

    frames_done: int
    """Frames written, those of a resumed job's earlier runs among them."""
    frames_total: int | None
    """Frames of the film; an estimate where the container does not count them; None where nothing is known."""
    work_done: int
    """Units done, those of earlier runs among them."""
    work_total: int | None
    """Units in all, as good as `frames_total`."""
    notes: tuple[str, ...] = ()
    """What there is to say so far, one sentence each: from the beginning what the output will not hold, then what has
    happened on the way, such as windows made smaller because the memory was full."""
    finishing: bool = False
    """Whether the job was asked to stop and is finishing the frames that are sampled already."""


Listener = Callable[[UpscaleProgress], None]


class Meter:
    """Turns events into progress.

    Args:
        begin: nothing is done yet.
        steps: denoising steps.
        window: frames sampled together.
        overlap: frames that neighbouring windows share.
        listener: told of every change; None for nobody.
    """

    def __init__(
        self, begin: UpscaleProgress, *, steps: int, window: int, overlap: int, listener: Listener | None
    ) -> None:
        self._steps, self._window, self._overlap, self._listener = steps, window, overlap, listener
        self._progress = begin

    def entered_shot(self, start: int, work_before: int | None = None) -> None:
        """Plans the rest of the film as one shot: a cut costs windows, and saves overlaps.

        Args:
            start: index of the shot's first frame.
            work_before: units in all shots before, where they need not be done; None where they are.
        """
        if self._progress.frames_total is not None:
            rest = max(1, self._progress.frames_total - start)
            work = self._steps * count_visits(rest, self._window, self._overlap)
            before = self._progress.work_done if work_before is None else work_before
            self._progress = replace(self._progress, work_total=before + work)

    def worked(self, units: int = 1) -> None:
        """Count frames at one step; less than none where work is lost."""
        self._tell(replace(self._progress, work_done=self._progress.work_done + units))

    def finished(self, frames: int) -> None:
        """Count frames that were written."""
        self._tell(replace(self._progress, frames_done=self._progress.frames_done + frames))

    def skipped(self, *, sampled: int, emitted: int) -> None:
        """Count a window that an earlier run has finished."""
        work = self._progress.work_done + self._steps * sampled
        self._tell(replace(self._progress, work_done=work, frames_done=self._progress.frames_done + emitted))

    def finishing(self) -> None:
        """Say that nothing more is sampled."""
        self._tell(replace(self._progress, finishing=True))

    def noted(self, notes: Iterable[str]) -> None:
        """Say what has happened."""
        new = tuple(note for note in notes if note not in self._progress.notes)
        if new:
            self._tell(replace(self._progress, notes=(*self._progress.notes, *new)))

    def _tell(self, progress: UpscaleProgress) -> None:
        self._progress = progress
        if self._listener is not None:
            self._listener(progress)
