"""The only place where ranges, layouts and colour spaces change.

Ranges: stored pixels are uint8 [0, 255] or uint16 [0, 65535]; the program works in float [0, 1]; networks see [-1, 1].
Layouts: NumPy video is T H W C, torch video is T C H W.
Depth: 8-bit layouts are converted by swscale. Deeper ones are not: its 16-bit RGB is off by up to 0.4 % (white becomes
65283 of 65535) and merges levels. swscale only brings their chroma to full size; the matrix is ours, in one step from
the stored codes to uint16 and back, so that every level of 10, 12 or 16 bits survives.
Colour: video files store Y'CbCr. Its matrix and range are read from the tags; where a file has none, players and we
assume BT.601 below 720 lines and 1280 columns and BT.709 from there on, and limited range. Primaries and transfer are
never converted, they are passed on as tags.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import av
import cv2
import numpy as np
import torch
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from dgafvsr.errors import InputError

__all__ = [
    "ColorTags",
    "alpha_of_video_frame",
    "at_depth",
    "from_signed",
    "pixels_to_video_frame",
    "quantize",
    "sample_bits",
    "to_array",
    "to_signed",
    "to_tensor",
    "to_uint8",
    "to_unit",
    "video_frame_to_pixels",
]

# Codes of ISO/IEC 23091-2 (H.273), which FFmpeg shares.
BT709, UNSPECIFIED, SMPTE170M, SRGB_TRANSFER = 1, 2, 6, 13
GBR_MATRIX = 0
# H.273 matrix -> swscale's coefficient table. Others (YCgCo, ICtCp ...) have none.
SWSCALE_TABLE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
# H.273 matrix -> weights of red and blue in Y'.
LUMA_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
LUMA_WEIGHTS[6] = LUMA_WEIGHTS[5]
WHITE_16 = 65535
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


def to_unit(pixels: NDArray[Any]) -> NDArray[np.float32]:
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


def quantize(values: NDArray[Any], bit_depth: int) -> NDArray[Any]:
    """Pixels as frames hold them: uint8 in [0, 255] up to 8 bits, else uint16 in [0, 65535]; rounded and clamped.

    The encoder rounds once more, to its own depth; 16 bits are fine enough for that to be the only rounding that shows.

    Args:
        values: any shape, float in [0, 1]; NaN is the caller's to refuse.
        bit_depth: bits a sample of the stream, such as `SourceInfo.bit_depth`.
    """
    if bit_depth <= 8:
        return to_uint8(values)
    scaled = np.multiply(values, float(WHITE_16), dtype=np.float32)
    return np.clip(np.rint(scaled, out=scaled), 0, WHITE_16, out=scaled).astype(np.uint16)


def at_depth(pixels: NDArray[Any], bit_depth: int) -> NDArray[Any]:
    """The same pixels as uint8 (up to 8 bits) or uint16, rounded to the nearest.

    Args:
        pixels: any shape, uint8 in [0, 255] or uint16 in [0, 65535].
        bit_depth: bits a sample of what they are for.
    """
    if (bit_depth > 8) == (pixels.dtype == np.uint16):
        return pixels
    return pixels.astype(np.uint16) * 257 if bit_depth > 8 else _narrowed(pixels, 8).astype(np.uint8)


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
    floats = to_unit(values) if values.dtype.kind == "u" else values.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(floats.transpose(0, 3, 1, 2)))


def to_array(values: torch.Tensor) -> NDArray[np.float32]:
    """T H W C float32 in [0, 1].

    Args:
        values: T C H W float in [0, 1], on any device.
    """
    return np.ascontiguousarray(values.detach().to("cpu", torch.float32).permute(0, 2, 3, 1).numpy())


def sample_bits(layout: av.VideoFormat) -> int:
    """Bits in a sample of a pixel format: 8, 10, 12, 16 and what lies between."""
    return max(component.bits for component in layout.components)


def video_frame_to_pixels(
    picture: av.VideoFrame, tags: ColorTags, reformatter: VideoReformatter | None = None
) -> NDArray[Any]:
    """H W 3, RGB, of a decoded picture: uint8 in [0, 255], or uint16 in [0, 65535] for layouts of more than 8 bits.

    Args:
        picture: any pixel format that swscale reads.
        tags: of the source; what is unspecified is assumed from the picture's size.
        reformatter: kept between pictures of a stream, it saves the set-up.
    """
    known = tags.resolved(width=picture.width, height=picture.height)
    # The formats yuvj* are full range by name, and their untagged files too.
    full = bool(known.full_range) or picture.format.name.startswith("yuvj")
    reformatter = reformatter or VideoReformatter()
    if sample_bits(picture.format) > 8:
        return _deep_pixels(picture, known.matrix, full, reformatter)
    arguments: dict[str, Any] = {}
    if not picture.format.is_rgb:
        source = ColorRange.JPEG if full else ColorRange.MPEG
        arguments = {
            "src_colorspace": SWSCALE_TABLE[known.matrix],
            "src_color_range": source,
            "dst_color_range": ColorRange.JPEG,
        }
    converted = reformatter.reformat(picture, format="rgb24", interpolation=SCALING, threads=1, **arguments)
    return np.asarray(converted.to_ndarray(), dtype=np.uint8)


def alpha_of_video_frame(picture: av.VideoFrame) -> NDArray[Any] | None:
    """H W alpha of a decoded picture, of the type of its pixels; None for opaque layouts.

    Args:
        picture: any pixel format that swscale reads.
    """
    components = picture.format.components
    index = next((index for index, component in enumerate(components) if component.is_alpha), None)
    if index is None:
        return None
    bits = sample_bits(picture.format)
    if components[index].plane >= 3:  # planar Y'CbCr and RGB: a plane of its own, at full size
        plane = _plane(picture, components[index].plane, np.uint16 if bits > 8 else np.uint8)
        return plane.copy() if bits == 8 else _stretched(plane, bits)
    layout = "rgba64le" if bits > 8 else "rgba"
    packed = VideoReformatter().reformat(picture, format=layout, interpolation=SCALING, threads=1).to_ndarray()
    return np.ascontiguousarray(packed[..., 3])


def pixels_to_video_frame(
    pixels: NDArray[Any],
    tags: ColorTags,
    pixel_format: str,
    reformatter: VideoReformatter | None = None,
    *,
    alpha: NDArray[Any] | None = None,
) -> av.VideoFrame:
    """A picture for the encoder, tagged.

    Args:
        pixels: H W 3, RGB, uint8 in [0, 255] or uint16 in [0, 65535].
        tags: with matrix and range, as `ColorTags.resolved` gives them.
        pixel_format: FFmpeg's name of a planar Y'CbCr layout, or bgr0, bgra, gbrp16le, gbrap16le.
        reformatter: kept between pictures of a stream, it saves the set-up.
        alpha: H W of the type of `pixels`; None is opaque. Dropped where the layout has no alpha.
    """
    assert tags.full_range is not None
    layout = av.VideoFormat(pixel_format)
    bits = sample_bits(layout)
    if not layout.is_rgb:
        coded = _coded(pixels, alpha, tags, layout, reformatter or VideoReformatter())
    else:
        coded = _rgb_frame(pixels, alpha, pixel_format, bits)
    coded.colorspace = GBR_MATRIX if layout.is_rgb else tags.matrix
    coded.color_primaries = tags.primaries
    coded.color_trc = tags.transfer
    return coded


def _deep_pixels(picture: av.VideoFrame, matrix: int, full: bool, reformatter: VideoReformatter) -> NDArray[np.uint16]:
    layout, bits = picture.format, sample_bits(picture.format)
    if layout.name.startswith(("gbrp", "gbrap")) and bits <= 16:
        codes = np.asarray(picture.to_ndarray())[..., :3]
        return _stretched(codes, bits)
    if layout.name.startswith(("gray", "ya")) and bits <= 16:
        # Grey is full range to swscale, whatever the tags say; as Y'CbCr of one plane it would be taken as limited.
        grey = reformatter.reformat(picture, format=f"gray{bits}le", threads=1).to_ndarray()
        return np.repeat(_stretched(np.asarray(grey), bits)[..., None], 3, axis=2)
    if layout.is_rgb:
        packed = reformatter.reformat(picture, format="rgb48le", interpolation=SCALING, threads=1)
        return np.asarray(packed.to_ndarray(), dtype=np.uint16)
    same = {"src_color_range": ColorRange.MPEG, "dst_color_range": ColorRange.MPEG}  # codes shifted, not rescaled
    whole = reformatter.reformat(picture, format="yuv444p16le", interpolation=SCALING, threads=1, **same)
    codes = np.stack([_plane(whole, index, np.uint16) for index in range(3)], axis=-1)
    return np.asarray(cv2.transform(codes, _to_rgb(matrix, full, bits)), dtype=np.uint16)


def _coded(
    pixels: NDArray[Any],
    alpha: NDArray[Any] | None,
    tags: ColorTags,
    layout: av.VideoFormat,
    reformatter: VideoReformatter,
) -> av.VideoFrame:
    """Y'CbCr with the chroma that `layout` asks for."""
    bits, full = sample_bits(layout), bool(tags.full_range)
    with_alpha = layout.components[-1].is_alpha
    if bits == 8 and pixels.dtype == np.uint8:
        coded = reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"),
            format=layout.name,
            dst_colorspace=SWSCALE_TABLE[tags.matrix],
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            interpolation=SCALING,
            threads=1,
        )
        if with_alpha:
            _plane(coded, 3, np.uint8)[:] = _opaque(pixels, alpha)
        return coded
    deep = pixels.astype(np.uint16) * 257 if pixels.dtype == np.uint8 else pixels
    codes = np.minimum(cv2.transform(deep, _from_rgb(tags.matrix, full, bits)), (1 << bits) - 1)
    planes = [codes[..., index] for index in range(3)]
    if with_alpha:
        planes.append(_narrowed(_opaque(pixels, alpha), bits))
    depth = f"{bits}le" if bits > 8 else ""
    whole = av.VideoFrame(pixels.shape[1], pixels.shape[0], f"yuv{'a' * with_alpha}444p{depth}")
    for index, plane in enumerate(planes):
        _plane(whole, index, np.uint16 if bits > 8 else np.uint8)[:] = plane
    same = {"src_color_range": ColorRange.MPEG, "dst_color_range": ColorRange.MPEG}  # only the chroma's size changes
    coded = reformatter.reformat(whole, format=layout.name, interpolation=SCALING, threads=1, **same)
    coded.color_range = ColorRange.JPEG if full else ColorRange.MPEG
    return coded


def _rgb_frame(pixels: NDArray[Any], alpha: NDArray[Any] | None, pixel_format: str, bits: int) -> av.VideoFrame:
    """RGB as it is: bgr0 and bgra of 8 bits, gbrp16le and gbrap16le of 16."""
    with_alpha = pixel_format in ("bgra", "gbrap16le")
    if bits == 8:
        narrow = _narrowed(pixels, 8).astype(np.uint8)
        last = _narrowed(_opaque(pixels, alpha), 8) if with_alpha else np.zeros(pixels.shape[:2])
        packed = np.dstack([narrow[..., ::-1], last.astype(np.uint8)])
        return av.VideoFrame.from_ndarray(packed, format="bgra").reformat(format=pixel_format)
    deep = pixels.astype(np.uint16) * 257 if pixels.dtype == np.uint8 else pixels
    if with_alpha:
        deep = np.dstack([deep, _opaque(deep, alpha if alpha is None else _stretched(alpha, 8 * alpha.itemsize))])
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(deep), format=pixel_format)


def _opaque(pixels: NDArray[Any], alpha: NDArray[Any] | None) -> NDArray[Any]:
    return np.full(pixels.shape[:2], np.iinfo(pixels.dtype).max, pixels.dtype) if alpha is None else alpha


def _plane(picture: av.VideoFrame, index: int, kind: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """A writable view of a plane's samples."""
    plane = picture.planes[index]
    rows = np.frombuffer(plane, kind).reshape(plane.height, -1)  # type: ignore[call-overload]
    return np.asarray(rows[:, : plane.width])


def _stretched(codes: NDArray[Any], bits: int) -> NDArray[np.uint16]:
    """Full-range codes of some depth as uint16 in [0, 65535]."""
    white = (1 << bits) - 1
    return ((codes.astype(np.uint32) * WHITE_16 + white // 2) // white).astype(np.uint16)


def _narrowed(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Full-range uint8 or uint16 as codes of some depth, rounded."""
    largest, white = int(np.iinfo(values.dtype).max), (1 << bits) - 1
    return (values.astype(np.uint64) * white + largest // 2) // largest


def _scales(full: bool, bits: int) -> tuple[float, float, float, float]:
    """Black, mid chroma, and the spans of luma and chroma, in codes of `bits`."""
    unit, white = 1 << (bits - 8), (1 << bits) - 1
    return (0, 128 * unit, white, white) if full else (16 * unit, 128 * unit, 219 * unit, 224 * unit)


def _to_rgb(matrix: int, full: bool, bits: int) -> NDArray[np.float64]:
    """3 4: (Y', Cb, Cr, 1), codes of `bits` shifted up to 16, to R'G'B' in [0, 65535]. Equations of ITU-R BT.709, 3."""
    red, blue = LUMA_WEIGHTS[matrix]
    green = 1 - red - blue
    black, middle, luma, chroma = (value * (1 << (16 - bits)) for value in _scales(full, bits))
    weights = np.array(
        [
            [1, 0, 2 * (1 - red)],
            [1, -2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
            [1, 2 * (1 - blue), 0],
        ]
    ) * (WHITE_16 / np.array([luma, chroma, chroma]))
    return np.column_stack([weights, -weights @ np.array([black, middle, middle])])


def _from_rgb(matrix: int, full: bool, bits: int) -> NDArray[np.float64]:
    """3 4: R'G'B' in [0, 65535] and 1 to (Y', Cb, Cr), codes of `bits`."""
    red, blue = LUMA_WEIGHTS[matrix]
    luma_row = np.array([red, 1 - red - blue, blue])
    black, middle, luma, chroma = _scales(full, bits)
    rows = np.stack(
        [
            luma * luma_row,
            chroma * (np.array([0, 0, 1]) - luma_row) / (2 * (1 - blue)),
            chroma * (np.array([1, 0, 0]) - luma_row) / (2 * (1 - red)),
        ]
    )
    return np.column_stack([rows / WHITE_16, [black, middle, middle]])
