"""Any video file that FFmpeg decodes, as a stream of frames with exact times.

Times are the container's own: pts in the stream's time base. Only where a container has none (raw streams, AVI) or they
run backwards are they derived, from decoding times or the frame rate (`clock.py`). Damage is an error, or left out and
said (`decoding.py`, `completeness.py`). What is opened at all: `probing.py`; how large it may be: `limits.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from dgafvsr.errors import InputError, UsageError
from dgafvsr.video.clock import Clock
from dgafvsr.video.color import alpha_of_video_frame, video_frame_to_pixels
from dgafvsr.video.decoding import EntryPoint, MissedEntryError, OnError, PictureDecoder, check_on_error
from dgafvsr.video.deinterlacing import deinterlaced
from dgafvsr.video.folders import IMAGE_SUFFIXES, FolderReader
from dgafvsr.video.frames import Frame, FrameSource, PlacedFrame, Reached, SourceInfo
from dgafvsr.video.limits import InputLimits
from dgafvsr.video.probing import describe_tear, open_container, probe, video_stream
from dgafvsr.video.seeking import find_entries

__all__ = ["InterlacedError", "VideoReader", "open_source"]


class InterlacedError(InputError):
    """A film of two moments in each picture."""


def open_source(
    path: Path | str,
    *,
    frame_rate: Fraction | None = None,
    limits: InputLimits | None = None,
    deinterlace: bool = False,
    on_error: OnError = "stop",
) -> FrameSource:
    """The stream of frames of a video file, a folder of pictures, or one picture.

    Args:
        path: a local file or folder.
        frame_rate: frames in a second of a picture folder; None means 24. A video brings its own.
        limits: what is too large; None for the defaults.
        deinterlace: make one picture of the two fields of each picture of a video; a folder's pictures have no fields,
            of which a warning tells.
        on_error: what damage in the middle of a video and pictures that cannot be read do: "stop" with an error, or
            "skip-damaged" frames with a warning.

    Raises:
        InputError: nothing there, or nothing that can be read as pictures, or more than the limits allow.
        InterlacedError: the film is interlaced and is not to be deinterlaced.
        UsageError: a frame rate for a video, or an unknown `on_error`.
    """
    path = Path(path)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} does not exist", remedy="check the path") from None
    except OSError as error:  # the name is too long, a link leads in a circle, nobody may look into the folder
        raise InputError(f"{path} cannot be read", got=error.strerror, remedy="check the path") from error
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return FolderReader(path, frame_rate=frame_rate, limits=limits, deinterlace=deinterlace, on_error=on_error)
    if frame_rate is not None:
        raise UsageError(
            f"{path.name} is a video and has its own frame rate",
            got=f"a frame rate of {frame_rate}",
            remedy="leave the frame rate out; it is for picture folders",
        )
    return VideoReader(path, limits=limits, deinterlace=deinterlace, on_error=on_error)


class VideoReader:
    """The frames of a video file in the order in which they are shown; uint16 for sources of more than 8 bits.

    Each iteration opens the file anew and starts at the first frame; `read_from` starts in the middle.

    Args:
        path: a local file.
        limits: what is too large; None for the defaults.
        deinterlace: make one picture of the two fields of each picture.
        on_error: "stop" at damage, or leave "skip-damaged" frames out; the rest keep their times.

    Raises:
        InputError: not a video, without a picture, truncated or damaged, or more than the limits allow. While
            iterating: the damage, with its time.
        InterlacedError: the film is interlaced and is not to be deinterlaced.
        UsageError: `on_error` is unknown.

    Example:
        >>> with VideoReader(Path("clip.mp4")) as reader:          # doctest: +SKIP
        ...     times = [frame.pts_seconds for frame in reader]
    """

    def __init__(
        self,
        path: Path | str,
        *,
        limits: InputLimits | None = None,
        deinterlace: bool = False,
        on_error: OnError = "stop",
    ) -> None:
        check_on_error(on_error)
        self._path, self._limits = Path(path), limits or InputLimits()
        self._deinterlace, self._on_error = deinterlace, on_error
        self._tear_notes: tuple[str, ...] = ()
        self._decoder: PictureDecoder | None = None
        self._clock: Clock | None = None
        self._fielded = 0
        with open_container(self._path) as container:
            stream = video_stream(container, self._path)
            context = stream.codec_context
            self._limits.check_pixels(self._path, width=context.width, height=context.height)
            tear = describe_tear(self._path, container, stream)
            if tear is not None and on_error == "stop":
                raise tear
            self._tear_notes = () if tear is None else (f"{tear.what}; what follows is lost",)
        with open_container(self._path) as container:
            stream = video_stream(container, self._path)
            self.info = self._probed(container, stream)

    def _probed(self, container: InputContainer, stream: VideoStream) -> SourceInfo:
        info = probe(self._path, container, stream, self._new_decoder(container, stream))
        self._limits.check_frames(self._path, info.frame_count or 0)
        self._limits.check_seconds(self._path, info.duration_seconds or Fraction(0))
        if not info.interlaced:
            return info
        if not self._deinterlace:
            raise InterlacedError(
                f"{self._path} is interlaced: each picture holds two moments",
                expected="whole pictures",
                remedy="let the two be made one (--deinterlace)",
            )
        return replace(info, interlaced=False)

    def _new_decoder(
        self, container: InputContainer, stream: VideoStream, entry: EntryPoint | None = None, *, seeks: bool = True
    ) -> PictureDecoder:
        return PictureDecoder(
            self._path,
            container,
            stream,
            on_error=self._on_error,
            max_pixels=self._limits.pixels,
            entry=entry,
            seeks=seeks,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What had to be guessed or left out in the last iteration, one sentence each."""
        notes = [*self._tear_notes]
        if self._decoder is not None and self._decoder.skipped:
            notes.append(f"{self._decoder.skipped} pictures before the first key frame cannot be shown by any player")
        notes += self._decoder.losses if self._decoder is not None else ()
        if self._fielded and not self._deinterlace:
            notes.append(f"{self._fielded} pictures are marked as interlaced and are treated as whole")
        notes += self._clock.warnings if self._clock is not None else ()
        return tuple(notes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __iter__(self) -> Iterator[Frame]:
        return (placed.frame for placed in self._read(lambda index, seconds: True))

    def read_from(self, reached: Reached) -> Iterator[PlacedFrame]:
        """The frames from the first that is not before a place on, the same as in the whole film.

        Decoding begins at the key frame before the place, or at the film's start where the packets do not tell it, or
        where damage is skipped: then the number of a frame is known only when all before it are decoded.

        Args:
            reached: tells the place; once True, it is True for every later frame.

        Raises:
            InputError: as in iterating; of the film before the place only what is decoded can be found damaged.
        """
        context = 1 if self._deinterlace else 0  # the filter looks at the picture before
        entries = find_entries(self._path, reached, context=context) if self._on_error == "stop" else ()
        given = -1
        for entry, seeks in product(entries, (True, False)):
            try:
                for placed in self._read(reached, entry, seeks=seeks):
                    if placed.index > given:
                        given = placed.index
                        yield placed
                return
            except MissedEntryError:
                continue
            except InputError:
                if self._decoder is None or not self._decoder.is_damaged:
                    raise
        yield from (placed for placed in self._read(reached) if placed.index > given)

    def _read(self, reached: Reached, entry: EntryPoint | None = None, *, seeks: bool = True) -> Iterator[PlacedFrame]:
        with open_container(self._path) as container:
            stream = video_stream(container, self._path)
            clock = self._clock = Clock.of_stream(stream, self.info.frame_rate)
            decoder = self._decoder = self._new_decoder(container, stream, entry, seeks=seeks)
            self._fielded = 0
            reformatter = VideoReformatter()
            before = 0 if entry is None else entry.passed
            film_start = None if entry is None else entry.film_start
            pictures = self._checked(decoder, before)
            for index, picture in enumerate(deinterlaced(pictures, stream) if self._deinterlace else pictures, before):
                pts, duration = clock.place(picture.pts, picture.dts, picture.duration)
                film_start = pts if film_start is None else film_start
                seconds = (pts - film_start) * self.info.time_base
                self._limits.check_frames(self._path, index + 1)
                self._limits.check_seconds(self._path, seconds + duration * self.info.time_base)
                if reached(index, seconds):
                    yield PlacedFrame(
                        index=index, seconds=seconds, frame=self._frame(picture, pts, duration, reformatter)
                    )

    def _frame(self, picture: av.VideoFrame, pts: int, duration: int, reformatter: VideoReformatter) -> Frame:
        pixels = video_frame_to_pixels(picture, self.info.color, reformatter)
        alpha = alpha_of_video_frame(picture) if self.info.has_alpha else None
        return Frame(pixels=pixels, alpha=alpha, pts=pts, time_base=self.info.time_base, duration=duration)

    def _checked(self, pictures: Iterable[av.VideoFrame], first_index: int) -> Iterator[av.VideoFrame]:
        for index, picture in enumerate(pictures, first_index):
            if (picture.width, picture.height) != (self.info.width, self.info.height):
                raise InputError(
                    f"{self._path} changes its picture size at frame {index}",
                    got=f"{picture.width}x{picture.height}",
                    expected=f"{self.info.width}x{self.info.height} throughout",
                    remedy="cut the video where the size changes",
                )
            self._fielded += picture.interlaced_frame
            yield picture
