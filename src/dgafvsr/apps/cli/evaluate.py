"""`dgafvsr evaluate PRED... --truth GT`: score frames, or models run on the spot, against ground truth."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console

from dgafvsr.apps.cli.progress import EvaluationBar
from dgafvsr.apps.cli.reports import REPORTS, Csv, Json, Markdown, Overwrite, wanted
from dgafvsr.errors import UsageError

if TYPE_CHECKING:
    from dgafvsr.evaluation.runner import EvaluationSettings
    from dgafvsr.jobs.predictions import Method, ModelSettings

__all__ = ["evaluate"]

METHODS, METRICS, WORK = "Methods to run", "Metrics", "Computing"

BASELINES = ("bicubic", "lanczos", "real-esrgan")
PACKAGED = "packaged"


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
    seed: Annotated[int, typer.Option(metavar="N", rich_help_panel=METHODS, help="Of the noise.")] = 0,
    dtype: Annotated[
        str,
        typer.Option(
            metavar="NAME", rich_help_panel=METHODS, help="Of the weights: auto, float32, float16 or bfloat16."
        ),
    ] = "float32",
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
            help="Optical flow of tof and warping: dis, dis_fast, raft_large or raft_small.",
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
    from dgafvsr.apps.cli.devices import check_flow, choose_device, choose_dtype
    from dgafvsr.evaluation.clips import name_predictions
    from dgafvsr.evaluation.metrics import parse_metrics
    from dgafvsr.evaluation.outputs import check_folder, check_targets
    from dgafvsr.evaluation.plots import check_plotting
    from dgafvsr.evaluation.protocols import get_protocol
    from dgafvsr.evaluation.report import rich_table, save_report
    from dgafvsr.evaluation.runner import NO_TRUTH_METRICS, EvaluationSettings, check_inputs, evaluate_folders
    from dgafvsr.flow.estimator import FlowEstimatorName
    from dgafvsr.jobs.predictions import ModelSettings

    check_flow(flow)
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
        jobs=_jobs(place.type) if jobs is None else jobs,
        cache=None if no_cache else cache or _cache_folder(),
    )
    reports = wanted(json, markdown, csv)
    check_targets(reports, overwrite=overwrite)
    if plots is not None:
        check_plotting()
        check_folder(plots, overwrite=overwrite)
    given = name_predictions(predictions or [])
    weights = str(choose_dtype(dtype, place)).removeprefix("torch.")
    run = ModelSettings(steps=steps, seed=seed, dtype=weights)
    guided = [True, False] if guidance and no_guidance else [not no_guidance]
    methods = [*_baselines(baseline or []), *_models(model or [], run, guided, device=str(place))]
    _check_methods(given, methods, lr)
    check_inputs(given if methods else {}, truth, settings)
    with _frames_folder(keep_frames) as folder:
        if methods:
            assert lr is not None
            given = _run(methods, lr, truth, settings, folder) | given
        with EvaluationBar("scoring") as bar:
            result = evaluate_folders(given, truth, settings, on_progress=bar)
        Console(soft_wrap=True).print(rich_table(result))
        for path in reports:
            save_report(result, path, overwrite=overwrite)
        if plots is not None:
            from dgafvsr.evaluation.charts import save_charts

            save_charts(result, plots, row=profile_row, overwrite=overwrite)


def _run(
    methods: list[Method], lr: Path, truth: Path | None, settings: EvaluationSettings, folder: Path
) -> dict[str, Path]:
    """Method -> folder of its frames, made or found there."""
    from dgafvsr.evaluation.clips import plan_inputs
    from dgafvsr.evaluation.layouts import find_input_set
    from dgafvsr.jobs.predictions import SCALE, make_predictions

    inputs = find_input_set(lr)
    plans = plan_inputs(inputs, truth, scale=SCALE, choice=settings.choice, clips=settings.clips)
    with EvaluationBar("enlarging") as bar:
        return make_predictions(plans, methods, folder, on_progress=bar)


def _check_methods(given: Mapping[str, Path], methods: list[Method], lr: Path | None) -> None:
    if methods and lr is None:
        raise UsageError("Methods cannot be run without input", remedy="name the low-resolution clips (--lr)")
    if lr is not None and not methods:
        raise UsageError("There is nothing to run on --lr", remedy="name a --model or a --baseline, or leave --lr out")
    names = [*given, *(method.name for method in methods)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"Two methods are called {twice[0]}", remedy="name them: NAME=PATH, --model NAME=MODEL")


def _baselines(names: list[str]) -> Iterator[Method]:
    from dgafvsr.evaluation.baselines import interpolate_pixels
    from dgafvsr.evaluation.real_esrgan import RealESRGAN
    from dgafvsr.jobs.predictions import FrameMethod

    for name in names:
        if name not in BASELINES:
            raise UsageError("Unknown baseline", got=name, expected=f"one of {', '.join(BASELINES)}")
        if name == "real-esrgan":
            network = RealESRGAN(threads=_jobs("cpu"))  # now, so that a missing package is found before any work
            yield FrameMethod(name, lambda network=network: network)  # type: ignore[misc]
        else:
            yield FrameMethod(name, partial(_interpolation, interpolate_pixels, name))


def _interpolation(function: Any, kind: str) -> Any:
    return lambda pixels: function(pixels, kind)


def _models(arguments: list[str], settings: ModelSettings, guided: list[bool], *, device: str) -> Iterator[Method]:
    import torch

    from dgafvsr.jobs.predictions import ModelMethod
    from dgafvsr.models.checkpoints import GUIDANCE_FOLDERS, resolve_folder

    for argument in arguments:
        name, _, source = argument.rpartition("=") if not Path(argument).exists() else ("", "", argument)
        folder = resolve_folder(None if source == PACKAGED else source)

        @lru_cache(maxsize=1)  # guidance on and off are one model
        def load(folder: Path = folder) -> Any:
            from dgafvsr import pipeline

            pipe: Any = pipeline.DGAFVSRPipeline
            return pipe.from_pretrained(folder, torch_dtype=getattr(torch, settings.dtype)).to(device)

        called = name or (PACKAGED if source == PACKAGED else Path(source).name)
        if not any((folder / part).is_dir() for part in GUIDANCE_FOLDERS):  # such as SD-x4: there is one way to run it
            yield ModelMethod(f"{called}, per frame", folder, load, replace(settings, guided=False))
            continue
        for each in guided:
            title = f"{called}, guidance {'on' if each else 'off'}"
            yield ModelMethod(title, folder, load, replace(settings, guided=each))


@contextmanager
def _frames_folder(kept: Path | None) -> Iterator[Path]:
    """Where frames are made: the folder to keep, or one that goes away."""
    if kept is not None:
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="dgafvsr-") as folder:
        yield Path(folder)


def _jobs(device: str) -> int:
    """Cores that this process may use, where they do the computing."""
    if device != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base or Path.home() / ".cache", "dgafvsr", "scores")
