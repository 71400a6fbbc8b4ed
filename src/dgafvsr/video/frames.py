"""Pictures at the edge of the program: one decoded picture, what is known of its source, both ends of a stream.

A picture is H W 3, RGB, full range: uint8 in [0, 255], or uint16 in [0, 65535] for sources of more than 8 bits,
whatever their depth. Its transparency, where it has one, is a plane of its own and not multiplied into the colours.
Its time is exact: `pts` ticks of `time_base` seconds (a fraction, never a float). Ranges, matrices and layouts are
changed in `color.py` only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from dgafvsr.errors import InputError
from dgafvsr.video.color import ColorTags
from dgafvsr.video.hdr import HDRMetadata

__all__ = ["Alpha", "Frame", "FrameSink", "FrameSource", "Pixels", "PlacedFrame", "Reached", "SourceInfo"]

Pixels = NDArray[Any]
"""H W 3, RGB: uint8 in [0, 255] or uint16 in [0, 65535]."""
Alpha = NDArray[Any]
"""H W, 0 transparent to 255 or 65535 opaque, of the same type as the pixels it belongs to."""
Reached = Callable[[int, Fraction], bool]
"""Whether a frame, told by its index in the film and its seconds after the first one, is not before some place."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One decoded picture and the moment at which it is shown.

    Raises:
        InputError: the pixels are not H W 3 of uint8 or uint16, the alpha is not H W of the same type, or the timing is
            impossible.
    """

    pixels: Pixels
    """H W 3, RGB: uint8 in [0, 255] or uint16 in [0, 65535]."""
    pts: int
    """When it is shown, in ticks of `time_base`; may be negative."""
    time_base: Fraction
    """Seconds in a tick, above 0."""
    duration: int
    """How long it is shown, in ticks, at least 1."""
    alpha: Alpha | None = None
    """H W, of the type of `pixels`: 0 is transparent; None where the picture is opaque."""

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype not in (np.uint8, np.uint16):
            raise InputError(
                "A frame has the wrong layout", got=f"{shape} {dtype}", expected="height x width x 3, uint8 or uint16"
            )
        if self.alpha is not None and (self.alpha.shape != shape[:2] or self.alpha.dtype != dtype):
            raise InputError(
                "A frame's alpha does not fit its pixels",
                got=f"{self.alpha.shape} {self.alpha.dtype}",
                expected=f"{shape[:2]} {dtype}",
            )
        if self.time_base <= 0 or self.duration < 1:
            raise InputError(
                "A frame has impossible timing",
                got=f"time base {self.time_base} s, duration {self.duration} ticks",
                expected="a time base above 0 and at least 1 tick",
            )

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.pixels.shape[1])

    @property
    def pts_seconds(self) -> Fraction:
        """When it is shown, in seconds, exactly."""
        return self.pts * self.time_base

    def with_pixels(self, pixels: Pixels, alpha: Alpha | None = None) -> Frame:
        """Another picture at the same moment; size and depth may differ.

        Args:
            pixels: H W 3, RGB: uint8 in [0, 255] or uint16 in [0, 65535].
            alpha: H W of the same type; None for an opaque picture, whatever this one is.
        """
        return replace(self, pixels=pixels, alpha=alpha)


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedFrame:
    """A frame and its place in its film."""

    index: int
    """Frames of the film before it."""
    seconds: Fraction
    """Between the film's first frame and this one."""
    frame: Frame
    """The picture and its own time."""


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """What is known of a stream of pictures before they are read."""

    path: Path
    """The video file or picture folder."""
    width: int
    """Columns of pixels as stored, before rotation and sample aspect ratio."""
    height: int
    """Rows of pixels as stored."""
    frame_rate: Fraction
    """Average frames in a second."""
    time_base: Fraction
    """Seconds in a tick of the frames' pts."""
    frame_count: int | None = None
    """Exact number of frames, None where the container does not say."""
    duration_seconds: Fraction | None = None
    """Length that the container declares, None where it does not."""
    codec: str = "unknown"
    """FFmpeg's name of the decoder, or the image format."""
    pixel_format: str = "rgb24"
    """FFmpeg's name of the stored layout."""
    bit_depth: int = 8
    """Bits in a stored sample; above 8 the frames are uint16."""
    color: ColorTags = field(default_factory=ColorTags)
    """The source's own colour tags, unspecified where it has none."""
    sample_aspect_ratio: Fraction = Fraction(1)
    """Width of a pixel over its height."""
    rotation: int = 0
    """Degrees counter-clockwise by which players turn the picture."""
    mirroring: tuple[int, ...] | None = None
    """The display matrix (9 numbers, as containers store it) of a film that players mirror; None for any other."""
    interlaced: bool = False
    """Whether the pictures hold two fields."""
    has_alpha: bool = False
    """Whether the pictures hold transparency."""
    hdr: HDRMetadata | None = None
    """Static HDR metadata of the first picture, None without any."""
    dynamic_hdr: tuple[str, ...] = ()
    """Names of metadata that describe each picture's own light: HDR10+, Dolby Vision."""
    stereo: str | None = None
    """How a picture holds two views, by Matroska's name such as left_right; None for one view."""
    lost_marks: tuple[str, ...] = ()
    """One sentence for each mark of the first picture that no output keeps."""
    audio_codecs: tuple[str, ...] = ()
    """FFmpeg's name of each audio stream's codec."""
    other_streams: tuple[str, ...] = ()
    """A short name of each further stream: subtitles, data, attachments, more video."""

    @property
    def has_audio(self) -> bool:
        """Whether there is at least one audio stream."""
        return bool(self.audio_codecs)

    @property
    def expected_frames(self) -> int | None:
        """The exact frame count, else an estimate from the duration, else None. For progress, not for decisions."""
        if self.frame_count is not None or self.duration_seconds is None:
            return self.frame_count
        return max(1, round(self.duration_seconds * self.frame_rate))

    @property
    def losses(self) -> tuple[str, ...]:
        """One sentence for each property of the source that no frame carries."""
        notes = [f"the source's {name} metadata is dropped: it describes the old pixels" for name in self.dynamic_hdr]
        if self.bit_depth > 16:
            notes.append(f"the source has {self.bit_depth} bits a sample and is read as 16")
        return (*notes, *self.lost_marks)

    def resized(self, *, width: int, height: int) -> SourceInfo:
        """The same stream with pictures of another size.

        Args:
            width: columns of pixels.
            height: rows of pixels.
        """
        return replace(self, width=width, height=height)


class FrameSource(Protocol):
    """A stream of frames in the order in which they are shown; each iteration starts at the first frame."""

    @property
    def info(self) -> SourceInfo:
        """What is known before the frames are read."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What had to be guessed so far, one sentence each."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Frame]: ...

    def read_from(self, reached: Reached) -> Iterator[PlacedFrame]:
        """The frames from the first that is not before a place on; as little as can be is done with those before it.

        Args:
            reached: tells the place; once True, it is True for every later frame.
        """


class FrameSink(Protocol):
    """Where frames go. Leaving the context without an error publishes the result; with an error nothing remains."""

    @property
    def frames_written(self) -> int:
        """Frames taken so far."""

    @property
    def bit_depth(self) -> int:
        """Bits in a stored sample: the depth to quantize frames to; frames of any depth are taken."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the result cannot hold, one sentence each."""

    def write(self, frame: Frame) -> None:
        """Take the next frame in the order of showing."""

    def end_early(self) -> None:
        """Say that the source goes on after the last frame taken: nothing that lies after it is copied."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
