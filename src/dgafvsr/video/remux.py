"""Streams that are carried over as they are: their packets are copied, not decoded.

Sound, subtitles, attachments (fonts), chapters, and the metadata of the file and of each stream. Subtitles that are
text are put into the container's own form of text where it does not hold theirs. What becomes of each stream, and which
the container cannot hold, is decided by `stream_plan`. What a stream holds never costs the film, which took hours: a
text that cannot be read is left out, and a stream that the container refuses ends there; both are said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from dgafvsr.video.copy_times import RisingTimes
from dgafvsr.video.marks import STEREO_NOTE
from dgafvsr.video.probing import open_container, video_stream
from dgafvsr.video.spans import Span, SpanCutter
from dgafvsr.video.stream_plan import COVERS, OWN_TEXT, StreamPlan, add_copy, name_of, plan_streams

__all__ = ["StreamCopier"]

# Written by muxers about their own file; wrong in another.
FILE_NOTES = frozenset(
    ["major_brand", "minor_version", "compatible_brands", "encoder", "duration", "creation_time_utc"]
)
STREAM_NOTES = frozenset(["encoder", "vendor_id", "alpha_mode", STEREO_NOTE])
STATISTICS = ("_STATISTICS", "BPS", "DURATION", "NUMBER_OF_")
WITH_CHAPTERS = frozenset(["matroska", "mov", "mp4", "webm"])


class StreamCopier:
    """Copies the streams of a file, without its pictures, into an output, in step with the output's pictures.

    It reads the source a second time, beside the decoder, and holds one packet. Times that fall back are made to rise.

    Args:
        source: the file whose streams are copied.
        output: an opened container whose header is not written yet.
        pictures: the output's stream of pictures; it gets the metadata of the source's.
        shift_seconds: added to every time.
        span: the part of the source that is copied, None for all of it. Attachments and notes are copied in any case.

    Raises:
        InputError: the source cannot be opened.
    """

    def __init__(
        self,
        source: Path,
        output: OutputContainer,
        *,
        pictures: VideoStream,
        shift_seconds: Fraction = Fraction(0),
        span: Span | None = None,
    ) -> None:
        self._container = open_container(source)
        self._output, self._shift = output, shift_seconds
        self._kind = output.format.name
        self._span, self._cutter = span, None if span is None else SpanCutter(span, self._kind)
        self._targets: dict[int, Stream] = {}
        self._converted: set[int] = set()
        self._times: dict[int, RisingTimes] = {}
        self._unread_texts: Counter[int] = Counter()
        self._ended: dict[int, Fraction] = {}
        self.warnings: list[str] = []
        _copy_notes(video_stream(self._container, source), pictures)
        for plan in plan_streams(source, self._kind):
            self._adopt(self._container.streams[plan.index], plan)
        self._copy_chapters(self._container)
        output.metadata.update(
            {key: value for key, value in self._container.metadata.items() if key.lower() not in FILE_NOTES}
        )
        self._packets = self._demux()
        self._held = next(self._packets, None)

    def _adopt(self, stream: Any, plan: StreamPlan) -> None:
        if plan.note is not None:
            self.warnings.append(plan.note)
        if plan.deed == "attach":
            self._output.add_attachment(
                stream.name or f"attachment{stream.index}", stream.mimetype or "application/octet-stream", stream.data
            )
        elif plan.deed == "convert":
            self._convert(stream)
        elif plan.deed == "copy":
            # A part is cut so that nothing lies before 0.
            hidden = Fraction(0) if self._span is not None else -(plan.first_seconds + self._shift)
            target = add_copy(self._output, stream, delay_seconds=hidden)
            _copy_notes(stream, target)
            self._targets[stream.index] = target

    def _convert(self, stream: Any) -> None:
        stream.codec_context.open(strict=False)
        target: Any = self._output.add_stream(OWN_TEXT[self._kind])
        target.time_base = target.codec_context.time_base = stream.time_base
        target.codec_context.subtitle_header = stream.codec_context.subtitle_header
        _copy_notes(stream, target)
        self._targets[stream.index] = target
        self._converted.add(stream.index)

    def _copy_chapters(self, source: InputContainer) -> None:
        chapters = [chapter for chapter in source.chapters() if self._cut_chapter(chapter)]
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

    def _cut_chapter(self, chapter: Any) -> bool:
        """Whether any of a chapter is copied; its times are brought into the span."""
        tick = chapter["time_base"]
        if self._span is None or not tick:
            return True
        clipped = self._span.clipped(chapter["start"] * tick, chapter["end"] * tick)
        if clipped is not None:
            chapter["start"], chapter["end"] = (round(seconds / tick) for seconds in clipped)
        return clipped is not None

    def _demux(self) -> Iterator[Packet[Stream]]:
        if not self._targets:
            return
        self._times = {index: RisingTimes(strictly=stream.type == "audio") for index, stream in self._targets.items()}
        wanted = self._container.demux([self._container.streams[index] for index in self._targets])
        packets = (packet for packet in wanted if packet.size and packet.dts is not None)
        for packet in packets if self._cutter is None else self._cutter.cut(packets):
            if packet.stream_index not in self._ended:
                self._times[packet.stream_index].place(packet)
                yield packet

    def copy_until(self, seconds: Fraction | None) -> None:
        """Copy the packets up to a time; None copies all that are left.

        Args:
            seconds: on the output's clock.
        """
        while self._held is not None:
            packet = self._held
            assert packet.dts is not None
            at = packet.dts * packet.time_base + self._shift
            if seconds is not None and at > seconds:
                return
            ready = self._as_own_text(packet) if packet.stream_index in self._converted else packet
            if ready is not None:
                self._mux(ready, packet.stream_index, at)
            self._held = next(self._packets, None)

    def _mux(self, packet: Packet[Stream], index: int, at: Fraction) -> None:
        try:
            self._output.mux(self._shifted(packet, index))
        except (av.ArgumentError, av.InvalidDataError, ValueError):  # the packet is refused; the file is as it was
            self._ended[index] = at

    def _as_own_text(self, packet: Packet[Stream]) -> Packet[Stream] | None:
        source, target = self._container.streams[packet.stream_index], self._targets[packet.stream_index]
        reader: Any = source.codec_context
        writer: Any = target.codec_context
        try:
            lines = reader.decode2(packet)
            if lines is None:  # a pause, which MP4 stores as a text without words
                return None
            text: Packet[Stream] = writer.encode_subtitle(lines)
        except (av.FFmpegError, ValueError):  # such as a text that is not UTF-8
            self._unread_texts[packet.stream_index] += 1
            return None
        text.time_base, text.pts, text.dts = packet.time_base, packet.pts, packet.pts
        text.duration = packet.duration
        return text

    def _shifted(self, packet: Packet[Stream], index: int) -> Packet[Stream]:
        ticks = round(self._shift / packet.time_base)
        packet.dts = None if packet.dts is None else packet.dts + ticks
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.stream = self._targets[index]
        return packet

    @property
    def closing_notes(self) -> tuple[str, ...]:
        """One sentence for each stream that is not quite as it was in the source; complete when all is copied."""
        names = {stream.index: name_of(stream) for stream in self._container.streams}
        cutter = self._cutter
        late = (
            f"{names[index]} begins {float(seconds):.3f} s after the first frame: {self._kind} cannot begin inside a "
            "packet of sound; .mp4 and .mov can"
            for index, seconds in ({} if cutter is None else cutter.late).items()
        )
        endless = (
            f"{names[index]} does not say how long its subtitles are shown: one from before the part is left out"
            for index in sorted(() if cutter is None else cutter.endless)
        )
        joined = (
            f"{names[index]} jumps back in time ({times.jumps} x); it goes on at the end of what came before"
            for index, times in self._times.items()
            if times.jumps
        )
        unread = (
            f"{count} texts of {names[index]} cannot be read and are left out"
            for index, count in self._unread_texts.items()
        )
        ended = (
            f"{names[index]} ends at {float(at):.3f} s: {self._kind} refuses what follows"
            for index, at in self._ended.items()
        )
        return (*late, *endless, *joined, *unread, *ended)

    def close(self) -> None:
        """Close the source."""
        self._container.close()


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
