"""What was lost of a damaged film, told in times and numbers of frames."""

from __future__ import annotations

import heapq
from fractions import Fraction

__all__ = ["DamageLog"]


class DamageLog:
    """Holds announced pictures against shown ones.

    Pictures are shown in the order of their pts, so whatever was announced and has a smaller pts than the one shown is
    lost, if damage was met since the last one.

    Args:
        time_base: seconds in a tick; None where the stream has none.
    """

    def __init__(self, time_base: Fraction | None) -> None:
        self._tick = time_base or Fraction(0)
        self._announced: list[int] = []
        self._start: int | None = None
        self._resumed: int | None = None
        self._inside = self._torn = False
        self._missed = self._lost = 0
        self._notes: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each damaged stretch."""
        return tuple(self._notes)

    def announce(self, pts: int | None) -> None:
        """A packet came; its picture is due.

        Args:
            pts: of the picture, in ticks; None where unknown.
        """
        if pts is not None:
            heapq.heappush(self._announced, pts)

    def begin(self, pts: int | None, *, torn: bool = False) -> None:
        """Damage was met.

        Args:
            pts: of the damaged packet, in ticks.
            torn: the container says that something is missing here: whole packets may be, which nobody announced.
        """
        if not self._inside:
            self._inside, self._start, self._missed, self._torn = True, pts, 0, False
        self._torn = self._torn or torn
        self._resumed = None

    def resume(self, pts: int | None) -> None:
        """Decoding starts anew.

        Args:
            pts: of the key frame, in ticks.
        """
        self._resumed = pts

    def show(self, pts: int | None) -> None:
        """A picture is shown.

        Args:
            pts: of the picture, in ticks.
        """
        if pts is None:
            return
        while self._announced and self._announced[0] <= pts:
            self._missed += heapq.heappop(self._announced) < pts
        if self._inside and self._resumed is not None and pts >= self._resumed:
            self._close(f"{float(self._resumed * self._tick):.2f} s")

    def break_off(self, seconds: float, reason: str) -> None:
        """The file cannot be read on.

        Args:
            seconds: of the last picture shown.
            reason: what the system said.
        """
        self._notes.append(f"the file cannot be read after {seconds:.2f} s ({reason}); what follows is lost")

    def finish(self, missing: int) -> None:
        """The film is at its end.

        Args:
            missing: pictures that the container announces and that never came, known losses among them.
        """
        if self._inside:
            self._missed += len(self._announced)
            self._close("the end")
        if missing > self._lost:
            self._notes.append(f"{missing - self._lost} more frames that the file announces are lost")

    def _close(self, end: str) -> None:
        start = float((self._start or 0) * self._tick)
        lost = f"{'at least ' if self._torn else ''}{self._missed} frames are lost"
        self._notes.append(f"the file is damaged from {start:.2f} s to {end}: {lost}")
        self._lost += self._missed
        self._inside = False
