"""An analysis as tables: on the screen, Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from dgafvsr.evaluation.outputs import check_targets, write_atomically

__all__ = ["AnalysisReport", "Cell", "Section", "rich_table", "save_report"]

Cell = str | int | float | None
"""None is shown as "-"."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One table."""

    title: str
    """Above the table."""
    columns: tuple[str, ...]
    """Headings; the first columns may hold names, the others numbers."""
    rows: tuple[tuple[Cell, ...], ...]
    """As many cells as columns each."""
    decimals: int = 2
    """Digits after the point of floats, in tables for people; CSV and JSON have them all."""

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class AnalysisReport:
    """The tables of one analysis and what a reader of the numbers must know."""

    title: str
    """What was measured on what."""
    sections: tuple[Section, ...]
    """Summary first."""
    notes: tuple[str, ...] = ()
    """Definitions."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What makes the numbers again, as JSON can hold it."""


def rich_table(report: AnalysisReport) -> Table:
    """The summary, which is the first section; the other sections are for files."""
    summary = report.sections[0]
    table = Table(title=Text(summary.title))
    for index, column in enumerate(summary.columns):
        table.add_column(Text(column), justify="left" if index == 0 else "right", overflow="fold")
    for row in summary.rows:
        table.add_row(*map(Text, _shown(row, summary.decimals)))
    return table


def to_markdown(report: AnalysisReport) -> str:
    """Everything, with a heading a section."""
    lines = [f"# {report.title}", ""]
    for section in report.sections:
        lines += [f"## {section.title}", "", _markdown_row(section.columns)]
        lines.append(_markdown_row(["---"] + ["---:"] * (len(section.columns) - 1)))
        lines += [_markdown_row(_shown(row, section.decimals)) for row in section.rows]
        lines.append("")
    lines += [f"- {note}" for note in report.notes]
    return "\n".join(lines).rstrip() + "\n"


def to_csv(report: AnalysisReport) -> str:
    """The sections one below the other, each with its headings, an empty line between them."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for index, section in enumerate(report.sections):
        if index:
            buffer.write("\n")
        writer.writerow(["section", *section.columns])
        writer.writerows([section.title, *row] for row in section.rows)
    return buffer.getvalue()


def to_json(report: AnalysisReport) -> str:
    """Everything as one object; a row is an object by column, and a number that JSON lacks is null."""
    document = {
        "title": report.title,
        "settings": dict(report.settings),
        "sections": {
            section.title: [
                {column: _plain(cell) for column, cell in zip(section.columns, row, strict=True)}
                for row in section.rows
            ]
            for section in report.sections
        },
        "notes": list(report.notes),
        "versions": {name: version(name) for name in ("dgafvsr", "torch")},
    }
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


_FORMATS: dict[str, Callable[[AnalysisReport], str]] = {".csv": to_csv, ".json": to_json, ".md": to_markdown}


def save_report(report: AnalysisReport, path: Path, *, overwrite: bool = False) -> None:
    """Write a report in the format of the file's suffix; the file appears complete or not at all.

    Raises:
        UsageError: another suffix than .csv, .json or .md.
        OutputError: it exists or cannot be written.
    """
    check_targets([path], overwrite=overwrite)
    text = _FORMATS[path.suffix.lower()](report)
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"), overwrite=overwrite)


def _shown(row: Sequence[Cell], decimals: int) -> list[str]:
    return [f"{c:.{decimals}f}" if isinstance(c, float) else "-" if c is None else str(c) for c in row]


def _plain(cell: Cell) -> Cell:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
