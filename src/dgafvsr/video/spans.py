"""Sound, subtitles and chapters of a part of a film: whole packets, cut as near to the part as they can be.

Sound is not decoded, so it is cut between packets (about 20 ms each). MP4 and MOV can hide the beginning of a track, to
the sample: there the packet in which the part begins is kept, and what a decoder needs before it. Matroska and WebM
cannot, there the sound begins with the first packet that lies in the part whole. Everywhere the last packet may reach
over the end. Texts are cut to the part: one that is shown when the part begins is shown from its first frame on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from av.packet import Packet
from av.stream import Stream

__all__ = ["Span", "SpanCutter"]

# What decoders of sound need before the first sample that they give out right: Opus asks for 80 ms, others for less.
LEAD_SECONDS = Fraction(1, 10)
# Streams of a file lie beside each other; none is farther ahead of the others than writers hold back.
INTERLEAVING_SECONDS = 10
HIDES_LEAD = frozenset(["mov", "mp4"])


@dataclass(frozen=True, kw_only=True)
class Span:
    """A part of a film, in seconds of the film's own clock."""

    start: Fraction
    """When its first frame is shown."""
    stop: Fraction
    """When its last frame is no longer shown."""

    def clipped(self, start: Fraction, stop: Fraction) -> tuple[Fraction, Fraction] | None:
        """What of a stretch lies in the span, None if nothing does; a stretch without length lies there or not.

        Args:
            start: in seconds.
            stop: in seconds, not before `start`.
        """
        inside = self.start <= start < self.stop or start < self.start < stop
        return (max(start, self.start), min(stop, self.stop)) if inside else None


class SpanCutter:
    """Takes the packets of a span out of those of a film.

    Args:
        span: to be left.
        container_format: of the output, FFmpeg's name.
    """

    def __init__(self, span: Span, container_format: str) -> None:
        self._span, self._hides_lead = span, container_format in HIDES_LEAD
        self._leads: dict[int, deque[Packet[Stream]]] = {}
        self._begun: set[int] = set()
        self.late: dict[int, Fraction] = {}
        """Seconds of the span without sound, before the first packet of a stream, by the stream's index."""
        self.endless: set[int] = set()
        """Streams of subtitles that do not say how long one is shown, and had one before the span."""

    def cut(self, packets: Iterable[Packet[Stream]]) -> Iterator[Packet[Stream]]:
        """The packets that belong to the span, their times unchanged but for texts that reach over its ends.

        Args:
            packets: of all streams, each stream's in order.
        """
        for packet in packets:
            assert packet.dts is not None
            if packet.dts * packet.time_base > self._span.stop + INTERLEAVING_SECONDS:
                return
            if packet.pts is not None:
                kind: Any = packet.stream.type
                yield from self._sound(packet) if kind == "audio" else self._text(packet)

    def _sound(self, packet: Packet[Stream]) -> Iterator[Packet[Stream]]:
        start, stop = _seconds(packet)
        if start >= self._span.stop:
            return
        index = packet.stream_index
        lead = self._leads.setdefault(index, deque())
        if index not in self._begun:
            hidden = stop - start if self._hides_lead else _opus_delay(packet)
            if stop <= self._span.start or start < self._span.start - hidden:
                lead.append(packet)
                while lead and _seconds(lead[0])[1] <= self._span.start - LEAD_SECONDS:
                    lead.popleft()
                return
            self._begun.add(index)
            if self._hides_lead:
                yield from lead
            elif lead and start > self._span.start:
                self.late[index] = start - self._span.start
            lead.clear()
        yield packet

    def _text(self, packet: Packet[Stream]) -> Iterator[Packet[Stream]]:
        start, stop = _seconds(packet)
        clipped = self._span.clipped(start, stop)
        if clipped is None:
            if start == stop < self._span.start:
                self.endless.add(packet.stream_index)
            return
        start, stop = clipped
        packet.pts = packet.dts = round(start / packet.time_base)
        packet.duration = round((stop - start) / packet.time_base)
        yield packet


def _opus_delay(packet: Packet[Stream]) -> Fraction:
    """What decoders leave out at the start of a stream: the pre-skip of RFC 7845, and half a tick of rounding."""
    context: Any = packet.stream.codec_context
    head = context.extradata or b""
    delay = int.from_bytes(head[10:12], "little") if head.startswith(b"OpusHead") else 0
    return Fraction(delay, 48000) + packet.time_base / 2 if delay else Fraction(0)


def _seconds(packet: Packet[Stream]) -> tuple[Fraction, Fraction]:
    assert packet.pts is not None
    start = packet.pts * packet.time_base
    return start, start + (packet.duration or 0) * packet.time_base
