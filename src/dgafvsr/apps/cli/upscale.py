"""`dgafvsr upscale IN OUT`: a film, up to four times as wide and as high."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, cast

import typer

from dgafvsr.apps.cli import upscale_json
from dgafvsr.apps.cli import upscale_options as options
from dgafvsr.apps.cli.progress import UpscaleBar
from dgafvsr.errors import UsageError

if TYPE_CHECKING:
    import torch

    from dgafvsr.jobs.parts import FilmPart
    from dgafvsr.jobs.sizes import OutputSize
    from dgafvsr.jobs.upscale import UpscaleSummary
    from dgafvsr.pipeline import DGAFVSRPipeline
    from dgafvsr.video.limits import InputLimits

__all__ = ["upscale"]


def upscale(
    source: options.InputArgument,
    target: options.OutputArgument,
    model: options.ModelOption = None,
    revision: options.RevisionOption = None,
    flow: options.FlowOption = None,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    steps: options.StepsOption = None,
    seed: options.SeedOption = 0,
    window: options.WindowOption = "auto",
    overlap: options.OverlapOption = 4,
    tile: options.TileOption = "auto",
    tile_overlap: options.TileOverlapOption = 16,
    guidance: options.GuidanceOption = True,
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
    quality: options.QualityOption = None,
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
    from dgafvsr.apps.cli.devices import check_flow, choose_device, choose_dtype
    from dgafvsr.interruption import stop_on_signals
    from dgafvsr.jobs.settings import JobSettings, UpscaleSettings
    from dgafvsr.jobs.upscale import upscale_file
    from dgafvsr.video.codecs import Codec, EncoderSettings, PictureFormat, PixelFormat
    from dgafvsr.video.decoding import OnError

    settings = UpscaleSettings(
        steps=steps,
        seed=seed,
        window=None if window == "auto" else _whole("window", window),
        overlap=overlap,
        tile=_tile(tile),
        tile_overlap=tile_overlap,
        guided=guidance,
        size=_size(scale, size, width, height),
        part=_part(preview, part),
        detect_shots=not no_shots,
        shots=shots,
        save_shots=save_shots,
        frame_rate=None if fps is None else _number("frame rate", fps, "such as 25, 23.976 or 30000/1001"),
        limits=_limits(max_pixels, max_frames, max_seconds),
        deinterlace=deinterlace,
        on_error=cast(OnError, on_error),
        encoder=EncoderSettings(
            codec=cast(Codec | None, codec),
            quality=quality,
            pixel_format=cast(PixelFormat | None, pixel_format),
            options=_pairs(encoder_options or ()),
            picture_format=cast(PictureFormat, picture_format),
        ),
        overwrite=overwrite,
        job=JobSettings(folder=job, restart=restart, keep=keep_job),
    )
    check_flow(flow)
    place = choose_device(device)
    weights = choose_dtype(dtype, place)

    def load() -> DGAFVSRPipeline:
        from dgafvsr import DGAFVSRPipeline

        return DGAFVSRPipeline.from_pretrained(model, torch_dtype=weights, revision=revision, flow=flow).to(place)

    upscaler = _ModelOnDemand(load, place)
    with UpscaleBar("upscaling") as bar, stop_on_signals() as wants_stop:
        summary = upscale_file(source, target, upscaler, settings, bar, wants_stop=wants_stop)
    for warning in summary.warnings:
        typer.echo(f"note: {warning}", err=True)
    kind = str(weights).removeprefix("torch.")
    show = upscale_json.show_summary if as_json else _show
    show(summary, dtype=kind, loading_seconds=upscaler.loading_seconds)


class _ModelOnDemand:
    """A pipeline that is loaded when the job first needs it: after input and output have been found usable."""

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

    def __call__(self, frames: Any, **arguments: Any) -> Any:
        """The pipeline's result."""
        return self._loaded()(frames, **arguments)

    def _loaded(self) -> DGAFVSRPipeline:
        if self._pipeline is None:
            started = time.perf_counter()
            self._pipeline = self._load()
            self.loading_seconds = time.perf_counter() - started
        return self._pipeline


def _number(name: str, text: str, expected: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"The {name} is not a number", got=text, expected=expected) from None


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"The {name} is not understood", got=text, expected="a whole number or auto") from None


def _tile(text: str) -> int | Literal["auto"] | None:
    if text == "auto":
        return "auto"
    return None if text == "off" else _whole("tile", text)


def _size(scale: str | None, size: str | None, width: int | None, height: int | None) -> OutputSize:
    from dgafvsr.jobs.sizes import OutputSize

    box = None
    if size is not None:
        sides = size.lower().split("x")
        if len(sides) != 2 or not all(side.isascii() and side.isdecimal() for side in sides):
            raise UsageError("The size is not understood", got=size, expected="WIDTHxHEIGHT, such as 1920x1080")
        box = (int(sides[0]), int(sides[1]))
    factor = None if scale is None else _number("scale", scale, "such as 2, 3 or 2.5")
    return OutputSize(scale=factor, box=box, width=width, height=height)


def _part(preview: str | None, part: str | None) -> FilmPart | None:
    from dgafvsr.jobs.parts import FilmPart, parse_part, parse_place

    if preview is not None and part is not None:
        raise UsageError("The part is asked for twice", got="--preview and --range", remedy="leave one of them out")
    if preview is not None:
        return FilmPart(stop=parse_place(preview))
    return None if part is None else parse_part(part)


def _limits(pixels: int | None, frames: int | None, seconds: float | None) -> InputLimits:
    from dgafvsr.video.limits import InputLimits

    length = None if seconds is None else Fraction(seconds)
    return InputLimits(frames=frames, seconds=length, **({} if pixels is None else {"pixels": pixels}))


def _pairs(words: Sequence[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise UsageError(
                "The encoder option is not understood", got=f"{name}{equals}{value}", expected="NAME=VALUE"
            )
    return {name: value for name, _, value in pairs}


def _show(summary: UpscaleSummary, *, dtype: str, loading_seconds: float) -> None:
    resumed = f", {summary.frames_resumed} of them finished before" if summary.frames_resumed else ""
    typer.echo(f"{summary.output}")
    typer.echo(f"  frames       {summary.frames} of {summary.width}x{summary.height}{resumed}")
    typer.echo(f"  shots        {summary.shots}")
    typer.echo(f"  time         {summary.seconds:.1f} s, of which {loading_seconds:.1f} s loading the model")
    typer.echo(f"  speed        {summary.frames_per_second:.3g} frames/s on {summary.device}, {dtype}")
    typer.echo(f"  peak memory  {summary.peak_memory_bytes / 2**30:.2f} GiB")
