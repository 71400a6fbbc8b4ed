"""`dgafvsr upscale --json`: exactly one JSON object on stdout, whether the film was made or not.

Made:

    {"ok": true, "exit_code": 0, "output": "large.mp4", "frames": 240, "frames_resumed": 0, "shots": 3, "width": 1280,
     "height": 720, "window": 24, "tile": null, "seconds": 81.4, "frames_per_second": 2.95, "loading_seconds": 0.8,
     "peak_memory_bytes": 1843200000, "device": "cpu", "dtype": "float32", "warnings": []}

`warnings` holds one sentence for each thing that the output does not keep or that had to be guessed. `frames_resumed`
counts the frames that an earlier run had finished; `frames_per_second` is about the others.

Not made:

    {"ok": false, "exit_code": 3, "error": {"kind": "input", "message": "a.mp4 does not exist. Remedy: check the path.",
     "got": null, "expected": null, "remedy": "check the path"}}

`kind` is one of usage, input, model, output, resource, interrupted and internal. `message` is the line on stderr;
`got`, `expected` and `remedy` are texts or null. Fields may be added; none will be removed or change its meaning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from dgafvsr.apps.cli.border import Failure
from dgafvsr.errors import (
    DGAFVSRError,
    InputError,
    InterruptionError,
    ModelError,
    OutputError,
    ResourceError,
    UsageError,
)

if TYPE_CHECKING:
    from dgafvsr.jobs.upscale import UpscaleSummary

__all__ = ["error_facts", "show_failure", "show_summary"]

KINDS: Mapping[type[DGAFVSRError], str] = {
    UsageError: "usage",
    InputError: "input",
    ModelError: "model",
    OutputError: "output",
    ResourceError: "resource",
    InterruptionError: "interrupted",
}
KINDS_BY_CODE = {UsageError.exit_code: "usage", InterruptionError.exit_code: "interrupted"}


def show_summary(summary: UpscaleSummary, *, dtype: str, loading_seconds: float) -> None:
    """Write the object of a film that was made.

    Args:
        summary: of the job.
        dtype: of the weights.
        loading_seconds: of the run's time, for the model.
    """
    facts = {"ok": True, "exit_code": 0, **asdict(summary), "output": str(summary.output)}
    typer.echo(json.dumps(facts | {"dtype": dtype, "loading_seconds": loading_seconds}))


def show_failure(failure: Failure) -> None:
    """Write the object of a command that failed.

    Args:
        failure: as the border tells it.
    """
    typer.echo(json.dumps({"ok": False, "exit_code": failure.exit_code, "error": error_facts(failure)}))


def error_facts(failure: Failure) -> dict[str, str | None]:
    """The object that tells why, under `error`.

    Args:
        failure: as the border tells it.
    """
    error = failure.error
    kind = KINDS.get(type(error)) if error is not None else KINDS_BY_CODE.get(failure.exit_code)
    message = failure.line.partition(": ")[2] or failure.line
    details = {name: _text(getattr(error, name, None)) for name in ("got", "expected", "remedy")}
    return {"kind": kind or "internal", "message": message, **details}


def _text(value: object) -> str | None:
    return None if value is None else str(value)
