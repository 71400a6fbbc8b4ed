"""How large an input may be before it is refused.

Memory depends on the size of a picture and not on the length of a film, so the pixels are limited by default and the
length is not: a long film costs time, which its user sees passing, while a picture that a small file claims to be huge
(a decompression bomb) fills the memory at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from dgafvsr.errors import InputError, UsageError

__all__ = ["InputLimits"]

DEFAULT_PIXELS = 8192 * 8192


@dataclass(frozen=True, kw_only=True)
class InputLimits:
    """What is refused: before decoding where the container tells, while decoding where it does not.

    Raises:
        UsageError: a limit that nothing fulfils.
    """

    pixels: int = DEFAULT_PIXELS
    """Columns times rows of a picture, at least 1; 8192 x 8192 by default."""
    frames: int | None = None
    """Pictures of a film, at least 1; None for any number."""
    seconds: Fraction | None = None
    """Length of a film, above 0; None for any length."""

    def __post_init__(self) -> None:
        for name, least in (("pixels", 1), ("frames", 1), ("seconds", Fraction(1, 1_000_000))):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"The limit on {name} is impossible", got=value, expected="above 0")

    def check_pixels(self, path: Path, *, width: int, height: int) -> None:
        """Refuse pictures that are too large.

        Args:
            path: for the message.
            width: columns of pixels.
            height: rows of pixels.

        Raises:
            InputError: columns times rows exceed the limit.
        """
        if width * height > self.pixels:
            raise InputError(
                f"The pictures of {path} are larger than allowed",
                got=f"{width}x{height}, {width * height} pixels",
                expected=f"at most {self.pixels} pixels",
                remedy="raise --max-pixels if you trust the file",
            )

    def check_frames(self, path: Path, count: int) -> None:
        """Refuse a film of too many pictures.

        Args:
            path: for the message.
            count: pictures announced or seen.

        Raises:
            InputError: there are more than the limit.
        """
        if self.frames is not None and count > self.frames:
            raise InputError(
                f"{path} has more frames than allowed",
                got=f"at least {count}",
                expected=f"at most {self.frames}",
                remedy="raise --max-frames, or cut the video",
            )

    def check_seconds(self, path: Path, seconds: Fraction) -> None:
        """Refuse a film that is too long.

        Args:
            path: for the message.
            seconds: announced, or from the first picture to the end of this one.

        Raises:
            InputError: it is longer than the limit.
        """
        if self.seconds is not None and seconds > self.seconds:
            raise InputError(
                f"{path} is longer than allowed",
                got=f"at least {float(seconds):.2f} s",
                expected=f"at most {float(self.seconds):.2f} s",
                remedy="raise --max-seconds, or cut the video",
            )
