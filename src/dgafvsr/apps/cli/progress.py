"""Progress bars on stderr. Where that is no terminal nothing is drawn, so that logs stay readable."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from dgafvsr.evaluation.runner import EvaluationProgress
    from dgafvsr.jobs.progress import UpscaleProgress
    from dgafvsr.training.trainer import StepReport

__all__ = ["CountBar", "EvaluationBar", "TrainBar", "UpscaleBar", "make_progress"]


def make_progress(console: Console) -> Progress:
    """The bars that every command draws: share, time, time left, and each task's `note`."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


class _Bar:
    """One bar, with a note at its end, drawn while its context is open."""

    def __init__(self, label: str, console: Console | None = None) -> None:
        self._progress = make_progress(console or Console(stderr=True))
        self._task = self._progress.add_task(label, total=None, note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class CountBar(_Bar):
    """Progress over things of one kind, of which it may be unknown how many there are."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """Show how many are done."""
        self._progress.update(self._task, completed=done, total=total, note=f"{done}")


class EvaluationBar(_Bar):
    """Progress of scoring over its pictures."""

    def __call__(self, progress: EvaluationProgress) -> None:
        """Show where an evaluation is."""
        self._progress.update(self._task, completed=progress.done, total=progress.total, note=progress.clip)


class UpscaleBar(_Bar):
    """Progress of a film: over its (step, frame) work, or over the segments that are checked or put together."""

    def __call__(self, progress: UpscaleProgress) -> None:
        """Show where a job is."""
        total = "?" if progress.frames_total is None else progress.frames_total
        note = f"{progress.frames_done}/{total} frames written"
        if progress.phase == "stopping":
            note += "; a window is being finished (Ctrl-C again gives it up)"
        share = progress.phase_share
        self._progress.update(
            self._task,
            description=progress.phase,
            completed=progress.work_done if share is None else share,
            total=progress.work_total if share is None else 1,
            note=note,
        )


class TrainBar(_Bar):
    """Progress of training, stage after stage, with the losses."""

    _stage: str | None = None

    def __call__(self, report: StepReport) -> None:
        """Show where a stage is."""
        if report.stage != self._stage:
            self._stage = report.stage
            self._progress.reset(self._task, description=report.stage, total=report.steps)
        losses = "  ".join(f"{name} {value:.4g}" for name, value in report.losses.items())
        note = f"{losses}  {report.samples_per_second:.3g} samples/s"
        self._progress.update(self._task, completed=report.step, total=report.steps, note=note)
