"""`dgafvsr upscale IN OUT`: a film, four times as wide and as high."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from dgafvsr.apps.cli.progress import UpscaleBar
from dgafvsr.errors import UsageError

if TYPE_CHECKING:
    import torch

    from dgafvsr.jobs.upscale import UpscaleSummary
    from dgafvsr.pipeline import DGAFVSRPipeline

__all__ = ["upscale"]

MODEL, SAMPLING, OUTPUT = "Model", "Sampling", "Output"


def upscale(
    source: Annotated[
        str,
        typer.Argument(metavar="IN", help="A video file, a folder of pictures, or one picture.", show_default=False),
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help="The result: .mp4, .m4v, .mov or .mkv, or a folder (end it with /) for PNG files.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|HUB_ID",
            rich_help_panel=MODEL,
            help="A model folder or hub id.",
            show_default="the packaged model",
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(rich_help_panel=MODEL, help="Branch, tag or commit of a hub id.", show_default=False)
    ] = None,
    flow: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=MODEL,
            help="Optical flow: dis, dis_fast, raft_large or raft_small.",
            show_default="the model's",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="NAME", rich_help_panel=MODEL, help="auto, cuda, cuda:N, mps or cpu.")
    ] = "auto",
    dtype: Annotated[
        str,
        typer.Option(
            metavar="NAME", rich_help_panel=MODEL, help="Type of the weights: auto, float32, float16 or bfloat16."
        ),
    ] = "auto",
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", rich_help_panel=SAMPLING, help="Denoising steps.", show_default="the model's"),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=SAMPLING, help="Of the noise: same seed, same frames.")
    ] = 0,
    window: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=SAMPLING, help="Frames sampled together; bounds the memory.")
    ] = 24,
    overlap: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=SAMPLING, help="Frames that neighbouring windows share.")
    ] = 4,
    guidance: Annotated[
        bool,
        typer.Option(
            "--guidance/--no-guidance",
            rich_help_panel=SAMPLING,
            help="Whether neighbouring frames guide each other; without, each frame is upscaled for itself.",
        ),
    ] = True,
    shots: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=SAMPLING,
            help="Follow this shot list instead of looking for cuts.",
            show_default=False,
        ),
    ] = None,
    no_shots: Annotated[
        bool,
        typer.Option(
            "--no-shots",
            rich_help_panel=SAMPLING,
            help="Do not look for cuts: take the film as one shot. Else nothing is guided across a cut.",
        ),
    ] = False,
    codec: Annotated[
        str, typer.Option(metavar="NAME", rich_help_panel=OUTPUT, help="Of a video: h264 or hevc.")
    ] = "h264",
    crf: Annotated[
        int,
        typer.Option(metavar="N", rich_help_panel=OUTPUT, help="Quality of a video, 0 (best) to 51 (smallest)."),
    ] = 16,
    fps: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            rich_help_panel=OUTPUT,
            help="Frame rate of a picture folder, such as 25 or 30000/1001; videos bring their own.",
            show_default="24",
        ),
    ] = None,
    save_shots: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=OUTPUT, help="Write the shots as a list, in JSON.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=OUTPUT, help="Replace an existing output.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and library warnings.")] = False,
) -> None:
    """Upscale a video file or a folder of pictures by four.

    Frame count, timestamps and sound stay as they are. The output appears only when it is complete.
    """
    from dgafvsr.apps.cli.devices import check_flow, choose_device, choose_dtype
    from dgafvsr.jobs.upscale import UpscaleSettings, upscale_file
    from dgafvsr.video.writer import Codec

    settings = UpscaleSettings(
        steps=steps,
        seed=seed,
        window=window,
        overlap=overlap,
        codec=cast(Codec, codec),
        crf=crf,
        overwrite=overwrite,
        guided=guidance,
        detect_shots=not no_shots,
        shots=shots,
        save_shots=save_shots,
        frame_rate=None if fps is None else _frame_rate(fps),
    )
    check_flow(flow)
    place = choose_device(device)
    weights = choose_dtype(dtype, place)

    def load() -> DGAFVSRPipeline:
        from dgafvsr import DGAFVSRPipeline

        return DGAFVSRPipeline.from_pretrained(model, torch_dtype=weights, revision=revision, flow=flow).to(place)

    upscaler = _ModelOnDemand(load, place)
    with UpscaleBar("upscaling") as bar:
        summary = upscale_file(source, target, upscaler, settings, bar)
    _show(summary, dtype=weights, loading_seconds=upscaler.loading_seconds)


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

    def __call__(self, frames: Any, **options: Any) -> Any:
        """The pipeline's result."""
        return self._loaded()(frames, **options)

    def _loaded(self) -> DGAFVSRPipeline:
        if self._pipeline is None:
            started = time.perf_counter()
            self._pipeline = self._load()
            self.loading_seconds = time.perf_counter() - started
        return self._pipeline


def _frame_rate(text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise UsageError(
            "The frame rate is not a number", got=text, expected="such as 25, 23.976 or 30000/1001"
        ) from None


def _show(summary: UpscaleSummary, *, dtype: torch.dtype, loading_seconds: float) -> None:
    for warning in summary.warnings:
        typer.echo(f"note: {warning}", err=True)
    kind = str(dtype).removeprefix("torch.")
    typer.echo(f"{summary.output}")
    typer.echo(f"  frames       {summary.frames} of {summary.width}x{summary.height}")
    typer.echo(f"  shots        {summary.shots}")
    typer.echo(f"  time         {summary.seconds:.1f} s, of which {loading_seconds:.1f} s loading the model")
    typer.echo(f"  speed        {summary.frames_per_second:.3g} frames/s on {summary.device}, {kind}")
    typer.echo(f"  peak memory  {summary.peak_memory_bytes / 2**30:.2f} GiB")
