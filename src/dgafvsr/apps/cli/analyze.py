"""`dgafvsr analyze domains` and `warping`: the paper's observations, measured on a model and clips of one's own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from dgafvsr.apps.cli.progress import CountBar
from dgafvsr.apps.cli.reports import REPORTS, Csv, Json, Markdown, Overwrite, show_tables, wanted
from dgafvsr.errors import UsageError

if TYPE_CHECKING:
    from dgafvsr.analysis.report import AnalysisReport
    from dgafvsr.analysis.samples import ClipSettings, WarpSample

__all__ = ["app", "domains", "parse_choices", "parse_scales", "warping"]

SOURCE, MEASURED = "Features", "Measured"

RESIDUAL_NOTE = (
    "This model's latents hold only what bicubic enlargement lacks, its pictures hold all. The paper's VAE has no such "
    "split: in feature / pixel the pixel domain gains by the enlarged frames, which are much alike between neighbours "
    "(--detail takes them off); decoded / pixel is free of it."
)
DETAIL_NOTE = "The enlarged LR frame was taken off the decoded pictures, so that every domain holds detail only."

app = typer.Typer(name="analyze", help="Measure the paper's observations on a model.", no_args_is_help=True)

Clips = Annotated[
    list[Path],
    typer.Argument(metavar="CLIP...", help="HR videos, folders of pictures, or folders of clips.", show_default=False),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="PATH", rich_help_panel=SOURCE, help="Model folder or hub id.", show_default="the packaged model"
    ),
]
Flow = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=SOURCE,
        help="Optical flow: dis, dis_fast, raft_large, raft_small, raft_large_half or raft_small_half.",
        show_default="the model's, or dis",
    ),
]
MaxFrames = Annotated[
    int | None,
    typer.Option(metavar="N", rich_help_panel=SOURCE, help="The first N frames of each clip.", show_default="all"),
]
Crop = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        rich_help_panel=SOURCE,
        help="The central square of N latent pixels (4N pixels) of each frame.",
        show_default="the whole frame",
    ),
]
Device = Annotated[str, typer.Option(metavar="NAME", rich_help_panel=SOURCE, help="auto, cuda, cuda:N, mps or cpu.")]
Plot = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=REPORTS,
        help="Draw the curves here (.png; needs matplotlib).",
        show_default=False,
    ),
]
Pictures = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=REPORTS,
        help="Draw the first pair's flow and features here (.png; needs matplotlib).",
        show_default=False,
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and library warnings.")]


@app.command()
def domains(
    clips: Clips,
    model: Model = None,
    flow: Flow = None,
    max_frames: MaxFrames = None,
    crop: Crop = None,
    device: Device = "auto",
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, rich_help_panel=MEASURED, help="Diffusion steps.", show_default="the model's"),
    ] = None,
    normalisation: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=MEASURED,
            help="Common range of the domains: range (smallest to largest) or deviation (mean +- 3 deviations).",
        ),
    ] = "range",
    detail: Annotated[
        bool,
        typer.Option(
            "--detail",
            rich_help_panel=MEASURED,
            help="Take the enlarged LR frame off the pictures: for models whose latents hold only what it lacks.",
        ),
    ] = False,
    warp: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=MEASURED,
            help="Convention of the compared warps: released or centered. The model samples with its own.",
            show_default="the model's",
        ),
    ] = None,
    guidance: Annotated[
        bool, typer.Option(help="Guide frames by their neighbours while sampling.", rich_help_panel=MEASURED)
    ] = True,
    seed: Annotated[int, typer.Option(metavar="N", rich_help_panel=MEASURED, help="Of the sampling.")] = 0,
    json: Json = None,
    markdown: Markdown = None,
    csv: Csv = None,
    plot: Plot = None,
    pictures: Pictures = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Observation 1: neighbouring frames compared as features and as pixels, at every diffusion step."""
    from dgafvsr.analysis.domains import compare_domains
    from dgafvsr.analysis.domains_report import plot_domains, report_domains
    from dgafvsr.analysis.pair_measures import Normalisation
    from dgafvsr.analysis.samples import ClipSettings, lr_clips
    from dgafvsr.apps.cli.devices import choose_device
    from dgafvsr.flow.estimator import FlowEstimatorName, create_flow_estimator
    from dgafvsr.models.autoencoder import ResidualAutoencoder
    from dgafvsr.sampling.ogwm import Convention

    (rule,) = parse_choices(normalisation, get_args(Normalisation), "--normalisation", one=True)
    if warp is not None:
        (warp,) = parse_choices(warp, get_args(Convention), "--warp", one=True)
    part = ClipSettings(max_frames=max_frames, crop=crop)
    reports = _check(flow, wanted(json, markdown, csv), wanted(plot, pictures), overwrite=overwrite)
    paths, chosen = _find(clips, part), choose_device(device)
    pipe = _load(model, str(chosen))
    backend = flow or str(pipe.config.flow)
    estimator = create_flow_estimator(cast(FlowEstimatorName, backend), device=chosen)
    count = itertools.count(1)
    with CountBar("sampling") as bar:
        result = compare_domains(
            pipe,
            (lr.to(chosen) for lr in lr_clips(paths, part)),
            estimator,
            steps=steps,
            normalisation=cast(Normalisation, rule),
            detail=detail,
            convention=cast(Convention | None, warp),
            on_event=lambda _: bar(next(count)),
            seed=seed,
            guided=guidance,
        )
    report = report_domains(
        result,
        source=model or "the packaged model",
        notes=(DETAIL_NOTE,) if detail else (RESIDUAL_NOTE,) if isinstance(pipe.vae, ResidualAutoencoder) else (),
        clips=[str(path) for path in paths],
        flow=backend,
        max_frames=max_frames,
        crop=crop,
        steps=len(result.steps),
        detail=detail,
        warp=warp or str(pipe.config.warp),
        guided=guidance,
        seed=seed,
    )
    _show(report, reports, overwrite=overwrite)
    if plot is not None:
        plot_domains(result, plot, overwrite=overwrite)
    if pictures is not None:
        from dgafvsr.analysis.pictures import draw_domains

        draw_domains(result.examples, pictures, overwrite=overwrite)


@app.command()
def warping(
    clips: Clips,
    model: Model = None,
    features: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=SOURCE,
            help="latent (of the model's encoder) or frame (the reduced frame itself, without a model).",
        ),
    ] = "latent",
    flow: Flow = None,
    max_frames: MaxFrames = None,
    crop: Crop = None,
    device: Device = "auto",
    scales: Annotated[
        str, typer.Option(metavar="LIST", rich_help_panel=MEASURED, help="The paper's s: numbers and ranges.")
    ] = "1-8",
    rescalings: Annotated[
        str, typer.Option(metavar="LIST", rich_help_panel=MEASURED, help="nearest, bilinear and bicubic.")
    ] = "nearest,bilinear,bicubic",
    conventions: Annotated[
        str, typer.Option(metavar="LIST", rich_help_panel=MEASURED, help="Of the warp: released and centered.")
    ] = "released,centered",
    textures: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, rich_help_panel=MEASURED, help="Textures moved by a known motion, for the exact error."
        ),
    ] = 16,
    seed: Annotated[int, typer.Option(metavar="N", rich_help_panel=MEASURED, help="Of the textures.")] = 0,
    json: Json = None,
    markdown: Markdown = None,
    csv: Csv = None,
    plot: Plot = None,
    pictures: Pictures = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Observation 2: the detail that a warp keeps, by the resolution at which it happens."""
    from dgafvsr.analysis.samples import (
        ClipSettings,
        Encoder,
        clip_samples,
        encode_frame,
        encode_latent,
        moving_textures,
    )
    from dgafvsr.analysis.warping import WarpingSettings, measure_warping
    from dgafvsr.analysis.warping_report import plot_warping, report_warping
    from dgafvsr.apps.cli.devices import choose_device
    from dgafvsr.flow.estimator import FlowEstimatorName, create_flow_estimator
    from dgafvsr.models.latent_codec import LatentCodec
    from dgafvsr.sampling.ogwm import Convention, Rescaling

    settings = WarpingSettings(
        scales=parse_scales(scales),
        rescalings=cast(tuple[Rescaling, ...], parse_choices(rescalings, get_args(Rescaling), "--rescalings")),
        conventions=cast(tuple[Convention, ...], parse_choices(conventions, get_args(Convention), "--conventions")),
    )
    part = ClipSettings(max_frames=max_frames, crop=crop)
    (kind,) = parse_choices(features, ("latent", "frame"), "--features", one=True)
    if kind == "frame" and model is not None:
        raise UsageError("--features frame needs no model", got=f"--model {model}", remedy="leave --model out")
    reports = _check(flow, wanted(json, markdown, csv), wanted(plot, pictures), overwrite=overwrite)
    paths, chosen = _find(clips, part), choose_device(device)
    encoder: Encoder = encode_frame
    backend, source = flow or "dis", "reduced frames"
    if kind == "latent":
        pipe = _load(model, str(chosen))
        encoder, backend = encode_latent(LatentCodec(pipe.vae)), flow or str(pipe.config.flow)
        source = f"latents of {model or 'the packaged model'}"
    estimator = create_flow_estimator(cast(FlowEstimatorName, backend), device=chosen)
    first: list[WarpSample] = []
    with CountBar("warping") as bar:
        known = measure_warping(moving_textures(textures, seed=seed), settings)
        samples = _first_kept(clip_samples(paths, encoder, estimator, part), first)
        real = measure_warping(samples, settings, on_progress=bar)
    report = report_warping(
        real,
        known,
        source=source,
        settings=settings,
        clips=[str(path) for path in paths],
        flow=backend,
        max_frames=max_frames,
        crop=crop,
        textures=textures,
        seed=seed,
    )
    _show(report, reports, overwrite=overwrite)
    if plot is not None:
        plot_warping(real, known, plot, overwrite=overwrite)
    if pictures is not None:
        from dgafvsr.analysis.pictures import draw_warping

        draw_warping(first[0], settings.conventions[0], pictures, overwrite=overwrite)


def parse_scales(text: str) -> tuple[int, ...]:
    """The numbers that a list such as "1,2,4-8" names, in order, each once.

    Raises:
        UsageError: no number from 1 on, or no list.
    """
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise UsageError("--scales is not understood", got=text, expected="numbers and ranges such as 1,2,4-8")
        numbers += range(int(first), int(last or first) + 1)
    if not numbers or min(numbers) < 1 or max(numbers) > 16:
        raise UsageError("--scales is out of range", got=text, expected="numbers from 1 to 16")
    return tuple(sorted(set(numbers)))


def parse_choices(text: str, choices: tuple[str, ...], option: str, *, one: bool = False) -> tuple[str, ...]:
    """The names of a comma-separated list, each once.

    Args:
        text: what the user wrote.
        choices: the names there are.
        option: its name, for the error.
        one: only one name is allowed.

    Raises:
        UsageError: an unknown name, none, or too many.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names or not set(names) <= set(choices) or (one and len(names) > 1):
        raise UsageError(
            f"{option} is not understood", got=text, expected=f"{'' if one else 'some '}of {', '.join(choices)}"
        )
    return names


def _check(flow: str | None, reports: list[Path], drawings: list[Path], *, overwrite: bool) -> list[Path]:
    """The reports to write, after everything that can be refused early was."""
    from dgafvsr.apps.cli.devices import check_flow
    from dgafvsr.evaluation.outputs import PICTURE_SUFFIXES, check_targets
    from dgafvsr.evaluation.plots import check_plotting

    check_flow(flow)
    check_targets(reports, overwrite=overwrite)
    check_targets(drawings, PICTURE_SUFFIXES, overwrite=overwrite)
    if drawings:
        check_plotting()
    return reports


def _find(clips: list[Path], part: ClipSettings) -> list[Path]:
    """The clips that the arguments hold, in order, all of them readable."""
    from dgafvsr.analysis.samples import check_clips
    from dgafvsr.evaluation.clips import discover_clips

    found = [path for argument in clips for path in discover_clips(argument).values()]
    check_clips(found, part)
    return found


def _first_kept(samples: Iterator[WarpSample], first: list[WarpSample]) -> Iterator[WarpSample]:
    """The same samples; the first one is put into the list."""
    for sample in samples:
        if not first:
            first.append(sample)
        yield sample


def _load(model: str | None, device: str) -> Any:
    from dgafvsr import pipeline

    pipe: Any = pipeline.DGAFVSRPipeline.from_pretrained(model).to(device)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _show(report: AnalysisReport, paths: list[Path], *, overwrite: bool) -> None:
    from dgafvsr.analysis.report import rich_table, save_report

    show_tables(report.title, lambda _: [rich_table(report)], report.notes)
    for path in paths:
        save_report(report, path, overwrite=overwrite)
