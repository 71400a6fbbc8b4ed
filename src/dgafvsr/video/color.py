"""The only place where ranges, layouts and colour spaces change.

Ranges: stored pixels are uint8 [0, 255] or uint16 [0, 65535]; the program works in float [0, 1]; networks see [-1, 1].
Layouts: NumPy video is T H W C, torch video is T C H W.
Colour: video files store Y'CbCr. Its matrix and range are read from the tags; where a file has none, players and we
assume BT.601 below 720 lines and 1280 columns and BT.709 from there on, and limited range. Primaries and transfer are
never converted, they are passed on as tags.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import av
import numpy as np
import torch
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from dgafvsr.errors import InputError

__all__ = [
    "ColorTags",
    "from_signed",
    "pixels_to_video_frame",
    "to_array",
    "to_float",
    "to_signed",
    "to_tensor",
    "to_uint8",
    "video_frame_to_pixels",
]

# Codes of ISO/IEC 23091-2 (H.273), which FFmpeg shares.
BT709, UNSPECIFIED, SMPTE170M, SRGB_TRANSFER = 1, 2, 6, 13
GBR_MATRIX = 0
# H.273 matrix -> swscale's coefficient table. Others (YCgCo, ICtCp ...) have none.
SWSCALE_TABLE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
# Chroma at full precision: bicubic, interpolated at every pixel, rounded and not truncated.
SCALING = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)


@dataclass(frozen=True, kw_only=True)
class ColorTags:
    """Colour tags as codes of ISO/IEC 23091-2; 2 means unspecified."""

    matrix: int = UNSPECIFIED
    """How Y'CbCr is made of R'G'B'; 0 for RGB, 1 BT.709, 5 and 6 BT.601, 9 BT.2020."""
    primaries: int = UNSPECIFIED
    """What red, green and blue are."""
    transfer: int = UNSPECIFIED
    """How light becomes numbers."""
    full_range: bool | None = None
    """True: black to white is 0 to 255; False: 16 to 235; None: unspecified."""

    def resolved(self, *, width: int, height: int) -> ColorTags:
        """The same tags with a matrix and a range in every case.

        An unspecified matrix, or the one of RGB, becomes BT.709 for pictures of at least 1280 columns or 720 rows and
        BT.601 for smaller ones; an unspecified range becomes limited. Primaries and transfer stay as they are.

        Args:
            width: columns of pixels of the coded picture.
            height: rows of pixels of the coded picture.

        Raises:
            InputError: the matrix is one that cannot be converted.
        """
        matrix = self.matrix
        if matrix in (UNSPECIFIED, GBR_MATRIX):
            matrix = BT709 if width >= 1280 or height >= 720 else SMPTE170M
        if matrix not in SWSCALE_TABLE:
            raise InputError(
                "The video's colour matrix is not supported",
                got=f"code {matrix} of ISO/IEC 23091-2",
                expected=f"one of {sorted(SWSCALE_TABLE)}",
                remedy="convert the video to BT.709 first",
            )
        return replace(self, matrix=matrix, full_range=bool(self.full_range))


def to_float(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Float32 in [0, 1] of stored pixels.

    Args:
        pixels: any shape, uint8 in [0, 255] or uint16 in [0, 65535].
    """
    assert pixels.dtype in (np.uint8, np.uint16)
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def to_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Uint8 in [0, 255], rounded to the nearest and clamped.

    Args:
        values: any shape, float in [0, 1]; NaN is the caller's to refuse.
    """
    scaled = np.multiply(values, 255.0, dtype=np.float32)
    return np.clip(np.rint(scaled, out=scaled), 0, 255, out=scaled).astype(np.uint8)


def to_signed(values: torch.Tensor) -> torch.Tensor:
    """The range of the networks, [-1, 1], of any tensor in [0, 1]."""
    return values * 2 - 1


def from_signed(values: torch.Tensor) -> torch.Tensor:
    """The range [0, 1], clamped, of any tensor in [-1, 1]."""
    return (values / 2 + 0.5).clamp(0, 1)


def to_tensor(values: NDArray[Any]) -> torch.Tensor:
    """T C H W float32 in [0, 1].

    Args:
        values: T H W C, uint8, uint16, or float in [0, 1].
    """
    floats = to_float(values) if values.dtype.kind == "u" else values.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(floats.transpose(0, 3, 1, 2)))


def to_array(values: torch.Tensor) -> NDArray[np.float32]:
    """T H W C float32 in [0, 1].

    Args:
        values: T C H W float in [0, 1], on any device.
    """
    return np.ascontiguousarray(values.detach().to("cpu", torch.float32).permute(0, 2, 3, 1).numpy())


def video_frame_to_pixels(
    picture: av.VideoFrame, tags: ColorTags, reformatter: VideoReformatter | None = None
) -> NDArray[np.uint8]:
    """H W 3, RGB, uint8 in [0, 255] of a decoded picture.

    Args:
        picture: any pixel format that swscale reads.
        tags: of the source; what is unspecified is assumed from the picture's size.
        reformatter: kept between pictures of a stream, it saves the set-up.
    """
    known = tags.resolved(width=picture.width, height=picture.height)
    # The formats yuvj* are full range by name, and their untagged files too.
    full = known.full_range or picture.format.name.startswith("yuvj")
    converted = (reformatter or VideoReformatter()).reformat(
        picture,
        format="rgb24",
        interpolation=SCALING,
        threads=1,
        **_source_arguments(picture, SWSCALE_TABLE[known.matrix], full),
    )
    return np.asarray(converted.to_ndarray(), dtype=np.uint8)


def _source_arguments(picture: av.VideoFrame, table: int, full: bool) -> dict[str, Any]:
    if picture.format.is_rgb:
        return {}
    source = ColorRange.JPEG if full else ColorRange.MPEG
    return {"src_colorspace": table, "src_color_range": source, "dst_color_range": ColorRange.JPEG}


def pixels_to_video_frame(
    pixels: NDArray[np.uint8], tags: ColorTags, pixel_format: str, reformatter: VideoReformatter | None = None
) -> av.VideoFrame:
    """A picture for the encoder, tagged.

    Args:
        pixels: H W 3, RGB, uint8 in [0, 255].
        tags: with matrix and range, as `ColorTags.resolved` gives them.
        pixel_format: FFmpeg's name of a Y'CbCr layout.
        reformatter: kept between pictures of a stream, it saves the set-up.
    """
    assert tags.full_range is not None
    coded = (reformatter or VideoReformatter()).reformat(
        av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"),
        format=pixel_format,
        dst_colorspace=SWSCALE_TABLE[tags.matrix],
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.JPEG if tags.full_range else ColorRange.MPEG,
        interpolation=SCALING,
        threads=1,
    )
    coded.colorspace = tags.matrix
    coded.color_primaries = tags.primaries
    coded.color_trc = tags.transfer
    return coded
