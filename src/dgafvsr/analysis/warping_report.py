"""Observation 2 for readers: our numbers next to the paper's, every variant, and the plot over s."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from dgafvsr.analysis.report import AnalysisReport, Cell, Section
from dgafvsr.analysis.warping import Kept, Variant, WarpingResult, WarpingSettings
from dgafvsr.evaluation.plots import Curve, Panel, save_plot
from dgafvsr.sampling.ogwm import FLOW_SCALE, Convention

__all__ = ["PAPER", "is_monotonic", "plot_warping", "report_warping"]

Quantity = Literal["edge", "high_pass"]

PAPER: Mapping[tuple[str, Quantity], float] = {
    ("direct", "edge"): -12.68,
    ("high_resolution", "edge"): -4.38,
    ("gain", "edge"): 9.98,
    ("direct", "high_pass"): -5.34,
    ("high_resolution", "high_pass"): -1.75,
    ("gain", "high_pass"): 4.43,
}
"""Percent. `direct` and `high_resolution` against the unwarped feature, `gain` is up-warp-down against direct."""

FLAT = 1e-3
"""Kept shares that differ by less over all s do not depend on it."""

QUANTITIES: Mapping[Quantity, str] = {"edge": "edge intensity", "high_pass": "high-pass intensity"}

NOTES = (
    "Edge intensity is the mean Sobel gradient magnitude, high-pass the mean |f - gaussian(f)|, sigma 1 latent pixel.",
    "Kept: intensity after the warp over intensity of the neighbour on the same grid, read where the warp reads; "
    "4 latent pixels at the borders are left out. The paper's own definitions are not public.",
    "Alignment error: relative to the current feature's deviation; on neighbouring frames it holds occlusions and flow "
    "errors, on textures moved by a known motion it is the warp's alone.",
)


def report_warping(
    real: WarpingResult, known: WarpingResult, *, source: str, settings: WarpingSettings, **extra: Any
) -> AnalysisReport:
    """The summary next to the paper's numbers, and every variant.

    Args:
        real: measured on neighbouring frames.
        known: the same variants, on textures moved by a known motion.
        source: what the features are, for the title.
        settings: of both measurements.
        **extra: what else makes the numbers again.
    """
    return AnalysisReport(
        title=f"Observation 2: detail kept by warping; {source}; {real.features} features",
        sections=(_summary(real, settings), _every(real, known)),
        notes=(*NOTES, *([f"{real.skipped} features moved out of sight and were skipped."] if real.skipped else [])),
        settings={"source": source, "features": real.features, **asdict(settings), **extra},
    )


def plot_warping(real: WarpingResult, known: WarpingResult, path: Path, *, overwrite: bool = False) -> None:
    """Edge and high-pass intensity kept and both alignment errors over s, one row of panels a convention.

    Raises:
        UsageError: matplotlib is not installed.
        OutputError: the file exists or cannot be written.
    """
    conventions = list(dict.fromkeys(variant.convention for variant in real.kept))
    panels = []
    for convention in conventions:
        shown: list[tuple[str, WarpingResult, Callable[[Kept], float]]] = [
            ("edge intensity kept, %", real, lambda kept: 100 * kept.edge),
            ("high-pass intensity kept, %", real, lambda kept: 100 * kept.high_pass),
            ("alignment error, neighbouring frames", real, lambda kept: kept.alignment_error),
            ("alignment error, known motion", known, lambda kept: kept.alignment_error),
        ]
        panels.append(
            [
                Panel(title=f"{convention}: {title}", x_label="s", curves=_curves(result, convention, value))
                for title, result, value in shown
            ]
        )
    save_plot(panels, path, overwrite=overwrite)


def is_monotonic(values: list[float]) -> bool:
    """Whether the values only rise or only fall."""
    steps = [after - before for before, after in pairwise(values)]
    return all(step >= 0 for step in steps) or all(step <= 0 for step in steps)


def _summary(result: WarpingResult, settings: WarpingSettings) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for quantity, name in QUANTITIES.items():
        for key, what in (
            ("direct", f"{name}, direct low-resolution warp"),
            ("high_resolution", f"{name}, warp at high resolution (s = {FLOW_SCALE}, nearest)"),
            ("gain", f"{name}, up-warp-down against direct (s = {FLOW_SCALE}, nearest)"),
        ):
            ours = [_change(result, convention, key, quantity) for convention in settings.conventions]
            rows.append((what, PAPER[key, quantity], *ours))
    for quantity, name in QUANTITIES.items():
        ours_told = [_told(result, convention, quantity) for convention in settings.conventions]
        rows.append((f"{name}, up-warp-down (nearest) monotonic in s", "no", *ours_told))
    return Section(
        title="Change in percent, next to the paper's",
        columns=("what", "paper", *(f"ours, {convention}" for convention in settings.conventions)),
        rows=tuple(rows),
    )


def _change(result: WarpingResult, convention: Convention, key: str, quantity: Quantity) -> float | None:
    """A line of `PAPER`, measured; None where a variant that it needs was not."""
    direct = result.kept.get(Variant(method="direct", convention=convention))
    if key == "direct":
        return None if direct is None else 100 * (getattr(direct, quantity) - 1)
    method: Any = "high_resolution" if key == "high_resolution" else "up_warp_down"
    paper_warp = Variant(method=method, convention=convention, scale=FLOW_SCALE, rescaling="nearest")
    kept = result.kept.get(paper_warp)
    if kept is None or (key == "gain" and direct is None):
        return None
    reference = getattr(direct, quantity) if key == "gain" else 1.0
    return float(100 * (getattr(kept, quantity) / reference - 1))


def _told(result: WarpingResult, convention: Convention, quantity: Quantity) -> str | None:
    series = [
        (variant.scale, getattr(kept, quantity))
        for variant, kept in result.kept.items()
        if variant.convention == convention
        and (variant.method == "direct" or (variant.method, variant.rescaling) == ("up_warp_down", "nearest"))
    ]
    if len(series) < 3:
        return None
    values = [value for _, value in sorted(series)]
    if max(values) - min(values) < FLAT:
        return "flat"
    return "yes" if is_monotonic(values) else "no"


def _every(real: WarpingResult, known: WarpingResult) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for variant, kept in real.kept.items():
        exact = known.kept.get(variant)
        rows.append(
            (
                variant.method,
                variant.convention,
                variant.rescaling,
                variant.scale,
                kept.edge,
                kept.high_pass,
                kept.alignment_error,
                math.nan if exact is None else exact.alignment_error,
            )
        )
    return Section(
        title="Every variant",
        columns=(
            "method",
            "convention",
            "rescaling",
            "s",
            "edge kept",
            "high-pass kept",
            "error, neighbouring frame",
            "error, known motion",
        ),
        rows=tuple(rows),
        decimals=4,
    )


def _curves(result: WarpingResult, convention: Convention, value: Callable[[Kept], float]) -> tuple[Curve, ...]:
    direct = result.kept.get(Variant(method="direct", convention=convention))
    start = [] if direct is None else [(1.0, value(direct))]
    points: dict[str, list[tuple[float, float]]] = {}
    for variant, kept in result.kept.items():
        if variant.convention == convention and variant.rescaling is not None:
            name = f"{variant.method.replace('_', ' ')}, {variant.rescaling}"
            points.setdefault(name, list(start)).append((float(variant.scale), value(kept)))
    if not points and start:
        points["direct"] = start
    return tuple(Curve(name=name, points=tuple(sorted(xy)), dashed="high" in name) for name, xy in points.items())
