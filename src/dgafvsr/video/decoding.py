"""Packets to pictures, with nothing lost silently.

A decoder normally hides damage by inventing pictures. Here it is told to fail instead, and what came out is counted
against what the container's index, or its packets, announced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from dgafvsr.errors import InputError

__all__ = ["PictureDecoder", "has_no_pts", "indexed_frames"]

# One packet is one shown picture in these; elsewhere hidden or empty packets make the numbers differ.
ONE_PICTURE_A_PACKET = frozenset(["av1", "dnxhd", "ffv1", "h264", "hevc", "mjpeg", "prores"])
# How many packets are looked at to find the first key frame; streams without any are decoded from their start.
HEAD_LENGTH = 512


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
    """

    def __init__(self, path: Path, container: InputContainer, stream: VideoStream) -> None:
        self._path, self._container, self._stream = path, container, stream
        self._due: deque[int] | None = deque() if has_no_pts(container) else None
        self._before_key = self._packets = self._pictures = 0
        self._leading: list[int] = []
        self._first_pts: int | None = None
        self._last_seconds = 0.0

    @property
    def skipped(self) -> int:
        """Pictures that lean on others before the start of the file, so that no player shows them."""
        return self._before_key + (len(self._leading) if self._first_pts is not None and self._due is None else 0)

    def __iter__(self) -> Iterator[av.VideoFrame]:
        """The pictures.

        Raises:
            InputError: a packet or picture is damaged, or fewer pictures came than the container holds.
        """
        try:
            for packet in self._opened_packets():
                if packet.size:
                    self._count_packet(packet)
                for picture in packet.decode():
                    self._count_picture(picture)
                    yield picture
        except av.FFmpegError as error:
            raise self._damage(error.strerror or str(error)) from error
        self._check_numbers()

    def _opened_packets(self) -> Iterator[Packet[VideoStream]]:
        """The packets from the first key frame on, after the decoder's strictness is settled.

        Recordings that start in the middle hold, around their first key frame, pictures that lean on missing ones. A
        strict decoder never recovers from those; for such files it is left lenient, and the marks on pictures and their
        number still tell of damage.
        """
        packets = self._container.demux(self._stream)
        head, start, leaning = _split_head(packets)
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.options = {} if start or leaning else {"err_detect": "explode"}
        self._before_key = start
        yield from chain(head[start:], packets)

    def _count_packet(self, packet: Packet[VideoStream]) -> None:
        if packet.is_corrupt:
            raise self._damage("a packet that its container marks as damaged")
        if packet.is_discard:
            return
        self._packets += 1
        if self._due is not None and packet.dts is not None:
            self._due.append(packet.dts)
        if packet.pts is not None and (self._first_pts is None or packet.pts < self._first_pts):
            self._leading.append(packet.pts)

    def _count_picture(self, picture: av.VideoFrame) -> None:
        if picture.is_corrupt:
            raise self._damage("a picture with missing parts")
        if self._first_pts is None and picture.pts is not None:
            self._first_pts = picture.pts
            self._leading = [pts for pts in self._leading if pts < picture.pts]
        if self._due:  # the k-th picture shown is due at the k-th time of decoding
            picture.dts = self._due.popleft()
        if picture.time is not None:
            self._last_seconds = picture.time
        self._pictures += 1

    def _check_numbers(self) -> None:
        missing = 0
        if self._stream.codec_context.name in ONE_PICTURE_A_PACKET:
            missing = self._packets - self._pictures - (self.skipped - self._before_key)
        indexed = indexed_frames(self._container, self._stream)
        if indexed is not None:
            missing = max(missing, indexed - self._packets - self._before_key)
        if missing > 0:
            raise self._damage(f"a file that announces {missing} more")

    def _damage(self, got: str) -> InputError:
        return InputError(
            f"{self._path} is damaged after frame {self._pictures} ({self._last_seconds:.2f} s)",
            got=got,
            remedy="copy or record the file again, or cut it before that time",
        )


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
