"""A stream of frames to a film: exact times, colour tags, other streams copied, and a name only when it is complete.

MP4 and MOV keep any time base down to a microsecond, so every pts is the source's. Matroska and WebM count
milliseconds, so there a pts is the source's rounded to one.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av

from dgafvsr.errors import OutputError
from dgafvsr.video.codecs import CONTAINER_FORMATS, ENCODERS, Codec, EncoderSettings
from dgafvsr.video.encoder import Encoder
from dgafvsr.video.encoding import plan_encoding
from dgafvsr.video.folders import FolderWriter
from dgafvsr.video.frames import Frame, FrameSink, SourceInfo
from dgafvsr.video.muxing import FilmFile

__all__ = ["CONTAINER_FORMATS", "ENCODERS", "Codec", "EncoderSettings", "VideoWriter", "open_sink"]


def open_sink(
    target: Path | str, info: SourceInfo, settings: EncoderSettings | None = None, *, overwrite: bool = False
) -> FrameSink:
    """A writer for the target: a video file by its suffix, else a folder of pictures.

    Args:
        target: ends with a video suffix for a file; no suffix, a trailing slash or an existing folder means a folder.
        info: of the frames to come; its path is the source of the streams that are copied.
        settings: how pictures are stored, None for the defaults.
        overwrite: whether something of that name may be replaced.

    Raises:
        OutputError: it cannot be written there, or not at this size.
        UsageError: the suffix is unknown, or the settings do not fit it.
    """
    if plan_encoding(target, info, settings).is_folder:
        return FolderWriter(Path(target), info, settings, overwrite=overwrite)
    return VideoWriter(Path(target), info, settings, overwrite=overwrite)


class VideoWriter:
    """Frames to a video file.

    Leaving the context without an error finishes and publishes the file; with an error nothing remains.

    Args:
        target: MP4, M4V, MOV, Matroska or WebM, by suffix.
        info: of the frames to come: size, rate, time base, colour; its path is the source of the copied streams.
        settings: how pictures are stored, None for the defaults.
        overwrite: whether an existing file may be replaced.

    Raises:
        OutputError: it exists, is the source, cannot be written, or the encoder refuses the size.
        UsageError: the suffix is unknown, or the settings do not fit it.

    Example:
        >>> with VideoReader("a.mp4") as reader, VideoWriter(Path("b.mp4"), reader.info) as writer:  # doctest: +SKIP
        ...     for frame in reader:
        ...         writer.write(frame)
    """

    def __init__(
        self, target: Path, info: SourceInfo, settings: EncoderSettings | None = None, *, overwrite: bool = False
    ) -> None:
        self._info, self._encoding = info, plan_encoding(target, info, settings)
        self._end_seconds, self._ends_early = Fraction(0), False
        self._film = FilmFile(target, info, self._encoding, overwrite=overwrite)
        try:
            self._encoder = Encoder(self._film.container, info, self._encoding)
        except (av.FFmpegError, ValueError, OSError) as error:
            self._film.__exit__(None, None, None)
            raise OutputError(f"{target} cannot be written", got=error) from error

    @property
    def bit_depth(self) -> int:
        """Bits in a stored sample: the depth to quantize frames to."""
        return self._encoding.bit_depth

    @property
    def frames_written(self) -> int:
        """Frames taken so far."""
        return len(self._film.times)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the file cannot hold, one sentence each; complete when the context is left."""
        return tuple(self._film.warnings)

    def write(self, frame: Frame) -> None:
        """Take the next frame.

        Args:
            frame: of the announced size and time base, later than the one before; of any depth.

        Raises:
            OutputError: the encoder or the system refuses.
            ResourceError: the disk is full.
        """
        assert (frame.width, frame.height) == (self._info.width, self._info.height)
        assert frame.time_base == self._info.time_base
        assert self._film.times.last is None or frame.pts > self._film.times.last
        try:
            if self._film.times.last is None:
                self._film.start(frame.pts, self._encoder.stream)
            self._film.mux(self._encoder.encode(frame, frame.pts + self._film.shift))
        except (OSError, av.FFmpegError) as error:
            raise self._film.failure(error, "encoded") from error
        self._film.times.append(frame.pts)
        self._end_seconds = (frame.pts + frame.duration + self._film.shift) * frame.time_base

    def end_early(self) -> None:
        """Say that the source goes on after the last frame taken: its sound is cut there, between two packets."""
        self._ends_early = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._film:
            if kind is not None:
                return
            if self.frames_written == 0:
                raise OutputError(f"{self._film.target} would hold no frames", expected="at least one")
            try:
                self._film.mux(self._encoder.flush())
                self._film.publish(self._end_seconds if self._ends_early else None)
            except (OSError, av.FFmpegError) as failure:
                raise self._film.failure(failure, "finished") from failure
