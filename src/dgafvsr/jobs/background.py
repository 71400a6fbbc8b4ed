"""Work that goes on beside the sampling: reading ahead and writing behind, each on a thread of its own.

The order of the items never changes, an error comes out where its item would have, and each side waits for the other
when it is too far ahead, so neither the result nor the memory depends on which thread is faster.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

__all__ = ["WriteBehind", "read_ahead"]

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
    when the context is left without another error.

    Args:
        write: called with each item in turn.
    """

    def __init__(self, write: Callable[[T], object]) -> None:
        self._write = write
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writing")
        self._running: Future[object] | None = None

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
        self._thread.shutdown(wait=True)
        if kind is None:
            self.wait()
