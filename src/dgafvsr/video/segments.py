"""A film in pieces: what makes an interrupted job cheap to take up again.

An encoder has a memory: what it writes for a frame depends on the frames before and after it, and no encoder can be
stopped, stored and woken up in another process. A film encoded in one go is therefore lost when the process is. So each
finished window becomes a segment of its own: a short stream that starts with a key picture and leans on nothing
outside (closed groups of pictures), in a small file that appears complete or not at all. In the end the packets of all
segments are copied, in order, into one film, together with the source's sound, subtitles and so on. Nothing is encoded
twice, so the pictures of the film are those of the segments, bit by bit. The price is a key picture for each window.

A segment file knows the order of its pictures only (picture k is at k ms, in Matroska, which holds every codec). The
exact times are in its `Segment`, so no container rounds them before the last one does. In the film a picture is decoded
as long before it is shown as the deepest reordering in any segment asks for; the times of decoding of segments encoded
one by one would overlap where the frame rate varies.

For a folder of pictures a segment is a small folder, and assembling links or copies its files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import get_args

import av
from av.container import InputContainer
from av.container.core import Flags
from av.packet import Packet
from av.video.stream import VideoStream

from dgafvsr.errors import OutputError
from dgafvsr.video.atomic import PendingFile, PendingFolder, writing_error
from dgafvsr.video.codecs import EncoderSettings, PictureFormat
from dgafvsr.video.encoder import Encoder, set_picture_properties
from dgafvsr.video.encoding import Encoding
from dgafvsr.video.folders import IMAGE_SUFFIXES, FolderWriter, folder_losses, picture_name
from dgafvsr.video.frames import Frame, SourceInfo
from dgafvsr.video.muxing import FilmFile
from dgafvsr.video.spans import Span

__all__ = ["Segment", "assemble", "is_whole", "write_segment"]

# Times within a segment file: the k-th picture at k ticks.
ORDER_BASE = Fraction(1, 1000)
BIT_EXACT: int = Flags.bitexact.value  # type: ignore[assignment]  # PyAV says it is a Flags
DEEPEST_REORDERING = 16  # places, in H.264 and HEVC


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A finished piece of a film. Plain data, to be kept in a manifest."""

    path: Path
    """The file, or the folder of pictures."""
    pts: tuple[int, ...]
    """When each frame is shown, in ticks of the film's time base, rising."""
    durations: tuple[int, ...]
    """How long, in ticks."""
    reordering: int
    """Most places that a picture is decoded after its turn: 0 without B-pictures."""
    sha256: str
    """Of the file; of a folder, of its files' sums in order."""

    @property
    def frames(self) -> int:
        """Number of frames, at least 1."""
        return len(self.pts)

    @property
    def first_pts(self) -> int:
        """Of the first frame, in ticks."""
        return self.pts[0]

    @property
    def last_pts(self) -> int:
        """Of the last frame, in ticks."""
        return self.pts[-1]


def write_segment(path: Path, frames: Iterable[Frame], info: SourceInfo, encoding: Encoding) -> Segment:
    """Encode some frames on their own.

    The same frames and encoding give the same bytes. A file of that name is replaced.

    Args:
        path: where the segment will appear when it is complete; its folder exists.
        frames: one after the other, at least one, of the announced size and time base.
        info: of the whole film.
        encoding: of the whole film, by `plan_encoding`.

    Raises:
        OutputError: no frames, or the encoder or the system refuses.
        ResourceError: the disk is full.
    """
    write = _write_pictures if encoding.is_folder else _write_packets
    written = write(path, _checked(frames, info), info, encoding)
    return Segment(
        path=path,
        pts=tuple(written.pts),
        durations=tuple(written.durations),
        reordering=written.reordering,
        sha256=_sha256(path),
    )


def is_whole(segment: Segment) -> bool:
    """Whether the segment is there with the bytes that were written."""
    try:
        return _sha256(segment.path) == segment.sha256
    except OSError:
        return False


def assemble(
    segments: Sequence[Segment],
    target: Path | str,
    info: SourceInfo,
    encoding: Encoding,
    *,
    overwrite: bool = False,
    start_seconds: Fraction | None = None,
    stop_seconds: Fraction | None = None,
    on_share: Callable[[float], None] = lambda share: None,
) -> tuple[str, ...]:
    """Join segments into the film, which appears under its name only when it is complete; nothing is encoded again.

    Args:
        segments: in order, at least one, together every frame of the film once; made with this `info` and `encoding`.
        target: what `encoding` was planned for.
        info: of the film; its path is the source of the streams that are copied.
        encoding: of the film.
        overwrite: whether an existing film may be replaced.
        start_seconds: of a part of the source: when the source shows what the segments show at 0. None for all of it.
        stop_seconds: when the source shows the frame after the part; None where the part ends with the source.
        on_share: told what part is done, in (0, 1], after each segment is checked and again after it is joined. What it
            raises ends the assembling; nothing is left then.

    Returns:
        What the film does not hold, one sentence each.

    Raises:
        OutputError: a segment is damaged or missing, segments overlap or were not made alike, or the target cannot be
            written, exists, or turns out incomplete.
        ResourceError: the disk is full.
        InputError: the source of the other streams cannot be opened.
    """
    told = _Share(len(segments), on_share)
    _check_segments(segments, told)
    if encoding.is_folder:
        return _assemble_pictures(segments, Path(target), info, encoding, overwrite, told)
    span = None if start_seconds is None else _span_of(segments, info, start_seconds, stop_seconds)
    return _assemble_film(
        segments, FilmFile(Path(target), info, encoding, overwrite=overwrite, span=span), info, encoding, told
    )


class _Share:
    """Counts segments: each is checked, and each is joined."""

    def __init__(self, segments: int, tell: Callable[[float], None]) -> None:
        self._done, self._all, self._tell = 0, 2 * segments, tell

    def __call__(self) -> None:
        self._done += 1
        self._tell(self._done / self._all)


def _checked(frames: Iterable[Frame], info: SourceInfo) -> Iterator[Frame]:
    last = None
    for frame in frames:
        assert (frame.width, frame.height) == (info.width, info.height)
        assert frame.time_base == info.time_base
        assert last is None or frame.pts > last
        last = frame.pts
        yield frame


def _write_packets(path: Path, frames: Iterator[Frame], info: SourceInfo, encoding: Encoding) -> _Written:
    written = _Written()
    pending = PendingFile(path, overwrite=True)
    try:
        with av.open(str(pending.path.absolute()), mode="w", format="matroska") as container:
            container.flags |= BIT_EXACT  # no dates and no random identifiers: same frames, same bytes
            encoder = Encoder(container, info, encoding)
            for frame in frames:
                written.take(frame)
                container.mux(written.numbered(encoder.encode(frame, frame.pts)))
            if not written.pts:
                raise OutputError(f"{path} would hold no frames", expected="at least one")
            container.mux(written.numbered(encoder.flush()))
        if written.packets != len(written.pts):
            raise OutputError(f"{path} is not complete", got=f"{written.packets} pictures", expected=len(written.pts))
        pending.publish()
    except OSError as error:
        raise writing_error(path, error) from error
    except av.FFmpegError as error:
        raise OutputError(f"{path} cannot be encoded", got=error) from error
    finally:
        pending.discard()
    return written


class _Written:
    """What went into a segment so far."""

    def __init__(self) -> None:
        self.pts: list[int] = []
        self.durations: list[int] = []
        self.packets = self.reordering = 0
        self._places: dict[int, int] = {}

    def take(self, frame: Frame) -> None:
        self._places[frame.pts] = len(self.pts)
        self.pts.append(frame.pts)
        self.durations.append(frame.duration)

    def numbered(self, packets: Sequence[Packet[VideoStream]]) -> Sequence[Packet[VideoStream]]:
        """The packets with places in the segment for times."""
        for packet in packets:
            assert packet.pts is not None
            place = self._places.pop(packet.pts)
            self.reordering = max(self.reordering, self.packets - place)
            packet.time_base, packet.pts, packet.dts = ORDER_BASE, place, self.packets - DEEPEST_REORDERING
            packet.duration = 1
            self.packets += 1
        return packets


def _write_pictures(path: Path, frames: Iterator[Frame], info: SourceInfo, encoding: Encoding) -> _Written:
    written = _Written()
    with FolderWriter(path, info, _picture_settings(encoding), overwrite=True) as writer:
        for frame in frames:
            written.take(frame)
            writer.write(frame)
    return written


def _picture_settings(encoding: Encoding) -> EncoderSettings:
    return EncoderSettings(picture_format=next(kind for kind in get_args(PictureFormat) if kind == encoding.codec))


def _sha256(path: Path) -> str:
    if path.is_dir():
        sums = "".join(f"{file.name} {_sha256(file)}\n" for file in sorted(path.iterdir()))
        return hashlib.sha256(sums.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_segments(segments: Sequence[Segment], told: Callable[[], None]) -> None:
    assert segments
    for segment in segments:
        if not is_whole(segment):
            raise OutputError(
                f"The segment {segment.path} is missing or damaged",
                expected=f"sha256 {segment.sha256[:12]}...",
                remedy="run the same command again, it makes what is missing",
            )
        told()
    for before, after in pairwise(segments):
        if after.first_pts <= before.last_pts:
            raise OutputError(
                "The segments overlap or are out of order",
                got=f"{after.path} starts at {after.first_pts}, {before.path} ends at {before.last_pts}",
            )


def _span_of(
    segments: Sequence[Segment], info: SourceInfo, start_seconds: Fraction, stop_seconds: Fraction | None
) -> Span:
    if stop_seconds is None:
        stop_seconds = start_seconds + (segments[-1].last_pts + segments[-1].durations[-1]) * info.time_base
    return Span(start=start_seconds, stop=stop_seconds)


def _assemble_film(
    segments: Sequence[Segment], film: FilmFile, info: SourceInfo, encoding: Encoding, told: Callable[[], None]
) -> tuple[str, ...]:
    with film:
        try:
            with _opened(segments[0]) as first:
                template = first.streams.video[0]
                setup = template.codec_context.extradata
                stream = film.container.add_stream_from_template(template, opaque=True)
                stream.time_base = info.time_base
                # Matroska stores it; the segments' own clock has nothing to do with it.
                stream.codec_context.framerate = info.frame_rate
                if encoding.alpha and encoding.codec == "vp9":  # a decoder that passes over alpha does not say it
                    stream.codec_context.pix_fmt = encoding.pixel_format
                set_picture_properties(stream, film.container.format.name, info, encoding)
            film.start(segments[0].first_pts, stream)
            for packet in _film_packets(segments, setup, film.shift, told):
                packet.time_base, packet.stream = info.time_base, stream
                film.mux([packet])
            for segment in segments:
                for pts in segment.pts:
                    film.times.append(pts)
            film.publish()
        except (OSError, av.FFmpegError) as error:
            raise film.failure(error, "assembled") from error
    return tuple(film.warnings)


def _opened(segment: Segment) -> InputContainer:
    return av.open(str(segment.path.absolute()), mode="r", format="matroska")


def _film_packets(
    segments: Sequence[Segment], setup: bytes | None, shift: int, told: Callable[[], None]
) -> Iterator[Packet[VideoStream]]:
    """All packets with the film's times, decoding times rising throughout."""
    reordering = max(segment.reordering for segment in segments)
    start, step = segments[0].first_pts + shift, segments[0].durations[0]
    due = deque(start - place * step for place in range(reordering, 0, -1))
    for segment in segments:
        due.extend(pts + shift for pts in segment.pts)
        with _opened(segment) as container:
            stream = container.streams.video[0]
            if stream.codec_context.extradata != setup:
                raise OutputError(
                    f"The segment {segment.path} was not encoded like the first",
                    remedy="encode all segments with the same settings",
                )
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None:
                    place = packet.pts
                    packet.pts, packet.dts = segment.pts[place] + shift, due.popleft()
                    packet.duration = segment.durations[place]
                    yield packet
        told()


def _assemble_pictures(
    segments: Sequence[Segment],
    target: Path,
    info: SourceInfo,
    encoding: Encoding,
    overwrite: bool,
    told: Callable[[], None],
) -> tuple[str, ...]:
    pending = PendingFolder(target, overwrite=overwrite, source=info.path, may_hold=IMAGE_SUFFIXES)
    try:
        count = 0
        for segment in segments:
            for file in sorted(segment.path.iterdir()):
                _link(file, pending.path / picture_name(count, encoding))
                count += 1
            told()
        if count != sum(segment.frames for segment in segments):
            raise OutputError(f"{target} is not complete", got=f"{count} pictures")
        pending.publish()
    except OSError as error:
        raise writing_error(target, error) from error
    finally:
        pending.discard()
    return folder_losses(info, encoding)


def _link(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(file, name)
