"""Sound that begins before 0, in Matroska: its header can say how much of a stream is decoded and not heard.

What an encoder puts before the first sample has times below 0 in MP4. Matroska has no such times; it stores them later
by a delay, which its header names (CodecDelay). FFmpeg writes that for what it encodes itself. For packets that are
copied PyAV gives no hand to it, but a stream is copied with the delay that it was read with: so its description goes
through a small Matroska file in memory, into which the delay is put.
"""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet

__all__ = ["with_delay"]

# EBML: the name of an element, its size, its content.
TRACKS, TRACK, CHECKSUM, DELAY = b"\x16\x54\xae\x6b", b"\xae", b"\xbf", b"\x56\xaa"
CHECKSUM_LENGTH = 6
NANOSECONDS = 10**9


def with_delay(stream: Any, delay_seconds: Fraction) -> InputContainer | None:
    """A container whose only stream is described as this one, with a delay; None where it has one already.

    Args:
        stream: of sound, of a source.
        delay_seconds: above 0.

    Raises:
        av.FFmpegError: Matroska does not hold such a stream.
    """
    file = _described(stream)
    start = file.rindex(TRACKS)  # the first one is in the list of places
    tracks, end = _content(file, start + len(TRACKS))
    if tracks.startswith(CHECKSUM):
        tracks = tracks[CHECKSUM_LENGTH:]
    track, _ = _content(tracks, len(TRACK))
    if DELAY in track:
        return None
    track += _element(DELAY, round(delay_seconds * NANOSECONDS).to_bytes(8, "big"))
    changed = file[:start] + _element(TRACKS, _element(TRACK, track)) + file[end:]
    return av.open(io.BytesIO(changed), mode="r", format="matroska")


def _described(stream: Any) -> bytes:
    """A file with the description of the stream, and one packet, without which FFmpeg does not read it."""
    memory = io.BytesIO()
    with av.open(memory, mode="w", format="matroska", container_options={"live": "1"}) as container:
        target = container.add_stream_from_template(stream)
        target.time_base = stream.time_base
        packet = Packet(bytes(16))
        packet.stream, packet.time_base, packet.pts, packet.dts = target, stream.time_base, 0, 0
        container.mux(packet)
    return memory.getvalue()


def _content(data: bytes, place: int) -> tuple[bytes, int]:
    """What an element holds whose size stands at a place, and where it ends."""
    length = 9 - data[place].bit_length()
    size = int.from_bytes(data[place : place + length], "big") & ((1 << 7 * length) - 1)
    start = place + length
    return data[start : start + size], start + size


def _element(name: bytes, content: bytes) -> bytes:
    return name + ((1 << 56) | len(content)).to_bytes(8, "big") + content
