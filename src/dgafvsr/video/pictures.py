"""One picture file: what its header says, its pixels, and how it is written. Lossless, up to 16 bits, with alpha.

Pillow reads and writes 8 bits and knows orientation tags; it narrows 16-bit colour to 8, so those files go through
OpenCV.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dgafvsr.errors import InputError
from dgafvsr.video.codecs import PictureFormat
from dgafvsr.video.limits import InputLimits

__all__ = ["Picture", "PictureFacts", "UnreadablePictureError", "read_facts", "read_picture", "write_picture"]

# Formats whose EXIF orientation viewers obey and whose header can be read without decoding.
ORIENTED_FORMATS = frozenset(["JPEG", "MPO", "TIFF", "WEBP"])
ORIENTATION_TAG, TURNED_ORIENTATIONS = 0x0112, frozenset([5, 6, 7, 8])
BITS_PER_SAMPLE_TAG = 258
# Zlib's level: 3 writes about three times faster than Pillow's default 6 and costs a few percent of size.
PNG_LEVEL = 3
DEFLATE = 8  # TIFF's Adobe deflate; lossless
# What Pillow raises for damaged files of its many formats.
PICTURE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, cv2.error, Image.DecompressionBombError)
LIFTING = Lock()


class UnreadablePictureError(InputError):
    """A file that is no picture, or a damaged one."""


@dataclass(frozen=True, kw_only=True)
class PictureFacts:
    """What a picture file's header says."""

    width: int
    """Columns, as the picture is to be seen."""
    height: int
    """Rows, as the picture is to be seen."""
    bit_depth: int
    """8 or 16."""
    has_alpha: bool
    """Whether it may be transparent somewhere."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A decoded picture."""

    pixels: NDArray[Any]
    """H W 3, RGB, uint8 or uint16."""
    alpha: NDArray[Any] | None
    """H W of the same type, None where it is opaque."""


def read_facts(file: Path, limits: InputLimits | None = None) -> PictureFacts:
    """What `read_picture` will give, without decoding.

    Args:
        file: a picture.
        limits: what is too large; None for the defaults.

    Raises:
        InputError: it is larger than the limits allow.
        UnreadablePictureError: it is no picture.
    """
    try:
        with _opened(file, limits) as image:
            turned = image.format in ORIENTED_FORMATS and image.getexif().get(ORIENTATION_TAG) in TURNED_ORIENTATIONS
            width, height = image.size[::-1] if turned else image.size
            return PictureFacts(width=width, height=height, bit_depth=_bit_depth(image), has_alpha=_has_alpha(image))
    except PICTURE_ERRORS as error:
        raise _unreadable(file, error) from error


def read_picture(file: Path, limits: InputLimits | None = None) -> Picture:
    """The picture, turned as its orientation tag says.

    Args:
        file: a picture.
        limits: what is too large, refused before it is decoded; None for the defaults.

    Raises:
        InputError: it is larger than the limits allow.
        UnreadablePictureError: it is no picture, or damaged.
    """
    try:
        with _opened(file, limits) as image:
            if _bit_depth(image) == 16:
                return _read_deep(file)
            oriented = ImageOps.exif_transpose(image) if image.format in ORIENTED_FORMATS else image
            if _has_alpha(image):
                whole = np.asarray(oriented.convert("RGBA"))
                return Picture(pixels=np.ascontiguousarray(whole[..., :3]), alpha=np.ascontiguousarray(whole[..., 3]))
            return Picture(pixels=np.asarray(oriented.convert("RGB")), alpha=None)
    except PICTURE_ERRORS as error:
        raise _unreadable(file, error) from error


def write_picture(file: Path, kind: PictureFormat, pixels: NDArray[Any], alpha: NDArray[Any] | None) -> None:
    """Write a picture without loss.

    Args:
        file: where.
        kind: of file.
        pixels: H W 3, RGB, uint8, or uint16 for png and tiff.
        alpha: H W of the same type, None for opaque.

    Raises:
        OSError: it cannot be written.
    """
    whole = pixels if alpha is None else np.dstack([pixels, alpha])
    if pixels.dtype == np.uint16:
        options = [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL] if kind == "png" else [cv2.IMWRITE_TIFF_COMPRESSION, DEFLATE]
        order = [2, 1, 0] if alpha is None else [2, 1, 0, 3]  # OpenCV counts blue first
        done, code = cv2.imencode(f".{kind}", np.ascontiguousarray(whole[..., order]), options)
        assert done
        file.write_bytes(code.tobytes())
        return
    image = Image.fromarray(whole)
    if kind == "png":
        image.save(file, format="PNG", compress_level=PNG_LEVEL)
    elif kind == "tiff":
        image.save(file, format="TIFF", compression="tiff_adobe_deflate")
    else:
        image.save(file, format="WEBP", lossless=True, exact=True)  # exact: colours under full transparency too


def _opened(file: Path, limits: InputLimits | None) -> Image.Image:
    """The picture with its header read: our limit, which the user can raise, holds in place of Pillow's own."""
    try:
        image = Image.open(file)
    except Image.DecompressionBombError:
        with LIFTING:  # Pillow has one limit for the whole process: it is off while a header is read, which is small
            pillows, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(file)
            finally:
                Image.MAX_IMAGE_PIXELS = pillows
    try:
        (limits or InputLimits()).check_pixels(file, width=image.width, height=image.height)
    except InputError:
        image.close()
        raise
    return image


def _bit_depth(image: Image.Image) -> int:
    if image.mode.startswith("I;16"):
        return 16
    if image.format == "PNG":
        tiles = getattr(image, "tile", None)  # (decoder, box, offset, layout such as "RGB;16B")
        return 16 if tiles and "16" in str(tiles[0][3]) else 8
    if image.format == "TIFF":
        bits = image.getexif().get(BITS_PER_SAMPLE_TAG, 8)
        return 16 if (max(bits) if isinstance(bits, tuple) else bits) == 16 else 8
    return 8


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _read_deep(file: Path) -> Picture:
    stored = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16:
        raise ValueError("the 16-bit picture is damaged or of an unknown kind")
    if stored.ndim == 2:
        return Picture(pixels=np.repeat(stored[..., None], 3, axis=2), alpha=None)
    pixels = np.ascontiguousarray(stored[..., 2::-1])
    return Picture(pixels=pixels, alpha=np.ascontiguousarray(stored[..., 3]) if stored.shape[2] == 4 else None)


def _unreadable(file: Path, error: Exception) -> UnreadablePictureError:
    return UnreadablePictureError(
        f"{file} cannot be read as a picture", got=str(error) or type(error).__name__, remedy="replace or remove it"
    )
