"""The workers of a cluster and the queue of windows before them.

Each worker is a Ray actor and has a thread here, which hands it one window after the other, asks now and then how far
it is, and, when it dies, puts the window back into the queue and starts another worker. Films are served in the order
in which they came; a worker stays with a shot as long as it can, for there it has the frames at hand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from dgafvsr.errors import ResourceError
from dgafvsr.jobs.cluster_worker import WindowTask
from dgafvsr.jobs.manifest import WindowRecord
from dgafvsr.jobs.stopping import stopped

__all__ = ["Order", "Told", "WorkerPool"]

LOOK_SECONDS = 0.5
"""Between two questions how far a worker is."""
MOST_DEATHS = 3
"""Workers that a window may cost before it counts as the reason."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """News of a window: how many units of work are done, or how it ended."""

    order: Order
    """The window."""
    units: int = 0
    """Done so far; 0 again after the death of a worker."""
    record: WindowRecord | None = None
    """The window is finished."""
    error: BaseException | None = None
    """The window has failed."""


@dataclass(kw_only=True, eq=False)
class Order:
    """A window to be sampled."""

    task: WindowTask
    """The window."""
    model: tuple[str, Any]
    """The name of the model and what fetches it."""
    film: int
    """Number of the film; lower ones come first."""
    listener: Callable[[Told], object]
    """Told of everything, on the thread of the worker."""
    wants_stop: Callable[[], bool]
    """Whether the window is to be given up."""
    deaths: int = field(default=0)
    """Of workers that had it."""


class WorkerPool:
    """Workers, and windows that wait for one.

    Args:
        start: starts a worker and gives it when it can work; raises what the user is to be told.
        workers: those that were started already.
    """

    def __init__(self, start: Callable[[], Any], workers: list[Any]) -> None:
        self._start, self._orders = start, list[Order]()
        self._changed = threading.Condition()
        self._closed = False
        self._failure: BaseException | None = None
        self._alive = len(workers)
        self._threads = [
            threading.Thread(target=self._serve, args=(worker,), name=f"worker-{index}", daemon=True)
            for index, worker in enumerate(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, order: Order) -> None:
        """Put a window into the queue."""
        with self._changed:
            if not self._alive:
                order.listener(Told(order=order, error=self._failure))
                return
            self._orders.append(order)
            self._changed.notify()

    def withdraw(self, film: int) -> int:
        """Take the waiting windows of a film out of the queue; says how many there were."""
        with self._changed:
            before = len(self._orders)
            self._orders = [order for order in self._orders if order.film != film]
            return before - len(self._orders)

    def close(self) -> None:
        """End the threads; one that waits for a new worker ends when that does."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=2 * LOOK_SECONDS)

    def _serve(self, worker: Any) -> None:
        last: Order | None = None
        while (order := self._next(last)) is not None:
            last = order
            try:
                order.listener(Told(order=order, record=self._watch(worker, order)))
            except RayActorError:
                with suppress(RayError):
                    ray.kill(worker)  # it may only be out of reach
                self._mourn(order)
                try:
                    worker = self._start()
                except Exception as error:  # noqa: BLE001 - told with every window that nobody can do any more
                    self._leave(error)
                    return
            except RayTaskError as error:
                order.listener(Told(order=order, error=getattr(error, "cause", None) or error))
            except RayError as error:
                order.listener(Told(order=order, error=error))

    def _next(self, last: Order | None) -> Order | None:
        """The order to be done next; waits for one. None when the pool is closed."""

        def place(order: Order) -> tuple[bool, int, int]:
            stays = last is not None and (order.film, order.task.shot_start) == (last.film, last.task.shot_start)
            return not stays, order.film, order.task.start

        with self._changed:
            self._changed.wait_for(lambda: self._orders or self._closed)
            if self._closed:
                return None
            order = min(self._orders, key=place)
            self._orders.remove(order)
            return order

    def _watch(self, worker: Any, order: Order) -> WindowRecord:
        """The record of a window, when the worker has it; meanwhile tells how far it is."""
        name, fetch = order.model
        result = worker.sample.remote(order.task, name, fetch)
        look = None
        while not ray.wait([result], timeout=LOOK_SECONDS)[0]:
            if look is None:
                look = worker.look.remote(order.wants_stop())
            if ray.wait([look], timeout=0)[0]:
                order.listener(Told(order=order, units=ray.get(look)))
                look = None
        record: WindowRecord = ray.get(result)
        return record

    def _mourn(self, order: Order) -> None:
        order.deaths += 1
        if order.wants_stop():
            order.listener(Told(order=order, error=stopped()))
            return
        if order.deaths < MOST_DEATHS:
            order.listener(Told(order=order))
            self.submit(order)
            return
        error = ResourceError(
            f"{order.deaths} workers died at the window that starts at frame {order.task.start}",
            remedy="look for the reason in Ray's logs; with too little memory use fewer workers, a shorter --window or "
            "--tile",
        )
        order.listener(Told(order=order, error=error))

    def _leave(self, error: BaseException) -> None:
        """One worker less; after the last one nothing can be done any more."""
        with self._changed:
            self._alive -= 1
            self._failure = error
            given_up = self._orders if not self._alive else []
            self._orders = [] if not self._alive else self._orders
        for order in given_up:
            order.listener(Told(order=order, error=error))
