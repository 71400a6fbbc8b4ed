"""The command line: `dgafvsr upscale`, `batch`, `compare`, `info`, `train`, `evaluate`, `analyze` and `data`.

Each command is one file beside this one: parse, call, show. torch and everything that needs it is imported inside the
commands, so that `--help` answers at once.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from dgafvsr import __version__
from dgafvsr.apps.cli.analyze import app as analyze_app
from dgafvsr.apps.cli.batch import EPILOG as BATCH_EPILOG
from dgafvsr.apps.cli.batch import batch
from dgafvsr.apps.cli.batch_json import show_failure as show_batch_failure
from dgafvsr.apps.cli.border import guard, has_option, wants_debug
from dgafvsr.apps.cli.compare import compare
from dgafvsr.apps.cli.data import app as data_app
from dgafvsr.apps.cli.evaluate import evaluate
from dgafvsr.apps.cli.info import info
from dgafvsr.apps.cli.serve import serve
from dgafvsr.apps.cli.train import train
from dgafvsr.apps.cli.upscale import upscale
from dgafvsr.apps.cli.upscale_json import show_failure
from dgafvsr.apps.cli.upscale_options import EPILOG
from dgafvsr.host_memory import keep_freed_memory

__all__ = ["app", "main", "run"]

LISTENERS = {"upscale": show_failure, "batch": show_batch_failure}
"""Commands with `--json` -> what writes the object of a failure."""

app = typer.Typer(
    name="dgafvsr",
    help="Diffusion-based x4 video super-resolution with dense guidance from aligned features (DGAF-VSR).",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=EPILOG)(upscale)
app.command(epilog=BATCH_EPILOG)(batch)
app.command()(compare)
app.command()(info)
app.command()(train)
app.command()(evaluate)
app.command()(serve)
app.add_typer(analyze_app)
app.add_typer(data_app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dgafvsr {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """The exit code of a command line.

    Args:
        arguments: the words after the program's name.
    """
    command = typer.main.get_command(app)
    wants_json = has_option("--json", arguments)
    return guard(
        lambda: command.main(list(arguments), prog_name="dgafvsr", standalone_mode=False),
        debug=wants_debug(arguments),
        listener=LISTENERS.get(arguments[0]) if arguments and wants_json else None,
    )


def main() -> NoReturn:
    """Run the command line of this process and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):  # a file's name may be any bytes, also those that are no text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    keep_freed_memory()  # the process is ours
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
