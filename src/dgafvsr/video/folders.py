"""Picture folders as streams: numbered PNG, JPEG, WebP, BMP or TIFF files in, numbered PNG files out.

A folder has no times: frame k is shown at k / frame rate. Pictures are taken in natural order (2 before 10), by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dgafvsr.errors import InputError, OutputError, UsageError
from dgafvsr.video.atomic import PendingFolder, writing_error
from dgafvsr.video.color import BT709, SRGB_TRANSFER, ColorTags, to_float, to_uint8
from dgafvsr.video.frames import Frame, SourceInfo

__all__ = ["IMAGE_SUFFIXES", "FolderReader", "FolderWriter"]

IMAGE_SUFFIXES = frozenset([".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"])
DEFAULT_FRAME_RATE = Fraction(24)
# Formats whose EXIF orientation viewers obey and whose header can be read without decoding.
ORIENTED_FORMATS = frozenset(["JPEG", "MPO", "TIFF", "WEBP"])
ORIENTATION_TAG, TURNED_ORIENTATIONS = 0x0112, frozenset([5, 6, 7, 8])
# Zlib's level: 3 writes about three times faster than Pillow's default 6 and costs a few percent of size.
PNG_LEVEL = 3


def natural_order(path: Path) -> tuple[list[tuple[int, int | str]], str]:
    """A sorting key that puts frame2.png before frame10.png."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts], path.name


class FolderReader:
    """The frames of a folder of pictures, or of one picture file, 8-bit RGB.

    Args:
        path: a folder with pictures directly in it (folders inside it are not entered), or one picture.
        frame_rate: frames in a second, above 0.

    Raises:
        InputError: nothing there, no picture in it, a picture that cannot be read or that differs in size; it is named.
        UsageError: the frame rate is not above 0.
    """

    def __init__(self, path: Path | str, *, frame_rate: Fraction = DEFAULT_FRAME_RATE) -> None:
        if frame_rate <= 0:
            raise UsageError("The frame rate is impossible", got=frame_rate, expected="frames in a second, above 0")
        self._files = _list_pictures(Path(path))
        width, height = _header_size(self._files[0])
        for file in self._files[1:]:
            _check_size(file, _header_size(file), (width, height), self._files[0])
        self.info = SourceInfo(
            path=Path(path),
            width=width,
            height=height,
            frame_rate=frame_rate,
            time_base=1 / frame_rate,
            frame_count=len(self._files),
            duration_seconds=len(self._files) / frame_rate,
            codec=self._files[0].suffix.lower().lstrip("."),
            color=ColorTags(primaries=BT709, transfer=SRGB_TRANSFER),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Nothing is guessed."""
        return ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __iter__(self) -> Iterator[Frame]:
        for index, file in enumerate(self._files):
            pixels = _read_picture(file)
            _check_size(file, pixels.shape[1::-1], (self.info.width, self.info.height), self._files[0])
            yield Frame(pixels=pixels, pts=index, time_base=self.info.time_base, duration=1)


def _list_pictures(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError(f"{path} does not exist", remedy="check the path")
    if path.is_file():
        return [path]
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    pictures = [entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
    if not pictures:
        inner = any(entry.is_dir() for entry in entries)
        raise InputError(
            f"{path} holds no pictures",
            got=f"{len(entries)} other files and folders" if entries else "an empty folder",
            expected="PNG, JPEG, WebP, BMP or TIFF files directly in it",
            remedy="choose one of the folders in it" if inner else None,
        )
    return sorted(pictures, key=natural_order)


def _unreadable(file: Path, error: Exception) -> InputError:
    return InputError(
        f"{file} cannot be read as a picture", got=str(error) or type(error).__name__, remedy="replace or remove it"
    )


# What Pillow raises for damaged files of its many formats.
PICTURE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def _header_size(file: Path) -> tuple[int, int]:
    """Width and height as `_read_picture` will give them, without decoding."""
    try:
        with Image.open(file) as image:
            turned = image.format in ORIENTED_FORMATS and image.getexif().get(ORIENTATION_TAG) in TURNED_ORIENTATIONS
            return image.size[::-1] if turned else image.size
    except PICTURE_ERRORS as error:
        raise _unreadable(file, error) from error


def _read_picture(file: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            oriented = ImageOps.exif_transpose(image) if image.format in ORIENTED_FORMATS else image
            if oriented.mode.startswith("I;16"):  # 16-bit grey: Pillow's own conversion would clip at 255
                grey = to_uint8(to_float(np.asarray(oriented).astype(np.uint16)))
                return np.repeat(grey[..., None], 3, axis=2)
            return np.asarray(oriented.convert("RGB"))
    except PICTURE_ERRORS as error:
        raise _unreadable(file, error) from error


def _check_size(file: Path, size: tuple[int, ...], expected: tuple[int, int], first: Path) -> None:
    if tuple(size) != expected:
        raise InputError(
            f"{file} has another size than the pictures before it",
            got=f"{size[0]}x{size[1]}",
            expected=f"{expected[0]}x{expected[1]}, the size of {first.name}",
            remedy="put pictures of one size into the folder",
        )


class FolderWriter:
    """Frames to a folder of PNG files 00000000.png, 00000001.png and so on, lossless.

    The folder appears under its name only when it is complete.

    Args:
        target: the folder; its parent must exist.
        info: of the frames to come.
        overwrite: replace a folder that holds nothing but pictures.

    Raises:
        OutputError: the folder cannot be made, or exists and may not be replaced.
    """

    def __init__(self, target: Path, info: SourceInfo, *, overwrite: bool = False) -> None:
        self.frames_written = 0
        self._info = info
        self._pending = PendingFolder(target, overwrite=overwrite, source=info.path, may_hold=IMAGE_SUFFIXES)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a picture folder cannot hold, one sentence each."""
        notes = ["the sound is not kept: pictures have none"] if self._info.has_audio else []
        notes += ["the rotation is not kept: the pictures lie as stored"] if self._info.rotation else []
        return tuple(notes)

    def write(self, frame: Frame) -> None:
        """Take the next frame.

        Args:
            frame: uint8, of the announced size.

        Raises:
            OutputError: it cannot be written.
            ResourceError: the disk is full.
        """
        assert (frame.width, frame.height) == (self._info.width, self._info.height)
        assert frame.pixels.dtype == np.uint8
        file = self._pending.path / f"{self.frames_written:08d}.png"
        try:
            Image.fromarray(frame.pixels).save(file, compress_level=PNG_LEVEL)
        except OSError as error:
            raise writing_error(self._pending.target, error) from error
        self.frames_written += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._pending.discard()
            return
        try:
            self._verify()
            self._pending.publish()
        except BaseException:
            self._pending.discard()
            raise

    def _verify(self) -> None:
        there = sum(1 for _ in self._pending.path.glob("*.png"))
        if there != self.frames_written or not there:
            raise OutputError(
                f"{self._pending.target} is not complete", got=f"{there} pictures", expected=self.frames_written
            )
