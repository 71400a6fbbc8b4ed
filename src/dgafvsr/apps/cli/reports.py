"""The options of commands that measure: which files the numbers go to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["REPORTS", "Csv", "Json", "Markdown", "Overwrite", "wanted"]

REPORTS = "Reports"

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
