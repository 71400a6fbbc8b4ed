"""`dgafvsr serve`: the web app, in a browser on this machine or, with a password, on others."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from dgafvsr.apps.cli import upscale_options as options

__all__ = ["serve"]

ADDRESS, LIMITS, KEPT = "Address", "Limits", "What is kept"
MEGABYTE = 1_000_000


def serve(
    host: Annotated[
        str,
        typer.Option(
            metavar="NAME", rich_help_panel=ADDRESS, help="Where to listen; any but this machine needs a password."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", rich_help_panel=ADDRESS, help="0 takes any that is free.")] = 7860,
    open_page: Annotated[
        bool, typer.Option("--open", rich_help_panel=ADDRESS, help="Open the page in this machine's browser.")
    ] = False,
    password: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            envvar="DGAFVSR_PASSWORD",
            rich_help_panel=ADDRESS,
            help="Of every visitor, at least 8 characters; safer in the variable, as options can be seen by others.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=KEPT,
            help="A folder of its own for everything: uploads, jobs, results.",
            show_default="in the user's cache",
        ),
    ] = None,
    keep_days: Annotated[
        float,
        typer.Option(
            metavar="N", rich_help_panel=KEPT, help="Remove videos and results that nobody touched for so long."
        ),
    ] = 7.0,
    max_upload_mb: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=LIMITS, help="Refuse larger files.")
    ] = 2000,
    max_seconds: Annotated[
        float, typer.Option(metavar="N", rich_help_panel=LIMITS, help="Refuse longer videos.")
    ] = 3600.0,
    max_pixels: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=LIMITS, help="Refuse pictures with more pixels (3840x2160).")
    ] = 3840 * 2160,
    max_frames: Annotated[
        int | None,
        typer.Option(
            metavar="N", rich_help_panel=LIMITS, help="Refuse videos of more frames.", show_default="no limit"
        ),
    ] = None,
    model: options.ModelOption = None,
    revision: options.RevisionOption = None,
    flow: options.FlowOption = None,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    offload: options.OffloadOption = "none",
    debug: options.DebugOption = False,
) -> None:
    """Serve the web app: upload a video, preview it, compare, upscale it, download the result.

    It listens on this machine only. Jobs run one at a time and outlive the server: what was not finished is resumed
    from the page.
    """
    from dgafvsr.apps.cli.devices import check_flow, choose_device, choose_dtype, choose_offload
    from dgafvsr.apps.web import browser
    from dgafvsr.apps.web.serving import check_gradio
    from dgafvsr.apps.web.serving import serve as serve_app
    from dgafvsr.apps.web.settings import ServerSettings, default_data_folder, is_wildcard
    from dgafvsr.interruption import stop_on_signals
    from dgafvsr.video.limits import InputLimits

    check_gradio()
    settings = ServerSettings(
        host=host,
        port=port,
        password=password or None,
        data=data or default_data_folder(),
        keep_days=keep_days,
        max_upload_bytes=max_upload_mb * MEGABYTE,
        limits=InputLimits(pixels=max_pixels, frames=max_frames, seconds=Fraction(max_seconds)),
    )
    check_flow(flow)
    place = choose_device(device)
    weights, waiting = choose_dtype(dtype, place), choose_offload(offload, place)

    def load() -> Any:
        from dgafvsr import DGAFVSRPipeline
        from dgafvsr.models.offload import placed

        pipe = DGAFVSRPipeline.from_pretrained(model, torch_dtype=weights, revision=revision, flow=flow)
        return placed(pipe, place, waiting)

    def ready(address: str) -> None:
        typer.echo(f"Serving {address} - open it in a browser; Ctrl-C stops, unfinished jobs can be resumed later.")
        if is_wildcard(host):
            typer.echo("From other machines, open it by the name or address of this one instead of localhost.")
        typer.echo(f"Everything is kept in {settings.data}.")
        if open_page and not browser.open_page(address):
            typer.echo(f"note: no browser was found on this machine; open {address} in one", err=True)

    with stop_on_signals() as wants_stop:
        serve_app(settings, load, wants_stop=wants_stop, on_ready=ready)
    typer.echo("Stopped.")
