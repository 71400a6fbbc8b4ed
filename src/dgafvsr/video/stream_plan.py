"""What becomes of each stream beside the pictures: known from the file and the output's container, before any work."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from dgafvsr.video.codec_delay import with_delay
from dgafvsr.video.encoding import Encoding
from dgafvsr.video.folders import IMAGE_SUFFIXES, folder_losses
from dgafvsr.video.frames import SourceInfo
from dgafvsr.video.probing import open_container, video_stream

__all__ = ["StreamPlan", "add_copy", "foreseen_losses", "has_other_streams", "name_of", "plan_streams"]

WITH_ATTACHMENTS = frozenset(["matroska"])
# Subtitles that FFmpeg decodes to text, and each container's own.
TEXT_CODECS = frozenset(["ass", "mov_text", "srt", "ssa", "subrip", "text", "webvtt"])
OWN_TEXT = {"matroska": "subrip", "mov": "mov_text", "mp4": "mov_text", "webm": "webvtt"}
COVERS = Disposition.attached_pic | Disposition.timed_thumbnails
# AVI and WAV do not say which loudspeaker a channel belongs to; MP4 has to.
LAYOUTS = {1: "mono", 2: "stereo"}
HEAD_LENGTH = 512


@dataclass(frozen=True, kw_only=True)
class StreamPlan:
    """What becomes of a stream."""

    index: int
    """Of the stream in its file."""
    deed: Literal["attach", "convert", "copy", "leave"]
    """Its packets are copied, it is attached as a file, it becomes the container's own text, or it is left out."""
    note: str | None = None
    """What is lost and why, None where nothing is."""
    first_seconds: Fraction = Fraction(0)
    """When its first packet is due, on the file's clock; below 0 for what is decoded and not heard. 0 if unknown."""


def foreseen_losses(info: SourceInfo, encoding: Encoding) -> tuple[str, ...]:
    """What an output will not hold, as far as it can be told before the work begins.

    Args:
        info: of the source.
        encoding: of the output.

    Returns:
        One sentence for each loss, the same as when the output is finished; more may turn up on the way.

    Raises:
        InputError: the source cannot be opened.
    """
    if encoding.is_folder:
        return (*info.losses, *folder_losses(info, encoding))
    streams = plan_streams(info.path, encoding.container) if has_other_streams(info) else ()
    return (*info.losses, *encoding.warnings, *(plan.note for plan in streams if plan.note is not None))


def has_other_streams(info: SourceInfo) -> bool:
    """Whether there may be something to copy; what only a look at the file tells (chapters, titles) counts too."""
    is_film = info.path.is_file() and info.path.suffix.lower() not in IMAGE_SUFFIXES
    return is_film or info.has_audio or bool(info.other_streams)


def plan_streams(source: Path, container_format: str) -> tuple[StreamPlan, ...]:
    """What becomes of each stream of a film but its pictures, in the order of the file.

    Args:
        source: the film.
        container_format: FFmpeg's name of the output's.

    Raises:
        InputError: the source cannot be opened.
    """
    with open_container(source) as container:
        film, heads = video_stream(container, source), _first_packets(container)
        return tuple(
            _plan(stream, container_format, heads.get(stream.index))
            for stream in container.streams
            if stream.index != film.index
        )


def name_of(stream: Any) -> str:
    """How a stream is called in messages, such as: audio stream 1 (aac)."""
    codec = stream.codec_context.name if stream.codec_context is not None else (stream.name or "unknown codec")
    return f"{stream.type} stream {stream.index} ({codec})"


def add_copy(container: OutputContainer, stream: Any, *, delay_seconds: Fraction = Fraction(0)) -> Stream:
    """A stream of an output for the packets of a source's.

    Args:
        container: opened for writing.
        stream: of the source.
        delay_seconds: how much of it, at its start, lies before 0 and is not heard; only Matroska needs to be told.
    """
    target: Any = _add_template(container, stream, delay_seconds)
    target.time_base = stream.time_base
    if stream.type == "audio" and stream.layout.name.endswith(" channels") and stream.channels in LAYOUTS:
        target.codec_context.layout = LAYOUTS[stream.channels]
    added: Stream = target
    return added


def _add_template(container: OutputContainer, stream: Any, delay_seconds: Fraction) -> Stream:
    if delay_seconds > 0 and container.format.name == "matroska" and stream.type == "audio":
        with suppress(av.FFmpegError, ValueError):  # then all streams are moved, and it is said
            delayed = with_delay(stream, delay_seconds)
            if delayed is not None:
                with delayed:
                    return container.add_stream_from_template(delayed.streams.audio[0])
    return container.add_stream_from_template(stream)


def _plan(stream: Any, container_format: str, head: Packet[Stream] | None) -> StreamPlan:
    reason = _refusal(stream, container_format, head)
    if reason is None:
        first = Fraction(0) if head is None or head.pts is None else head.pts * head.time_base
        deed: Literal["attach", "copy"] = "attach" if stream.type == "attachment" else "copy"
        return StreamPlan(index=stream.index, deed=deed, first_seconds=first)
    if _is_text(stream) and container_format in OWN_TEXT:
        note = f"{name_of(stream)} is kept as {OWN_TEXT[container_format]}; its styling may be lost"
        return StreamPlan(index=stream.index, deed="convert", note=note)
    return StreamPlan(index=stream.index, deed="leave", note=f"{name_of(stream)} is left out: {reason}")


def _refusal(stream: Any, container_format: str, head: Packet[Stream] | None) -> str | None:
    """Why the output cannot hold the stream, None if it can."""
    if stream.type == "attachment":
        return None if container_format in WITH_ATTACHMENTS else f"{container_format} holds no attachments"
    if stream.type == "video":
        return "it is a cover picture" if stream.disposition & COVERS else "only the first stream of pictures is kept"
    if stream.type not in ("audio", "subtitle"):
        return "its packets mean something to the source's container only"
    if stream.codec_context is None:
        return "its codec is unknown"
    if _can_hold(container_format, stream, head):
        return None
    return f"{container_format} does not hold {stream.codec_context.name}"


def _is_text(stream: Any) -> bool:
    known = stream.type == "subtitle" and stream.codec_context is not None
    return known and stream.codec_context.name in TEXT_CODECS


def _first_packets(container: InputContainer) -> dict[int, Packet[Stream]]:
    """A packet of each stream that has one near the file's start, by the stream's index."""
    found: dict[int, Packet[Stream]] = {}
    with suppress(av.FFmpegError):
        for packet in islice(container.demux(), HEAD_LENGTH):
            if packet.size and packet.dts is not None:
                found.setdefault(packet.stream_index, packet)
    return found


def _can_hold(container_format: str, stream: Stream, packet: Packet[Stream] | None = None) -> bool:
    """Whether the container takes the stream, found by writing it with at most one packet into memory.

    Some containers take the header of a stream, and even its packets, and refuse only when the file is finished.
    """
    try:
        with av.open(io.BytesIO(), mode="w", format=container_format) as trial:
            target = add_copy(trial, stream)
            trial.start_encoding()
            if packet is not None:
                again = Packet(bytes(packet))
                again.time_base, again.duration, again.stream = packet.time_base, packet.duration, target
                again.pts = again.dts = 0
                trial.mux(again)
    except (av.FFmpegError, ValueError):
        return False
    return True
