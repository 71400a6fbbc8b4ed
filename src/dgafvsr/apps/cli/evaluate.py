"""`dgafvsr evaluate PRED... --truth GT`: score frames, or models run on the spot, against ground truth."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, cast

import typer

from dgafvsr.apps.cli.evaluate_models import (
    MethodOptions,
    available_cores,
    build_methods,
    frames_folder,
    run_methods,
)
from dgafvsr.apps.cli.progress import EvaluationBar
from dgafvsr.apps.cli.reports import REPORTS, Csv, Json, Markdown, Overwrite, show_tables, wanted
from dgafvsr.errors import UsageError

__all__ = ["evaluate"]

METHODS, METRICS, WORK = "Methods to run", "Metrics", "Computing"


def evaluate(
    predictions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PRED]...",
            help="Videos, folders of pictures, or folders of clips; NAME=PATH names a method.",
            show_default=False,
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="The ground truth: a video, pictures, clips, or a benchmark's folder.",
            show_default="none: only metrics that need none",
        ),
    ] = None,
    lr: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            rich_help_panel=METHODS,
            help="The low-resolution clips that --model and --baseline enlarge.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]MODEL",
            rich_help_panel=METHODS,
            help="Run this model: packaged, a model folder, or a hub id. May be repeated.",
            show_default=False,
        ),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=METHODS,
            help="Run this baseline: bicubic, lanczos or real-esrgan. May be repeated.",
            show_default=False,
        ),
    ] = None,
    guidance: Annotated[
        bool,
        typer.Option(
            "--guidance",
            rich_help_panel=METHODS,
            help="Run models with guidance: the default. With --no-guidance: both, side by side.",
        ),
    ] = False,
    no_guidance: Annotated[
        bool, typer.Option("--no-guidance", rich_help_panel=METHODS, help="Run models without guidance.")
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, rich_help_panel=METHODS, help="Denoising steps.", show_default="the model's"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", rich_help_panel=METHODS, help="Of the noise.", show_default="0")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=METHODS,
            help="Of the weights: auto, float32, float16 or bfloat16.",
            show_default="float32",
        ),
    ] = None,
    keep_frames: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel=METHODS,
            help="Keep the frames of --model and --baseline here, and use those that are here.",
            show_default="they are not kept",
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            metavar="NAME", rich_help_panel=METRICS, help="How numbers are made: standard, paper-reds4 or paper-vid4."
        ),
    ] = "standard",
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            rich_help_panel=METRICS,
            help="Comma-separated: psnr, ssim, lpips, dists, musiq, clipiqa, niqe, tlpips, tof and warping. "
            "musiq, clipiqa and niqe need pyiqa, which may not be used commercially (PolyForm Noncommercial).",
            show_default="psnr,ssim,lpips,dists,tlpips; without truth musiq,clipiqa,niqe,warping",
        ),
    ] = None,
    luma: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            rich_help_panel=METRICS,
            help="Metrics that see BT.601 studio-range Y instead of RGB, or none.",
            show_default="the protocol's",
        ),
    ] = None,
    crop: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            rich_help_panel=METRICS,
            help="Leave out N pixels on each side.",
            show_default="the protocol's, 0",
        ),
    ] = None,
    skip_first: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            rich_help_panel=METRICS,
            help="Leave out the first N frames.",
            show_default="the protocol's, 0",
        ),
    ] = None,
    skip_last: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            rich_help_panel=METRICS,
            help="Leave out the last N frames.",
            show_default="the protocol's, 0",
        ),
    ] = None,
    flow: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=METRICS,
            help="Optical flow of tof and warping: dis, dis_fast, raft_large, raft_small, raft_large_half "
            "or raft_small_half.",
            show_default="the protocol's",
        ),
    ] = None,
    flow_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=METRICS, help="RAFT's weights.", show_default="torchvision's, downloaded"
        ),
    ] = None,
    niqe_prior: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=METRICS,
            help="NIQE's statistics of natural pictures, .npz or .mat.",
            show_default="pyiqa's, downloaded",
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
        str, typer.Option(metavar="NAME", rich_help_panel=WORK, help="auto, cuda, cuda:N, mps or cpu.")
    ] = "auto",
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            rich_help_panel=WORK,
            help="Processes that score; the numbers do not depend on it.",
            show_default="one per core on a CPU, else 1",
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel=WORK,
            help="Where scores are kept: the same pictures are not scored again, an interrupted run goes on.",
            show_default="~/.cache/dgafvsr/scores",
        ),
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", rich_help_panel=WORK, help="Keep no scores and use none.")
    ] = False,
    json: Json = None,
    markdown: Markdown = None,
    csv: Csv = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel=REPORTS,
            help="Draw metrics over frames, temporal profiles and bars by clip here (needs matplotlib).",
            show_default=False,
        ),
    ] = None,
    profile_row: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, rich_help_panel=REPORTS, help="Row of the temporal profiles.", show_default="the middle"
        ),
    ] = None,
    overwrite: Overwrite = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and library warnings.")] = False,
) -> None:
    """Score one or more methods against ground truth, or without it.

    Everything is checked before anything is computed. A metric whose weights cannot be had is reported as such.
    """
    from dgafvsr.apps.cli.devices import check_flow, choose_device
    from dgafvsr.evaluation.clips import name_predictions
    from dgafvsr.evaluation.metrics import parse_metrics
    from dgafvsr.evaluation.outputs import check_folder, check_targets
    from dgafvsr.evaluation.plots import check_plotting
    from dgafvsr.evaluation.protocols import get_protocol
    from dgafvsr.evaluation.report import footnotes, headline, rich_tables, save_report
    from dgafvsr.evaluation.runner import NO_TRUTH_METRICS, EvaluationSettings, check_inputs, evaluate_folders
    from dgafvsr.flow.estimator import FlowEstimatorName

    check_flow(flow)
    options = MethodOptions(
        lr=lr,
        models=model or [],
        baselines=baseline or [],
        guidance=guidance,
        no_guidance=no_guidance,
        steps=steps,
        seed=seed,
        dtype=dtype,
        keep_frames=keep_frames,
    )
    if cache is not None and no_cache:
        raise UsageError("--cache and --no-cache contradict each other", remedy="leave one of them out")
    if profile_row is not None and plots is None:
        raise UsageError("--profile-row has no profiles to be drawn in", remedy="name their folder (--plots)")
    chosen, place = get_protocol(protocol), choose_device(device)
    chosen = chosen if flow is None else chosen.with_flow(cast(FlowEstimatorName, flow))
    seen_as_luma = None if luma is None else () if luma == "none" else parse_metrics(luma)
    chosen = chosen.changed(luma_metrics=seen_as_luma, crop_border=crop, skip_first=skip_first, skip_last=skip_last)
    default = EvaluationSettings().metrics if truth is not None else NO_TRUTH_METRICS
    settings = EvaluationSettings(
        protocol=chosen,
        metrics=default if metrics is None else parse_metrics(metrics),
        max_frames=max_frames,
        clips=None if clips is None else tuple(name.strip() for name in clips.split(",") if name.strip()),
        device=str(place),
        flow_weights=flow_weights,
        niqe_prior=niqe_prior,
        jobs=available_cores(place.type) if jobs is None else jobs,
        cache=None if no_cache else cache or _cache_folder(),
    )
    reports = wanted(json, markdown, csv)
    check_targets(reports, overwrite=overwrite)
    given = name_predictions(predictions or [])
    if plots is not None:
        check_plotting()
        check_folder(plots, overwrite=overwrite)
    methods = build_methods(options, given, place)
    if profile_row is not None:
        _check_row(profile_row, truth, given, lr, clips=settings.clips)
    check_inputs(given if methods else {}, truth, settings)
    with frames_folder(keep_frames) as folder:
        if methods:
            assert lr is not None
            given = run_methods(methods, lr, truth, settings, folder) | given
        with EvaluationBar("scoring") as bar:
            result = evaluate_folders(given, truth, settings, on_progress=bar)
        show_tables(headline(result), lambda width: rich_tables(result, width=width), footnotes(result))
        for path in reports:
            save_report(result, path, overwrite=overwrite)
        if plots is not None:
            from dgafvsr.evaluation.charts import save_charts

            save_charts(result, plots, row=profile_row, overwrite=overwrite)


def _check_row(
    row: int, truth: Path | None, given: Mapping[str, Path], lr: Path | None, *, clips: tuple[str, ...] | None
) -> None:
    """Refuse a row that the pictures to be scored do not have, before any of them is."""
    from dgafvsr.evaluation.charts import check_row
    from dgafvsr.evaluation.layouts import find_input_set, find_truth_set
    from dgafvsr.jobs.predictions import SCALE

    if truth is not None:
        check_row(row, find_truth_set(truth), clips=clips)
    elif given:
        check_row(row, next(iter(given.values())), clips=clips)
    elif lr is not None:
        check_row(row, find_input_set(lr), clips=clips, scale=SCALE)


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base or Path.home() / ".cache", "dgafvsr", "scores")
