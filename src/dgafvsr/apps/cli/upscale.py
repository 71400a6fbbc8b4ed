"""`dgafvsr upscale IN OUT`: a film, up to four times as wide and as high."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import typer

from dgafvsr.apps.cli import upscale_json
from dgafvsr.apps.cli import upscale_options as options
from dgafvsr.apps.cli.notes import Notes
from dgafvsr.apps.cli.progress import UpscaleBar
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

if TYPE_CHECKING:
    import torch

    from dgafvsr.jobs.progress import UpscaleProgress
    from dgafvsr.jobs.upscale import UpscaleSummary
    from dgafvsr.models.execution import Execution
    from dgafvsr.pipeline import DGAFVSRPipeline

__all__ = ["upscale"]


def upscale(
    source: options.InputArgument,
    target: options.OutputArgument,
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
    shots: options.ShotsOption = None,
    no_shots: options.NoShotsOption = False,
    save_shots: options.SaveShotsOption = None,
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
    overwrite: options.OverwriteOption = False,
    job: options.JobOption = None,
    restart: options.RestartOption = False,
    keep_job: options.KeepJobOption = False,
    as_json: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Upscale a video file or a folder of pictures by four, or to any size up to that.

    Frame count, timestamps and sound stay as they are. The output appears only when it is complete; a run that was
    stopped, killed or ran out of disk is gone on with by the same command.
    """
    from dgafvsr.apps.cli.devices import (
        check_flow,
        choose_device,
        choose_dtype,
        choose_offload,
        compiled_where_possible,
        use_threads,
    )
    from dgafvsr.interruption import stop_on_signals
    from dgafvsr.jobs.settings import JobSettings, UpscaleSettings
    from dgafvsr.jobs.upscale import upscale_file
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
        shots=shots,
        save_shots=save_shots,
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
        job=JobSettings(folder=job, restart=restart, keep=keep_job),
    )
    check_flow(flow)
    use_threads(threads)
    place = choose_device(device)
    weights, waiting = choose_dtype(dtype, place), choose_offload(offload, place)

    def load() -> DGAFVSRPipeline:
        from dgafvsr import DGAFVSRPipeline
        from dgafvsr.models.offload import placed

        pipeline = DGAFVSRPipeline.from_pretrained(model, torch_dtype=weights, revision=revision, flow=flow)
        if compiled:
            pipeline.execution = compiled_where_possible(place, waiting)
        return placed(pipeline, place, waiting)

    upscaler, notes = _ModelOnDemand(load, place), Notes()
    with UpscaleBar("upscaling") as bar, stop_on_signals() as wants_stop:

        def hear(progress: UpscaleProgress) -> None:
            notes.say(progress.notes)
            bar(progress)

        summary = upscale_file(source, target, upscaler, settings, hear, wants_stop=wants_stop)
    notes.say(summary.warnings)
    kind = str(weights).removeprefix("torch.")
    show = upscale_json.show_summary if as_json else _show
    show(summary, dtype=kind, loading_seconds=upscaler.loading_seconds)


class _ModelOnDemand:
    """A pipeline that is loaded when the job first needs it: after input and output have been found usable.

    Args:
        load: loads it.
        device: where it will be.
    """

    def __init__(self, load: Callable[[], DGAFVSRPipeline], device: torch.device) -> None:
        self._load, self.device = load, device
        self._pipeline: DGAFVSRPipeline | None = None
        self.loading_seconds = 0.0

    @property
    def default_steps(self) -> int:
        """The model's."""
        return self._loaded().default_steps

    @property
    def components(self) -> Mapping[str, Any]:
        """The model's."""
        return self._loaded().components

    @property
    def config(self) -> Mapping[str, Any]:
        """The model's."""
        return self._loaded().config

    @property
    def execution(self) -> Execution:
        """The model's."""
        return self._loaded().execution

    def __call__(self, frames: Any, **arguments: Any) -> Any:
        """The pipeline's result."""
        return self._loaded()(frames, **arguments)

    def _loaded(self) -> DGAFVSRPipeline:
        if self._pipeline is None:
            started = time.perf_counter()
            self._pipeline = self._load()
            self.loading_seconds = time.perf_counter() - started
        return self._pipeline


def _show(summary: UpscaleSummary, *, dtype: str, loading_seconds: float) -> None:
    resumed = f", {summary.frames_resumed} of them finished before" if summary.frames_resumed else ""
    typer.echo(f"{summary.output}")
    typer.echo(f"  frames       {summary.frames} of {summary.width}x{summary.height}{resumed}")
    typer.echo(f"  shots        {summary.shots}")
    typer.echo(f"  time         {summary.seconds:.1f} s, of which {loading_seconds:.1f} s loading the model")
    typer.echo(f"  speed        {summary.frames_per_second:.3g} frames/s on {summary.device}, {dtype}")
    typer.echo(f"  peak memory  {summary.peak_memory_bytes / 2**30:.2f} GiB")
