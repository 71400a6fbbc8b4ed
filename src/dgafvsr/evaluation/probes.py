"""Whether two versions of a clip can be compared: frame counts, sizes, picture names, and every picture readable."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from PIL import Image

from dgafvsr.errors import InputError, UsageError
from dgafvsr.video.folders import IMAGE_SUFFIXES, natural_order
from dgafvsr.video.reader import open_source

__all__ = [
    "ClipProbe",
    "FrameChoice",
    "compare_input",
    "compare_probes",
    "nothing_left",
    "picture_files",
    "probe_clip",
]


@dataclass(frozen=True, kw_only=True)
class FrameChoice:
    """Which frames of a clip are scored.

    Raises:
        UsageError: a number below its minimum.
    """

    skip_first: int = 0
    """Frames left out at the start."""
    skip_last: int = 0
    """Frames left out at the end of the clip as it is, before `max_frames` counts."""
    max_frames: int | None = None
    """At most so many of the rest, from its start; None means all."""

    def __post_init__(self) -> None:
        if self.max_frames is not None and self.max_frames < 1:
            raise UsageError("Too few frames to score", got=self.max_frames, expected="--max-frames of at least 1")

    def of(self, count: int) -> range:
        """The indices of the scored frames of a clip of `count` frames."""
        stop = count - self.skip_last
        if self.max_frames is not None:
            stop = min(stop, self.skip_first + self.max_frames)
        return range(self.skip_first, max(stop, self.skip_first))


@dataclass(frozen=True, kw_only=True)
class ClipProbe:
    """What reading a clip once has shown."""

    path: Path
    """Folder, video or picture."""
    count: int
    """Frames."""
    height: int
    """Rows of every picture."""
    width: int
    """Columns of every picture."""


def compare_input(probe: ClipProbe, truth: ClipProbe, scale: int, choice: FrameChoice) -> None:
    """Refuse a low-resolution clip that is not its ground truth's.

    Args:
        probe: of the low-resolution clip.
        truth: of the ground truth.
        scale: the truth's size over the input's.
        choice: the frames that count.

    Raises:
        InputError: sizes, frame counts or picture names do not fit.
    """
    if (scale * probe.width, scale * probe.height) != (truth.width, truth.height):
        raise InputError(
            f"{probe.path} does not have 1/{scale} of the size of {truth.path}",
            got=f"{probe.width}x{probe.height}",
            expected=f"{truth.width / scale:g}x{truth.height / scale:g}",
        )
    compare_probes(replace(probe, width=truth.width, height=truth.height), truth, choice)


def compare_probes(probe: ClipProbe, reference: ClipProbe, choice: FrameChoice) -> str | None:
    """Refuse a clip that does not fit the one that it is compared with.

    Args:
        probe: of the clip.
        reference: of the one that it is compared with.
        choice: the frames that count.

    Returns:
        A note if the picture names are shifted against each other.

    Raises:
        InputError: frame counts, sizes or picture names do not fit.
    """
    if choice.of(probe.count) != choice.of(reference.count):
        raise InputError(
            f"{probe.path} and {reference.path} differ in their number of frames",
            got=f"{probe.count} and {reference.count}{_unpaired(probe.path, reference.path)}",
            remedy="score complete clips, or as many frames as both have (--max-frames)",
        )
    if (probe.width, probe.height) != (reference.width, reference.height):
        raise InputError(
            f"{probe.path} has another size than {reference.path}",
            got=f"{probe.width}x{probe.height}",
            expected=f"{reference.width}x{reference.height}",
        )
    return _compare_names(probe.path, reference.path, choice.of(reference.count))


def nothing_left(probe: ClipProbe, choice: FrameChoice) -> InputError:
    """The error for a clip of which a choice leaves no frame."""
    return InputError(
        f"Nothing of {probe.path} is left to score",
        got=f"{probe.count} frames, without the first {choice.skip_first} and the last {choice.skip_last}",
        remedy="leave fewer out (--skip-first, --skip-last), or choose other clips (--clips)",
    )


def probe_clip(path: Path, choice: FrameChoice) -> ClipProbe:
    """Read every picture that will be needed; all of a video that does not say how many it has.

    Args:
        path: folder, video or picture.
        choice: the frames that count.

    Raises:
        InputError: a picture cannot be read, which the message names, or the clip ends early.
    """
    _refuse_float_pictures(path)
    with open_source(path) as source:
        info, declared = source.info, source.info.frame_count
        stop = None if declared is None else choice.of(declared).stop
        read = sum(1 for _ in islice(source, stop))
    if declared is not None and stop is not None and read < min(stop, declared):
        raise InputError(f"{path} ends early", got=f"{read} frames", expected=f"{declared}, which it announces")
    return ClipProbe(path=path, count=read if declared is None else declared, height=info.height, width=info.width)


def _unpaired(prediction: Path, truth: Path) -> str:
    """Which picture has no counterpart, for the error, if the two folders name theirs alike."""
    if not (prediction.is_dir() and truth.is_dir()):
        return ""
    ours, theirs = ({file.stem: file for file in picture_files(folder)} for folder in (prediction, truth))
    alone = [file for name, file in theirs.items() if name not in ours]
    alone += [file for name, file in ours.items() if name not in theirs]
    return f"; {alone[0]} has no counterpart" if alone and ours.keys() & theirs.keys() else ""


def _compare_names(prediction: Path, truth: Path, frames: range) -> str | None:
    """A note if the picture names are shifted against each other.

    Raises:
        InputError: they do not run in step, so that different moments would be compared.
    """
    if not (prediction.is_dir() and truth.is_dir()):
        return None
    ours, theirs = (picture_files(path)[frames.start : frames.stop] for path in (prediction, truth))
    if [name.stem for name in ours] == [name.stem for name in theirs]:
        return None
    shifts = [_shift(*pair) for pair in zip(ours, theirs, strict=True)]
    for index, shift in enumerate(shifts):
        if shift is None or shift != shifts[0]:
            raise InputError(
                f"The picture names of {prediction} and {truth} do not run in step",
                got=f"{ours[index].name} beside {theirs[index].name}",
                expected="names whose numbers differ by the same amount throughout",
                remedy="rename the pictures; one may be missing",
            )
    return f"its pictures are numbered {shifts[0]:+d} against the truth's" if shifts[0] else None


def _refuse_float_pictures(path: Path) -> None:
    """Floating-point pictures would be read as 8-bit numbers, and may hold NaN."""
    for file in picture_files(path) if path.is_dir() else [path]:
        if file.suffix.lower() in (".tif", ".tiff"):
            with contextlib.suppress(OSError), Image.open(file) as image:  # what cannot be opened is reported elsewhere
                if image.mode == "F":
                    raise InputError(
                        f"{file} holds floating-point numbers",
                        expected="pictures of 8 or 16 bits",
                        remedy="clip them to [0, 1], check them for NaN and save them as PNG",
                    )


def _shift(prediction: Path, truth: Path) -> int | None:
    """Difference of the last numbers in two names, None where one has no number."""
    numbers = [re.findall(r"\d+", path.stem) for path in (prediction, truth)]
    return int(numbers[0][-1]) - int(numbers[1][-1]) if all(numbers) else None


def picture_files(folder: Path) -> list[Path]:
    """The pictures directly in a folder, in the order in which they are shown."""
    pictures = [entry for entry in folder.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
    return sorted((entry for entry in pictures if not entry.name.startswith(".")), key=natural_order)
