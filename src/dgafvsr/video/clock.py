"""When each frame is shown, also where the container does not say it well."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

from av.container import InputContainer
from av.video.stream import VideoStream

from dgafvsr.video.decoding import has_no_pts

__all__ = ["Clock"]


class Clock:
    """Gives every frame of a stream a pts above the one before it, and a duration.

    A pts that the container states and that moves forward is kept as it is.

    Args:
        tick: seconds in a tick.
        frame_rate: frames in a second, for what has to be derived.
        by_decoding_order: the container has no pts (AVI): `dts` is when the frame is due, counted from the
            first frame's.
    """

    def __init__(self, *, tick: Fraction, frame_rate: Fraction, by_decoding_order: bool = False) -> None:
        self._frame_ticks = 1 / (frame_rate * tick)
        self._by_decoding_order = by_decoding_order
        self._first_dts: int | None = None
        self._last: int | None = None
        self._derived_run = 0
        self._anchor = 0
        self._missing = self._backward = 0

    @classmethod
    def of_stream(cls, stream: VideoStream, frame_rate: Fraction) -> Clock:
        """The clock for a stream of an opened container."""
        assert stream.time_base is not None
        by_decoding_order = has_no_pts(cast(InputContainer, stream.container))
        return cls(tick=stream.time_base, frame_rate=frame_rate, by_decoding_order=by_decoding_order)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each kind of time that had to be derived."""
        notes = []
        if self._missing:
            notes.append(f"{self._missing} frames had no timestamp; the frame rate was used")
        if self._backward:
            notes.append(f"{self._backward} frames had a timestamp that runs backwards; the frame rate was used")
        return tuple(notes)

    def place(self, pts: int | None, dts: int | None, duration: int | None) -> tuple[int, int]:
        """The next frame's pts and duration, in ticks.

        Args:
            pts: as the container states it, None where it does not.
            dts: the time of decoding, None where unknown.
            duration: as the container states it; None or 0 where it does not.
        """
        if self._by_decoding_order and dts is not None:
            self._first_dts = dts if self._first_dts is None else self._first_dts
            pts = dts - self._first_dts
        if pts is None or (self._last is not None and pts <= self._last):
            self._missing += pts is None
            self._backward += pts is not None
            pts = self._derive()
        else:
            self._anchor, self._derived_run = pts, 0
        self._last = pts
        return pts, self._duration(duration)

    def _duration(self, stated: int | None) -> int:
        """Coarse clocks (Matroska's milliseconds) cut a frame's length down to whole ticks; that much is given back."""
        if not stated or abs(stated - self._frame_ticks) < 1:
            return max(1, round(self._frame_ticks))
        return stated

    def _derive(self) -> int:
        """Whole frames after the last stated pts, so that rounding does not add up."""
        if self._last is None:
            return 0
        self._derived_run += 1
        return max(self._last + 1, self._anchor + round(self._derived_run * self._frame_ticks))
