"""The order of the bidirectional sampler, as data.

T steps in pairs: one sweep visits frames 1..N, the next N..1. Within a sweep every frame is guided by the frame visited
just before it, at the same step; the first of a sweep has no neighbour and is not guided.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["Direction", "Visit", "sweep_order"]

Direction = Literal["forward", "backward"]


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One (step, frame) unit of sampling work.

    Attributes:
        step: 0 .. T - 1, in the order of decreasing noise.
        frame: 0 .. N - 1.
        neighbor: the frame whose x0 estimate guides this one, or None for the first of a sweep.
        direction: of the sweep.
    """

    step: int
    frame: int
    neighbor: int | None
    direction: Direction


def sweep_order(frames: int, steps: int) -> Iterator[Visit]:
    """Every visit of a clip of N frames in T steps, in the order it must happen. T may be odd, N may be 1."""
    for step in range(steps):
        forward = step % 2 == 0
        order = range(frames) if forward else range(frames - 1, -1, -1)
        neighbor: int | None = None
        for frame in order:
            yield Visit(step=step, frame=frame, neighbor=neighbor, direction="forward" if forward else "backward")
            neighbor = frame
