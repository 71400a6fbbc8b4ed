"""Streams that are carried over as they are: their packets are copied, not decoded.

Sound, subtitles, attachments (fonts), chapters, and the metadata of the file and of each stream. Subtitles that are
text are put into the container's own form of text where it does not hold theirs. What the container cannot hold is
named with the reason.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from dgafvsr.video.probing import open_container, video_stream

__all__ = ["StreamCopier"]

# Written by muxers about their own file; wrong in another.
FILE_NOTES = frozenset(
    ["major_brand", "minor_version", "compatible_brands", "encoder", "duration", "creation_time_utc"]
)
STREAM_NOTES = frozenset(["encoder", "vendor_id", "alpha_mode"])
STATISTICS = ("_STATISTICS", "BPS", "DURATION", "NUMBER_OF_")
WITH_ATTACHMENTS = frozenset(["matroska"])
WITH_CHAPTERS = frozenset(["matroska", "mov", "mp4", "webm"])
# Subtitles that FFmpeg decodes to text, and each container's own.
TEXT_CODECS = frozenset(["ass", "mov_text", "srt", "ssa", "subrip", "text", "webvtt"])
OWN_TEXT = {"matroska": "subrip", "mov": "mov_text", "mp4": "mov_text", "webm": "webvtt"}
COVERS = Disposition.attached_pic | Disposition.timed_thumbnails


class StreamCopier:
    """Copies the streams of a file, without its pictures, into an output, in step with the output's pictures.

    It reads the source a second time, beside the decoder, and holds one packet.

    Args:
        source: the file whose streams are copied.
        output: an opened container whose header is not written yet.
        pictures: the output's stream of pictures; it gets the metadata of the source's.
        shift_seconds: added to every time.

    Raises:
        InputError: the source cannot be opened.
    """

    def __init__(
        self, source: Path, output: OutputContainer, *, pictures: VideoStream, shift_seconds: Fraction = Fraction(0)
    ) -> None:
        self._container = open_container(source)
        self._output, self._shift = output, shift_seconds
        self._kind = output.format.name
        self._targets: dict[int, Stream] = {}
        self._converted: set[int] = set()
        self.warnings: list[str] = []
        film = video_stream(self._container, source)
        _copy_notes(film, pictures)
        for stream in self._container.streams:
            if stream.index != film.index:
                self._adopt(stream)
        self._copy_chapters(self._container)
        output.metadata.update(
            {key: value for key, value in self._container.metadata.items() if key.lower() not in FILE_NOTES}
        )
        self._packets = self._demux()
        self._held = next(self._packets, None)

    def _adopt(self, stream: Any) -> None:
        reason = self._refusal(stream)
        if reason is not None and self._is_text(stream):
            self._convert(stream)
            return
        if reason is not None:
            self.warnings.append(f"{_name(stream)} is left out: {reason}")
            return
        if stream.type == "attachment":
            self._output.add_attachment(
                stream.name or f"attachment{stream.index}", stream.mimetype or "application/octet-stream", stream.data
            )
            return
        target = self._output.add_stream_from_template(stream)
        target.time_base = stream.time_base
        _copy_notes(stream, target)
        self._targets[stream.index] = target

    def _is_text(self, stream: Any) -> bool:
        known = stream.type == "subtitle" and stream.codec_context is not None
        return known and stream.codec_context.name in TEXT_CODECS and self._kind in OWN_TEXT

    def _convert(self, stream: Any) -> None:
        own = OWN_TEXT[self._kind]
        stream.codec_context.open(strict=False)
        target: Any = self._output.add_stream(own)
        target.time_base = target.codec_context.time_base = stream.time_base
        target.codec_context.subtitle_header = stream.codec_context.subtitle_header
        _copy_notes(stream, target)
        self._targets[stream.index] = target
        self._converted.add(stream.index)
        self.warnings.append(f"{_name(stream)} is kept as {own}; its styling may be lost")

    def _refusal(self, stream: Any) -> str | None:
        """Why the output cannot hold the stream, None if it can."""
        if stream.type == "attachment":
            return None if self._kind in WITH_ATTACHMENTS else f"{self._kind} holds no attachments"
        if stream.type == "video":
            return (
                "it is a cover picture" if stream.disposition & COVERS else "only the first stream of pictures is kept"
            )
        if stream.type not in ("audio", "subtitle"):
            return "its packets mean something to the source's container only"
        if stream.codec_context is None:
            return "its codec is unknown"
        return None if _can_hold(self._kind, stream) else f"{self._kind} does not hold {stream.codec_context.name}"

    def _copy_chapters(self, source: InputContainer) -> None:
        chapters = source.chapters()
        if not chapters:
            return
        if self._kind not in WITH_CHAPTERS:
            self.warnings.append(f"{len(chapters)} chapters are left out: {self._kind} holds none")
            return
        for chapter in chapters:
            if self._shift and chapter["time_base"]:
                ticks = round(self._shift / chapter["time_base"])
                chapter["start"], chapter["end"] = chapter["start"] + ticks, chapter["end"] + ticks
        self._output.set_chapters(chapters)

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
            ready = self._as_own_text(packet) if packet.stream_index in self._converted else packet
            if ready is not None:
                self._output.mux(self._shifted(ready, packet.stream_index))
            self._held = next(self._packets, None)

    def _as_own_text(self, packet: Packet[Stream]) -> Packet[Stream] | None:
        source, target = self._container.streams[packet.stream_index], self._targets[packet.stream_index]
        reader: Any = source.codec_context
        writer: Any = target.codec_context
        lines = reader.decode2(packet)
        if lines is None:  # a pause, which MP4 stores as a text without words
            return None
        text: Packet[Stream] = writer.encode_subtitle(lines)
        text.time_base, text.pts, text.dts = packet.time_base, packet.pts, packet.pts
        text.duration = packet.duration
        return text

    def _shifted(self, packet: Packet[Stream], index: int) -> Packet[Stream]:
        ticks = round(self._shift / packet.time_base)
        packet.dts = None if packet.dts is None else packet.dts + ticks
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.stream = self._targets[index]
        return packet

    def close(self) -> None:
        """Close the source."""
        self._container.close()


def _name(stream: Any) -> str:
    codec = stream.codec_context.name if stream.codec_context is not None else (stream.name or "unknown codec")
    return f"{stream.type} stream {stream.index} ({codec})"


def _copy_notes(source: Any, target: Any) -> None:
    """Language, title, default and forced marks, and what else is said of a stream."""
    target.disposition = source.disposition & ~COVERS
    target.metadata.update(
        {
            key: value
            for key, value in source.metadata.items()
            if key.lower() not in STREAM_NOTES and not key.startswith(STATISTICS)
        }
    )


def _can_hold(container_format: str, stream: Stream) -> bool:
    """Whether the container takes the stream, found by writing a header with nothing else into memory."""
    try:
        with av.open(io.BytesIO(), mode="w", format=container_format) as trial:
            trial.add_stream_from_template(stream).time_base = stream.time_base
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True
