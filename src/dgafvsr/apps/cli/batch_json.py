"""The results of `dgafvsr batch`: one JSON object, on stdout with `--json` and always in the output folder.

    {"ok": false, "exit_code": 1, "output": "large", "done": 1, "skipped": 1, "refused": 0, "failed": 1,
     "interrupted": 0, "not_started": 0, "seconds": 163.1, "loading_seconds": 0.8, "device": "cpu", "dtype": "float32",
     "workers": null, "files": [
      {"input": "a.mp4", "output": "large/a.mp4", "status": "done", "attempts": 1, "seconds": 81.4, "result": {...},
       "error": null},
      {"input": "b.mp4", "output": "large/b.mp4", "status": "skipped", ...},
      {"input": "c.mp4", "output": "large/c.mp4", "status": "failed", "attempts": 2, "seconds": 0.2, "result": null,
       "error": {"kind": "input", "message": "c.mp4 is empty (0 bytes). ...", "got": null, ...}}]}

Paths are absolute. `result` holds what `dgafvsr upscale --json` tells of a film, `error` what that tells of one that
was not made. `workers` counts those of a cluster. A batch that could not begin gives the object of `upscale --json`.
Fields may be added; none will be removed or change its meaning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dgafvsr.apps.cli import upscale_json
from dgafvsr.apps.cli.border import Failure, explain
from dgafvsr.errors import DGAFVSRError, InterruptionError, OutputError

if TYPE_CHECKING:
    from dgafvsr.jobs.batch import BatchReport, BatchResult

__all__ = [
    "RESULTS",
    "FailedBatchError",
    "InterruptedBatchError",
    "RunFacts",
    "report_facts",
    "results_folder",
    "show_failure",
    "write_results",
]

RESULTS = "dgafvsr-batch.json"
"""Name of the results' file in the output folder."""


class FailedBatchError(DGAFVSRError):
    """Some films of a batch were not made; its results are shown already."""


class InterruptedBatchError(InterruptionError):
    """A batch that was asked to stop; its results are shown already."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What all films of a batch share."""

    output: Path
    """Folder of the results."""
    loading_seconds: float
    """For the model."""
    device: str
    """Where the networks ran."""
    dtype: str
    """Of the weights."""
    workers: int | None
    """Of the cluster, None without one."""


def report_facts(report: BatchReport, run: RunFacts) -> dict[str, Any]:
    """The object of a batch, as far as it has come."""
    exit_code = InterruptionError.exit_code if report.count("interrupted", "not started") else 0
    exit_code = exit_code or int(report.count("failed", "refused") > 0)
    return {
        "ok": exit_code == 0,
        "exit_code": exit_code,
        "output": str(run.output),
        "done": report.count("done"),
        "skipped": report.count("skipped"),
        "refused": report.count("refused"),
        "failed": report.count("failed"),
        "interrupted": report.count("interrupted"),
        "not_started": report.count("not started"),
        "seconds": report.seconds,
        "loading_seconds": run.loading_seconds,
        "device": run.device,
        "dtype": run.dtype,
        "workers": run.workers,
        "files": [_file_facts(result) for result in report.results],
    }


def _file_facts(result: BatchResult) -> dict[str, Any]:
    return {
        "input": str(result.file.source),
        "output": str(result.file.target),
        "status": result.status,
        "attempts": result.attempts,
        "seconds": result.seconds,
        "result": None if result.summary is None else dict(result.summary),
        "error": None if result.error is None else upscale_json.error_facts(explain(result.error)),
    }


@contextmanager
def results_folder(folder: Path) -> Iterator[None]:
    """The output folder, made if it is not there; what of it is empty at the end goes again.

    Raises:
        OutputError: it cannot be made, or something else has the name of the results' file.
    """
    from dgafvsr.jobs.batch_records import make_folder, remove_empty

    _check_results(folder / RESULTS)
    new = make_folder(folder)
    try:
        yield
    finally:
        remove_empty(new)


def _check_results(path: Path) -> None:
    if not path.exists():
        return
    try:
        held = json.loads(path.read_bytes())
    except (OSError, ValueError):
        held = None
    if not isinstance(held, dict) or "files" not in held:
        raise OutputError(f"{path} is not the results of a batch", remedy="rename it, or choose another --output")


def write_results(folder: Path, facts: Mapping[str, Any]) -> None:
    """Put the object into the output folder, whole or not at all."""
    from dgafvsr.jobs.manifest import write_durably

    write_durably(folder / RESULTS, json.dumps(facts, indent=1).encode())


def show_failure(failure: Failure) -> None:
    """Write the object of a batch that could not begin, or broke off; that of any other is written already."""
    if not isinstance(failure.error, FailedBatchError | InterruptedBatchError):
        upscale_json.show_failure(failure)
