"""A pipeline that gets by with less memory when there is too little: windows one by one, then shorter ones, then tiles.

Before all of these compiled networks give their CUDA graphs up, which hold memory that nothing else can have.

Only the inside of a call changes. Its frames, its head and its tail stay as they were asked for, so the windows of a
shot go on fitting each other. What was found to fit is kept for the calls that follow, and each change is said in one
line.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgafvsr.errors import ResourceError
from dgafvsr.jobs.memory_sharing import MemorySharing
from dgafvsr.jobs.upscaler import Upscaled
from dgafvsr.models.compiling import give_up_graphs, hold_graphs
from dgafvsr.models.lazy_frames import LazyFrames
from dgafvsr.models.out_of_memory import is_out_of_memory
from dgafvsr.sampling.seams import SeamState
from dgafvsr.sampling.tiles import MINIMUM_TILE

__all__ = ["FallbackResult", "FallbackUpscaler", "FrugalFrames", "Reduction"]

T = TypeVar("T")

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
        one_by_one: whether windows that could be sampled in lockstep are sampled one after the other.
        decoding_tile: side of the tiles in LR pixels in which pictures are decoded; None for whole frames.
        uncompiled: whether networks that could be run as CUDA graphs are run as written.
    """

    window: int | None = None
    tile: int | None = None
    one_by_one: bool = False
    decoding_tile: int | None = None
    uncompiled: bool = False

    def __str__(self) -> str:
        window = "all frames together" if self.window is None else f"windows of {self.window} frames"
        tiles = "" if self.tile is None else f" in tiles of {self.tile} pixels"
        ways = [(self.one_by_one, "one after the other"), (self.uncompiled, "uncompiled")]
        return ", ".join([window + tiles, *(way for taken, way in ways if taken)])


class FallbackUpscaler:
    """An `Upscaler` around another one, which retries with less where that one runs out of memory.

    Args:
        pipeline: what really upscales: an `Upscaler` that also takes `window` and `overlap`, as `DGAFVSRPipeline`.
        start: a reduction that is known to be needed, such as that of the job's earlier run; None for none.
        side_by_side: whether the frames of a call may be decoded, on another thread, during the next one.
        needed_bytes: (width, height, reduction) -> the memory that a call would need, for the message of the last
            resort; None where nobody knows.

    Attributes:
        warnings: one sentence for each time that less had to do in a call.
        reduction: what is in force now; the frames depend on it, so that a job must resume with it.
    """

    def __init__(
        self,
        pipeline: Any,
        *,
        start: Reduction | None = None,
        side_by_side: bool = True,
        needed_bytes: Callable[[int, int, Reduction], int] | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._needed_bytes = needed_bytes
        self._sharing = MemorySharing(side_by_side=side_by_side)
        self._undecoded: FrugalFrames | None = None
        self._is_made_again = False
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

    @contextmanager
    def reduced_to(self, reduction: Reduction) -> Iterator[None]:
        """For a window that is made again: with what it was made with, because its frames depend on it."""
        now, self.reduction, self._is_made_again = self.reduction, reduction, True
        try:
            yield
        finally:
            self.reduction, self._is_made_again = now, False

    def __call__(
        self,
        frames: NDArray[np.float32],
        *,
        state: dict[str, Tensor] | None = None,
        tail: int = 0,
        tile: int | None = None,
        window: int | None = None,
        overlap: int = 0,
        window_batch: int = 1,
        **options: Any,
    ) -> FallbackResult:
        """The frames of one window at four times the size, as `Upscaler` says; they can be taken once.

        `window`, `overlap` and `window_batch` are the pipeline's, for windows in lockstep.

        Raises:
            ResourceError: there is too little memory for the least that can be done.
        """
        height, width = frames.shape[1:3]
        head = 0 if state is None else max(len(tensor) for tensor in state.values())
        asked = replace(
            self.reduction,
            window=_smaller(self.reduction.window, window),
            tile=_smaller(self.reduction.tile, tile),
            one_by_one=self.reduction.one_by_one and window_batch > 1,
        )

        def call(attempt: Reduction) -> Upscaled:
            if attempt.uncompiled and give_up_graphs(self.components.values()):
                _free_caches()
            inner = _inner(attempt, len(frames), tail)
            if inner and attempt.window == window:
                inner |= {"overlap": overlap, "window_batch": 1 if attempt.one_by_one else window_batch}
            result: Upscaled = self._pipeline(frames, state=state, tail=tail, tile=attempt.tile, **inner, **options)
            return result

        result = self._beside_decoding(lambda: call(asked))
        tried, failure = asked, ""
        attempts = _attempts(
            asked,
            len(frames),
            max(head, tail),
            max(height, width),
            lockstep=window_batch > 1,
            graphs=lambda: hold_graphs(self.components.values()),
        )
        while result is None:
            attempt = next(attempts, None)
            if attempt is None:
                raise self._exhausted(width, height, tried, failure)
            if failure:
                self.warnings.append(
                    f"The memory is too small for {width}x{height} frames, {tried}; going on with {attempt}"
                )
                self.reduction = attempt
            tried = attempt
            with self._sharing.sampling():
                result, failure = _tried(partial(call, attempt))
        before = self._undecoded
        tile = self.reduction.decoding_tile if before is None or self._is_made_again else before.tile
        self._undecoded = FrugalFrames(result.frames, self._sharing, tile)
        return FallbackResult(frames=self._undecoded, state=result.state)

    def _beside_decoding(self, call: Callable[[], T]) -> T | None:
        """What the call gives while other frames are decoded; None if there are none, or not enough memory for both."""
        if not self._sharing.side_by_side or self._undecoded is None or self._undecoded.taken:
            return None
        with self._sharing.sampling():
            result, failure = _tried(call)
        if failure:
            self._sharing.side_by_side = False
        return result

    def _exhausted(self, width: int, height: int, tried: Reduction, failure: str) -> ResourceError:
        needed = None if self._needed_bytes is None else self._needed_bytes(width, height, tried)
        return ResourceError(
            f"The memory of {self.device} is too small for frames of {width}x{height}, even in {tried}",
            got=failure,
            expected=None if needed is None else f"about {needed / 1e9:.1f} GB of free memory",
            remedy="make the frames smaller, choose a shorter --window, end other programs, or use a larger device",
        )


class FrugalFrames:
    """Pictures of a call, decoded one after the other as they are taken; in tiles where the memory is too small.

    Args:
        frames: what the pipeline gave.
        sharing: of the memory with the calls.
        tile: side in LR pixels of the tiles to begin with, None for whole frames.

    Attributes:
        tile: of the last picture that was decoded.
    """

    def __init__(self, frames: Any, sharing: MemorySharing, tile: int | None) -> None:
        self._frames, self._sharing, self.tile = frames, sharing, tile
        self.notes: list[str] = []
        """One sentence for each time that less had to do."""
        self.taken = False
        """Whether all of them were."""

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Raises ResourceError where the smallest tiles are too large."""
        for index in range(len(self._frames)):
            yield self._picture(index)
        self.taken, self._frames = True, ()

    def _picture(self, index: int) -> NDArray[np.float32]:
        if not isinstance(self._frames, LazyFrames):
            return np.asarray(self._frames[index])
        lazy = self._frames if self.tile is None else self._frames.in_tiles(self.tile)
        with self._sharing.decoding():
            picture, failure = _tried(partial(lazy.__getitem__, index))
        while picture is None:
            with self._sharing.between_calls():
                picture, failure = _tried(partial(lazy.__getitem__, index))
            if picture is None:
                lazy = self._in_smaller_tiles(lazy, failure)
        return picture

    def _in_smaller_tiles(self, lazy: LazyFrames, failure: str) -> LazyFrames:
        height, width = lazy.sides
        side = min(max(height, width), lazy.tile or max(height, width))
        if side <= SMALLEST_TILE:
            raise ResourceError(
                f"The memory is too small to decode frames of {width}x{height}, even in tiles of {side} pixels",
                got=failure,
                remedy="make the frames smaller, end other programs, or use a larger device",
            )
        self.tile = _half(side)
        self.notes.append(
            f"The memory is too small to decode {width}x{height} frames; going on with tiles of {self.tile} pixels"
        )
        return lazy.in_tiles(self.tile)


@dataclass(frozen=True, kw_only=True)
class FallbackResult:
    """What a call gives back.

    Attributes:
        frames: the pictures, to be taken once, on any thread.
        state: for the next window of the shot, None where nothing was held back.
    """

    frames: FrugalFrames
    state: SeamState | None


def _attempts(
    asked: Reduction, frames: int, shared: int, side: int, *, lockstep: bool, graphs: Callable[[], bool]
) -> Iterator[Reduction]:
    """What is tried, from what was asked to the least: no graphs, no lockstep, halved windows, and then tiles.

    Args:
        asked: the beginning.
        frames: of the call.
        shared: frames that the call shares with one of its neighbours: an inner window holds more than those.
        side: the longer side of a frame in LR pixels.
        lockstep: whether windows are asked for together.
        graphs: whether networks hold CUDA graphs, asked when the first attempt has failed: it may have made them.
    """
    yield asked
    if graphs():
        asked = replace(asked, uncompiled=True)
        yield asked
    if lockstep and not asked.one_by_one:
        asked = replace(asked, one_by_one=True)
        yield asked
    window, shortest = min(asked.window or frames, frames), max(SHORTEST_WINDOW, shared + 1)
    while window > shortest:
        window = max(window // 2, shortest)
        yield replace(asked, window=window)
    tile = min(asked.tile or side, side)
    while tile > SMALLEST_TILE:
        tile = _half(tile)
        yield replace(asked, window=window if window < frames else asked.window, tile=tile)


def _inner(attempt: Reduction, frames: int, tail: int) -> dict[str, int]:
    """The pipeline's options for inner windows; their overlap is at least the tail, so that it fits the last one."""
    if attempt.window is None or attempt.window >= frames:
        return {}
    return {"window": attempt.window, "overlap": max(tail, min(INNER_OVERLAP, attempt.window - 1))}


def _smaller(first: int | None, second: int | None) -> int | None:
    given = [value for value in (first, second) if value is not None]
    return min(given) if given else None


def _half(tile: int) -> int:
    return max(tile // 16 * 8, SMALLEST_TILE)  # in whole strides of any model's networks


def _tried(call: Callable[[], T]) -> tuple[T | None, str]:
    """What the call gives, or None and why there was too little memory for it."""
    try:
        return call(), ""
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        failure = str(error).strip().partition("\n")[0] or type(error).__name__
    _free_caches()  # outside of the handler: until then the error holds every tensor of the failed call
    return None, failure


def _free_caches() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
