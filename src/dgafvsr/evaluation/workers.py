"""Segments of clips scored by one process or several, with the same results.

A segment has a fixed number of frames and is scored on one thread, so neither the number of processes nor that of
threads can change a sum's order. Processes are spawned; each loads the metrics' networks once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

import torch

from dgafvsr.errors import ResourceError
from dgafvsr.evaluation.clips import ClipPlan
from dgafvsr.evaluation.metrics import MetricName
from dgafvsr.evaluation.scoring import ClipScorer, FrameValues, Instruments, InstrumentSettings, load_instruments

__all__ = ["SEGMENT", "Segment", "score_segments", "segments_of"]

SEGMENT = 8
"""Frames in a segment."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Some frames of a clip, and what is computed of them."""

    plan: ClipPlan
    """With the methods to score."""
    metrics: tuple[MetricName, ...]
    """Never empty."""
    frames: range
    """Indices in the clip."""


def segments_of(plan: ClipPlan, metrics: tuple[MetricName, ...]) -> list[Segment]:
    """A clip cut into segments. A video is one: each segment would decode it from its start."""
    videos = [path for path in (plan.truth, *plan.predictions.values()) if path is not None and not path.is_dir()]
    length = len(plan.frames) if videos else SEGMENT
    starts = plan.frames[::length]
    return [
        Segment(plan=plan, metrics=metrics, frames=range(start, min(start + length, plan.frames.stop)))
        for start in starts
    ]


def score_segments(
    segments: Sequence[Segment],
    instruments: Instruments,
    settings: InstrumentSettings,
    *,
    jobs: int = 1,
    on_pictures: Callable[[Segment, int], None] | None = None,
) -> Iterator[tuple[Segment, list[FrameValues]]]:
    """The scores of each segment, in their order.

    Args:
        segments: what to score.
        instruments: loaded for this process; further ones load their own.
        settings: how they do.
        jobs: processes, at least 1.
        on_pictures: called with a segment and the number of its pictures that were scored since the last call.

    Raises:
        InputError: a score is not a number.
        ResourceError: a process died.
    """
    heard = on_pictures or (lambda segment, count: None)
    jobs = min(jobs, len(segments))
    if jobs < 2:
        with _one_thread():
            for segment in segments:
                values = []
                for value in ClipScorer(segment.metrics, settings.protocol, instruments)(segment.plan, segment.frames):
                    values.append(value)
                    heard(segment, 1)
                yield segment, values
        return
    metrics = tuple(dict.fromkeys(name for segment in segments for name in segment.metrics))
    executor = ProcessPoolExecutor(jobs, get_context("spawn"), _start, (metrics, settings))
    try:
        futures: list[Future[list[FrameValues]]] = [executor.submit(_score, segment) for segment in segments]
        for segment, future in zip(segments, futures, strict=True):
            found = future.result()
            heard(segment, len(found))
            yield segment, found
    except BrokenProcessPool as error:
        raise ResourceError(
            "A process that scored pictures died", got=str(error), remedy="use fewer (--jobs): the memory may be full"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


_scorers: dict[str, tuple[Instruments, InstrumentSettings]] = {}
"""What a spawned process has loaded; its only use of a global, as pools have no other place for it."""


def _start(metrics: tuple[MetricName, ...], settings: InstrumentSettings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one ends the others
    torch.set_num_threads(1)
    _scorers["own"] = load_instruments(metrics, settings)[0], settings


def _score(segment: Segment) -> list[FrameValues]:
    instruments, settings = _scorers["own"]
    return list(ClipScorer(segment.metrics, settings.protocol, instruments)(segment.plan, segment.frames))


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
