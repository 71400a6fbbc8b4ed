"""What a local video file is: opened with an allow-list, looked at, its first picture decoded.

Only local files are opened, by an allow-list of protocols and demuxers: a playlist that points at other files is not a
video.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.stream import VideoStream

from dgafvsr.errors import InputError
from dgafvsr.video.color import ColorTags, sample_bits
from dgafvsr.video.completeness import find_tear
from dgafvsr.video.decoding import PictureDecoder, indexed_frames
from dgafvsr.video.frames import SourceInfo
from dgafvsr.video.hdr import read_hdr, unsupported_side_data
from dgafvsr.video.marks import read_marks, read_stereo, side_data_of

__all__ = ["describe_tear", "open_container", "probe", "video_stream"]

MATRIX = struct.Struct("=9i")  # of the last column and row only the scale is kept: the size changes, the place does not
DEMUXERS = (
    "3gp,aac,ac3,aiff,apng,asf,av1,avi,dv,dvd,eac3,ffm,flac,flv,gif,gxf,h261,h263,h264,hevc,ivf,ivr,m4v,matroska,mjpeg,"
    "mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,nsv,nut,obu,ogg,rm,roq,swf,vc1,vvc,wav,webm,wtv,yuv4mpegpipe"
)


def open_container(path: Path) -> InputContainer:
    """The opened container of a local file.

    Raises:
        InputError: not a file, empty, truncated so that nothing can be read, or not a video.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist", remedy="check the path")
    if not path.is_file():
        raise InputError(
            f"{path} is not a regular file",
            expected="a video file or a folder of pictures",
            remedy="save the film as a file and name that: pipes and devices cannot be read twice",
        )
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
            remedy="check that a player shows it, or copy the file again",
        ) from error


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
    raise InputError(
        f"{path} has no video stream",
        got=f"a file with {kinds}",
        expected="a file with pictures",
        remedy="choose the file that holds the film",
    )


def describe_tear(path: Path, container: InputContainer, stream: VideoStream) -> InputError | None:
    """Why the file is not whole, None if it is.

    Args:
        path: of the file.
        container: opened, at its start; it may be read to its end.
        stream: of the pictures.
    """
    tear = find_tear(path)
    if tear is None:
        return None
    seconds, frames = tear.seconds, None
    if seconds is None:
        packets = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
        frames = len(packets)
        seconds = float(max(packets, default=0) * (stream.time_base or 0))
    place = f"after about {seconds:.2f} s" + (f" ({frames} frames)" if frames is not None else "")
    return InputError(
        f"{path} is {'truncated' if tear.truncated else 'damaged'} {place}",
        got=f"a file whose structure breaks at byte {tear.offset} of {path.stat().st_size}",
        remedy="copy or record the file again, cut it before that time, or take what is left (--on-error skip-damaged)",
    )


def probe(path: Path, container: InputContainer, stream: VideoStream, decoder: PictureDecoder) -> SourceInfo:
    """What is known of a film from its container and its first picture.

    Args:
        path: of the file.
        container: opened, at its start.
        stream: of the pictures.
        decoder: of the stream, not yet used.

    Raises:
        InputError: there is no picture, or the first is damaged or larger than the decoder may take.
    """
    rate = stream.average_rate or stream.guessed_rate
    first = next(iter(decoder), None)
    if first is None or not rate or not stream.time_base:
        raise InputError(
            f"{path} has no video frames",
            expected="at least one picture",
            remedy="record or export the film again, or choose another file",
        )
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
        bit_depth=sample_bits(layout),
        color=_color_tags(first, context),
        sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
        rotation=int(first.rotation),
        mirroring=_mirroring(first),
        interlaced=first.interlaced_frame,
        has_alpha=any(component.is_alpha for component in layout.components),
        hdr=read_hdr(first),
        dynamic_hdr=unsupported_side_data(first),
        stereo=read_stereo(first, stream.metadata),
        lost_marks=read_marks(first),
        audio_codecs=audio,
        other_streams=tuple(f"{each.type} stream {each.index}" for each in others),
    )


def _duration_seconds(container: InputContainer, stream: VideoStream) -> Fraction | None:
    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    return Fraction(container.duration, av.time_base) if container.duration else None


def _mirroring(picture: av.VideoFrame) -> tuple[int, ...] | None:
    """The display matrix if its determinant is negative: then no rotation says what it does."""
    data = side_data_of(picture, Type.DISPLAYMATRIX)
    if len(data) < MATRIX.size:
        return None
    matrix: tuple[int, ...] = MATRIX.unpack_from(data)
    mirrors = matrix[0] * matrix[4] - matrix[1] * matrix[3] < 0
    return (*matrix[:6], 0, 0, matrix[8]) if mirrors else None


def _color_tags(picture: av.VideoFrame, context: av.VideoCodecContext) -> ColorTags:
    color_range = int(picture.color_range) or int(context.color_range)
    return ColorTags(
        matrix=int(picture.colorspace),
        primaries=int(picture.color_primaries),
        transfer=int(picture.color_trc),
        full_range=None if color_range == 0 else color_range == 2,
    )
