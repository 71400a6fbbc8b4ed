"""A film file in the making: a stream of pictures, the source's other streams in step with it, and a proof at the end.

The file has a hidden name until it is finished, read back and found to hold every picture at its time.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from fractions import Fraction
from math import lcm
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from dgafvsr.errors import OutputError
from dgafvsr.video.atomic import PendingFile, writing_error
from dgafvsr.video.encoding import Encoding
from dgafvsr.video.frames import SourceInfo
from dgafvsr.video.remux import StreamCopier
from dgafvsr.video.spans import Span
from dgafvsr.video.stream_plan import has_other_streams

__all__ = ["FilmFile", "PictureTimes"]

# MP4 counts from picture to picture in 31 bits: nanoseconds would end after 2 s, microseconds after 35 minutes.
FINEST_TIMESCALE, MICROSECONDS = 10_000_000, 1_000_000


class PictureTimes:
    """The pts of every picture of a film, 8 bytes each.

    Args:
        time_base: seconds in a tick.
    """

    def __init__(self, time_base: Fraction) -> None:
        self.time_base = time_base
        self._ticks = array("q")

    def __len__(self) -> int:
        return len(self._ticks)

    @property
    def last(self) -> int | None:
        """The pts of the last picture, None without any."""
        return self._ticks[-1] if self._ticks else None

    def append(self, pts: int) -> None:
        """Take the next picture's pts, in ticks."""
        self._ticks.append(pts)

    def in_seconds(self) -> Iterable[Fraction]:
        """All times, exactly."""
        return (ticks * self.time_base for ticks in self._ticks)

    @classmethod
    def of_file(cls, path: Path) -> PictureTimes:
        """The times that a file holds, sorted, read from its packets; nothing is decoded."""
        with av.open(str(path.absolute())) as container:
            stream = container.streams.video[0]
            found = cls(stream.time_base or Fraction(1))
            # One packet is one picture in everything that we write.
            found._ticks = array("q", sorted(p.pts for p in container.demux(stream) if p.size and p.pts is not None))
        return found


class FilmFile:
    """An output file, from its opening to its publication.

    A context: leaving it closes the file, and removes it unless it was published.

    Args:
        target: where it will be.
        info: of the frames to come; its path is the source of the streams that are copied.
        encoding: container and codec.
        overwrite: whether an existing file may be replaced.
        span: the part of the source that it is made of, shown from 0 on; None for all of it, on the source's clock.

    Raises:
        OutputError: it exists, is the source, or cannot be written.
    """

    def __init__(
        self, target: Path, info: SourceInfo, encoding: Encoding, *, overwrite: bool, span: Span | None = None
    ) -> None:
        self._info, self._encoding, self._span = info, encoding, span
        self._copier: StreamCopier | None = None
        self.warnings = list(encoding.warnings)
        self.shift = 0
        self.times = PictureTimes(info.time_base)
        self._pending = PendingFile(target, overwrite=overwrite, source=info.path)
        try:
            self.container: OutputContainer = av.open(
                str(self._pending.path.absolute()), mode="w", format=encoding.container
            )
        except (av.FFmpegError, ValueError, OSError) as error:
            self._pending.discard()
            raise OutputError(f"{target} cannot be written", got=error) from error

    @property
    def target(self) -> Path:
        """Where it will be."""
        return self._pending.target

    def start(self, first_pts: int, stream: VideoStream) -> None:
        """Settle what depends on the first picture's time, then write the header.

        Args:
            first_pts: in ticks of the frames' time base.
            stream: of the pictures, already in the container.
        """
        if first_pts < 0:  # players and demuxers drop pictures before 0
            self.shift = -first_pts
            self.warnings.append(
                f"the film starts before 0; all times are moved by {float(self.shift * self._info.time_base):.3f} s"
            )
        if has_other_streams(self._info):
            shift_seconds = self.shift * self._info.time_base - (self._span.start if self._span else 0)
            self._copier = StreamCopier(
                self._info.path, self.container, pictures=stream, shift_seconds=shift_seconds, span=self._span
            )
            self.warnings += self._copier.warnings
        if self._encoding.container in ("mp4", "mov"):
            self.container.container_options.update(_timescales(self.container, self._info.time_base))
        self.container.start_encoding()

    def mux(self, packets: Sequence[Packet[VideoStream]]) -> None:
        """Write packets of pictures, and before each the copied ones that are due."""
        for packet in packets:
            if self._copier is not None and packet.dts is not None:
                self._copier.copy_until(packet.dts * packet.time_base)
            self.container.mux(packet)

    def publish(self, end_seconds: Fraction | None = None) -> None:
        """Finish the file, read it back, and give it its name.

        Args:
            end_seconds: where the copied streams end, on the file's own clock; None to copy them to their ends.

        Raises:
            OutputError: a picture is missing or at a wrong time, or the name was taken meanwhile.
        """
        if self._copier is not None:
            self._copier.copy_until(end_seconds)
            self.warnings += self._copier.closing_notes
        self._close()
        self._verify(PictureTimes.of_file(self._pending.path))
        self._pending.publish()

    def _verify(self, found: PictureTimes) -> None:
        if len(found) != len(self.times):
            raise OutputError(f"{self.target} is not complete", got=f"{len(found)} frames", expected=len(self.times))
        tick, shift = found.time_base, self.shift * self._info.time_base
        moved: Fraction | None = None
        for there, meant in zip(found.in_seconds(), self.times.in_seconds(), strict=True):
            moved = there - meant - shift if moved is None else moved
            if abs(there - meant - shift - moved) > tick:
                raise OutputError(
                    f"{self.target} has wrong times",
                    got=f"a frame at {float(there):.3f} s",
                    expected=f"{float(meant + shift + moved):.3f} s",
                )
        if (
            moved is not None and abs(moved) > tick
        ):  # Matroska has no times below 0, where the sound of an MP4 may start
            self.warnings.append(f"the sound starts before 0; all times are moved by {float(moved):.3f} s")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(av.FFmpegError):  # a full disk fails again here; what there is goes anyway
            self._close()
        self._pending.discard()  # a published file no longer has this name

    def _close(self) -> None:
        self.container.close()
        if self._copier is not None:
            self._copier.close()
            self._copier = None

    def failure(self, error: Exception, deed: str) -> Exception:
        """The typed error for what the system or FFmpeg said.

        Args:
            error: what was raised.
            deed: what could not be done to the file: "encoded", "finished".
        """
        if isinstance(error, OSError):
            return writing_error(self.target, error)
        return OutputError(f"{self.target} cannot be {deed}", got=error)


def _timescales(container: OutputContainer, time_base: Fraction) -> dict[str, str]:
    """MP4's two clocks: the picture track's, exact for nearly every time base, and the file's, which starts tracks."""
    track = time_base.denominator if time_base.denominator <= FINEST_TIMESCALE else MICROSECONDS
    bases = [Fraction(1, track), *(stream.time_base for stream in container.streams.audio if stream.time_base)]
    common = lcm(*(base.denominator for base in bases))
    movie = common if common < 2**31 else track
    return {"video_track_timescale": str(track), "movie_timescale": str(movie)}
