"""A stream of frames to a video file: exact times, colour tags, sound copied, and a name only when it is complete.

MP4 and MOV keep any time base, so every pts is the source's. Matroska counts milliseconds, so there a pts is the
source's rounded to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, get_args

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.reformatter import ColorRange, VideoReformatter
from av.video.stream import VideoStream

from dgafvsr.errors import OutputError, UsageError
from dgafvsr.video.atomic import PendingFile, writing_error
from dgafvsr.video.color import pixels_to_video_frame
from dgafvsr.video.folders import FolderWriter
from dgafvsr.video.frames import Frame, FrameSink, SourceInfo
from dgafvsr.video.remux import StreamCopier

__all__ = ["CONTAINER_FORMATS", "Codec", "EncoderSettings", "VideoWriter", "open_sink"]

Codec = Literal["h264", "hevc"]
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
PixelFormat = Literal["yuv420p", "yuv444p"]

CONTAINER_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""Suffix of an output file -> FFmpeg's name of its container."""
# libx265 writes outside its buffers for pictures narrower than its coding unit of 64 pixels (seen at 48x32 and 48x64).
HEVC_MINIMUM_SIDE = 64
ENCODERS = {"h264": "libx264", "hevc": "libx265"}


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """How pictures are compressed.

    Raises:
        UsageError: a value that the encoders do not know.
    """

    codec: Codec = "h264"
    """H.264 by libx264 or HEVC by libx265."""
    crf: int = 16
    """Constant rate factor, 0 (best) to 51 (smallest)."""
    preset: Preset = "medium"
    """The encoder's trade of speed for size."""
    pixel_format: PixelFormat = "yuv420p"
    """Stored layout; yuv420p plays everywhere."""

    def __post_init__(self) -> None:
        for name, kind in (("codec", Codec), ("preset", Preset), ("pixel_format", PixelFormat)):
            if getattr(self, name) not in get_args(kind):
                raise UsageError(
                    f"The {name.replace('_', ' ')} is unknown",
                    got=getattr(self, name),
                    expected=f"one of {', '.join(get_args(kind))}",
                )
        if not 0 <= self.crf <= 51:
            raise UsageError("The crf is out of range", got=self.crf, expected="0 (best) to 51 (smallest)")


def open_sink(
    target: Path | str, info: SourceInfo, settings: EncoderSettings | None = None, *, overwrite: bool = False
) -> FrameSink:
    """A writer for the target: a video file by its suffix, else a folder of PNG files.

    Args:
        target: ends with a video suffix for a file; no suffix, a trailing slash or an existing folder means a folder.
        info: of the frames to come; its path is the source of the sound.
        settings: of the encoder, unused for a folder.
        overwrite: whether something of that name may be replaced.

    Raises:
        OutputError: it cannot be written there.
        UsageError: the suffix is unknown.
    """
    path = Path(target)
    if str(target).endswith(("/", "\\")) or not path.suffix or (path.is_dir() and not path.is_symlink()):
        return FolderWriter(path, info, overwrite=overwrite)
    return VideoWriter(path, info, settings, overwrite=overwrite)


class VideoWriter:
    """Frames to a video file.

    Leaving the context without an error finishes and publishes the file; with an error nothing remains.

    Args:
        target: MP4, MOV or Matroska, by suffix.
        info: of the frames to come: size, rate, time base, colour; its path is the source of the sound.
        settings: of the encoder.
        overwrite: whether an existing file may be replaced.

    Raises:
        OutputError: it exists, is the source, cannot be written, or the encoder refuses the size.
        UsageError: the suffix is unknown.

    Example:
        >>> with VideoReader("a.mp4") as reader, VideoWriter(Path("b.mp4"), reader.info) as writer:  # doctest: +SKIP
        ...     for frame in reader:
        ...         writer.write(frame)
    """

    def __init__(
        self, target: Path, info: SourceInfo, settings: EncoderSettings | None = None, *, overwrite: bool = False
    ) -> None:
        self._info, self._settings = info, settings or EncoderSettings()
        self.frames_written = 0
        container_format = _container_format(target)
        _check_size(target, info, self._settings)
        self._color = info.color.resolved(width=info.width, height=info.height)
        self._reformatter = VideoReformatter()
        self._warnings: list[str] = []
        self._durations: dict[int, int] = {}
        self._shift = 0
        self._first_pts: int | None = None
        self._last_pts: int | None = None
        self._copier: StreamCopier | None = None
        self._pending = PendingFile(target, overwrite=overwrite, source=info.path)
        try:
            self._container = av.open(str(self._pending.path.absolute()), mode="w", format=container_format)
            self._stream = _add_video(self._container, info, self._settings)
        except (av.FFmpegError, ValueError, OSError) as error:
            self._pending.discard()
            raise OutputError(f"{target} cannot be written", got=error) from error

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the file cannot hold, one sentence each; complete when the context is left."""
        return tuple(self._warnings)

    def write(self, frame: Frame) -> None:
        """Take the next frame.

        Args:
            frame: uint8, of the announced size and time base, later than the one before.

        Raises:
            OutputError: the encoder or the system refuses.
            ResourceError: the disk is full.
        """
        assert (frame.width, frame.height) == (self._info.width, self._info.height)
        assert frame.pixels.dtype == np.uint8
        assert frame.time_base == self._info.time_base
        assert self._last_pts is None or frame.pts > self._last_pts
        picture = pixels_to_video_frame(frame.pixels, self._color, self._settings.pixel_format, self._reformatter)
        try:
            if self._last_pts is None:
                self._start(frame)
            picture.pts, picture.time_base = frame.pts + self._shift, frame.time_base
            picture.duration = self._durations[picture.pts] = frame.duration
            self._mux(self._stream.encode(picture))
        except OSError as error:
            raise writing_error(self._pending.target, error) from error
        except av.FFmpegError as error:
            raise OutputError(f"{self._pending.target} cannot be encoded", got=error) from error
        self._last_pts = frame.pts
        self.frames_written += 1

    def _start(self, first: Frame) -> None:
        """Settles what depends on the first frame, then writes the header."""
        if first.pts < 0:  # players and demuxers drop pictures before 0
            self._shift = -first.pts
            shift_seconds = self._shift * first.time_base
            self._warnings.append(f"the film starts before 0; all times are moved by {float(shift_seconds):.3f} s")
        if self._info.has_audio:
            self._copier = StreamCopier(self._info.path, self._container, shift_seconds=self._shift * first.time_base)
            self._warnings += self._copier.warnings
        self._warnings += [f"{name} is not copied" for name in self._info.other_streams]
        if self._container.format.name != "matroska":
            self._container.container_options.update(_timescales(self._container, self._info.time_base))
        self._first_pts = first.pts
        self._container.start_encoding()

    def _mux(self, packets: Sequence[Packet[VideoStream]]) -> None:
        for packet in packets:
            if packet.pts is not None and packet.time_base == self._info.time_base:
                packet.duration = self._durations.pop(packet.pts, packet.duration)
            if self._copier is not None and packet.dts is not None:
                self._copier.copy_until(packet.dts * packet.time_base)
            self._container.mux(packet)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        except av.FFmpegError as failure:
            if isinstance(failure, OSError):
                raise writing_error(self._pending.target, failure) from failure
            raise OutputError(f"{self._pending.target} cannot be finished", got=failure) from failure
        finally:
            with suppress(av.FFmpegError):  # a full disk fails again here; what there is goes anyway
                self._close()
            self._pending.discard()  # a published file no longer has this name

    def _finish(self) -> None:
        if self.frames_written == 0:
            raise OutputError(f"{self._pending.target} would hold no frames", expected="at least one")
        last = self._stream.encode(None)
        if self.frames_written == 1:  # libx265 leaves the decoding time of an only picture uninitialised
            for packet in last:
                packet.dts = packet.pts
        self._mux(last)
        if self._copier is not None:
            self._copier.copy_until(None)
        self._close()
        self._verify(_Finished.read(self._pending.path))
        self._pending.publish()

    def _verify(self, finished: _Finished) -> None:
        """Every picture is there and the times run as they should."""
        if finished.pictures != self.frames_written:
            raise OutputError(
                f"{self._pending.target} is not complete",
                got=f"{finished.pictures} frames",
                expected=self.frames_written,
            )
        assert self._first_pts is not None
        assert self._last_pts is not None
        first, last = ((pts + self._shift) * self._info.time_base for pts in (self._first_pts, self._last_pts))
        moved = finished.first_seconds - first
        if abs(finished.last_seconds - last - moved) > finished.tick:
            raise OutputError(
                f"{self._pending.target} has wrong times",
                got=f"{float(finished.last_seconds - finished.first_seconds):.3f} s from the first frame to the last",
                expected=f"{float(last - first):.3f} s",
            )
        if abs(moved) > finished.tick:  # Matroska has no times below 0, where the sound of an MP4 may start
            self._warnings.append(f"the sound starts before 0; all times are moved by {float(moved):.3f} s")

    def _close(self) -> None:
        self._container.close()
        if self._copier is not None:
            self._copier.close()
            self._copier = None


def _container_format(target: Path) -> str:
    found = CONTAINER_FORMATS.get(target.suffix.lower())
    if found is None:
        raise UsageError(
            f"The kind of {target.name} is unknown",
            got=target.suffix or "no suffix",
            expected=f"one of {', '.join(sorted(CONTAINER_FORMATS))}",
            remedy="for a folder of pictures end the name with a slash",
        )
    return found


def _check_size(target: Path, info: SourceInfo, settings: EncoderSettings) -> None:
    if settings.pixel_format == "yuv420p" and (info.width % 2 or info.height % 2):
        raise OutputError(
            f"{target} cannot hold pictures of an odd size as yuv420p",
            got=f"{info.width}x{info.height}",
            remedy="use yuv444p or a picture folder",
        )
    if settings.codec == "hevc" and min(info.width, info.height) < HEVC_MINIMUM_SIDE:
        raise OutputError(
            f"{target} cannot hold such small pictures as HEVC",
            got=f"{info.width}x{info.height}",
            expected=f"sides of at least {HEVC_MINIMUM_SIDE} pixels",
            remedy="use h264",
        )


def _timescales(container: OutputContainer, time_base: Fraction) -> dict[str, str]:
    """MP4's two clocks: the picture track's, exact for `time_base`, and the file's, which says when tracks start."""
    bases = [time_base, *(stream.time_base for stream in container.streams.audio if stream.time_base)]
    common = lcm(*(base.denominator for base in bases))
    movie = common if common < 2**31 else time_base.denominator
    return {"video_track_timescale": str(time_base.denominator), "movie_timescale": str(movie)}


def _add_video(container: OutputContainer, info: SourceInfo, settings: EncoderSettings) -> VideoStream:
    options = {"crf": str(settings.crf), "preset": settings.preset}
    if settings.codec == "hevc":
        options["x265-params"] = "log-level=error"
    stream = container.add_stream(ENCODERS[settings.codec], rate=info.frame_rate, options=options)
    assert isinstance(stream, VideoStream)
    context = stream.codec_context
    stream.width, stream.height, stream.pix_fmt = info.width, info.height, settings.pixel_format
    stream.time_base = context.time_base = info.time_base
    context.sample_aspect_ratio = info.sample_aspect_ratio
    if settings.codec == "hevc" and container.format.name != "matroska":
        context.codec_tag = "hvc1"  # Apple's players refuse the default, hev1
    color = info.color.resolved(width=info.width, height=info.height)
    context.colorspace, context.color_primaries, context.color_trc = color.matrix, color.primaries, color.transfer
    context.color_range = ColorRange.JPEG if color.full_range else ColorRange.MPEG
    if info.rotation:
        stream.set_display_rotation(info.rotation)
    return stream


@dataclass(frozen=True, kw_only=True)
class _Finished:
    """What a finished file holds, read back from it without decoding."""

    pictures: int
    first_seconds: Fraction
    last_seconds: Fraction
    tick: Fraction

    @classmethod
    def read(cls, path: Path) -> _Finished:
        with av.open(str(path.absolute())) as container:
            stream = container.streams.video[0]
            count, first, last = 0, None, None
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None:
                    count += 1  # one packet is one picture in H.264 and HEVC as we write them
                    first = packet.pts if first is None else min(first, packet.pts)
                    last = packet.pts if last is None else max(last, packet.pts)
            tick = stream.time_base or Fraction(1)
        return cls(pictures=count, first_seconds=(first or 0) * tick, last_seconds=(last or 0) * tick, tick=tick)
