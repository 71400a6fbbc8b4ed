"""A result as a table on the screen, Markdown, CSV or JSON. Published rows stand beside measured ones as references.

Measured cells: a number, or "n/a: why" in two words, with the whole reason below the table. Reference cells: a number,
or "-" where nothing was published. JSON has no infinity: equal pictures have a PSNR of "inf".
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from dgafvsr.evaluation.metrics import METRICS, MetricName
from dgafvsr.evaluation.outputs import check_targets, write_atomically
from dgafvsr.evaluation.results import ClipScores, EvaluationResult, MethodScores

__all__ = ["footnotes", "headline", "rich_tables", "save_report", "to_csv", "to_json", "to_markdown"]


def rich_tables(result: EvaluationResult, *, width: int | None = None, per_clip: bool = True) -> list[Table]:
    """The result for a terminal: one row per clip and method, means below, references last.

    Metrics that find no room beside the others get tables of their own: a number is never cut. Names and reasons come
    from outside and are shown as they are, without rich's markup.

    Args:
        result: what to show.
        width: columns of the terminal; None puts everything into one table.
        per_clip: whether clips have rows of their own.
    """
    rows = _rows(result, per_clip=per_clip)
    headings = ("clip", "method")
    columns = [row[0] for row in rows], [row[1] for row in rows]
    names = [_fitting([heading, *column], width) for heading, column in zip(headings, columns, strict=True)]
    cells = {name: [row[2][index] for row in rows] for index, name in enumerate(result.metrics)}
    texts = {name: [METRICS[name].heading, *cells[name]] for name in result.metrics}
    widths = {name: max(map(cell_len, texts[name])) if width is None else _longest_word(texts[name]) for name in texts}
    tables = []
    for part in _blocks(widths, None if width is None else width - sum(names) - 3 * len(names) - 1):
        table = Table()
        for heading, room in zip(headings, names, strict=True):
            table.add_column(heading, width=room, overflow="fold")
        for name in part:
            table.add_column(Text(METRICS[name].heading), justify="right", width=widths[name])
        for index, (clip, method, _, kind) in enumerate(rows):
            shown = (clip, method, *(cells[name][index] for name in part))
            table.add_row(*map(Text, shown), style={"reference": "dim", "mean": "bold"}.get(kind))
        tables.append(table)
    return tables


def headline(result: EvaluationResult) -> str:
    """Protocol, clips and frames, which belong to every number.

    Args:
        result: what is shown.
    """
    limit = "" if result.max_frames is None else f" (at most the first {result.max_frames} of each clip)"
    clips = ", ".join(result.clip_names) if len(result.clip_names) <= 6 else f"{len(result.clip_names)} clips"
    return f"Protocol {result.protocol.name}; {clips}; {result.frame_count} frames{limit}"


def footnotes(result: EvaluationResult) -> list[str]:
    """What a reader of the table must know: why a metric has no value, and notes on the clips.

    Args:
        result: what is shown.
    """
    reasons = [f"{METRICS[name].title} n/a: {found.reason}" for name, found in result.unavailable.items()]
    own = result.truth is None and "warping" in result.metrics
    motion = (
        [f"{METRICS['warping'].title}: along each method's own motion, since there is no ground truth"] if own else []
    )
    return [*reasons, *motion, *result.notes]


def to_markdown(result: EvaluationResult, *, per_clip: bool = True) -> str:
    """The result as a Markdown table; the best mean of several methods is bold, references are italic.

    Args:
        result: what to show.
        per_clip: whether clips have rows of their own.
    """
    headings = ["clip", "method", *(METRICS[name].heading for name in result.metrics)]
    lines = [
        f"{headline(result)}",
        "",
        _markdown_row(headings),
        _markdown_row(["---", "---"] + ["---:"] * (len(headings) - 2)),
    ]
    best = {name: _best(result, name) for name in result.metrics}
    for clip, method, cells, style in _rows(result, per_clip=per_clip):
        if style == "mean":
            pairs = zip(result.metrics, cells, strict=True)
            cells = [f"**{cell}**" if best[name] == method else cell for name, cell in pairs]
        lines.append(_markdown_row([clip, f"*{method}*" if style == "reference" else method, *cells]))
    lines += ["", *(f"- {note}" for note in footnotes(result))] if footnotes(result) else []
    return "\n".join(lines) + "\n"


def to_csv(result: EvaluationResult) -> str:
    """The result in long form: method, clip, frame, metric, value; frame "mean" and clip "mean" hold the means.

    Args:
        result: what to write.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["method", "clip", "frame", "metric", "value"])
    for method in result.methods:
        for name in result.metrics:
            if name in result.unavailable:
                writer.writerow([method.name, "mean", "mean", name, f"n/a: {result.unavailable[name].reason}"])
                continue
            for clip in method.clips:
                values = zip(clip.frames, clip.values[name], strict=True)
                writer.writerows(
                    [method.name, clip.name, frame, name, value] for frame, value in values if value is not None
                )
                writer.writerow([method.name, clip.name, "mean", name, clip.mean(name)])
            writer.writerow([method.name, "mean", "mean", name, method.mean(name)])
    return buffer.getvalue()


def to_json(result: EvaluationResult) -> str:
    """The whole result, with protocol, versions and every frame's values, as one JSON object.

    Args:
        result: what to write.
    """
    document = {
        "truth": None if result.truth is None else str(result.truth),
        "protocol": asdict(result.protocol),
        "max_frames": result.max_frames,
        "frames_per_method": result.frame_count,
        "metrics": list(result.metrics),
        "unavailable": {name: found.reason for name, found in result.unavailable.items()},
        "methods": {method.name: _method_document(method, result) for method in result.methods},
        "published": [asdict(row) for row in result.published],
        "notes": list(result.notes),
        "versions": {name: version(name) for name in ("dgafvsr", "torch", "torchmetrics", "torchvision")},
    }
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


_FORMATS: dict[str, Callable[[EvaluationResult], str]] = {".csv": to_csv, ".json": to_json, ".md": to_markdown}


def save_report(result: EvaluationResult, path: Path, *, overwrite: bool = False) -> None:
    """Write a result in the format of the file's suffix; the file appears complete or not at all.

    Args:
        result: what to write.
        path: .csv, .json or .md.
        overwrite: whether an existing file may be replaced.

    Raises:
        UsageError: another suffix.
        OutputError: it exists or cannot be written.
    """
    check_targets([path], overwrite=overwrite)
    text = _FORMATS[path.suffix.lower()](result)
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"), overwrite=overwrite)


def _rows(result: EvaluationResult, *, per_clip: bool) -> list[tuple[str, str, list[str], str]]:
    """Clip, method, one cell per metric and the kind of row: clip, mean or reference."""
    rows = []
    names = result.clip_names
    if per_clip and len(names) > 1:
        for index, clip in enumerate(names):
            rows += [(clip, method.name, _cells(method.clips[index], result), "clip") for method in result.methods]
    mean = "mean" if len(names) > 1 else names[0]
    rows += [(mean, method.name, _cells(method, result), "mean") for method in result.methods]
    for row in result.published:
        cells = [_number(name, row.values[name]) if name in row.values else "-" for name in result.metrics]
        rows.append((mean, row.name, cells, "reference"))
    return rows


def _cells(scores: ClipScores | MethodScores, result: EvaluationResult) -> list[str]:
    cells = []
    for name in result.metrics:
        if name in result.unavailable:
            cells.append(f"n/a: {result.unavailable[name].short}")
        else:
            value = scores.mean(name)
            cells.append("n/a: one frame" if value is None else _number(name, value))
    return cells


def _number(metric: MetricName, value: float) -> str:
    return f"{value:.{METRICS[metric].decimals}f}"


def _best(result: EvaluationResult, metric: MetricName) -> str | None:
    """The method with the best mean, None with fewer than two methods."""
    means = {method.name: method.mean(metric) for method in result.methods}
    known = {name: value for name, value in means.items() if value is not None}
    if len(known) < 2:
        return None
    return (max if METRICS[metric].higher_is_better else min)(known, key=lambda name: known[name])


def _fitting(names: Sequence[str], width: int | None) -> int:
    """Columns for names: what the longest needs, of a terminal a third at most, since they may be folded."""
    needed = max(map(cell_len, names))
    return needed if width is None else min(needed, max(8, width // 3))


def _longest_word(texts: Sequence[str]) -> int:
    return max(cell_len(word) for text in texts for word in text.split())


def _blocks(widths: Mapping[MetricName, int], room: int | None) -> list[list[MetricName]]:
    """The metrics in order, each block as many as fit beside each other with their borders, at least one."""
    blocks: list[list[MetricName]] = []
    left = 0
    for name, width in widths.items():
        left -= width + 3
        if not blocks or (room is not None and left < 0):
            blocks.append([])
            left = (room or 0) - width - 3
        blocks[-1].append(name)
    return blocks


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _method_document(method: MethodScores, result: EvaluationResult) -> dict[str, Any]:
    available = [name for name in result.metrics if name not in result.unavailable]
    clips = {
        clip.name: {
            "mean": {name: _plain(clip.mean(name)) for name in available},
            "frames": list(clip.frames),
            "values": {name: [_plain(value) for value in clip.values[name]] for name in available},
        }
        for clip in method.clips
    }
    return {"mean": {name: _plain(method.mean(name)) for name in available}, "clips": clips}


def _plain(value: float | None) -> float | str | None:
    """A value that JSON has."""
    return str(value) if value is not None and math.isinf(value) else value
