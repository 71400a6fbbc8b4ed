"""A pipeline that gets by with less memory when there is too little: shorter inner windows, then tiles.

Only the inside of a call changes. Its frames, its head and its tail stay as they were asked for, so the windows of a
shot go on fitting each other. What was found to fit is kept for the calls that follow, and each change is said in one
line of `warnings`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgafvsr.errors import ResourceError
from dgafvsr.jobs.upscaler import Upscaled
from dgafvsr.sampling.tiles import MINIMUM_TILE

__all__ = ["FallbackUpscaler", "Reduction", "is_out_of_memory"]

SHORTEST_WINDOW = 2
"""Frames: with fewer there is no neighbour to be guided by."""
SMALLEST_TILE = 2 * MINIMUM_TILE
"""LR pixels: smaller tiles save next to nothing and cost much of the quality."""
INNER_OVERLAP = 2
"""Frames that inner windows share where the call's tail does not ask for more."""


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """What a call is made smaller by.

    Attributes:
        window: frames sampled together inside a call; None for all.
        tile: side of the tiles in LR pixels; None for whole frames.
    """

    window: int | None = None
    tile: int | None = None

    def __str__(self) -> str:
        window = "all frames together" if self.window is None else f"windows of {self.window} frames"
        return window if self.tile is None else f"{window} in tiles of {self.tile} pixels"


class FallbackUpscaler:
    """An `Upscaler` around another one, which retries with less where that one runs out of memory.

    Args:
        pipeline: what really upscales: an `Upscaler` that also takes `window` and `overlap`, as `DGAFVSRPipeline`.
        start: a reduction that is known to be needed, such as that of the job's earlier run; None for none.
        needed_bytes: (width, height, reduction) -> the memory that a call would need, for the message of the last
            resort; None where nobody knows.

    Attributes:
        warnings: one sentence for each time that less had to do.
        reduction: what is in force now; the frames depend on it, so that a job must resume with it.
    """

    def __init__(
        self,
        pipeline: Any,
        *,
        start: Reduction | None = None,
        needed_bytes: Callable[[int, int, Reduction], int] | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._needed_bytes = needed_bytes
        self.warnings: list[str] = []
        self.reduction = start or Reduction()

    @property
    def device(self) -> Any:
        """Where the pipeline runs."""
        return self._pipeline.device

    @property
    def default_steps(self) -> int:
        """The pipeline's denoising steps when none are asked for."""
        return self._pipeline.default_steps

    @property
    def components(self) -> Mapping[str, Any]:
        """The pipeline's networks and what configures them, by name."""
        return self._pipeline.components

    def __call__(
        self,
        frames: NDArray[np.float32],
        *,
        state: dict[str, Tensor] | None = None,
        tail: int = 0,
        tile: int | None = None,
        **options: Any,
    ) -> Upscaled:
        """The frames of one window at four times the size, as `Upscaler` says.

        Raises:
            ResourceError: there is too little memory for the least that can be done.
        """
        height, width = frames.shape[1:3]
        head = 0 if state is None else max(len(tensor) for tensor in state.values())
        asked = Reduction(window=self.reduction.window, tile=_smaller(self.reduction.tile, tile))
        tried, failure = asked, ""
        for attempt in _attempts(asked, len(frames), max(head, tail), max(height, width)):
            if failure:
                self.warnings.append(
                    f"The memory is too small for {width}x{height} frames, {tried}; going on with {attempt}"
                )
                self.reduction = attempt
            tried = attempt
            try:
                return self._pipeline(
                    frames, state=state, tail=tail, tile=attempt.tile, **_inner(attempt, len(frames), tail), **options
                )
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                failure = str(error).strip().partition("\n")[0] or type(error).__name__
            _free_caches()  # outside of the handler: until then the error holds every tensor of the failed call
        raise self._exhausted(width, height, tried, failure)

    def _exhausted(self, width: int, height: int, tried: Reduction, failure: str) -> ResourceError:
        needed = None if self._needed_bytes is None else self._needed_bytes(width, height, tried)
        return ResourceError(
            f"The memory of {self.device} is too small for frames of {width}x{height}, even in {tried}",
            got=failure,
            expected=None if needed is None else f"about {needed / 1e9:.1f} GB of free memory",
            remedy="make the frames smaller, choose a shorter --window, end other programs, or use a larger device",
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is too little memory, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        sign in words for sign in ("not enough memory", "out of memory", "can't allocate memory", "cannot allocate")
    )


def _attempts(asked: Reduction, frames: int, shared: int, side: int) -> Iterator[Reduction]:
    """What is tried, from what was asked to the least: halved windows first, then tiles.

    Args:
        asked: the beginning.
        frames: of the call.
        shared: frames that the call shares with one of its neighbours: an inner window holds more than those.
        side: the longer side of a frame in LR pixels.
    """
    yield asked
    window, shortest = min(asked.window or frames, frames), max(SHORTEST_WINDOW, shared + 1)
    while window > shortest:
        window = max(window // 2, shortest)
        yield Reduction(window=window, tile=asked.tile)
    tile = min(asked.tile or side, side)
    while tile > SMALLEST_TILE:
        tile = max(tile // 16 * 8, SMALLEST_TILE)  # half of it, in whole strides of any model's networks
        yield Reduction(window=window if window < frames else asked.window, tile=tile)


def _inner(attempt: Reduction, frames: int, tail: int) -> dict[str, int]:
    """The pipeline's options for inner windows; their overlap is at least the tail, so that it fits the last one."""
    if attempt.window is None or attempt.window >= frames:
        return {}
    return {"window": attempt.window, "overlap": max(tail, min(INNER_OVERLAP, attempt.window - 1))}


def _smaller(first: int | None, second: int | None) -> int | None:
    given = [value for value in (first, second) if value is not None]
    return min(given) if given else None


def _free_caches() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
