"""Which clips are compared with which, and whether they can be: all of it settled before anything is computed.

A set of clips is a folder of clip folders (or videos), one folder of pictures, or one video. Clips of a set are matched
by name; two single clips are matched whatever their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from torch import Tensor

from dgafvsr.errors import InputError, UsageError
from dgafvsr.video.color import to_tensor
from dgafvsr.video.folders import IMAGE_SUFFIXES, natural_order
from dgafvsr.video.reader import open_source

__all__ = ["ClipPlan", "FrameChoice", "discover_clips", "name_predictions", "plan_clips", "read_pictures"]

VIDEO_SUFFIXES = frozenset([".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm", ".y4m"])


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
class ClipPlan:
    """One clip of the truth and the same clip by every method; checked."""

    name: str
    """Of the clip."""
    truth: Path
    """Folder or video."""
    predictions: Mapping[str, Path]
    """Method -> folder or video."""
    frames: range
    """Indices of the scored frames, never empty."""
    height: int
    """Rows of every picture."""
    width: int
    """Columns of every picture."""
    notes: tuple[str, ...] = ()
    """What a reader of the numbers should know."""


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """What reading a clip once has shown."""

    path: Path
    count: int
    height: int
    width: int


def name_predictions(arguments: Sequence[str]) -> dict[str, Path]:
    """Method name -> path, from arguments of the form PATH or NAME=PATH; without a name it is the path's last part.

    Raises:
        UsageError: no argument, or two methods of one name.
    """
    named: dict[str, Path] = {}
    for argument in arguments:
        name, _, path = argument.rpartition("=") if not Path(argument).exists() else ("", "", argument)
        name = name or Path(path).resolve().name
        if name in named:
            raise UsageError(
                f"Two predictions are called {name}",
                got=f"{named[name]} and {path}",
                remedy="name them: NAME=PATH",
            )
        named[name] = Path(path)
    if not named:
        raise UsageError("There is nothing to score", expected="at least one folder or video of predictions")
    return named


def discover_clips(path: Path) -> dict[str, Path]:
    """Clip name -> folder or video, in natural order of names.

    Raises:
        InputError: nothing there, or no clip in it.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist", remedy="check the path")
    if path.is_file():
        return {path.stem: path}
    entries = sorted((entry for entry in path.iterdir() if not entry.name.startswith(".")), key=natural_order)
    if any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in entries if entry.is_file()):
        return {path.resolve().name: path}
    clips = {entry.name: entry for entry in entries if entry.is_dir()}
    clips |= {entry.stem: entry for entry in entries if entry.is_file() and entry.suffix.lower() in VIDEO_SUFFIXES}
    if not clips:
        raise InputError(
            f"{path} holds no clips",
            expected="pictures, folders of pictures, or videos",
            remedy="check the path",
        )
    return clips


def plan_clips(
    predictions: Mapping[str, Path], truth: Path, *, choice: FrameChoice, clips: Sequence[str] | None = None
) -> list[ClipPlan]:
    """What will be compared, after every needed picture has been read once.

    Args:
        predictions: method -> set of clips.
        truth: set of clips.
        choice: which frames of each clip are scored.
        clips: names to score; None means all of the truth.

    Raises:
        InputError: clips, frame counts, sizes or file names of a method and the truth do not fit, or a picture cannot
            be read; the message names the first.
        UsageError: `clips` names one that the truth does not have.
    """
    truth_clips = _selected(discover_clips(truth), clips, truth)
    methods = {method: discover_clips(path) for method, path in predictions.items()}
    single = len(truth_clips) == 1 and clips is None
    plans = []
    for name, path in truth_clips.items():
        found = {}
        for method, method_clips in methods.items():
            only = next(iter(method_clips.values())) if single and len(method_clips) == 1 else None
            found[method] = only or _clip_of(method, method_clips, name, predictions[method])
        plans.append(_plan(name, path, found, choice))
    if clips is None and not single:
        _refuse_extra(methods, truth_clips, predictions)
    return plans


def read_pictures(path: Path, frames: range) -> Iterator[Tensor]:
    """The chosen frames of a clip, each 1 3 H W float32 in [0, 1]."""
    with open_source(path) as source:
        for frame in islice(source, frames.start, frames.stop):
            yield to_tensor(frame.pixels[None])


def _selected(found: dict[str, Path], clips: Sequence[str] | None, truth: Path) -> dict[str, Path]:
    if clips is None:
        return found
    missing = [name for name in clips if name not in found]
    if missing or not clips:
        raise UsageError(
            f"{truth} has no clip {', '.join(missing)}", expected=f"some of {', '.join(found)}", got=list(clips)
        )
    return {name: found[name] for name in clips}


def _clip_of(method: str, found: dict[str, Path], name: str, path: Path) -> Path:
    if name not in found:
        raise InputError(
            f"{method} has no clip {name}",
            got=f"{', '.join(list(found)[:8])} in {path}",
            remedy=f"add {path / name}, or choose the clips to score (--clips)",
        )
    return found[name]


def _refuse_extra(
    methods: Mapping[str, dict[str, Path]], truth: Mapping[str, Path], predictions: Mapping[str, Path]
) -> None:
    for method, found in methods.items():
        extra = [name for name in found if name not in truth]
        if extra:
            raise InputError(
                f"{method} has clips that the truth lacks: {', '.join(extra[:8])}",
                got=predictions[method],
                expected=f"clips named {', '.join(list(truth)[:8])}",
                remedy="remove them, or choose the clips to score (--clips)",
            )


def _plan(name: str, truth: Path, predictions: Mapping[str, Path], choice: FrameChoice) -> ClipPlan:
    reference = _probe(truth, choice)
    frames = choice.of(reference.count)
    if not frames:
        raise InputError(f"Nothing of {truth} is left to score", got=f"{reference.count} frames and {choice}")
    notes = []
    for method, path in predictions.items():
        probe = _probe(path, choice)
        if choice.of(probe.count) != frames:
            raise InputError(
                f"{path} and {truth} differ in their number of frames",
                got=f"{probe.count} and {reference.count}",
                remedy="score complete clips, or as many frames as both have (--max-frames)",
            )
        if (probe.width, probe.height) != (reference.width, reference.height):
            raise InputError(
                f"{path} has another size than {truth}",
                got=f"{probe.width}x{probe.height}",
                expected=f"{reference.width}x{reference.height}",
            )
        note = _compare_names(path, truth, frames)
        notes += [f"{method}: {note}"] if note else []
    return ClipPlan(
        name=name,
        truth=truth,
        predictions=predictions,
        frames=frames,
        height=reference.height,
        width=reference.width,
        notes=tuple(notes),
    )


def _probe(path: Path, choice: FrameChoice) -> _Probe:
    """Read every picture that will be needed; all of a video that does not say how many it has."""
    with open_source(path) as source:
        info, declared = source.info, source.info.frame_count
        stop = None if declared is None else choice.of(declared).stop
        read = sum(1 for _ in islice(source, stop))
    if declared is not None and stop is not None and read < min(stop, declared):
        raise InputError(f"{path} ends early", got=f"{read} frames", expected=f"{declared}, which it announces")
    return _Probe(path=path, count=read if declared is None else declared, height=info.height, width=info.width)


def _compare_names(prediction: Path, truth: Path, frames: range) -> str | None:
    """A note if the picture names are shifted against each other.

    Raises:
        InputError: they do not run in step, so that different moments would be compared.
    """
    if not (prediction.is_dir() and truth.is_dir()):
        return None
    ours, theirs = (_picture_names(path)[frames.start : frames.stop] for path in (prediction, truth))
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


def _picture_names(path: Path) -> list[Path]:
    pictures = [entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
    return sorted((entry for entry in pictures if not entry.name.startswith(".")), key=natural_order)


def _shift(prediction: Path, truth: Path) -> int | None:
    """Difference of the last numbers in two names, None where one has no number."""
    numbers = [re.findall(r"\d+", path.stem) for path in (prediction, truth)]
    return int(numbers[0][-1]) - int(numbers[1][-1]) if all(numbers) else None
