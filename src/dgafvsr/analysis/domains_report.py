"""Observation 1 for readers: differences next to the paper's, every domain by step, and the plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dgafvsr.analysis.domains import DOMAINS, DomainsResult
from dgafvsr.analysis.pair_measures import MEASURES
from dgafvsr.analysis.report import AnalysisReport, Cell, Section
from dgafvsr.evaluation.plots import Curve, Panel, save_plot

__all__ = ["PAPER", "plot_domains", "report_domains"]

PAPER: Mapping[str, float] = {"psnr": 13.53, "ssim": 22.61, "f_entropy": 10.81, "f_sigma": 106.50}
"""Feature over pixel domain minus 1, percent, REDS4, all steps."""

TITLES: Mapping[str, str] = {
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "f_entropy": "F(H)",
    "f_sigma": "F(sigma)",
    "entropy": "H, bits",
    "sigma": "sigma, 1/255",
}

NOTES = (
    "Neighbouring x0 estimates of one sweep and step; the neighbour is motion-compensated with the same flow and warp "
    "convention: OGWM on the latent (feature), a warp at full size on the decoded picture (pixel). Decoded: the latent "
    "aligned by OGWM, decoded, and compared as pixel is: both alignments on one scale.",
    "Range: per channel, the {rule} of the two pictures compared become 0 and 1, in every domain.",
    "H and sigma are of the difference in levels of 1/255; F(x) = 1 / (1 + x). SSIM's window counts pixels of the "
    "domain's own grid. The paper's own definitions are not public.",
)
RULES = {"range": "smallest and largest value", "deviation": "mean minus and plus 3 standard deviations"}


def report_domains(
    result: DomainsResult, *, source: str, notes: tuple[str, ...] = (), **settings: Any
) -> AnalysisReport:
    """The relative differences next to the paper's, and every step.

    Args:
        result: what to show.
        source: model and clips, for the title.
        notes: what else a reader should know.
        **settings: what makes the numbers again.
    """
    summary: list[tuple[Cell, ...]] = []
    for name in MEASURES:
        values = [result.mean(domain, name) for domain in DOMAINS]
        changes = [100 * result.relative_difference(name, domain) for domain in ("feature", "decoded")]
        summary.append((TITLES[name], *values, *changes, PAPER.get(name)))
    steps: list[tuple[Cell, ...]] = []
    for step in result.steps:
        cells = [getattr(step, domain)[name] for name in MEASURES for domain in DOMAINS]
        steps.append((step.step, step.timestep, step.pairs, *cells))
    headings = [f"{TITLES[name]} ({domain})" for name in MEASURES for domain in DOMAINS]
    return AnalysisReport(
        title=f"Observation 1: feature against pixel domain; {source}; {result.pairs} pairs",
        sections=(
            Section(
                title="Mean over all steps",
                columns=("measure", *DOMAINS, "feature / pixel, %", "decoded / pixel, %", "paper, %"),
                rows=tuple(summary),
                decimals=3,
            ),
            Section(title="By step", columns=("step", "t", "pairs", *headings), rows=tuple(steps), decimals=3),
        ),
        notes=(*(note.format(rule=RULES[result.normalisation]) for note in NOTES), *notes),
        settings={"source": source, "pairs": result.pairs, "normalisation": result.normalisation, **settings},
    )


def plot_domains(result: DomainsResult, path: Path, *, overwrite: bool = False) -> None:
    """The four measures of the paper over the steps, in every domain.

    Raises:
        UsageError: matplotlib is not installed.
        OutputError: the file exists or cannot be written.
    """
    panels = []
    for name in PAPER:
        curves = tuple(
            Curve(
                name=domain,
                points=tuple((float(step.step), getattr(step, domain)[name]) for step in result.steps),
                dashed=domain == "pixel",
            )
            for domain in DOMAINS
        )
        panels.append(Panel(title=TITLES[name], x_label="step (0 is the noisiest)", curves=curves))
    save_plot([panels], path, overwrite=overwrite)
