"""SIGTERM and Ctrl-C as a wish: training and upscaling end after the step at work, with what is done saved.

A second signal of the same kind is not held back any more.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Wish", "stop_on_signals"]

Wish = Callable[[], bool]
"""Whether somebody has asked the work to end."""


@contextmanager
def stop_on_signals() -> Iterator[Wish]:
    """While the context is open, SIGTERM and SIGINT are noted instead of ending the process.

    Outside the main thread, where handlers cannot be set, the host program keeps its own.
    """
    asked: list[int] = []
    previous: dict[int, Any] = {}

    def note(number: int, frame: object) -> None:
        asked.append(number)
        signal.signal(number, previous[number])

    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            previous[number] = signal.getsignal(number)
            signal.signal(number, note)
    except ValueError:
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        for held, handler in previous.items():
            signal.signal(held, handler)
