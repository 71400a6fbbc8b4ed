"""Work that goes on beside the sampling: reading ahead and writing behind, each on a thread of its own.

The order of the items never changes, an error comes out where its item would have, and each side waits for the other
when it is too far ahead, so neither the result nor the memory depends on which thread is faster.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

import torch

__all__ = ["WriteBehind", "own_stream", "read_ahead"]

T = TypeVar("T")


def read_ahead(items: Iterable[T], count: int) -> Generator[T]:
    """The same items, of which up to `count` are made on another thread before they are asked for.

    An error of the items is raised where the item would have come. Closing the iterator ends the thread.

    Args:
        items: iterated on the other thread only.
        count: items held at most, at least 1.
    """
    end = object()
    iterator = iter(items)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="reading") as thread:
        ahead = deque(thread.submit(next, iterator, end) for _ in range(count))
        try:
            while (item := ahead.popleft().result()) is not end:
                ahead.append(thread.submit(next, iterator, end))
                yield cast(T, item)
        finally:
            for future in ahead:
                future.cancel()
            close = getattr(iterator, "close", None)
            if close is not None:
                thread.submit(close)


class WriteBehind(Generic[T]):
    """Gives items to a function on another thread, one after the other; one may be in work while the next is made.

    Leaving the context waits until everything is written. An error of the function is raised by the next `put`, or
    when the context is left without another error. A Ctrl-C there, or what ends a process otherwise, sets `given_up`.

    Args:
        write: called with each item in turn.
    """

    def __init__(self, write: Callable[[T], object]) -> None:
        self._write = write
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writing")
        self._running: Future[object] | None = None
        self.given_up = False
        """Whether nobody wants the rest any more: the function may end early, by an error."""

    def put(self, item: T) -> None:
        """Hand over an item; waits until the one before is written.

        Raises:
            Exception: what the function raised for the item before.
        """
        self.wait()
        self._running = self._thread.submit(self._write, item)

    def wait(self) -> None:
        """Return when all that was handed over is written; raises as `put` does."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.given_up = kind is not None and not issubclass(kind, Exception)
        running = [] if self._running is None else [self._running]
        try:
            wait(running)
        except BaseException:  # KeyboardInterrupt, or SystemExit of a signal: the wait itself raises nothing
            self.given_up = True
            wait(running)
            raise
        finally:
            self._thread.shutdown(wait=False)
        if kind is None:
            self.wait()


def own_stream(device: Any) -> AbstractContextManager[Any]:
    """While the context is open, this thread's work on a CUDA device does not queue up behind the sampling."""
    place = torch.device(device)
    return torch.cuda.stream(_background_stream(place) if place.type == "cuda" else None)


@functools.cache
def _background_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # one for good: the allocator keeps the memory of every stream apart
