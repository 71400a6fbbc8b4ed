"""Held-out clips sampled with the networks as they are, guidance on and off, and scored by the evaluation room.

The clips are cut once to a few frames of a fixed middle part, noise belongs to the seed and the frame, and every
sampler sees the same LR frames: numbers of different steps and runs can be compared.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dgafvsr.errors import InputError
from dgafvsr.evaluation.baselines import interpolate_pixels
from dgafvsr.evaluation.clips import discover_clips
from dgafvsr.evaluation.degradations import reduce_bicubic
from dgafvsr.evaluation.metrics import MetricName
from dgafvsr.evaluation.protocols import PROTOCOLS
from dgafvsr.evaluation.results import EvaluationResult
from dgafvsr.evaluation.runner import EvaluationSettings, evaluate_folders
from dgafvsr.models.autoencoder import FACTOR
from dgafvsr.training.reports import ValidationReport
from dgafvsr.training.stage import ClipSampler, Stage
from dgafvsr.video.color import to_tensor, to_uint8
from dgafvsr.video.reader import open_source

__all__ = [
    "ScoringSettings",
    "ValidationClip",
    "Validator",
    "bicubic_sampler",
    "find_validation",
    "load_clips",
    "sample_clips",
    "score_samplers",
]

Frames = NDArray[np.uint8]

REDS_VALIDATION = "val_sharp"
"""The folder of sharp clips within REDS's `val`, beside which lie reduced and blurred ones."""

METRICS: tuple[MetricName, ...] = ("psnr", "lpips", "tlpips", "tof")
"""What validation reports; those whose weights cannot be had are left out."""


@dataclass(frozen=True, kw_only=True)
class ScoringSettings:
    """How much of each clip is sampled and scored."""

    frames: int = 6
    """Frames of each clip, from its start."""

    side: int | None = 192
    """HR side of the middle part that is used, a multiple of 4; None takes whole frames."""

    clips: int | None = 4
    """At most so many clips, in the order of their names; None takes all."""


@dataclass(frozen=True, kw_only=True)
class ValidationClip:
    """A clip in both resolutions."""

    name: str

    hr: Frames
    """T 4h 4w 3 RGB."""

    lr: Tensor
    """T 3 h w in [0, 1], antialiased bicubic."""


def find_validation(data: Path) -> Path | None:
    """The folder `val` in a data folder or beside it, or REDS's `val/val_sharp`, that holds clips; None otherwise."""
    places = (data / "val", data.absolute().parent / "val")
    for folder in (inner for place in places for inner in (place / REDS_VALIDATION, place)):
        try:
            discover_clips(folder)
        except InputError:
            continue
        return folder
    return None


def load_clips(folder: Path, settings: ScoringSettings) -> list[ValidationClip]:
    """The clips of a folder of ground truth; videos are halved, which hides their compression.

    Raises:
        InputError: no clip there, or one of fewer than 2 frames.
    """
    found = islice(discover_clips(folder).items(), settings.clips)
    return [_load(name, path, settings) for name, path in found]


def _load(name: str, path: Path, settings: ScoringSettings) -> ValidationClip:
    pictures = []
    with open_source(path) as source:
        for frame in islice(source, settings.frames):
            pixels = frame.pixels
            if path.is_file():
                pixels = np.asarray(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
            pictures.append(_middle(pixels, settings.side))
    if len(pictures) < 2:
        raise InputError(
            f"the validation clip {path} is too short", got=f"{len(pictures)} frames", expected="2 or more"
        )
    hr = np.stack(pictures)
    return ValidationClip(name=name, hr=hr, lr=reduce_bicubic(to_tensor(hr)))


def _middle(pixels: Frames, side: int | None) -> Frames:
    """The middle part, of sides that 4 divides."""
    height, width = ((min(full, side or full) // FACTOR) * FACTOR for full in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def bicubic_sampler(lr: Tensor) -> Tensor:
    """The baseline as a `ClipSampler`: T 3 h w in [0, 1] -> T 3 4h 4w."""
    pixels = to_uint8(lr.permute(0, 2, 3, 1).numpy())
    return to_tensor(np.stack([interpolate_pixels(frame, "bicubic") for frame in pixels]))


def sample_clips(
    sampler: ClipSampler, clips: Sequence[ValidationClip], folder: Path, *, stop: Callable[[], bool] | None = None
) -> bool:
    """Sample every clip into a folder of pictures of its own; a clip that is there is left as it is.

    Args:
        sampler: the model.
        clips: what to sample.
        folder: receives one folder a clip, each complete or not at all.
        stop: asked before each clip; True leaves the rest.

    Returns:
        Whether all clips are there.
    """
    for clip in clips:
        if (folder / clip.name).is_dir():
            continue
        if stop is not None and stop():
            return False
        frames = to_uint8(sampler(clip.lr).permute(0, 2, 3, 1).numpy())
        write_frames(folder / clip.name, frames)
    return True


def write_frames(folder: Path, frames: Frames) -> None:
    """T H W 3 uint8 as 0000.png ...; the folder appears complete or not at all."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(partial / f"{index:04d}.png")
    partial.rename(folder)


def score_samplers(
    folders: Mapping[str, Path], clips: Sequence[ValidationClip], truth: Path, metrics: tuple[MetricName, ...] = METRICS
) -> EvaluationResult:
    """Scores of sampled clips under the protocol `standard` with DIS flow, which needs no weights.

    Args:
        folders: sampler name -> what `sample_clips` filled.
        clips: the clips that were sampled.
        truth: receives the ground truth as pictures, where it is not there yet.
        metrics: what to compute; those whose weights cannot be had are named in the result.
    """
    for clip in clips:
        if not (truth / clip.name).is_dir():
            write_frames(truth / clip.name, clip.hr)
    settings = EvaluationSettings(protocol=PROTOCOLS["standard"].with_flow("dis"), metrics=metrics)
    return evaluate_folders(dict(folders), truth, settings)


@dataclass(frozen=True, kw_only=True)
class Validator:
    """Samples and scores a stage; the trainer's `Validate`."""

    clips: Sequence[ValidationClip]

    def __call__(self, stage: Stage, *, name: str, step: int, folder: Path) -> ValidationReport | None:
        """The scores of each of the stage's samplers, and a strip of pictures in `folder`/validation."""
        samplers = stage.samplers()
        if not samplers:
            return None
        with tempfile.TemporaryDirectory(dir=folder, prefix=".validation-") as place, torch.no_grad():
            folders = {sampler: Path(place) / sampler for sampler in samplers}
            for sampler, model in samplers.items():
                sample_clips(model, self.clips, folders[sampler])
            result = score_samplers(folders, self.clips, Path(place) / "truth")
            picture = folder / "validation" / f"{step:06d}.png"
            picture.parent.mkdir(exist_ok=True)
            _save_strip([Path(place) / "truth", *folders.values()], self.clips[0].name, picture)
        scores = {
            method.name: {str(metric): value for metric in result.metrics if (value := method.mean(metric)) is not None}
            for method in result.methods
        }
        return ValidationReport(stage=name, step=step, scores=scores, picture=picture)


def _save_strip(rows: Sequence[Path], clip: str, picture: Path) -> None:
    """One row for each version of a clip, its frames from left to right."""
    stacked = []
    for row in rows:
        frames = [np.asarray(Image.open(path)) for path in sorted((row / clip).glob("*.png"))]
        stacked.append(np.concatenate(frames, axis=1))
    Image.fromarray(np.concatenate(stacked)).save(picture)
