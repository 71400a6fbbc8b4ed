"""`dgafvsr evaluate PRED... --truth GT`: score frames against ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console

from dgafvsr.apps.cli.progress import EvaluationBar

__all__ = ["evaluate"]

METRICS, REPORTS = "Metrics", "Reports"


def evaluate(
    predictions: Annotated[
        list[str],
        typer.Argument(
            metavar="PRED",
            help="Videos, folders of pictures, or folders of clips; NAME=PATH names a method.",
            show_default=False,
        ),
    ],
    truth: Annotated[
        Path,
        typer.Option(metavar="PATH", help="The ground truth: a video, pictures, or clips.", show_default=False),
    ],
    protocol: Annotated[
        str,
        typer.Option(
            metavar="NAME", rich_help_panel=METRICS, help="How numbers are made: standard, paper-reds4 or paper-vid4."
        ),
    ] = "standard",
    metrics: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            rich_help_panel=METRICS,
            help="Comma-separated: psnr, ssim, lpips, dists, tlpips, tof and warping.",
        ),
    ] = "psnr,ssim,lpips,dists,tlpips",
    flow: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=METRICS,
            help="Optical flow of tof and warping: dis, dis_fast, raft_large or raft_small.",
            show_default="the protocol's",
        ),
    ] = None,
    clips: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            rich_help_panel=METRICS,
            help="Comma-separated names of the clips to score.",
            show_default="all",
        ),
    ] = None,
    max_frames: Annotated[
        int | None,
        typer.Option(
            metavar="N", rich_help_panel=METRICS, help="Score the first N frames of each clip.", show_default="all"
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="NAME", rich_help_panel=METRICS, help="auto, cuda, cuda:N, mps or cpu.")
    ] = "auto",
    json: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=REPORTS, help="Write everything, frame by frame, here.", show_default=False
        ),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=REPORTS, help="Write the table here.", show_default=False),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=REPORTS, help="Write one value a line here.", show_default=False),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=REPORTS, help="Replace existing reports.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and library warnings.")] = False,
) -> None:
    """Score one or more methods against ground truth.

    Everything is checked before anything is computed. A metric whose weights cannot be had is reported as such.
    """
    from dgafvsr.apps.cli.devices import check_flow, choose_device
    from dgafvsr.evaluation.clips import name_predictions
    from dgafvsr.evaluation.metrics import parse_metrics
    from dgafvsr.evaluation.protocols import get_protocol
    from dgafvsr.evaluation.report import check_report_targets, rich_table, save_report
    from dgafvsr.evaluation.runner import EvaluationSettings, evaluate_folders
    from dgafvsr.flow.estimator import FlowEstimatorName

    check_flow(flow)
    chosen = get_protocol(protocol)
    settings = EvaluationSettings(
        protocol=chosen if flow is None else chosen.with_flow(cast(FlowEstimatorName, flow)),
        metrics=parse_metrics(metrics),
        max_frames=max_frames,
        clips=None if clips is None else tuple(name.strip() for name in clips.split(",") if name.strip()),
        device=str(choose_device(device)),
    )
    reports = [path for path in (json, markdown, csv) if path is not None]
    check_report_targets(reports, overwrite=overwrite)
    with EvaluationBar("scoring") as bar:
        result = evaluate_folders(name_predictions(predictions), truth, settings, on_progress=bar)
    Console(soft_wrap=True).print(rich_table(result))
    for path in reports:
        save_report(result, path, overwrite=overwrite)
