"""How far a job is, told to whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from dgafvsr.sampling.windows import count_visits

__all__ = ["Listener", "Meter", "Phase", "UpscaleProgress"]

Phase = Literal["checking", "upscaling", "stopping", "assembling"]
"""What a job does: reads again what earlier runs have finished; samples and stores windows; was asked to stop and
finishes the frames that are sampled already; puts the windows together and verifies the whole."""


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
    phase: Phase = "upscaling"
    """What is being done."""
    phase_share: float | None = None
    """What part of checking or assembling is done, in [0, 1]; None in the other phases, which `work_done` measures."""


Listener = Callable[[UpscaleProgress], None]


class Meter:
    """Turns events into progress.

    Args:
        begin: nothing is done yet.
        listener: told of every change; None for nobody.
    """

    def __init__(self, begin: UpscaleProgress, listener: Listener | None) -> None:
        self._progress, self._listener = begin, listener
        self._steps = self._window = self._overlap = 0

    def planned(self, *, steps: int, window: int, overlap: int) -> None:
        """Settle what a frame costs, before the first shot.

        Args:
            steps: denoising steps.
            window: frames sampled together.
            overlap: frames that neighbouring windows share.
        """
        self._steps, self._window, self._overlap = steps, window, overlap

    def began(self) -> None:
        """Say that nothing is done yet."""
        self._tell(self._progress)

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

    def entered(self, phase: Phase, share: float | None = None) -> None:
        """Say what is done from now on, or how far checking or assembling is.

        Args:
            phase: what is done.
            share: what part of it is done already, in [0, 1].
        """
        self._tell(replace(self._progress, phase=phase, phase_share=share))

    def noted(self, notes: Iterable[str]) -> None:
        """Say what has happened."""
        new = tuple(note for note in notes if note not in self._progress.notes)
        if new:
            self._tell(replace(self._progress, notes=(*self._progress.notes, *new)))

    def _tell(self, progress: UpscaleProgress) -> None:
        self._progress = progress
        if self._listener is not None:
            self._listener(progress)
