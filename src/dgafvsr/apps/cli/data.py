"""`dgafvsr data check DIR`, `degrade IN OUT` and `pack DIR OUT.tar`: benchmarks and training data on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from dgafvsr.apps.cli.progress import CountBar
from dgafvsr.errors import InputError

__all__ = ["app", "check", "degrade", "pack"]

app = typer.Typer(
    name="data",
    help="Check benchmark folders, make low-resolution clips, pack training data.",
    no_args_is_help=True,
)

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
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of realistic; each clip draws its own from it.", show_default="0"),
    ] = None,
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


@app.command()
def pack(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Training data: photographs, folders of frames, videos, at any depth.",
            show_default=False,
        ),
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT.tar", help="The file to make.", show_default=False)],
    max_mb: Annotated[float, typer.Option(metavar="N", help="Bound of the file in megabytes of 1,000,000 bytes.")] = 50,
    picture_format: Annotated[
        str,
        typer.Option("--format", metavar="NAME", help="jpeg (full colour resolution) or webp (smaller)."),
    ] = "jpeg",
    clip_share: Annotated[
        float, typer.Option(metavar="X", help="Share of the space for runs of frames of clips, 0 to 1.")
    ] = 0.3,
    run_frames: Annotated[int, typer.Option(metavar="N", help="Frames of a run, at least 2.")] = 16,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    debug: Debug = False,
) -> None:
    """Make a training set of bounded size, for machines with a small upload; `--data OUT.tar` trains on it.

    Validation and test material is left out, soft and large pictures are reduced, and where there is no room for all a
    varied choice is kept. An index says where each picture comes from.
    """
    from dgafvsr.training.data.pack_candidates import PackSettings
    from dgafvsr.training.data.packing import pack as pack_data

    settings = PackSettings(
        max_mb=max_mb,
        format=picture_format,  # type: ignore[arg-type]
        clip_share=clip_share,
        run_frames=run_frames,
    )
    with CountBar("packing") as bar:
        result = pack_data(data, target, settings, overwrite=overwrite, on_progress=bar)
    typer.echo(
        f"{result.path}: {result.size / 1e6:.1f} MB, {result.photos} photographs and {result.runs} runs "
        f"({result.frames} frames), quality {result.quality} or better"
    )
    if result.left_out:
        typer.echo(f"no room for {result.left_out} photographs and runs")
    if result.held_out:
        typer.echo(f"{result.held_out} folders of validation and test material are left out")
    if result.problems:
        typer.echo(result.problems)
