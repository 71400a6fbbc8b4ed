"""Plots as PNG files, by matplotlib (the extra `analysis`), without a display."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgafvsr.errors import UsageError
from dgafvsr.evaluation.outputs import write_atomically

__all__ = ["Bars", "Curve", "Panel", "Strip", "Tile", "check_plotting", "save_plot", "save_sheet", "save_strips"]

GROUP_WIDTH = 0.8
"""Of the bars of a group, which are 1 apart."""
LABEL_LETTERS = 48
"""So many fit below a panel when they run from left to right."""


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
class Bars:
    """One bar in each group."""

    name: str
    """In the legend."""
    heights: tuple[float, ...]
    """One per group; nan draws none."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One set of axes, with lines or with bars."""

    title: str
    """Above it."""
    x_label: str = ""
    """Below it."""
    curves: tuple[Curve, ...] = ()
    """Back to front."""
    bars: tuple[Bars, ...] = ()
    """Left to right within a group."""
    groups: tuple[str, ...] = ()
    """Names of the groups of bars."""
    levels: Mapping[str, float] = field(default_factory=dict)
    """Name -> height of a dashed line across the last group, which holds what it is to be compared with."""


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A picture that is as wide as the page."""

    name: str
    """Above it."""
    pixels: NDArray[Any]
    """T W 3 in [0, 1]: time runs downwards."""
    first: int = 0
    """The number of the first frame."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A small picture of a sheet."""

    name: str
    """Above it."""
    pixels: NDArray[Any]
    """H W 3 in [0, 1], or H W of any range."""
    limits: tuple[float, float] | None = None
    """What is black and what white (or the ends of the colour scale) of an H W picture; None: its own extremes."""


def check_plotting() -> None:
    """Raise UsageError unless plots can be drawn here."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "Plots need matplotlib", got=error, remedy="install the extra: pip install 'dgafvsr[analysis]'"
        ) from error


def save_plot(panels: Sequence[Sequence[Panel]], path: Path, *, overwrite: bool = False) -> None:
    """Draw panels on a grid, with one legend: a name means the same throughout.

    Args:
        panels: rows of panels; a row may be shorter than the first.
        path: a .png file; it appears complete or not at all.
        overwrite: whether an existing file may be replaced.

    Raises:
        UsageError: matplotlib is not installed.
        OutputError: the file exists or cannot be written.
    """
    columns = len(panels[0])
    figure, grid = _figure(len(panels), columns, size=(4.2 * columns, 3.4 * len(panels) + 0.8))
    for row_axes in grid:
        for axes in row_axes:
            axes.set_visible(False)
    for row, row_axes in zip(panels, grid, strict=True):
        for panel, axes in zip(row, row_axes, strict=False):
            axes.set_visible(True)
            _draw(panel, axes)
    _add_legend(figure, [panel for row in panels for panel in row], grid.flat)
    _save(figure, path, overwrite=overwrite)


def save_strips(strips: Sequence[Strip], path: Path, *, overwrite: bool = False) -> None:
    """Draw pictures one below the other, each stretched in time until it can be seen.

    Args:
        strips: top to bottom, of one width.
        path: a .png file; it appears complete or not at all.
        overwrite: whether an existing file may be replaced.

    Raises:
        UsageError: matplotlib is not installed.
        OutputError: the file exists or cannot be written.
    """
    figure, grid = _figure(len(strips), 1, size=(10.0, 1.5 * len(strips)))
    for strip, (axes,) in zip(strips, grid, strict=True):
        count, width = strip.pixels.shape[:2]
        frames = (strip.first - 0.5, strip.first + count - 0.5)
        axes.imshow(strip.pixels, aspect="auto", interpolation="nearest", extent=(0, width, *reversed(frames)))
        axes.set_title(strip.name, fontsize=9, loc="left")
        axes.set_ylabel("frame", fontsize=8)
        axes.set_xticks([])
        _whole_ticks(axes.yaxis)
    _save(figure, path, overwrite=overwrite)


def save_sheet(tiles: Sequence[Sequence[Tile]], path: Path, *, overwrite: bool = False) -> None:
    """Draw small pictures on a grid, pixels as squares.

    Args:
        tiles: rows of tiles; a row may be shorter than the first.
        path: a .png file; it appears complete or not at all.
        overwrite: whether an existing file may be replaced.

    Raises:
        UsageError: matplotlib is not installed.
        OutputError: the file exists or cannot be written.
    """
    columns = max(len(row) for row in tiles)
    figure, grid = _figure(len(tiles), columns, size=(2.6 * columns, 2.8 * len(tiles)))
    for row, row_axes in zip(tiles, grid, strict=True):
        for axes in row_axes:
            axes.set_axis_off()
        for tile, axes in zip(row, row_axes, strict=False):
            low, high = tile.limits or (float(np.min(tile.pixels)), float(np.max(tile.pixels)))
            axes.imshow(tile.pixels, interpolation="nearest", cmap="gray", vmin=low, vmax=high)
            axes.set_title(tile.name, fontsize=8)
    _save(figure, path, overwrite=overwrite)


def _figure(rows: int, columns: int, *, size: tuple[float, float]) -> tuple[Any, Any]:
    check_plotting()
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure: Any, path: Path, *, overwrite: bool) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    write_atomically(path, lambda target: canvas.print_png(str(target)), overwrite=overwrite)


def _add_legend(figure: Any, panels: Sequence[Panel], axes: Sequence[Any]) -> None:
    """Every name once, in the order of the panels; a line that only some of them have is not forgotten."""
    drawn: dict[str, Any] = {}
    for each in axes:
        handles, labels = each.get_legend_handles_labels()
        drawn |= dict(zip(labels, handles, strict=True))
    drawn_by = [[*(curve.name for curve in panel.curves), *(bars.name for bars in panel.bars)] for panel in panels]
    levels = [list(panel.levels) for panel in panels]
    names = list(dict.fromkeys(itertools.chain.from_iterable([*drawn_by, *levels])))
    columns = min(4, max(1, len(names)))
    figure.legend([drawn[name] for name in names], names, loc="outside lower center", ncols=columns, fontsize=8)


def _whole_ticks(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _draw(panel: Panel, axes: Any) -> None:
    for curve in panel.curves:
        x, y = zip(*curve.points, strict=True) if curve.points else ((), ())
        axes.plot(x, y, "--" if curve.dashed else "-", marker=".", label=curve.name)
    if panel.curves:
        _whole_ticks(axes.xaxis)  # frames, steps and scales are whole numbers
    if panel.bars:
        _draw_bars(panel, axes)
    axes.set_title(panel.title, fontsize=9)
    axes.set_xlabel(panel.x_label)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)


def _draw_bars(panel: Panel, axes: Any) -> None:
    width = GROUP_WIDTH / len(panel.bars)
    for index, bars in enumerate(panel.bars):
        places = np.arange(len(bars.heights)) + (index - (len(panel.bars) - 1) / 2) * width
        axes.bar(places, bars.heights, width, label=bars.name)
    last = len(panel.groups) - 1
    for index, (name, height) in enumerate(panel.levels.items()):
        reach = last - GROUP_WIDTH / 2 - 0.05, last + GROUP_WIDTH / 2 + 0.05
        axes.hlines(height, *reach, linestyle="--", color=f"C{index + len(panel.bars)}", label=name)
    long = sum(map(len, panel.groups)) > LABEL_LETTERS
    axes.set_xticks(range(len(panel.groups)), panel.groups, fontsize=8, rotation=90 if long else 0)
    known = [height for bars in panel.bars for height in bars.heights if np.isfinite(height)]
    known += list(panel.levels.values())
    if not known:
        return
    low, high = min(known), max(known)
    margin = 0.15 * (high - low) or 0.01 * abs(high)
    if 0 < 0.7 * high < low:  # differences would not be seen from 0 on
        axes.set_ylim(low - 2 * margin, high + margin)
        axes.set_ylabel("axis does not start at 0", fontsize=7)
