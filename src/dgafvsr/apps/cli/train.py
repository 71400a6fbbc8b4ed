"""`dgafvsr train RECIPE`: train a model, or one stage of it, by a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dgafvsr.apps.cli.progress import TrainBar
from dgafvsr.errors import UsageError

__all__ = ["parse_override", "train"]


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="tiny (all stages and the finished model), autoencoder-tiny, denoiser-tiny or guidance-tiny.",
            show_default=False,
        ),
    ],
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Holds photos/ and, optionally, videos/.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="The run's folder: checkpoints, losses, results.", show_default=False)
    ],
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Another value for a field of the recipe, such as denoiser.velocity.steps=100. May be repeated.",
            show_default=False,
        ),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(metavar="N", help="Save and leave after this long; --resume goes on.", show_default="no limit"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the output folder.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and library warnings.")] = False,
) -> None:
    """Train a model by a recipe.

    A run that was stopped goes on with --resume, bit for bit as if it had not been stopped.
    """
    overrides = dict(parse_override(text) for text in override or [])
    if max_minutes is not None and max_minutes <= 0:
        raise UsageError("--max-minutes is out of range", got=max_minutes, expected="a positive number")
    if not resume and output.is_dir() and any(output.iterdir()):
        raise UsageError(
            f"The output folder {output} is not empty", remedy="add --resume to go on with its run, or name another"
        )
    from dgafvsr.training import recipes

    with TrainBar("preparing") as bar:
        result = recipes.run(
            recipe, data=data, output=output, overrides=overrides, max_minutes=max_minutes, listener=bar
        )
    if result == output:
        typer.echo(f"The time was up before the end; the run is saved in {output}. Go on with --resume.")
    else:
        typer.echo(f"{result}")


def parse_override(text: str) -> tuple[str, object]:
    """The field and the value of `key=value`; the value is read as JSON, and as plain text where it is none.

    Raises:
        UsageError: no key, or no equals sign.

    Example:
        >>> parse_override("guidance.velocity.steps=100")
        ('guidance.velocity.steps', 100)
    """
    key, equals, value = text.partition("=")
    if not key.strip() or not equals:
        raise UsageError("--set is not understood", got=text, expected="KEY=VALUE")
    try:
        return key.strip(), json.loads(value)
    except json.JSONDecodeError:
        return key.strip(), value
