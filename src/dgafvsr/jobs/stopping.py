"""Where a job looks whether somebody wants it to end, and how it then does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from dgafvsr.errors import InterruptionError
from dgafvsr.interruption import Wish

__all__ = ["check_stop", "stopped", "until_stopped"]

T = TypeVar("T")


def stopped() -> InterruptionError:
    """The error of a job that was asked to stop."""
    return InterruptionError("The job was asked to stop")


def check_stop(wish: Wish) -> None:
    """Nothing, where the job may go on.

    Raises:
        InterruptionError: somebody wants it to stop.
    """
    if wish():
        raise stopped()


def until_stopped(items: Iterable[T], wish: Wish) -> Iterator[T]:
    """The same items, with a look at the wish before each is handed on.

    Raises:
        InterruptionError: somebody wants the job to stop.
    """
    for item in items:
        check_stop(wish)
        yield item
