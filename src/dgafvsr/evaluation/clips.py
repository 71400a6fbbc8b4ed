"""Which clips are compared with which, and whether they can be: all of it settled before anything is computed.

A set of clips is a folder of clip folders (or videos), one folder of pictures, one video, or a benchmark's folder
(`layouts.py`). Clips of a set are matched by name; two single clips are matched whatever their names. Without ground
truth the first method's clips are the clips, and all others must have the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from torch import Tensor

from dgafvsr.errors import InputError, UsageError
from dgafvsr.evaluation.layouts import centre_picture, find_truth_set, nested_clip, vimeo_names
from dgafvsr.evaluation.probes import (
    FrameChoice,
    compare_input,
    compare_probes,
    nothing_left,
    picture_files,
    probe_clip,
)
from dgafvsr.video.color import to_tensor
from dgafvsr.video.folders import IMAGE_SUFFIXES, natural_order
from dgafvsr.video.reader import open_source

__all__ = [
    "ClipPlan",
    "InputPlan",
    "discover_clips",
    "name_predictions",
    "plan_clips",
    "plan_inputs",
    "read_pictures",
]

VIDEO_SUFFIXES = frozenset([".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm", ".y4m"])


@dataclass(frozen=True, kw_only=True)
class ClipPlan:
    """One clip of the truth and the same clip by every method; checked."""

    name: str
    """Of the clip."""
    truth: Path | None
    """Folder, video or picture; None where there is no ground truth."""
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
class InputPlan:
    """One low-resolution clip that methods will be run on; checked."""

    name: str
    """Of the clip, as the ground truth has it."""
    source: Path
    """Folder or video."""
    frames: range
    """Indices of the frames to make, from the first on: those before the scored ones may guide them."""
    height: int
    """Rows of the pictures to make."""
    width: int
    """Columns of the pictures to make."""


def name_predictions(arguments: Sequence[str]) -> dict[str, Path]:
    """Method name -> path, from arguments of the form PATH or NAME=PATH; without a name it is the path's last part.

    Raises:
        UsageError: two methods of one name.
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
    return named


def discover_clips(path: Path) -> dict[str, Path]:
    """Clip name -> folder or video, in natural order of names; of Vimeo-90K-T in its list's order.

    Raises:
        InputError: nothing there, or no clip in it.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist", remedy="check the path")
    if path.is_file():
        return {path.stem: path}
    listed = vimeo_names(path)
    if listed:
        return {name: _nested(path, name) for name in listed}
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
    predictions: Mapping[str, Path], truth: Path | None, *, choice: FrameChoice, clips: Sequence[str] | None = None
) -> list[ClipPlan]:
    """What will be compared, after every needed picture has been read once.

    Args:
        predictions: method -> set of clips.
        truth: set of clips; None where there is none.
        choice: which frames of each clip are scored.
        clips: names to score; None means all of the truth, or of the first method.

    Raises:
        InputError: clips, frame counts, sizes or file names of a method and the truth do not fit, or a picture cannot
            be read; the message names the first.
        UsageError: there is no method, or `clips` names a clip that is not there.
    """
    if not predictions:
        raise UsageError("There is nothing to score", expected="at least one folder or video of predictions")
    reference = find_truth_set(truth) if truth is not None else next(iter(predictions.values()))
    selected = _selected(discover_clips(reference), clips, reference)
    single = len(selected) == 1 and clips is None and not vimeo_names(reference)
    methods = {method: discover_clips(path) for method, path in predictions.items()}
    centred = bool(vimeo_names(reference)) and truth is not None
    plans = []
    for name, path in selected.items():
        found = {}
        for method, method_clips in methods.items():
            only = next(iter(method_clips.values())) if single and len(method_clips) == 1 else None
            clip = only or _clip_of(method, method_clips, name, predictions[method])
            found[method] = centre_picture(clip) if centred else clip
        own = None if truth is None else centre_picture(path) if centred else path
        plans.append(_plan(name, own, found, choice))
    if clips is None and not single and not centred:
        _refuse_extra(methods, selected, predictions, reference)
    return plans


def plan_inputs(
    lr: Path, truth: Path | None, *, scale: int, choice: FrameChoice, clips: Sequence[str] | None = None
) -> list[InputPlan]:
    """The low-resolution clips that methods have to enlarge so that they can be scored, each picture read once.

    Args:
        lr: set of clips of low resolution.
        truth: set of clips of ground truth; None where there is none.
        scale: the ground truth's size over the input's.
        choice: which frames will be scored.
        clips: names of the clips; None means all of the truth, or of `lr`.

    Raises:
        InputError: a clip is missing, or its size or frame count does not fit the truth's.
        UsageError: `clips` names a clip that is not there.
    """
    reference = find_truth_set(truth) if truth is not None else lr
    selected = _selected(discover_clips(reference), clips, reference)
    inputs = discover_clips(lr)
    single = len(selected) == len(inputs) == 1 and clips is None
    centred = bool(vimeo_names(reference)) and truth is not None
    plans = []
    for name, path in selected.items():
        source = next(iter(inputs.values())) if single else _clip_of("--lr", inputs, name, lr)
        part = FrameChoice() if centred else choice  # a centre frame is made with all its neighbours
        probe = probe_clip(source, part)
        if truth is not None:
            compare_input(probe, probe_clip(path, part), scale, part)
        if not part.of(probe.count):
            raise nothing_left(probe, part)
        made = part.of(probe.count).stop + part.skip_last  # leaving the last ones out leaves the scored ones
        size = {"height": scale * probe.height, "width": scale * probe.width}
        plans.append(InputPlan(name=name, source=source, frames=range(made), **size))
    return plans


def read_pictures(path: Path, frames: range) -> Iterator[Tensor]:
    """The chosen frames of a clip, each 1 3 H W float32 in [0, 1]; of a folder, no other picture is decoded."""
    if path.is_dir():
        for file in picture_files(path)[frames.start : frames.stop]:
            with open_source(file) as source:
                yield from (to_tensor(frame.pixels[None]) for frame in source)
        return
    with open_source(path) as source:
        for frame in islice(source, frames.start, frames.stop):
            yield to_tensor(frame.pixels[None])


def _nested(path: Path, name: str) -> Path:
    found = nested_clip(path, name)
    if found is None:
        raise InputError(f"{path} lacks the clip {name} of its list", remedy="see `dgafvsr data check`")
    return found


def _selected(found: dict[str, Path], clips: Sequence[str] | None, truth: Path) -> dict[str, Path]:
    if clips is None:
        return found
    if not clips:
        raise UsageError("No clip is named", expected=f"some of {', '.join(found)}")
    missing = [name for name in clips if name not in found]
    if missing:
        raise UsageError(
            f"{truth} has no clip {', '.join(missing)}", expected=f"some of {', '.join(found)}", got=list(clips)
        )
    return {name: found[name] for name in clips}


def _clip_of(method: str, found: dict[str, Path], name: str, path: Path) -> Path:
    clip = found.get(name) or (nested_clip(path, name) if "/" in name else None)
    if clip is None:
        raise InputError(
            f"{method} has no clip {name}",
            got=f"{', '.join(list(found)[:8])} in {path}",
            remedy=f"add {path / name}, or choose the clips to score (--clips)",
        )
    return clip


def _refuse_extra(
    methods: Mapping[str, dict[str, Path]],
    expected: Mapping[str, Path],
    predictions: Mapping[str, Path],
    reference: Path,
) -> None:
    for method, found in methods.items():
        extra = [name for name in found if name not in expected]
        if extra:
            raise InputError(
                f"{method} has clips that {reference} lacks: {', '.join(extra[:8])}",
                got=predictions[method],
                expected=f"clips named {', '.join(list(expected)[:8])}",
                remedy="remove them, or choose the clips to score (--clips)",
            )


def _plan(name: str, truth: Path | None, predictions: Mapping[str, Path], choice: FrameChoice) -> ClipPlan:
    reference = probe_clip(next(iter(predictions.values())) if truth is None else truth, choice)
    frames = choice.of(reference.count)
    if not frames:
        raise nothing_left(reference, choice)
    notes = []
    for method, path in predictions.items():
        note = compare_probes(probe_clip(path, choice), reference, choice)
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
