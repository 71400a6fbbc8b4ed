"""Times of copied packets that rise, as containers ask of them, also where the source's do not."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from av.packet import Packet
from av.stream import Stream

__all__ = ["RisingTimes"]

JUMP: Final = Fraction(1)
"""Seconds. What falls back by as much is another recording that was joined on; less is an uneven clock."""


class RisingTimes:
    """Moves the packets of one stream whose times fall back; the others keep theirs.

    Where recordings were joined, the second one goes on at the end of the first, and all after it keeps its distances:
    pictures are placed alike (`clock.Clock`). A packet that is late by less is moved to the first time that is free.

    Args:
        strictly: two packets cannot have the same time; subtitles can.

    Attributes:
        jumps: how often a recording was found to be joined on.
    """

    def __init__(self, *, strictly: bool) -> None:
        self._step = int(strictly)
        self._least: int | None = None
        self._end = self._offset = 0
        self.jumps = 0

    def place(self, packet: Packet[Stream]) -> None:
        """Settle the times of the next packet, which has a dts."""
        assert packet.dts is not None
        dts = packet.dts + self._offset
        moved = self._offset
        if self._least is not None and dts < self._least:
            at = self._least
            if (self._least - dts) * packet.time_base >= JUMP:
                at = max(self._least, self._end)
                self._offset += at - dts
                self.jumps += 1
            moved += at - dts
            dts = at
        packet.dts = dts
        if packet.pts is not None:
            packet.pts = max(packet.pts + moved, dts)
        self._least, self._end = dts + self._step, dts + max(packet.duration or 0, 0)
