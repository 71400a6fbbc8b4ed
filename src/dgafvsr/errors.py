"""Typed errors: what was wrong, what was got, what was expected, what to do.

Every error that a user can cause is a `DGAFVSRError`. Its text is one message, written once, at the border where the
bad value enters; the command line prints it and leaves with `exit_code`. An error that is pickled, by a process that
prepares data or computes scores, arrives as it was.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "DGAFVSRError",
    "InputError",
    "InterruptionError",
    "ModelError",
    "OutputError",
    "ResourceError",
    "UsageError",
]


class DGAFVSRError(Exception):
    """A failure that its message explains completely.

    Args:
        what: what went wrong, naming the file, option or tensor at fault.
        got: the value that was found, if one can be shown.
        expected: what would have been accepted.
        remedy: what the user can do about it, as an imperative.

    Example:
        >>> str(InputError("clip.txt is not a video", expected="a file that FFmpeg can open", remedy="check the path"))
        'clip.txt is not a video. Expected: a file that FFmpeg can open. Remedy: check the path.'
    """

    exit_code = 1

    def __init__(self, what: str, *, got: object = None, expected: object = None, remedy: str | None = None) -> None:
        self.what, self.got, self.expected, self.remedy = what, got, expected, remedy
        parts = [what]
        parts += [f"Got: {got}"] if got is not None else []
        parts += [f"Expected: {expected}"] if expected is not None else []
        parts += [f"Remedy: {remedy}"] if remedy is not None else []
        super().__init__(". ".join(part.rstrip(".") for part in parts) + ".")

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own would call the class with the message alone, whatever arguments it takes.
        texts = {
            name: None if value is None else str(value)
            for name, value in (("got", self.got), ("expected", self.expected))
        }
        return _restore, (type(self), self.args, self.__dict__ | texts)


class UsageError(DGAFVSRError):
    """An option or argument that contradicts another or is out of its range."""

    exit_code = 2


class InputError(DGAFVSRError):
    """A video, picture folder or array that cannot be used."""

    exit_code = 3


class ModelError(DGAFVSRError):
    """A model folder that is incomplete, damaged or of another shape."""

    exit_code = 3


class OutputError(DGAFVSRError):
    """A result that cannot be written where it was asked for."""

    exit_code = 1


class ResourceError(DGAFVSRError):
    """Too little memory or disk for what was asked."""

    exit_code = 4


class InterruptionError(DGAFVSRError):
    """A job that was asked to stop before it was done."""

    exit_code = 130


def _restore(kind: type[DGAFVSRError], args: tuple[Any, ...], parts: dict[str, Any]) -> DGAFVSRError:
    """A pickled error; what was got and expected is text now."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(parts)
    return error
