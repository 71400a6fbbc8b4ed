"""`dgafvsr compare A B OUT`: two films in one, and a contact sheet of the places where they differ most."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from dgafvsr.apps.cli import upscale_options as options
from dgafvsr.apps.cli.notes import Notes
from dgafvsr.apps.cli.progress import CountBar
from dgafvsr.apps.cli.upscale_settings import limits_of
from dgafvsr.errors import UsageError

__all__ = ["compare"]


def compare(
    first: Annotated[
        str, typer.Argument(metavar="A", help="A video file or a folder of pictures.", show_default=False)
    ],
    second: Annotated[
        str, typer.Argument(metavar="B", help="The same film, made otherwise; the smaller one is enlarged (bicubic).")
    ],
    target: Annotated[
        str, typer.Argument(metavar="OUT", help="The video with both, or a folder (end it with /) of pictures.")
    ],
    layout: Annotated[
        str,
        typer.Option(metavar="NAME", help="side: beside each other; stack: one above the other; split: half of each."),
    ] = "side",
    labels: Annotated[
        str | None, typer.Option(metavar="A,B", help="The names that are drawn.", show_default="the files' names")
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Write a contact sheet: the places where the films differ most, side by side.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A third film for the contact sheet, such as the truth.", show_default=False),
    ] = None,
    deinterlace: options.DeinterlaceOption = False,
    on_error: options.OnErrorOption = "stop",
    max_pixels: options.MaxPixelsOption = None,
    max_frames: options.MaxFramesOption = None,
    max_seconds: options.MaxSecondsOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and library warnings.")] = False,
) -> None:
    """Lay two films beside each other, and show where they differ most.

    Frames are paired by their number; times and sound are those of A.
    """
    from dgafvsr.jobs.compare import CompareSettings, Layout, compare_films
    from dgafvsr.video.decoding import OnError

    names = None if labels is None else tuple(labels.split(","))
    if names is not None and len(names) != 2:
        raise UsageError("Two films have two labels", got=labels, expected="two names with a comma between them")
    settings = CompareSettings(
        layout=cast(Layout, layout),
        labels=None if names is None else (names[0], names[1]),
        sheet=sheet,
        reference=reference,
        overwrite=overwrite,
        limits=limits_of(max_pixels, max_frames, max_seconds),
        deinterlace=deinterlace,
        on_error=cast(OnError, on_error),
    )
    with CountBar("comparing") as bar:
        summary = compare_films(first, second, target, settings, bar)
    Notes().say(summary.warnings)
    typer.echo(f"{summary.output}")
    typer.echo(f"  frames  {summary.frames}")
    if summary.sheet is not None:
        typer.echo(f"  sheet   {summary.sheet}")
