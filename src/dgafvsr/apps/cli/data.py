"""`dgafvsr data check DIR` and `dgafvsr data degrade IN OUT`: benchmarks on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from dgafvsr.errors import InputError

__all__ = ["app", "check", "degrade"]

app = typer.Typer(name="data", help="Check benchmark folders and make low-resolution clips.", no_args_is_help=True)

Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and library warnings.")]


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The benchmark's top folder.", show_default=False)],
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="reds4, vid4, videolq, udm10, spmcs or vimeo90k-t.", show_default="told by the names"
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Say what is missing or misnamed in a benchmark's folder.

    Leaves with exit code 3 if anything is.
    """
    from dgafvsr.evaluation.datasets import check_dataset, layout_of

    found = check_dataset(folder, None if layout is None else layout_of(layout))
    sets = ", ".join(f"{name}: {clips} clips" for name, clips in found.sets.items()) or "nothing"
    typer.echo(f"{folder} as {found.layout}; {sets}; {found.pictures} pictures")
    for problem in found.problems:
        typer.echo(f"  {problem.path} {problem.what}")
    if found.problems:
        raise InputError(
            f"{folder} is not {found.layout} as docs/datasets.md describes it",
            got="1 problem" if len(found.problems) == 1 else f"{len(found.problems)} problems",
        )
    typer.echo("complete")


@app.command()
def degrade(
    source: Annotated[
        Path,
        typer.Argument(metavar="IN", help="HR frames: a video, pictures, or a folder of clips.", show_default=False),
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="The folder to make, PNG files inside.", show_default=False)
    ],
    kind: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="bicubic (antialiased, x1/4), bd (blur of sigma 1.6, every 4th pixel) or realistic (random).",
        ),
    ] = "bicubic",
    seed: Annotated[int, typer.Option(metavar="N", help="Of realistic; each clip draws its own from it.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace folders of pictures.")] = False,
    debug: Debug = False,
) -> None:
    """Make low-resolution clips, a quarter of the size; sides are cut to multiples of 4."""
    from dgafvsr.evaluation.degrade import DegradationKind, degrade_clips

    degrade_clips(
        source,
        target,
        cast(DegradationKind, kind),
        seed=seed,
        overwrite=overwrite,
        on_clip=lambda name, frames: typer.echo(f"{name}: {frames} frames"),
    )
