"""Where decoding can begin so that a part of a film costs no decoding of what lies before it.

The packets up to the part are read, not decoded: their times tell which frame of the film a picture is, whatever the
container's index says, and which key frame stands before it. Pictures that follow a key frame in the file but are shown
before it (an open group of pictures) lean on what is not decoded, and lie before the part. Where times or key frames do
not tell, the film is decoded from its start.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from av.video.stream import VideoStream

from dgafvsr.video.decoding import ONE_PICTURE_A_PACKET, EntryPoint, has_no_pts
from dgafvsr.video.frames import Reached
from dgafvsr.video.probing import open_container, video_stream

__all__ = ["find_entries"]

ATTEMPTS = 2
DEEPEST_REORDERING = 16  # places by which H.264 and HEVC show a picture later than its packet comes


def find_entries(path: Path, reached: Reached, *, context: int = 0) -> tuple[EntryPoint, ...]:
    """The key frames before a place, the nearest first; none where decoding has to begin at the film's start.

    The second is there because some encoders let pictures after a key frame speak of pictures before it, which a strict
    decoder takes for damage. Reads the packets up to the place and a few more. Of a film that ends before the place
    they are its last key frames.

    Args:
        path: of a video file.
        reached: tells the place.
        context: frames before the place that have to be decoded too, for a filter that looks back.

    Raises:
        InputError: the file cannot be opened.
    """
    if reached(context, Fraction(0)):
        return ()
    with open_container(path) as container:
        stream = video_stream(container, path)
        countable = stream.codec_context.name in ONE_PICTURE_A_PACKET and not has_no_pts(container)
        if not countable or stream.time_base is None:
            return ()
        try:
            return _nearest_key_frames(container.demux(stream), stream.time_base, reached, context)
        except (av.FFmpegError, _UnclearOrderError):  # whoever decodes from the start will say what is wrong
            return ()


def _nearest_key_frames(
    packets: Iterable[Packet[VideoStream]], tick: Fraction, reached: Reached, context: int
) -> tuple[EntryPoint, ...]:
    order, start = _ShownOrder(), None
    key_frames: list[EntryPoint] = []
    stop = 0
    for index, pts in enumerate(order.sort(packets)):
        start = pts if start is None else start
        if pts in order.key_frames and index > 0:
            key_frames.append(EntryPoint(pts=pts, passed=index, film_start=start))
        stop = index
        if reached(index, (pts - start) * tick):
            break
    usable = [each for each in key_frames if each.passed <= stop - context]
    return tuple(usable[: -1 - ATTEMPTS : -1])


class _UnclearOrderError(Exception):
    """The packets do not tell which frame is which."""


class _ShownOrder:
    """Sorts packets, which come in the order of decoding, by the time at which their pictures are shown."""

    def __init__(self) -> None:
        self.key_frames: set[int] = set()
        """Pts of pictures that nothing shown later leans over: decoding can begin there."""

    def sort(self, packets: Iterable[Packet[VideoStream]]) -> Iterator[int]:
        """The pts of all pictures that are shown, rising.

        Raises:
            _UnclearOrderError: times are missing, double or out of order, the file begins in the middle of a recording,
                or a packet is damaged.
        """
        waiting: list[int] = []
        highest = last = first_key = None
        for packet in packets:
            pts = packet.pts
            if not packet.size:
                continue
            if pts is None or packet.is_corrupt or pts in waiting or (last is not None and pts <= last):
                raise _UnclearOrderError
            if first_key is None and not packet.is_keyframe:
                raise _UnclearOrderError
            first_key = pts if first_key is None else first_key
            if packet.is_discard:  # before the beginning that an edit list sets
                continue
            if pts < first_key:
                raise _UnclearOrderError
            if packet.is_keyframe and (highest is None or pts > highest):
                self.key_frames.add(pts)
            highest = pts if highest is None else max(highest, pts)
            heapq.heappush(waiting, pts)
            if len(waiting) > DEEPEST_REORDERING:
                last = heapq.heappop(waiting)
                yield last
        while waiting:
            yield heapq.heappop(waiting)
