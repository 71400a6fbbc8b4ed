"""Clips of HR frames on disk to clips of LR frames on disk."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

from PIL import Image
from torch import Tensor

from dgafvsr.errors import InputError, OutputError, UsageError
from dgafvsr.evaluation.clips import discover_clips
from dgafvsr.evaluation.degradations import SCALE, crop_to_scale, reduce_bicubic, reduce_blurred
from dgafvsr.evaluation.probes import picture_files
from dgafvsr.evaluation.realistic import degrade_realistic
from dgafvsr.video.atomic import PendingFolder, writing_error
from dgafvsr.video.color import to_array, to_tensor, to_uint8
from dgafvsr.video.folders import IMAGE_SUFFIXES
from dgafvsr.video.frames import FrameSource
from dgafvsr.video.reader import open_source

__all__ = ["DegradationKind", "degrade_clip", "degrade_clips"]

DegradationKind = Literal["bicubic", "bd", "realistic"]


def degrade_clips(
    source: Path,
    target: Path,
    kind: DegradationKind,
    *,
    seed: int | None = None,
    overwrite: bool = False,
    on_clip: Callable[[str, int], None] | None = None,
) -> int:
    """Degrade every clip of a set; one clip stays one folder, several become folders of their names.

    PNG files are named like the source's pictures, so that a benchmark's sets belong together; a video's are numbered.

    Args:
        source: a video, a folder of pictures, or a folder of clips.
        target: the folder to make; each clip's folder appears when it is complete.
        kind: BIx4, BDx4, or random and realistic.
        seed: of `realistic`, the only random kind; None means 0. A clip's parameters belong to (seed, its name).
        overwrite: replace folders of pictures that are there.
        on_clip: called with a clip's name and its number of frames when it is complete.

    Returns:
        The number of frames written.

    Raises:
        InputError: a clip cannot be read or reduced; sizes and picture headers of all clips are read before any work.
        OutputError: the target cannot be written; found before any work where a clip's folder exists.
        UsageError: unknown kind, or a seed that is negative or that nothing would use.
    """
    _check(kind, seed)
    clips = discover_clips(source)
    several = source.is_dir() and list(clips.values()) != [source]
    for path in clips.values():
        with open_source(path) as frames_of:
            _check_size(path, frames_of)
    if several:
        _make_folder(target, source)
    targets = {name: target / name if several else target for name in clips}
    for name, path in clips.items():
        PendingFolder(targets[name], overwrite=overwrite, source=path, may_hold=IMAGE_SUFFIXES).discard()
    total = 0
    for name, path in clips.items():
        frames = degrade_clip(path, targets[name], kind, seed=seed, overwrite=overwrite)
        total += frames
        if on_clip is not None:
            on_clip(name, frames)
    return total


def degrade_clip(
    source: Path, target: Path, kind: DegradationKind, *, seed: int | None = None, overwrite: bool = False
) -> int:
    """Degrade one clip into a folder of PNG files; see `degrade_clips`."""
    _check(kind, seed)
    with open_source(source) as frames:
        _check_size(source, frames)
        name = source.stem if source.is_file() else source.resolve().name
        reduced = _reduce(_tensors(frames), kind, (seed or 0, zlib.crc32(name.encode())))
        return _write(reduced, target, _picture_names(source), source=source, overwrite=overwrite)


def _write(reduced: Iterator[Tensor], target: Path, names: Iterator[str], *, source: Path, overwrite: bool) -> int:
    """The pictures under their names, all of them or none; how many."""
    pending, count = PendingFolder(target, overwrite=overwrite, source=source, may_hold=IMAGE_SUFFIXES), 0
    try:
        for lr, name in zip(reduced, names, strict=False):
            Image.fromarray(to_uint8(to_array(lr)[0])).save(pending.path / f"{name}.png")
            count += 1
        pending.publish()
    except OSError as error:
        raise writing_error(target, error) from error
    finally:
        pending.discard()
    return count


def _picture_names(source: Path) -> Iterator[str]:
    """Those of the source's pictures, as benchmarks pair them by name; numbers for a video."""
    if source.is_dir():
        stems = [file.stem for file in picture_files(source)]
        if len(set(stems)) == len(stems):
            return iter(stems)
    return (f"{index:08d}" for index in itertools.count())


def _reduce(frames: Iterator[Tensor], kind: DegradationKind, seed: tuple[int, int]) -> Iterator[Tensor]:
    if kind == "realistic":
        return degrade_realistic(frames, seed=seed)
    return map(reduce_bicubic if kind == "bicubic" else reduce_blurred, frames)


def _tensors(source: FrameSource) -> Iterator[Tensor]:
    """Frames cut at the right and bottom to multiples of 4: 1 3 4h 4w in [0, 1]."""
    for frame in source:
        yield crop_to_scale(to_tensor(frame.pixels[None]))


def _check_size(path: Path, frames: FrameSource) -> None:
    if min(frames.info.height, frames.info.width) < 2 * SCALE * SCALE:
        raise InputError(
            f"{path} is too small to be reduced",
            got=f"{frames.info.width}x{frames.info.height}",
            expected=f"at least {2 * SCALE * SCALE} pixels a side",
        )


def _check(kind: str, seed: int | None) -> None:
    if kind not in get_args(DegradationKind):
        raise UsageError("Unknown degradation", got=kind, expected=f"one of {', '.join(get_args(DegradationKind))}")
    if seed is not None and kind != "realistic":
        raise UsageError(f"{kind} has nothing random to seed", got=f"--seed {seed}", remedy="leave --seed out")
    if seed is not None and seed < 0:
        raise UsageError("The seed is out of range", got=seed, expected="0 or more")


def _make_folder(target: Path, source: Path) -> None:
    if target.resolve() == source.resolve() or source.resolve() in target.resolve().parents:
        raise OutputError(f"{target} is the input itself or inside it", remedy="choose another output")
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise writing_error(target, error) from error
