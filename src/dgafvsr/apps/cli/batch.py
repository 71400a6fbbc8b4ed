"""`dgafvsr batch INPUTS... --output FOLDER`: many films with the same settings."""

from __future__ import annotations

import json
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from dgafvsr.apps.cli import batch_json
from dgafvsr.apps.cli import upscale_options as options
from dgafvsr.apps.cli.batch_place import BatchPlace, PlaceChoice
from dgafvsr.apps.cli.batch_view import BatchView, show_table, shown_path
from dgafvsr.apps.cli.notes import Notes
from dgafvsr.apps.cli.sampling_options import (
    BetweenOption,
    FeaturesOption,
    FlowScaleOption,
    GuidanceEveryOption,
    NoiseOption,
    PresetOption,
    SolverOption,
    TurnsOption,
    preset_of,
    sampling_of,
)
from dgafvsr.apps.cli.upscale_settings import (
    encoder_of,
    frame_rate_of,
    limits_of,
    lockstep_of,
    part_of,
    size_of,
    tile_of,
    window_of,
)
from dgafvsr.errors import InputError, UsageError

if TYPE_CHECKING:
    from dgafvsr.jobs.batch import BatchReport
    from dgafvsr.jobs.batch_inputs import BatchFile, Container
    from dgafvsr.jobs.settings import UpscaleSettings
    from dgafvsr.jobs.upscaler import Upscaler

__all__ = ["EPILOG", "batch"]

FILES, CLUSTER = "Files", "Cluster"

EPILOG = (
    "Exit codes: 0 all films are there, 1 some could not be made (the others are), 2 wrong usage, 3 an input is not "
    "there or the model cannot be used, 4 too little memory or disk, 130 interrupted. The same command goes on where "
    "the batch stopped and tries again what failed."
)
"""Below the options."""

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUTS...", help="Video files, folders, or patterns such as 'films/**/*.mp4'.", show_default=False
    ),
]
Output = Annotated[
    Path, typer.Option(metavar="FOLDER", rich_help_panel=FILES, help="Where the results go.", show_default=False)
]
ListOption = Annotated[
    str | None,
    typer.Option(
        "--list",
        metavar="FILE",
        rich_help_panel=FILES,
        help="Further inputs, one on a line; - for stdin.",
        show_default=False,
    ),
]
Recursive = Annotated[
    bool, typer.Option("--recursive", rich_help_panel=FILES, help="Search folders at any depth; keep their folders.")
]
ContainerOption = Annotated[
    str | None,
    typer.Option(
        "--container",
        metavar="NAME",
        rich_help_panel=FILES,
        help="Kind of the results: mp4, m4v, mov, mkv, webm, or pictures.",
        show_default="the input's, else mkv",
    ),
]
Retries = Annotated[
    int,
    typer.Option(metavar="N", rich_help_panel=FILES, help="Further attempts for films that fail, after the others."),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        metavar="auto|HOST:PORT|local",
        rich_help_panel=CLUSTER,
        help="Work on a Ray cluster: that of this machine, one with this address, or one started here.",
        show_default=False,
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        rich_help_panel=CLUSTER,
        help="Processes of the cluster that hold the model and work at the same time.",
        show_default="one on each GPU, else on each 4 cores",
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        rich_help_panel=options.OUTPUT,
        help="Replace results of other inputs, settings or models. Results of the same are passed over in any case.",
    ),
]
RestartOption = Annotated[
    bool, typer.Option("--restart", rich_help_panel=options.JOB, help="Throw unfinished jobs away and start them over.")
]
KeepJobOption = Annotated[
    bool, typer.Option("--keep-job", rich_help_panel=options.JOB, help="Keep the job folders of finished films.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, with the result of every film.")]


def batch(
    inputs: Inputs = None,
    *,
    output: Output,
    listed: ListOption = None,
    recursive: Recursive = False,
    container: ContainerOption = None,
    retries: Retries = 1,
    ray: RayOption = None,
    workers: WorkersOption = None,
    model: options.ModelOption = None,
    revision: options.RevisionOption = None,
    flow: options.FlowOption = None,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    compiled: options.CompileOption = False,
    offload: options.OffloadOption = "none",
    threads: options.ThreadsOption = None,
    steps: options.StepsOption = None,
    seed: options.SeedOption = 0,
    window: options.WindowOption = "auto",
    overlap: options.OverlapOption = 4,
    tile: options.TileOption = "auto",
    tile_overlap: options.TileOverlapOption = 16,
    lockstep: options.LockstepOption = "auto",
    guidance: options.GuidanceOption = True,
    preset: PresetOption = None,
    solver: SolverOption = None,
    turns: TurnsOption = None,
    guidance_every: GuidanceEveryOption = None,
    guidance_between: BetweenOption = None,
    features_every: FeaturesOption = None,
    flow_scale: FlowScaleOption = None,
    initial_noise: NoiseOption = None,
    no_shots: options.NoShotsOption = False,
    scale: options.ScaleOption = None,
    size: options.SizeOption = None,
    width: options.WidthOption = None,
    height: options.HeightOption = None,
    preview: options.PreviewOption = None,
    part: options.RangeOption = None,
    codec: options.CodecOption = None,
    quality: options.CrfOption = None,
    pixel_format: options.PixelFormatOption = None,
    encoder_options: options.EncoderOptions = None,
    picture_format: options.PictureFormatOption = "png",
    fps: options.FpsOption = None,
    deinterlace: options.DeinterlaceOption = False,
    on_error: options.OnErrorOption = "stop",
    max_pixels: options.MaxPixelsOption = None,
    max_frames: options.MaxFramesOption = None,
    max_seconds: options.MaxSecondsOption = None,
    overwrite: OverwriteOption = False,
    restart: RestartOption = False,
    keep_job: KeepJobOption = False,
    as_json: JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Upscale many films and folders of pictures, each as `dgafvsr upscale` does.

    The model is loaded once. A film that fails does not stop the others; what is done already is passed over.
    """
    from dgafvsr.apps.cli.devices import check_flow
    from dgafvsr.jobs.batch_inputs import plan_batch
    from dgafvsr.jobs.settings import JobSettings, UpscaleSettings
    from dgafvsr.video.decoding import OnError

    settings = UpscaleSettings(
        steps=steps,
        seed=seed,
        window=window_of(window),
        overlap=overlap,
        tile=tile_of(tile),
        tile_overlap=tile_overlap,
        lockstep=lockstep_of(lockstep),
        guided=guidance,
        quality=preset_of(preset),
        sampling=sampling_of(
            solver=solver,
            turns=turns,
            guidance_every=guidance_every,
            guidance_between=guidance_between,
            features_every=features_every,
            flow_scale=flow_scale,
            initial_noise=initial_noise,
        ),
        size=size_of(scale, size, width, height),
        part=part_of(preview, part),
        detect_shots=not no_shots,
        frame_rate=frame_rate_of(fps),
        limits=limits_of(max_pixels, max_frames, max_seconds),
        deinterlace=deinterlace,
        on_error=cast(OnError, on_error),
        encoder=encoder_of(
            codec=codec,
            quality=quality,
            pixel_format=pixel_format,
            options=encoder_options or (),
            picture_format=picture_format,
        ),
        overwrite=overwrite,
        job=JobSettings(restart=restart, keep=keep_job),
    )
    words = [*(inputs or ()), *_listed(listed)]
    files = plan_batch(words, output, container=_container(container), recursive=recursive)
    check_flow(flow)
    place = PlaceChoice(
        model=model,
        revision=revision,
        flow=flow,
        device=device,
        dtype=dtype,
        compiled=compiled,
        offload=offload,
        threads=threads,
        ray=ray,
        workers=workers,
    )
    with batch_json.results_folder(output), place.open([each.source for each in files], output.absolute()) as opened:
        _run(files, settings, opened, output.absolute(), retries=retries, as_json=as_json, debug=debug)


def _run(
    files: list[BatchFile],
    settings: UpscaleSettings,
    place: BatchPlace,
    output: Path,
    *,
    retries: int,
    as_json: bool,
    debug: bool,
) -> None:
    """Makes the films and shows what became of them.

    Raises:
        FailedBatchError: some were not made.
        InterruptedBatchError: somebody wants it to stop.
    """
    from dgafvsr.interruption import stop_on_signals
    from dgafvsr.jobs.batch import BatchEvent, run_batch

    loading, notes = 0.0, Notes()

    def load() -> Upscaler:
        nonlocal loading
        started = time.perf_counter()
        model = place.load()
        loading = time.perf_counter() - started
        return model

    def facts_of(report: BatchReport) -> dict[str, Any]:
        run = batch_json.RunFacts(
            output=output, loading_seconds=loading, device=place.device, dtype=place.dtype, workers=place.workers
        )
        return batch_json.report_facts(report, run)

    def hear(event: BatchEvent) -> None:
        view(event)
        if event.progress is not None:
            notes.say(event.progress.notes, about=str(shown_path(event.file.source)))
        if event.report is not None:
            batch_json.write_results(output, facts_of(event.report))
        if debug and event.result is not None and event.result.error is not None:
            traceback.print_exception(event.result.error)

    with BatchView(len(files)) as view, stop_on_signals() as wants_stop:
        report = run_batch(
            files,
            load,
            settings,
            retries=retries,
            at_once=place.at_once,
            upscale=place.upscale,
            listener=hear,
            wants_stop=wants_stop,
        )
    facts = facts_of(report)
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        show_table(report, facts)
    for result in report.results:
        if result.status == "done" and result.summary is not None:
            notes.say(result.summary["warnings"], about=str(shown_path(result.file.source)))
    _raise_unless_complete(report, output)


def _raise_unless_complete(report: BatchReport, output: Path) -> None:
    total, missing = len(report.results), report.count("failed", "refused")
    if report.count("interrupted", "not started"):
        raise batch_json.InterruptedBatchError(
            f"The batch was asked to stop; {report.count('done', 'skipped')} of {total} films are there",
            remedy="the same command goes on from there",
        )
    if missing:
        raise batch_json.FailedBatchError(
            f"{missing} of {total} films could not be made", remedy=f"see {output / batch_json.RESULTS}"
        )


def _listed(name: str | None) -> list[str]:
    from dgafvsr.jobs.batch_inputs import read_list

    if name is None:
        return []
    try:
        return read_list(sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The list {name} cannot be read", got=error, remedy="check the path") from error


def _container(name: str | None) -> Container | None:
    from dgafvsr.jobs.batch_inputs import CONTAINERS

    if name is None:
        return None
    found = next((each for each in CONTAINERS if each == name.lower().removeprefix(".")), None)
    if found is None:
        raise UsageError("The container is unknown", got=name, expected=f"one of {', '.join(CONTAINERS)}")
    return found
