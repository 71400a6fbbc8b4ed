"""Streams that are carried over as they are: their packets are copied, never decoded.

Audio today; subtitles, chapters and attachments have their place here.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from dgafvsr.video.reader import open_container

__all__ = ["StreamCopier"]

KEPT_TAGS = ("language", "title", "handler_name")


class StreamCopier:
    """Copies the audio packets of a file into an output, in step with its pictures.

    It reads the source a second time, beside the decoder, and holds one packet.

    Args:
        source: the file whose audio is copied.
        output: an opened container whose header is not written yet.
        shift_seconds: added to every time stamp.

    Raises:
        InputError: the source cannot be opened.
    """

    def __init__(self, source: Path, output: OutputContainer, *, shift_seconds: Fraction = Fraction(0)) -> None:
        self._container = open_container(source)
        self._output = output
        self._shift = shift_seconds
        self._targets: dict[int, Stream] = {}
        self.warnings: list[str] = []
        for stream in self._container.streams.audio:
            self._adopt(stream)
        self._packets = self._demux()
        self._held = next(self._packets, None)

    def _adopt(self, stream: Any) -> None:
        name = stream.codec_context.name if stream.codec_context is not None else "unknown codec"
        if not _can_hold(self._output.format.name, stream):
            self.warnings.append(
                f"{stream.type} stream {stream.index} ({name}) does not fit the container and is left out"
            )
            return
        target = self._output.add_stream_from_template(stream)
        target.time_base = stream.time_base
        target.disposition = stream.disposition
        target.metadata.update({key: value for key, value in stream.metadata.items() if key in KEPT_TAGS})
        self._targets[stream.index] = target

    def _demux(self) -> Iterator[Packet[Stream]]:
        if not self._targets:
            return
        for packet in self._container.demux([self._container.streams[index] for index in self._targets]):
            if packet.size and packet.dts is not None:
                yield packet

    def copy_until(self, seconds: Fraction | None) -> None:
        """Copy the packets up to a time; None copies all that are left.

        Args:
            seconds: on the output's clock.
        """
        while self._held is not None:
            packet = self._held
            assert packet.dts is not None
            if seconds is not None and packet.dts * packet.time_base + self._shift > seconds:
                return
            self._output.mux(self._shifted(packet))
            self._held = next(self._packets, None)

    def _shifted(self, packet: Packet[Stream]) -> Packet[Stream]:
        ticks = round(self._shift / packet.time_base)
        packet.dts = None if packet.dts is None else packet.dts + ticks
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.stream = self._targets[packet.stream_index]
        return packet

    def close(self) -> None:
        """Close the source."""
        self._container.close()


def _can_hold(container_format: str, stream: Stream) -> bool:
    """Whether the container takes the stream, found by writing a header with nothing else into memory."""
    try:
        with av.open(io.BytesIO(), mode="w", format=container_format) as trial:
            trial.add_stream_from_template(stream).time_base = stream.time_base
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True
