"""The order of the bidirectional sampler, as data.

T steps in pairs: one sweep visits frames 1..N, the next N..1. Within a sweep every frame is guided by the frame visited
just before it, at the same step. What guides the first of a sweep, where the order turns, is a setting (`Turns`).
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["Direction", "Turns", "Visit", "sweep_order"]

Direction = Literal["forward", "backward"]

Turns = Literal["unguided", "guided"]
"""What guides the first frame of a sweep: nothing, as in the paper, or a preview of the frame that comes next: an
unguided x0 estimate of it at the same step, made for this and thrown away. That is one more D_U a sweep. With few steps
the frame would else look unlike all the others."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One (step, frame) unit of sampling work.

    Attributes:
        step: 0 .. T - 1, in the order of decreasing noise.
        frame: 0 .. N - 1.
        neighbor: the frame whose x0 estimate guides this one, or None for an unguided visit.
        preview: whether that estimate is made for this visit, because the neighbour's own visit is still to come.
        direction: of the sweep.
    """

    step: int
    frame: int
    neighbor: int | None
    preview: bool
    direction: Direction


def sweep_order(
    frames: int, steps: int, turns: Turns = "unguided", guided_steps: Container[int] | None = None
) -> Iterator[Visit]:
    """Every visit of a clip of N frames in T steps, in the order it must happen. T may be odd, N may be 1.

    Args:
        frames: N.
        steps: T.
        turns: what guides the first frame of a sweep.
        guided_steps: those at which frames are guided by neighbours; None for all of them.
    """
    for step in range(steps):
        direction: Direction = "forward" if step % 2 == 0 else "backward"
        order = range(frames) if direction == "forward" else range(frames - 1, -1, -1)
        guided = guided_steps is None or step in guided_steps
        preview = guided and turns == "guided" and frames > 1
        neighbor = order[1] if preview else None
        for frame in order:
            yield Visit(step=step, frame=frame, neighbor=neighbor, preview=preview, direction=direction)
            neighbor, preview = frame if guided else None, False
