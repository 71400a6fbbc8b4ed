"""A result as pictures: metrics over the frames, temporal profiles, bars by clip.

bars.png             one panel a metric: every clip (up to 24) and the mean, with a dashed line where one was published
CLIP_metrics.png     one panel a metric: its value over the frames of the clip
CLIP_profile.png     one row of pixels over time, ground truth on top: a still scene gives vertical stripes, flicker
                     and jumps break them

Clips of which one frame is scored have bars only.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dgafvsr.errors import UsageError
from dgafvsr.evaluation.clips import discover_clips, read_pictures
from dgafvsr.evaluation.metrics import METRICS, MetricName
from dgafvsr.evaluation.outputs import PICTURE_SUFFIXES
from dgafvsr.evaluation.plots import Bars, Curve, Panel, Strip, save_plot, save_strips
from dgafvsr.evaluation.results import EvaluationResult
from dgafvsr.video.atomic import PendingFolder, writing_error
from dgafvsr.video.reader import open_source

__all__ = ["check_row", "save_charts", "temporal_profile"]

COLUMNS = 3
"""Panels beside each other."""
MOST_GROUPS = 24
"""Clips with bars of their own; of more than that the mean alone is drawn."""


def save_charts(result: EvaluationResult, folder: Path, *, row: int | None = None, overwrite: bool = False) -> None:
    """Draw everything into a folder that appears complete or not at all.

    Args:
        result: what to draw.
        folder: to come; a folder of PNG files may be replaced with `overwrite`.
        row: of pixels in the temporal profiles; None takes the middle one.
        overwrite: whether an existing folder may be replaced.

    Raises:
        UsageError: matplotlib is not installed, or the pictures have no such row.
        OutputError: the folder exists or cannot be written.
        ResourceError: the disk is full.
    """
    names = [name for name in result.metrics if name not in result.unavailable]
    pending = PendingFolder(folder, overwrite=overwrite, may_hold=PICTURE_SUFFIXES)
    try:
        save_plot(_grid([_bars(result, name) for name in names]), pending.path / "bars.png")
        for index, clip in enumerate(result.clip_names):
            if len(result.methods[0].clips[index].frames) < 2:
                continue
            stem = clip.replace("/", "_")
            save_plot(
                _grid([_over_frames(result, index, name) for name in names]), pending.path / f"{stem}_metrics.png"
            )
            save_strips(_profiles(result, index, row), pending.path / f"{stem}_profile.png")
        pending.publish()
    except OSError as error:
        raise writing_error(folder, error) from error
    finally:
        pending.discard()


def check_row(row: int, clips_of: Path, *, clips: Collection[str] | None = None, scale: int = 1) -> None:
    """Find out before hours of computing whether all clips have a row of pixels for their profiles.

    Args:
        row: of the profiles.
        clips_of: a set of clips.
        clips: names of those that count, None for all.
        scale: the profiles' pictures over those of the set.

    Raises:
        UsageError: a clip has no such row.
        InputError: a clip cannot be read.
    """
    for name, path in discover_clips(clips_of).items():
        if clips is None or name in clips:
            with open_source(path) as source:
                _refuse_row(row, path, scale * source.info.height)


def temporal_profile(path: Path, frames: range, row: int | None) -> NDArray[np.float32]:
    """One row of pixels over time.

    Args:
        path: a folder of pictures or a video.
        frames: indices of the frames.
        row: of pixels; None takes the middle one.

    Returns:
        T W 3 in [0, 1].

    Raises:
        UsageError: the pictures have no such row.
    """
    rows = []
    for picture in read_pictures(path, frames):
        height = picture.shape[-2]
        chosen = height // 2 if row is None else row
        _refuse_row(chosen, path, height)
        rows.append(picture[0, :, chosen].T.numpy())
    return np.stack(rows)


def _refuse_row(row: int, path: Path, height: int) -> None:
    if not 0 <= row < height:
        raise UsageError(f"{path} has no such row of pixels", got=row, expected=f"0 to {height - 1}")


def _grid(panels: list[Panel]) -> list[list[Panel]]:
    return [panels[start : start + COLUMNS] for start in range(0, len(panels), COLUMNS)]


def _bars(result: EvaluationResult, name: MetricName) -> Panel:
    clips = list(result.clip_names)
    shown = clips if len(clips) <= MOST_GROUPS else []
    means = len(clips) > 1
    groups = [*shown, "mean" if shown else f"mean of {len(clips)} clips"] if means else shown
    heights: Mapping[str, list[float]] = {
        method.name: [_drawable(clip.mean(name)) for clip in method.clips[: len(shown)]]
        + ([_drawable(method.mean(name))] if means else [])
        for method in result.methods
    }
    return Panel(
        title=METRICS[name].heading,
        bars=tuple(Bars(name=method, heights=tuple(values)) for method, values in heights.items()),
        groups=tuple(groups),
        levels={row.name: row.values[name] for row in result.published if name in row.values},
    )


def _over_frames(result: EvaluationResult, index: int, name: MetricName) -> Panel:
    curves = []
    for method in result.methods:
        clip = method.clips[index]
        points = zip(clip.frames, clip.values[name], strict=True)
        known = tuple((float(frame), _drawable(value)) for frame, value in points if value is not None)
        curves.append(Curve(name=method.name, points=known))
    return Panel(title=METRICS[name].heading, x_label="frame", curves=tuple(curves))


def _profiles(result: EvaluationResult, index: int, row: int | None) -> list[Strip]:
    clips = {method.name: method.clips[index] for method in result.methods}
    frames = next(iter(clips.values())).scored
    truth = result.truth_clips.get(result.clip_names[index])
    paths = ({} if truth is None else {"ground truth": truth}) | {name: clip.path for name, clip in clips.items()}
    return [
        Strip(name=name, pixels=temporal_profile(path, frames, row), first=frames.start) for name, path in paths.items()
    ]


def _drawable(value: float | None) -> float:
    """A value, or nan for what has no place on an axis: equal pictures have an infinite PSNR."""
    return value if value is not None and math.isfinite(value) else math.nan
