"""Picture folders as streams: numbered PNG, JPEG, WebP, BMP or TIFF files in, numbered PNG, TIFF or WebP files out.

A folder has no times: frame k is shown at k / frame rate. Pictures are taken in natural order (2 before 10), by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from dgafvsr.errors import InputError, OutputError, UsageError
from dgafvsr.video.atomic import PendingFolder, writing_error
from dgafvsr.video.codecs import EncoderSettings
from dgafvsr.video.color import BT709, SRGB_TRANSFER, ColorTags, at_depth
from dgafvsr.video.decoding import OnError, check_on_error
from dgafvsr.video.encoding import Encoding, plan_encoding
from dgafvsr.video.frames import Frame, PlacedFrame, Reached, SourceInfo
from dgafvsr.video.limits import InputLimits
from dgafvsr.video.pictures import (
    PictureFacts,
    UnreadablePictureError,
    read_facts,
    read_picture,
    write_picture,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "FolderReader",
    "FolderWriter",
    "folder_losses",
    "list_pictures",
    "natural_order",
    "picture_name",
]

IMAGE_SUFFIXES = frozenset([".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"])
DEFAULT_FRAME_RATE = Fraction(24)
LARGEST_TERM = 2**31 - 1  # of FFmpeg's fractions


def natural_order(path: Path) -> tuple[list[tuple[int, int | str]], str]:
    """A sorting key that puts frame2.png before frame10.png."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts], path.name


class FolderReader:
    """The frames of a folder of pictures, or of one picture file.

    The deepest picture decides the depth of all, and one transparent picture makes all of them have alpha.

    Args:
        path: a folder with pictures directly in it (folders inside it are not entered), or one picture.
        frame_rate: frames in a second, above 0; None for 24.
        limits: what is too large; None for the defaults.
        deinterlace: pictures have no fields; True is answered with a warning.
        on_error: "stop" at a picture that cannot be read, or leave it out ("skip-damaged"); the rest keep their times.

    Raises:
        InputError: nothing there, no picture in it, a picture that cannot be read or that differs in size; it is named.
            Or more than the limits allow.
        UsageError: the frame rate is not above 0 or out of range, or `on_error` is unknown.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        frame_rate: Fraction | None = None,
        limits: InputLimits | None = None,
        deinterlace: bool = False,
        on_error: OnError = "stop",
    ) -> None:
        check_on_error(on_error)
        frame_rate = DEFAULT_FRAME_RATE if frame_rate is None else frame_rate
        _check_frame_rate(frame_rate)
        self._files = list_pictures(Path(path))
        self._limits, self._skips = limits or InputLimits(), on_error == "skip-damaged"
        self._notes = (f"{path}: pictures have no fields, nothing is deinterlaced",) if deinterlace else ()
        self._lost: set[int] = set()
        self._limits.check_frames(self._files[0].parent, len(self._files))
        self._limits.check_seconds(self._files[0].parent, len(self._files) / frame_rate)
        facts = self._read_all_facts()
        first, size = next(iter(facts.items()))
        for place, each in facts.items():
            _check_size(self._files[place], each, size, self._files[first])
        self.info = SourceInfo(
            path=Path(path),
            width=size.width,
            height=size.height,
            frame_rate=frame_rate,
            time_base=1 / frame_rate,
            frame_count=len(facts),
            duration_seconds=len(self._files) / frame_rate,
            codec=self._files[first].suffix.lower().lstrip("."),
            bit_depth=max(each.bit_depth for each in facts.values()),
            has_alpha=any(each.has_alpha for each in facts.values()),
            color=ColorTags(primaries=BT709, transfer=SRGB_TRANSFER),
        )

    def _read_all_facts(self) -> dict[int, PictureFacts]:
        """Place in the folder -> what its header says, at least one."""
        facts, fault = {}, None
        for place, file in enumerate(self._files):
            try:
                facts[place] = read_facts(file, self._limits)
            except UnreadablePictureError as error:
                if not self._skips:
                    raise
                self._lost.add(place)
                fault = error
        if fault is not None and not facts:
            raise fault
        return facts

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was asked for in vain, and the pictures left out so far, one sentence for those in a row."""
        notes, lost = [*self._notes], self._lost.copy()  # another thread may be reading
        for place in sorted(lost - {place + 1 for place in lost}):
            last = next(each for each in range(place, len(self._files)) if each + 1 not in lost)
            first_name, last_name = self._files[place].name, self._files[last].name
            notes.append(
                f"{first_name} cannot be read and is left out"
                if last == place
                else f"{first_name} to {last_name} cannot be read: {last - place + 1} pictures are left out"
            )
        return tuple(notes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __iter__(self) -> Iterator[Frame]:
        return (placed.frame for placed in self.read_from(lambda index, seconds: True))

    def read_from(self, reached: Reached) -> Iterator[PlacedFrame]:
        """The pictures from the first that is not before a place on.

        Those before it are not opened, unless damaged ones are skipped: then a picture's number is known only when all
        before it were read.

        Args:
            reached: tells the place; once True, it is True for every later picture.

        Raises:
            InputError: a picture cannot be read, or was changed after the folder was opened.
        """
        index, start = 0, None
        for place in range(len(self._files)):
            frame = None
            if self._skips or reached(index, index * self.info.time_base):
                frame = self._frame(place)
                if frame is None:
                    continue
            start = place if start is None else start
            seconds = (place - start) * self.info.time_base
            if frame is not None and reached(index, seconds):
                yield PlacedFrame(index=index, seconds=seconds, frame=frame)
            index += 1
        if index == 0:
            raise InputError(f"{self.info.path} holds no picture that can be read", remedy="copy the pictures again")

    def _frame(self, place: int) -> Frame | None:
        """The picture at a place of the folder; None if it is damaged and left out."""
        if place in self._lost:
            return None
        file, depth = self._files[place], self.info.bit_depth
        try:
            picture = read_picture(file, self._limits)
        except UnreadablePictureError:
            if not self._skips:
                raise
            self._lost.add(place)
            return None
        pixels = at_depth(picture.pixels, depth)
        if pixels.shape[:2] != (self.info.height, self.info.width):
            raise InputError(f"{file} was changed while it was read", remedy="run again when the folder is at rest")
        alpha = None if picture.alpha is None else at_depth(picture.alpha, depth)
        return Frame(pixels=pixels, alpha=alpha, pts=place, time_base=self.info.time_base, duration=1)


def _check_frame_rate(frame_rate: Fraction) -> None:
    if frame_rate <= 0:
        raise UsageError("The frame rate is impossible", got=frame_rate, expected="frames in a second, above 0")
    if max(frame_rate.numerator, frame_rate.denominator) > LARGEST_TERM:
        raise UsageError(
            "The frame rate is impossible",
            got=frame_rate,
            expected=f"a fraction of numbers up to {LARGEST_TERM}, such as 25 or 30000/1001",
        )


def list_pictures(path: Path) -> list[Path]:
    """The pictures of a folder in the order of their names; a single picture is itself. Hidden files do not count.

    Raises:
        InputError: nothing there, or none in it.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist", remedy="check the path")
    if path.is_file():
        return [path]
    try:
        entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{path} cannot be read", got=error.strerror, remedy="check its permissions") from error
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


def _check_size(file: Path, facts: PictureFacts, expected: PictureFacts, first: Path) -> None:
    if (facts.width, facts.height) != (expected.width, expected.height):
        raise InputError(
            f"{file} has another size than the pictures before it",
            got=f"{facts.width}x{facts.height}",
            expected=f"{expected.width}x{expected.height}, the size of {first.name}",
            remedy="put pictures of one size into the folder",
        )


def picture_name(index: int, encoding: Encoding) -> str:
    """00000000.png and so on, so that names sort as the pictures follow each other."""
    return f"{index:08d}.{encoding.codec}"


def folder_losses(info: SourceInfo, encoding: Encoding) -> tuple[str, ...]:
    """What a picture folder cannot hold, one sentence each.

    Args:
        info: of the film.
        encoding: of the folder.
    """
    notes = list(encoding.warnings)
    notes += ["the sound is not kept: pictures have none"] if info.has_audio else []
    notes += [f"{name} is not kept: pictures have none" for name in info.other_streams]
    turned = info.rotation or info.mirroring is not None
    notes += ["the rotation is not kept: the pictures lie as stored"] if turned else []
    if info.sample_aspect_ratio != 1:
        notes.append(f"the sample aspect ratio {info.sample_aspect_ratio} is not kept: the pictures lie as stored")
    return tuple(notes)


class FolderWriter:
    """Frames to a folder of pictures 00000000.png, 00000001.png and so on, lossless.

    The folder appears under its name only when it is complete.

    Args:
        target: the folder; its parent must exist.
        info: of the frames to come.
        settings: the format of the pictures; None for PNG.
        overwrite: replace a folder that holds nothing but pictures.

    Raises:
        OutputError: the folder cannot be made, or exists and may not be replaced.
        UsageError: settings for a video.
    """

    def __init__(
        self, target: Path, info: SourceInfo, settings: EncoderSettings | None = None, *, overwrite: bool = False
    ) -> None:
        self.frames_written = 0
        self._info, self._settings = info, settings or EncoderSettings()
        self._encoding = plan_encoding(f"{target}/", info, settings)
        self._pending = PendingFolder(target, overwrite=overwrite, source=info.path, may_hold=IMAGE_SUFFIXES)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a picture folder cannot hold, one sentence each."""
        return folder_losses(self._info, self._encoding)

    @property
    def bit_depth(self) -> int:
        """8, or 16 for deeper sources where the format holds them."""
        return self._encoding.bit_depth

    def end_early(self) -> None:
        """Nothing but pictures is written."""

    def write(self, frame: Frame) -> None:
        """Take the next frame.

        Args:
            frame: of the announced size; of any depth.

        Raises:
            OutputError: it cannot be written.
            ResourceError: the disk is full.
        """
        assert (frame.width, frame.height) == (self._info.width, self._info.height)
        file = self._pending.path / picture_name(self.frames_written, self._encoding)
        alpha = None if frame.alpha is None else at_depth(frame.alpha, self.bit_depth)
        try:
            write_picture(file, self._settings.picture_format, at_depth(frame.pixels, self.bit_depth), alpha)
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
        there = sum(1 for _ in self._pending.path.iterdir())
        if there != self.frames_written or not there:
            raise OutputError(
                f"{self._pending.target} is not complete", got=f"{there} pictures", expected=self.frames_written
            )
