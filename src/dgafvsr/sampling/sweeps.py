"""The order of the bidirectional sampler, as data.

T steps in pairs: one sweep visits frames 1..N, the next N..1. Within a sweep every frame is guided by the frame visited
just before it, at the same step. What guides the first of a sweep, where the order turns, is a setting (`Turns`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["Direction", "Turns", "Visit", "sweep_order"]

Direction = Literal["forward", "backward"]

Turns = Literal["unguided", "guided"]
"""What guides the first frame of a sweep: nothing, as in the paper, or its only neighbour's estimate of the sweep
before, which ended at this very frame coming from that neighbour. The first visit of all is never guided."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One (step, frame) unit of sampling work.

    Attributes:
        step: 0 .. T - 1, in the order of decreasing noise.
        frame: 0 .. N - 1.
        neighbor: the frame whose x0 estimate guides this one, or None for an unguided visit.
        visits_back: how many visits ago that estimate was made: 1 in this sweep, 2 in the one before; 0 for none.
        direction: of the sweep.
    """

    step: int
    frame: int
    neighbor: int | None
    visits_back: int
    direction: Direction


def sweep_order(frames: int, steps: int, turns: Turns = "unguided") -> Iterator[Visit]:
    """Every visit of a clip of N frames in T steps, in the order it must happen. T may be odd, N may be 1."""
    for step in range(steps):
        direction: Direction = "forward" if step % 2 == 0 else "backward"
        order = range(frames) if direction == "forward" else range(frames - 1, -1, -1)
        neighbor, visits_back = None, 0
        if turns == "guided" and step > 0 and frames > 1:
            neighbor, visits_back = order[1], 2
        for frame in order:
            yield Visit(step=step, frame=frame, neighbor=neighbor, visits_back=visits_back, direction=direction)
            neighbor, visits_back = frame, 1
