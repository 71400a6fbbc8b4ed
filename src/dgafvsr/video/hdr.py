"""What an HDR film says about the screen it was made on and its brightest pictures (SMPTE ST 2086, CTA-861.3).

The numbers lie in the coded pictures as side data. PyAV reads them as bytes of FFmpeg's structures and cannot attach
them to pictures it encodes, but x264, x265 and SVT-AV1 take them as options and write them into every key picture.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

import av
from av.sidedata.sidedata import Type

from dgafvsr.video.marks import side_data_of

__all__ = ["HDRMetadata", "read_hdr", "unsupported_side_data"]

# AVMasteringDisplayMetadata: 3 primaries of 2, white point of 2, least and greatest luminance, two flags; 10 rationals.
MASTERING, RATIONALS = struct.Struct("=20i2i"), 10
LIGHT = struct.Struct("=2I")
DYNAMIC = {
    Type.DYNAMIC_HDR_PLUS: "HDR10+",
    Type.DOVI_METADATA: "Dolby Vision",
    Type.DOVI_RPU_BUFFER: "Dolby Vision",
    Type.DYNAMIC_HDR_VIVID: "HDR Vivid",
}


@dataclass(frozen=True, kw_only=True)
class HDRMetadata:
    """Static HDR metadata."""

    primaries: tuple[Fraction, ...] | None = None
    """x and y of red, green, blue and white: 8 numbers in [0, 1]; None where unknown."""
    luminance: tuple[Fraction, Fraction] | None = None
    """Least and greatest of the mastering display, in cd/m2; None where unknown."""
    light: tuple[int, int] | None = None
    """Greatest light level of a pixel (MaxCLL) and of a picture on average (MaxFALL), in cd/m2; None where unknown."""

    @property
    def display_option(self) -> str | None:
        """G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min) in units of 0.00002 and 0.0001 cd/m2, as x264 and x265 write it."""
        if self.primaries is None or self.luminance is None:
            return None
        red, green, blue, white = (
            f"({round(50000 * self.primaries[k])},{round(50000 * self.primaries[k + 1])})" for k in (0, 2, 4, 6)
        )
        least, greatest = (round(10000 * value) for value in self.luminance)
        return f"G{green}B{blue}R{red}WP{white}L({greatest},{least})"

    @property
    def svt_display_option(self) -> str | None:
        """The same in plain numbers, as SVT-AV1 reads it."""
        if self.primaries is None or self.luminance is None:
            return None
        red, green, blue, white = (
            f"({float(self.primaries[k]):.5f},{float(self.primaries[k + 1]):.5f})" for k in (0, 2, 4, 6)
        )
        return f"G{green}B{blue}R{red}WP{white}L({float(self.luminance[1]):.4f},{float(self.luminance[0]):.4f})"


def read_hdr(picture: av.VideoFrame) -> HDRMetadata | None:
    """The metadata that a decoded picture carries, None without any."""
    primaries, luminance, light = None, None, None
    display = side_data_of(picture, Type.MASTERING_DISPLAY_METADATA)
    if len(display) >= MASTERING.size:
        values = MASTERING.unpack_from(display)
        numbers = [Fraction(values[2 * k], values[2 * k + 1] or 1) for k in range(RATIONALS)]
        primaries = tuple(numbers[:8]) if values[20] else None
        luminance = (numbers[8], numbers[9]) if values[21] else None
    level = side_data_of(picture, Type.CONTENT_LIGHT_LEVEL)
    if len(level) >= LIGHT.size:
        light = LIGHT.unpack_from(level)
    if primaries is None and luminance is None and light is None:
        return None
    return HDRMetadata(primaries=primaries, luminance=luminance, light=light)


def unsupported_side_data(picture: av.VideoFrame) -> tuple[str, ...]:
    """Names of the dynamic HDR metadata that a picture carries; they describe its own pixels and cannot be kept."""
    return tuple(sorted({name for kind, name in DYNAMIC.items() if side_data_of(picture, kind)}))
