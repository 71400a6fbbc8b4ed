"""What a batch looks like: a bar for all films and one for each that is being made on stderr, a table at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import TaskID
from rich.table import Table

from dgafvsr.apps.cli.progress import make_progress

if TYPE_CHECKING:
    from dgafvsr.jobs.batch import BatchEvent, BatchReport, BatchResult
    from dgafvsr.jobs.batch_inputs import BatchFile
    from dgafvsr.jobs.progress import UpscaleProgress

__all__ = ["BatchView", "show_table", "shown_path"]

COLORS: Mapping[str, str] = {"done": "green", "skipped": "green", "refused": "yellow", "failed": "red"}


class BatchView:
    """Bars while its context is open, and a line for each film that has come to an end.

    Where stderr is no terminal there are no bars.

    Args:
        files: in the batch.
        console: None for stderr.
    """

    def __init__(self, files: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._progress = make_progress(self._console)
        self._files = files
        self._all = self._progress.add_task("batch", total=files, note=f"0/{files} films")
        self._running: dict[BatchFile, TaskID] = {}
        self._shares: dict[BatchFile, float] = {}
        self._ended = 0

    def __call__(self, event: BatchEvent) -> None:
        """Show an event of the batch."""
        if event.progress is not None:
            self._went_on(event.file, event.progress)
        elif event.result is not None and event.report is not None:
            self._progress.remove_task(self._running.pop(event.file))
            self._shares.pop(event.file, None)
            if event.again:
                self._say("-", event.result, "failed, is tried again later")
            else:
                self._ended += 1
                self._say(str(self._ended), event.result, event.result.status)
        else:
            name = escape(event.file.source.name)
            self._running[event.file] = self._progress.add_task(name, total=None, note="")
        done = self._ended + sum(self._shares.values())
        self._progress.update(self._all, completed=done, note=f"{self._ended}/{self._files} films")

    def _say(self, place: str, result: BatchResult, what: str) -> None:
        line = f"[{place}/{self._files}] {what}  {shown_path(result.file.source)}  {result.seconds:.1f} s"
        style = COLORS.get(result.status)
        self._console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    def _went_on(self, file: BatchFile, progress: UpscaleProgress) -> None:
        if progress.work_total:
            self._shares[file] = min(1.0, progress.work_done / progress.work_total)
        total = "?" if progress.frames_total is None else progress.frames_total
        note = f"{progress.frames_done}/{total} frames written"
        self._progress.update(
            self._running[file],
            completed=progress.work_done,
            total=progress.work_total,
            note=note if progress.phase == "upscaling" else f"{note}, {progress.phase}",
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def show_table(report: BatchReport, facts: Mapping[str, Any], console: Console | None = None) -> None:
    """Write what became of every film.

    Args:
        report: of the batch.
        facts: the same as an object, with the reasons.
        console: None for stdout.
    """
    console = console or Console()
    table = Table(box=None, pad_edge=False, show_edge=False)
    for name, align in (
        ("film", "left"),
        ("status", "left"),
        ("frames", "right"),
        ("size", "right"),
        ("time", "right"),
    ):
        table.add_column(name, justify=align, overflow="fold", no_wrap=name != "film")  # type: ignore[arg-type]
    for result in report.results:
        made = result.summary or {}
        size = f"{made['width']}x{made['height']}" if made else ""
        status = f"[{COLORS[result.status]}]{result.status}[/]" if result.status in COLORS else result.status
        tried = f" ({result.attempts} attempts)" if result.attempts > 1 else ""
        name = escape(result.file.source.name)
        table.add_row(name, status + tried, str(made.get("frames", "")), size, f"{result.seconds:.1f} s")
    console.print(table)
    for each in facts["files"]:
        if each["error"] is not None:
            message = each["error"]["message"]
            named = message if each["input"] in message else f"{each['input']}: {message}"
            console.print(named, markup=False, highlight=False, soft_wrap=True)
    counts = [f"{facts[name]} {name.replace('_', ' ')}" for name in COUNTED if facts[name]]
    console.print(f"{', '.join(counts)} in {report.seconds:.1f} s; {facts['output']}", highlight=False, soft_wrap=True)


def shown_path(path: Path) -> Path:
    """The path, from the folder that the user is in if it lies there."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


COUNTED = ("done", "skipped", "refused", "failed", "interrupted", "not_started")
