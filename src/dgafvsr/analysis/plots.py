"""Line plots as PNG files, by matplotlib (the extra `analysis`), without a display."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dgafvsr.analysis.report import write_atomically
from dgafvsr.errors import UsageError

__all__ = ["Curve", "Panel", "check_plotting", "save_plot"]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line."""

    name: str
    """In the legend."""
    points: tuple[tuple[float, float], ...]
    """(x, y), in order."""
    dashed: bool = False
    """Dashed instead of solid."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One set of axes."""

    title: str
    """Above it."""
    x_label: str
    """Below it."""
    curves: tuple[Curve, ...]
    """Back to front."""


def check_plotting() -> None:
    """Raise UsageError unless plots can be drawn here."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "Plots need matplotlib", got=error, remedy="install the extra: pip install 'dgafvsr[analysis]'"
        ) from error


def save_plot(panels: Sequence[Sequence[Panel]], path: Path, *, overwrite: bool = False) -> None:
    """Draw panels on a grid, with one legend: the curves' names are the same throughout.

    Args:
        panels: rows of panels, each row of one length.
        path: a .png file; it appears complete or not at all.
        overwrite: whether an existing file may be replaced.

    Raises:
        UsageError: matplotlib is not installed.
        OutputError: the file exists or cannot be written.
    """
    check_plotting()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(panels[0]), 3.4 * len(panels) + 0.8), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    grid = figure.subplots(len(panels), len(panels[0]), squeeze=False)
    for row, row_axes in zip(panels, grid, strict=True):
        for panel, axes in zip(row, row_axes, strict=True):
            for curve in panel.curves:
                x, y = zip(*curve.points, strict=True)
                axes.plot(x, y, "--" if curve.dashed else "-", marker=".", label=curve.name)
            axes.set_title(panel.title, fontsize=9)
            axes.set_xlabel(panel.x_label)
            axes.grid(alpha=0.3)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, max(1, len(labels))), fontsize=8)
    write_atomically(path, lambda target: canvas.print_png(str(target)), overwrite=overwrite)
