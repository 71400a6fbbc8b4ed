"""Packets to pictures, with nothing lost silently.

A decoder normally hides damage by inventing pictures. Here it is told to fail instead, and what came out is counted
against what the container's index, or its packets, announced. Then either the first damage ends the film with an error,
or damaged stretches are left out and said: from a damaged packet up to the next key frame, because everything between
leans on what is lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, get_args

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from dgafvsr.errors import InputError, UsageError
from dgafvsr.video.damage import DamageLog

__all__ = [
    "ONE_PICTURE_A_PACKET",
    "EntryPoint",
    "MissedEntryError",
    "OnError",
    "PictureDecoder",
    "check_on_error",
    "has_no_pts",
    "indexed_frames",
]

OnError = Literal["stop", "skip-damaged"]

# One packet is one shown picture in these; elsewhere hidden or empty packets make the numbers differ.
ONE_PICTURE_A_PACKET = frozenset(["av1", "dnxhd", "ffv1", "h264", "hevc", "libdav1d", "mjpeg", "prores"])
# How many packets are looked at to find the first key frame; streams without any are decoded from their start.
HEAD_LENGTH = 512
# Decoders round both sides up to whole blocks and vectors, at most by this.
PADDING = 128
# No larger limit than FFmpeg knows.
MOST_PIXELS = 2**31 - 1
# FFmpeg's own VP8 and VP9 decoders pass over the alpha plane, libvpx reads it.
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


# Seeking goes by times of decoding in some containers, which lie before those of showing.
SEEK_MARGIN = 2


@dataclass(frozen=True, kw_only=True)
class EntryPoint:
    """A key frame from which decoding can begin, as `seeking.find_entries` finds it."""

    pts: int
    """Of its picture, in ticks."""
    passed: int
    """Pictures of the film that are shown before it: its picture's index."""
    film_start: int
    """Pts of the film's first picture, in ticks."""


class MissedEntryError(Exception):
    """Seeking did not lead to the key frame."""


def check_on_error(on_error: OnError) -> None:
    """Refuse an unknown way to meet damage.

    Raises:
        UsageError: it is unknown.
    """
    if on_error not in get_args(OnError):
        raise UsageError(
            "What to do on an error is unknown", got=on_error, expected=f"one of {', '.join(get_args(OnError))}"
        )


def indexed_frames(container: InputContainer, stream: VideoStream) -> int | None:
    """Shown pictures by the index of MP4, MOV and AVI; None for containers without a complete index."""
    if not {"mov", "avi"} & set(container.format.name.split(",")):
        return None
    return sum(entry.size > 0 and not entry.is_discard for entry in stream.index_entries)


def has_no_pts(container: InputContainer) -> bool:
    """Whether the container stores the order of decoding only, and FFmpeg's pts mean nothing: AVI."""
    return container.format.name == "avi"


class PictureDecoder:
    """The pictures of an opened container in the order of showing, once.

    Args:
        path: for messages.
        container: opened, at its start.
        stream: of the container.
        on_error: "stop" at the first damage, or leave out "skip-damaged" stretches.
        max_pixels: larger pictures are refused by the decoder before it takes memory for them; None for any.
        entry: the key frame to begin at, None for the film's start.
        seeks: whether the container is told to go there; else the packets before are read and passed over.
    """

    def __init__(
        self,
        path: Path,
        container: InputContainer,
        stream: VideoStream,
        *,
        on_error: OnError = "stop",
        max_pixels: int | None = None,
        entry: EntryPoint | None = None,
        seeks: bool = True,
    ) -> None:
        self._entry, self._seeks, self.is_damaged = entry, seeks, False
        self._path, self._container, self._stream = path, container, stream
        # Without pts what is lost cannot be told from what is not: damage ends such films in any case.
        self._skips, self._max_pixels = on_error == "skip-damaged" and not has_no_pts(container), max_pixels
        self._context = _decoder_of(stream)
        self._due: deque[int] | None = deque() if has_no_pts(container) else None
        self._before_key = self._packets = self._pictures = 0
        self._leading: list[int] = []
        self._first_pts: int | None = None
        self._last_seconds = 0.0
        self._damage = DamageLog(stream.time_base)

    @property
    def skipped(self) -> int:
        """Pictures that lean on others before the start of the file, so that no player shows them."""
        return self._before_key + (len(self._leading) if self._first_pts is not None and self._due is None else 0)

    @property
    def losses(self) -> tuple[str, ...]:
        """One sentence for each damaged stretch that was left out so far."""
        return self._damage.notes

    def __iter__(self) -> Iterator[av.VideoFrame]:
        """The pictures.

        Raises:
            InputError: a packet or picture is damaged, or fewer pictures came than the container holds; unless damage
                is skipped and can be.
            MissedEntryError: nothing was given yet; decode anew without seeking.
        """
        pictures = self._intact_pictures() if self._skips else self._all_pictures()
        try:
            for picture in pictures:
                self._count_picture(picture)
                yield picture
        except av.FFmpegError as error:
            raise self._failure(error.strerror or str(error)) from error
        missing = self._missing()
        if missing > 0 and not self._skips:
            raise self._failure(f"a file that announces {missing} more")
        self._damage.finish(missing)

    def _all_pictures(self) -> Iterator[av.VideoFrame]:
        for packet in self._opened_packets():
            if packet.size:
                self._count_packet(packet)
                if packet.is_corrupt:
                    raise self._failure("a packet that its container marks as damaged")
            for picture in self._context.decode(packet if packet.size else None):
                if picture.is_corrupt:
                    raise self._failure("a picture with missing parts")
                yield picture

    def _intact_pictures(self) -> Iterator[av.VideoFrame]:
        """The pictures that lean on nothing damaged."""
        waiting, key_pts = False, None  # for a key frame; the pts of the one after which decoding was taken up again
        for packet in self._until_broken(self._opened_packets()):
            if packet.size:
                self._count_packet(packet)
                self._damage.announce(None if packet.is_discard else packet.pts)
            if waiting:
                if not packet.is_keyframe or packet.is_corrupt:
                    continue
                self._context.flush_buffers()
                self._damage.resume(packet.pts)
                waiting, key_pts = False, packet.pts
            elif key_pts is not None and packet.size and packet.pts is not None:
                if packet.pts < key_pts:
                    continue  # shown before the key frame: it leans on what is lost
                key_pts = None
            try:
                damaged = packet.is_corrupt
                for picture in [] if damaged else self._context.decode(packet if packet.size else None):
                    damaged = damaged or picture.is_corrupt
                    if not damaged:
                        yield picture
            except av.FFmpegError:
                damaged = True
            if damaged:
                self._damage.begin(packet.pts, torn=packet.is_corrupt)
                yield from self._rest()
                waiting = True

    def _until_broken(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        try:
            yield from packets
        except av.FFmpegError as error:
            self._damage.break_off(self._last_seconds, error.strerror or str(error))
            yield from self._container.demux(self._stream)  # nothing but the order to flush

    def _rest(self) -> list[av.VideoFrame]:
        """What the decoder had finished before the damage and held back for the order of showing."""
        try:
            return [picture for picture in self._context.decode(None) if not picture.is_corrupt]
        except av.FFmpegError:
            return []

    def _opened_packets(self) -> Iterator[Packet[VideoStream]]:
        """The packets from the first key frame on, after the decoder's strictness is settled.

        Recordings that start in the middle hold, around their first key frame, pictures that lean on missing ones. A
        strict decoder never recovers from those; for such files it is left lenient, and the marks on pictures and their
        number still tell of damage.
        """
        if self._entry is not None:
            self._settle_strictness(leaning=False)
            yield from self._packets_from(self._entry)
            return
        packets = self._container.demux(self._stream)
        head, start, leaning = _split_head(packets)
        self._settle_strictness(leaning=leaning or start > 0)
        self._before_key = start
        yield from chain(head[start:], packets)

    def _settle_strictness(self, *, leaning: bool) -> None:
        # Frame threads report an error some packets late, too late to know what to leave out.
        self._context.thread_type = "SLICE" if self._skips else "AUTO"
        options = {} if leaning else {"err_detect": "explode"}
        if self._max_pixels is not None:
            declared = (self._context.width + PADDING) * (self._context.height + PADDING)
            options["max_pixels"] = str(min(max(declared, self._max_pixels), MOST_PIXELS))
        self._context.options = options

    def _packets_from(self, entry: EntryPoint) -> Iterator[Packet[VideoStream]]:
        """The packets of the key frame and of what is shown after it."""
        if self._seeks:
            margin = 0 if self._stream.time_base is None else round(SEEK_MARGIN / self._stream.time_base)
            try:
                self._container.seek(entry.pts - margin, stream=self._stream)
            except av.FFmpegError as error:
                raise MissedEntryError from error
        found = False
        for packet in self._container.demux(self._stream):
            found = found or (packet.pts == entry.pts and packet.is_keyframe)
            if not found and packet.pts is not None and packet.pts > entry.pts:
                raise MissedEntryError
            if found and (packet.pts is None or packet.pts >= entry.pts):
                yield packet
        if not found:
            raise MissedEntryError

    def _count_packet(self, packet: Packet[VideoStream]) -> None:
        if packet.is_discard:
            return
        self._packets += 1
        if self._due is not None and packet.dts is not None:
            self._due.append(packet.dts)
        if packet.pts is not None and (self._first_pts is None or packet.pts < self._first_pts):
            self._leading.append(packet.pts)

    def _count_picture(self, picture: av.VideoFrame) -> None:
        if self._entry is not None and self._pictures == 0 and picture.pts != self._entry.pts:
            raise self._failure("a key frame that is none")
        if self._first_pts is None and picture.pts is not None:
            self._first_pts = picture.pts
            self._leading = [pts for pts in self._leading if pts < picture.pts]
        self._damage.show(picture.pts)
        if self._due:  # the k-th picture shown is due at the k-th time of decoding
            picture.dts = self._due.popleft()
        if picture.time is not None:
            self._last_seconds = picture.time
        self._pictures += 1

    def _missing(self) -> int:
        missing = 0
        if self._stream.codec_context.name in ONE_PICTURE_A_PACKET:
            missing = self._packets - self._pictures - (self.skipped - self._before_key)
        indexed = indexed_frames(self._container, self._stream)
        if indexed is not None:
            missing = max(missing, indexed - self._packets - self._before_key - self._passed)
        return missing

    @property
    def _passed(self) -> int:
        return self._entry.passed if self._entry is not None else 0

    def _failure(self, got: str) -> InputError:
        self.is_damaged = True
        skippable = "" if self._due is not None else ", or leave the damaged frames out (--on-error skip-damaged)"
        return InputError(
            f"{self._path} is damaged after frame {self._passed + self._pictures} ({self._last_seconds:.2f} s)",
            got=got,
            remedy=f"copy or record the file again, or cut it before that time{skippable}",
        )


def _decoder_of(stream: VideoStream) -> VideoCodecContext:
    context = stream.codec_context
    reader = ALPHA_DECODERS.get(context.name)
    marks = {key.lower(): value for key, value in stream.metadata.items()}
    if reader is not None and reader in av.codecs_available and marks.get("alpha_mode") == "1":
        found = av.CodecContext.create(reader, "r")
        assert isinstance(found, VideoCodecContext)
        return found
    return context


def _split_head(packets: Iterator[Packet[VideoStream]]) -> tuple[list[Packet[VideoStream]], int, bool]:
    """The first packets, how many of them come before the first key frame, and whether pictures lean on those.

    Reads on until a packet is shown after the key frame: what leans on the past follows the key frame at once in the
    file but is shown before it (an open group of pictures).
    """
    head: list[Packet[VideoStream]] = []
    start, key_pts, leaning = None, None, False
    for packet in packets:
        head.append(packet)
        if start is None and packet.is_keyframe:
            start, key_pts = len(head) - 1, packet.pts
        elif key_pts is not None and packet.pts is not None:
            if packet.pts > key_pts:
                break
            leaning = True
        if len(head) == HEAD_LENGTH:
            break
    return head, start or 0, leaning
