"""`dgafvsr train RECIPE`: train a model, or one stage of it, by a recipe; `dgafvsr train export RUN OUT`."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from dgafvsr.apps.cli.progress import TrainBar
from dgafvsr.errors import UsageError

__all__ = ["parse_override", "train"]

EXPORT = "export"


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="tiny (all stages and the finished model), autoencoder-tiny, denoiser-tiny, guidance-tiny; "
            "finetune (a finished model of ours); guidance-sdx4 (the paper), stablevsr; ablation; or export, to write "
            "the model folder of a run. --list says more.",
            show_default=False,
        ),
    ] = None,
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN OUT]", help="For export: the run's folder and the new model folder."),
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="Show the recipes with their budgets and leave.")] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Show every field of the recipe, as --set makes it, and leave.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Photographs, videos, picture folders (REDS and others), or a pack.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The run's folder: checkpoints, losses, results.", show_default=False),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Another value for a field of the recipe, such as denoiser.velocity.steps=100. May be repeated.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Folder or hub id of the model to start from (finetune) or of the frozen networks (guidance-sdx4, "
            "stablevsr, ablation).",
            show_default=False,
        ),
    ] = None,
    arms: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Arms of the ablation, comma-separated.", show_default="all"),
    ] = None,
    val: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Held-out clips to validate on.", show_default="a folder val in or beside the data"
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep decoded video and the flow of clips here; guidance-sdx4 and stablevsr keep video only.",
            show_default="no cache",
        ),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(metavar="N", help="Save and leave after this long; --resume goes on.", show_default="no limit"),
    ] = None,
    keep: Annotated[int, typer.Option(metavar="N", help="Checkpoints that are kept of each phase.")] = 2,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the output folder.")] = False,
    licence: Annotated[
        str | None, typer.Option(metavar="TEXT", help="For export: licence of the weights.", show_default=False)
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and library warnings.")] = False,
) -> None:
    """Train a model by a recipe.

    A run that was stopped, by --max-minutes, Ctrl-C or a polite kill, goes on with --resume, bit for bit as if it had
    not been stopped. Several processes: `accelerate launch -m dgafvsr.apps.cli.main train ...`.
    """
    if show_list:
        _show_recipes()
        return
    if recipe is None:
        raise UsageError("no recipe is named", expected="RECIPE", remedy="see dgafvsr train --list")
    if recipe == EXPORT:
        _export(folders or [], licence)
        return
    if folders or licence is not None:
        raise UsageError("only export takes folders and a licence", got=", ".join(map(str, folders or ())) or licence)
    overrides = dict(parse_override(text) for text in override or [])
    overrides |= {"base": base} if base is not None else {}
    overrides |= {"arms": tuple(arm.strip() for arm in arms.split(","))} if arms is not None else {}
    if show:
        _show_fields(recipe, overrides)
        return
    if data is None or output is None:
        raise UsageError("Missing option", expected="--data and --output")
    if max_minutes is not None and max_minutes <= 0:
        raise UsageError("--max-minutes is out of range", got=max_minutes, expected="a positive number")
    first = os.environ.get("RANK", "0") == "0"  # of the processes that accelerate or torchrun has started
    if first and not resume and output.is_dir() and any(output.iterdir()):
        raise UsageError(
            f"The output folder {output} is not empty", remedy="add --resume to go on with its run, or name another"
        )
    from dgafvsr.training import recipes
    from dgafvsr.training.runs import SKIPPED, RunOptions, leave_together

    with TrainBar("preparing") if first else nullcontext() as bar:
        options = RunOptions(max_minutes=max_minutes, keep=keep, val=val, cache=cache, listener=bar)
        result = recipes.run(recipe, data=data, output=output, overrides=overrides, options=options)
    leave_together()
    if not first:
        return
    if (output / SKIPPED).is_file():
        typer.echo((output / SKIPPED).read_text(encoding="utf-8").strip(), err=True)
    if result == output:
        typer.echo(f"Stopped before the end; the run is saved in {output}. Go on with --resume.")
    else:
        typer.echo(f"{result}")


def _show_recipes() -> None:
    from rich.console import Console
    from rich.table import Table

    from dgafvsr.training.recipes import RECIPES

    table = Table()
    for heading in ("recipe", "what it trains", "budget"):
        table.add_column(heading, no_wrap=heading == "recipe")
    for entry in RECIPES.values():
        table.add_row(entry.name, entry.what, entry.budget)
    Console().print(table)


def _show_fields(recipe: str, overrides: dict[str, Any]) -> None:
    """Lines that --set understands."""
    from dgafvsr.training.overrides import fields_by_name
    from dgafvsr.training.recipes import resolve

    for name, value in fields_by_name(resolve(recipe, overrides)).items():
        typer.echo(f"{name}={json.dumps(value)}")


def _export(folders: list[Path], licence: str | None) -> None:
    if len(folders) != 2:
        raise UsageError("export needs two folders", got=len(folders), expected="dgafvsr train export RUN OUT")
    from dgafvsr.training.export import export_run

    typer.echo(f"{export_run(folders[0], folders[1], licence=licence)}")


def parse_override(text: str) -> tuple[str, Any]:
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
