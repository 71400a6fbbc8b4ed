"""What the options of `dgafvsr upscale` and `dgafvsr batch` mean: from the words of a command line to settings."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, cast

from dgafvsr.errors import UsageError

if TYPE_CHECKING:
    from dgafvsr.jobs.parts import FilmPart
    from dgafvsr.jobs.sizes import OutputSize
    from dgafvsr.video.codecs import EncoderSettings
    from dgafvsr.video.limits import InputLimits

__all__ = ["encoder_of", "frame_rate_of", "limits_of", "lockstep_of", "part_of", "size_of", "tile_of", "window_of"]

# Bounded: a power of ten could fill the memory, and int refuses thousands of digits.
NUMBER = re.compile(r"[+-]?[0-9.]{1,32}(/[0-9]{1,32})?")
SIDES = re.compile(r"([0-9]{1,18})x([0-9]{1,18})")


def window_of(text: str) -> int | None:
    """The frames of `--window`, None for auto."""
    return None if text == "auto" else _whole("window", text)


def lockstep_of(text: str) -> int | None:
    """The windows of `--lockstep`, None for auto."""
    return None if text == "auto" else _whole("lockstep", text)


def tile_of(text: str) -> int | Literal["auto"] | None:
    """The side of `--tile`, None for off."""
    if text == "auto":
        return "auto"
    return None if text == "off" else _whole("tile", text)


def frame_rate_of(text: str | None) -> Fraction | None:
    """The rate of `--fps`."""
    return None if text is None else _number("frame rate", text, "such as 25, 23.976 or 30000/1001")


def size_of(scale: str | None, size: str | None, width: int | None, height: int | None) -> OutputSize:
    """The size that `--scale`, `--size`, `--width` and `--height` ask for."""
    from dgafvsr.jobs.sizes import OutputSize

    box = None
    if size is not None:
        sides = SIDES.fullmatch(size.lower())
        if sides is None:
            raise UsageError("The size is not understood", got=size, expected="WIDTHxHEIGHT, such as 1920x1080")
        box = (int(sides[1]), int(sides[2]))
    factor = None if scale is None else _number("scale", scale, "such as 2, 3 or 2.5")
    return OutputSize(scale=factor, box=box, width=width, height=height)


def part_of(preview: str | None, part: str | None) -> FilmPart | None:
    """The part that `--preview` or `--range` asks for, None for the whole film."""
    from dgafvsr.jobs.parts import FilmPart, parse_part, parse_place

    if preview is not None and part is not None:
        raise UsageError("The part is asked for twice", got="--preview and --range", remedy="leave one of them out")
    if preview is not None:
        return FilmPart(stop=parse_place(preview))
    return None if part is None else parse_part(part)


def limits_of(pixels: int | None, frames: int | None, seconds: float | None) -> InputLimits:
    """The limits of `--max-pixels`, `--max-frames` and `--max-seconds`."""
    from dgafvsr.video.limits import InputLimits

    if seconds is not None and not math.isfinite(seconds):
        raise UsageError(
            "The limit on seconds is not a number",
            got=seconds,
            expected="seconds, such as 90 or 0.5",
            remedy="leave --max-seconds out where there is to be no limit",
        )
    length = None if seconds is None else Fraction(seconds)
    return InputLimits(frames=frames, seconds=length, **({} if pixels is None else {"pixels": pixels}))


def encoder_of(
    *, codec: str | None, quality: int | None, pixel_format: str | None, options: Sequence[str], picture_format: str
) -> EncoderSettings:
    """The encoder that `--codec`, `--quality`, `--pixel-format`, `--encoder-option` and `--picture-format` ask for."""
    from dgafvsr.video.codecs import Codec, EncoderSettings, PictureFormat, PixelFormat

    return EncoderSettings(
        codec=cast(Codec | None, codec),
        quality=quality,
        pixel_format=cast(PixelFormat | None, pixel_format),
        options=_pairs(options),
        picture_format=cast(PictureFormat, picture_format),
    )


def _number(name: str, text: str, expected: str) -> Fraction:
    try:
        if NUMBER.fullmatch(text.strip()) is not None:
            return Fraction(text)
    except (ValueError, ZeroDivisionError):
        pass  # such as 1.2.3 or 25/0
    raise UsageError(f"The {name} is not a number", got=text, expected=expected)


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"The {name} is not understood", got=text, expected="a whole number or auto") from None


def _pairs(words: Sequence[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise UsageError(
                "The encoder option is not understood", got=f"{name}{equals}{value}", expected="NAME=VALUE"
            )
    return {name: value for name, _, value in pairs}
