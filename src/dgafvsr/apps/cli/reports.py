"""Where the numbers of commands that measure go: the options for files, and the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

__all__ = ["REPORTS", "Csv", "Json", "Markdown", "Overwrite", "show_tables", "wanted"]

REPORTS = "Reports"

UNBOUNDED = 10_000
"""Columns of what is no terminal."""

Json = Annotated[
    Path | None,
    typer.Option(metavar="FILE", rich_help_panel=REPORTS, help="Write everything here.", show_default=False),
]
Markdown = Annotated[
    Path | None,
    typer.Option(metavar="FILE", rich_help_panel=REPORTS, help="Write the tables here.", show_default=False),
]
Csv = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", rich_help_panel=REPORTS, help="Write the numbers here, for programs.", show_default=False
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", rich_help_panel=REPORTS, help="Replace existing reports and pictures.")
]


def wanted(*paths: Path | None) -> list[Path]:
    """The files that were asked for."""
    return [path for path in paths if path is not None]


def show_tables(title: str, tables: Callable[[int | None], Iterable[Table]], notes: Iterable[str]) -> None:
    """Print a title and tables, as wide as the terminal allows, into a file or a pipe as they are; then the notes.

    Args:
        title: shown as it is.
        tables: gives them for a terminal of that many columns, None for any.
        notes: sentences, shown as they are.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=UNBOUNDED)
    width = console.width if console.is_terminal else None
    for each in (title, *tables(width), *notes):
        console.print(each, markup=False, highlight=False, soft_wrap=isinstance(each, str))
