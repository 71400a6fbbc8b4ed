"""Two fields to one picture: FFmpeg's bwdif, one picture for each picture, at its own time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import av
from av.filter import Graph
from av.video.stream import VideoStream

__all__ = ["deinterlaced"]


def deinterlaced(pictures: Iterable[av.VideoFrame], stream: VideoStream) -> Iterator[av.VideoFrame]:
    """The pictures with the lines of their later field made anew from their neighbours in time and space.

    As many pictures come out as go in, with the same times. Every picture is treated, also where the file does not mark
    it, because marks are often wrong in parts of a recording.

    Args:
        pictures: decoded, in the order of showing, all of one size and layout.
        stream: that they come from.
    """
    graph: Graph | None = None
    times = deque[tuple[int | None, int | None, int]]()
    for picture in pictures:
        graph = graph or _graph(picture, stream)
        times.append((picture.pts, picture.dts, picture.duration))
        graph.push(picture)
        yield from _pulled(graph, times)
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph, times)


def _graph(first: av.VideoFrame, stream: VideoStream) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=first.width, height=first.height, format=first.format, time_base=stream.time_base)
    graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:parity=auto:deint=all"), graph.add("buffersink"))
    graph.configure()
    return graph


def _pulled(graph: Graph, times: deque[tuple[int | None, int | None, int]]) -> Iterator[av.VideoFrame]:
    """What the filter has ready. It counts in halves of the time base, so the times are put back."""
    while True:
        try:
            picture = graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
        picture.pts, picture.dts, picture.duration = times.popleft()
        yield picture
