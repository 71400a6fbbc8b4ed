"""Any video file that FFmpeg decodes, as a stream of frames with exact times.

Times are the container's own: pts in the stream's time base. Only where a container has none (raw streams, AVI) or they
run backwards are they derived, from decoding times or the frame rate (`clock.py`). Damage is an error (`decoding.py`,
`completeness.py`).

Only local files are opened, by an allow-list of demuxers: a playlist that points at other files is not a
video.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from dgafvsr.errors import InputError, UsageError
from dgafvsr.video.clock import Clock
from dgafvsr.video.color import ColorTags, video_frame_to_pixels
from dgafvsr.video.completeness import find_tear
from dgafvsr.video.decoding import PictureDecoder, indexed_frames
from dgafvsr.video.folders import IMAGE_SUFFIXES, FolderReader
from dgafvsr.video.frames import Frame, FrameSource, SourceInfo

__all__ = ["VideoReader", "open_container", "open_source"]

DEMUXERS = (
    "3gp,aac,ac3,aiff,apng,asf,av1,avi,dv,dvd,eac3,ffm,flac,flv,gif,gxf,h261,h263,h264,hevc,ivf,ivr,m4v,matroska,mjpeg,"
    "mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,nsv,nut,obu,ogg,rm,roq,swf,vc1,vvc,wav,webm,wtv,yuv4mpegpipe"
)


def open_source(path: Path | str, *, frame_rate: Fraction | None = None) -> FrameSource:
    """The stream of frames of a video file, a folder of pictures, or one picture.

    Args:
        path: a local file or folder.
        frame_rate: frames in a second of a picture folder; None means 24. A video brings its own.

    Raises:
        InputError: nothing there, or nothing that can be read as pictures.
        UsageError: a frame rate for a video.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return FolderReader(path) if frame_rate is None else FolderReader(path, frame_rate=frame_rate)
    if frame_rate is not None:
        raise UsageError(
            f"{path.name} is a video and has its own frame rate",
            got=f"a frame rate of {frame_rate}",
            remedy="leave the frame rate out; it is for picture folders",
        )
    return VideoReader(path)


def open_container(path: Path) -> InputContainer:
    """The opened container of a local file.

    Raises:
        InputError: not a file, empty, truncated so that nothing can be read, or not a video.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist", remedy="check the path")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file", expected="a video file or a folder of pictures")
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes)", expected="a video file", remedy="copy the file again")
        # The absolute path: FFmpeg would take "http:x.mp4" or "-" for something else.
        options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
        return av.open(str(path.absolute()), mode="r", container_options=options, metadata_errors="replace")
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: permission denied", remedy="change its permissions") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        tear = find_tear(path)
        if tear is not None and tear.truncated:
            raise InputError(
                f"{path} is truncated before its first frame, its index is missing",
                got=f"the file ends inside the part that starts at byte {tear.offset}",
                remedy="copy or record the file again",
            ) from error
        raise InputError(
            f"{path} is not a video",
            got=getattr(error, "strerror", None) or str(error),
            expected="a local file in a format that FFmpeg reads, or a folder of pictures",
        ) from error


class VideoReader:
    """The frames of a video file, 8-bit RGB, in the order in which they are shown.

    Each iteration opens the file anew and starts at the first frame.

    Args:
        path: a local file.

    Raises:
        InputError: not a video, without a picture, truncated or damaged. While iterating: the damage, with its time.

    Example:
        >>> with VideoReader(Path("clip.mp4")) as reader:          # doctest: +SKIP
        ...     times = [frame.pts_seconds for frame in reader]
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._warnings: tuple[str, ...] = ()
        with open_container(self._path) as container:
            stream = video_stream(container, self._path)
            _refuse_torn_file(self._path, container, stream)
            self.info = _probe(self._path, container, stream)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What had to be guessed in the last iteration, one sentence each."""
        return self._warnings

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __iter__(self) -> Iterator[Frame]:
        with open_container(self._path) as container:
            stream = video_stream(container, self._path)
            clock = Clock.of_stream(stream, self.info.frame_rate)
            reformatter = VideoReformatter()
            decoder = PictureDecoder(self._path, container, stream)
            for index, picture in enumerate(decoder):
                if (picture.width, picture.height) != (self.info.width, self.info.height):
                    raise InputError(
                        f"{self._path} changes its picture size at frame {index}",
                        got=f"{picture.width}x{picture.height}",
                        expected=f"{self.info.width}x{self.info.height} throughout",
                        remedy="cut the video where the size changes",
                    )
                pts, duration = clock.place(picture.pts, picture.dts, picture.duration)
                self._warnings = (*_skipped_note(decoder.skipped), *clock.warnings)
                pixels = video_frame_to_pixels(picture, self.info.color, reformatter)
                yield Frame(pixels=pixels, pts=pts, time_base=self.info.time_base, duration=duration)


def _skipped_note(skipped: int) -> list[str]:
    return [f"{skipped} pictures before the first key frame cannot be shown by any player"] if skipped else []


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The stream that holds the film: the first that is not a cover picture.

    Raises:
        InputError: there is none.
    """
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    for stream in container.streams.video:
        if not stream.disposition & covers and stream.codec_context is not None:
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise InputError(f"{path} has no video stream", got=f"a file with {kinds}", expected="a file with pictures")


def _refuse_torn_file(path: Path, container: InputContainer, stream: VideoStream) -> None:
    tear = find_tear(path)
    if tear is None:
        return
    seconds, frames = tear.seconds, None
    if seconds is None:
        packets = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
        frames = len(packets)
        seconds = float(max(packets, default=0) * (stream.time_base or 0))
    place = f"after about {seconds:.2f} s" + (f" ({frames} frames)" if frames is not None else "")
    raise InputError(
        f"{path} is {'truncated' if tear.truncated else 'damaged'} {place}",
        got=f"a file whose structure breaks at byte {tear.offset} of {path.stat().st_size}",
        remedy="copy or record the file again, or cut it before that time",
    )


def _probe(path: Path, container: InputContainer, stream: VideoStream) -> SourceInfo:
    rate = stream.average_rate or stream.guessed_rate
    first = next(iter(PictureDecoder(path, container, stream)), None)
    if first is None or not rate or not stream.time_base:
        raise InputError(f"{path} has no video frames", expected="at least one picture")
    if first.pts is None and stream.guessed_rate:
        rate = stream.guessed_rate  # a raw stream: its average rate is FFmpeg's default of 25, not a measurement
    audio = tuple(each.codec_context.name for each in container.streams.audio if each.codec_context is not None)
    others = [each for each in container.streams if each.type != "audio" and each.index != stream.index]
    context, layout = stream.codec_context, first.format
    return SourceInfo(
        path=path,
        width=first.width,
        height=first.height,
        frame_rate=rate,
        time_base=stream.time_base,
        frame_count=indexed_frames(container, stream) if stream.frames else None,
        duration_seconds=_duration_seconds(container, stream),
        codec=context.name,
        pixel_format=layout.name,
        bit_depth=max(component.bits for component in layout.components),
        color=_color_tags(first, context),
        sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
        rotation=int(first.rotation),
        interlaced=first.interlaced_frame,
        has_alpha=any(component.is_alpha for component in layout.components),
        audio_codecs=audio,
        other_streams=tuple(f"{each.type} stream {each.index}" for each in others),
    )


def _duration_seconds(container: InputContainer, stream: VideoStream) -> Fraction | None:
    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    return Fraction(container.duration, av.time_base) if container.duration else None


def _color_tags(picture: av.VideoFrame, context: av.VideoCodecContext) -> ColorTags:
    color_range = int(picture.color_range) or int(context.color_range)
    return ColorTags(
        matrix=int(picture.colorspace),
        primaries=int(picture.color_primaries),
        transfer=int(picture.color_trc),
        full_range=None if color_range == 0 else color_range == 2,
    )
