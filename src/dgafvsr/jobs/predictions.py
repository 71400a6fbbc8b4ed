"""Methods run on low-resolution clips for the evaluation: one folder of PNG files a method and clip, kept and reused.

`FOLDER/METHOD/CLIP/` holds the frames, named like the input's pictures, and `made.json`, which says how they were made.
Frames that were made in the same way are not made again; frames made otherwise are never replaced. A clip's folder
appears complete or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dgafvsr import __version__
from dgafvsr.errors import ModelError, OutputError
from dgafvsr.evaluation.cache import hash_file
from dgafvsr.evaluation.clips import InputPlan, read_pictures
from dgafvsr.evaluation.probes import picture_files
from dgafvsr.evaluation.runner import EvaluationProgress
from dgafvsr.video.atomic import PendingFolder, writing_error
from dgafvsr.video.folders import IMAGE_SUFFIXES

__all__ = ["FrameMethod", "Method", "ModelMethod", "ModelSettings", "make_predictions"]

SCALE = 4
RECORD = "made.json"
# Of zlib: much faster than the default, a few percent larger.
PNG_LEVEL = 3

OnFrames = Callable[[float], None]
"""Told how many frames are done, in fractions while a model samples all of them together."""


class Method:
    """Something that enlarges clips.

    Args:
        name: as tables show it and folders are called.
        identity: what its frames depend on besides the input, as JSON can hold it.
    """

    def __init__(self, name: str, identity: Mapping[str, Any]) -> None:
        self.name, self.identity = name, {"dgafvsr": __version__, **identity}

    def prepare(self) -> None:
        """Load what it needs, so that a damaged model is found before other methods have worked for hours.

        Raises:
            ModelError: it cannot be loaded.
        """
        raise NotImplementedError

    def enlarge(self, lr: Tensor, on_frames: OnFrames) -> Tensor:
        """The clip, four times as large.

        Args:
            lr: T 3 h w float in [0, 1].
            on_frames: told how far it is.

        Returns:
            T 3 4h 4w float in [0, 1].

        Raises:
            ModelError: it fails.
        """
        raise NotImplementedError


class FrameMethod(Method):
    """A method that looks at one frame at a time.

    Args:
        name: as tables show it.
        load: gives the function from H W 3 uint8 to 4H 4W 3 uint8, once it is needed.
    """

    def __init__(self, name: str, load: Callable[[], Callable[[NDArray[np.uint8]], NDArray[np.uint8]]]) -> None:
        super().__init__(name, {"baseline": name})
        self._load = load

    @cached_property
    def _function(self) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
        return self._load()

    def prepare(self) -> None:
        """Load the function."""
        _ = self._function

    def enlarge(self, lr: Tensor, on_frames: OnFrames) -> Tensor:
        """The clip, frame by frame, by way of 8 bits."""
        enlarged = []
        for index, frame in enumerate(lr):
            pixels = self._function((frame * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())
            enlarged.append(torch.from_numpy(pixels).permute(2, 0, 1))
            on_frames(index + 1)
        return torch.stack(enlarged).float() / 255


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """How a model is run."""

    guided: bool = True
    """Whether neighbouring frames guide each other."""
    steps: int | None = None
    """Denoising steps; None for the model's default."""
    seed: int = 0
    """Of the noise."""
    window: int = 24
    """Frames sampled together."""
    overlap: int = 4
    """Frames that neighbouring windows share."""
    dtype: str = "float32"
    """Of the weights, as torch names it."""


class ModelMethod(Method):
    """A model of this project or of a layout that it reads, run by the pipeline.

    Args:
        name: as tables show it.
        folder: the model's, on this disk; its files' contents are the method's identity.
        load: gives the `DGAFVSRPipeline` in its place, once it is needed.
        settings: how it is run; None means the defaults.
    """

    def __init__(self, name: str, folder: Path, load: Callable[[], Any], settings: ModelSettings | None = None) -> None:
        self._settings = settings or ModelSettings()
        files = sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors", ".txt"))
        weights = {path.relative_to(folder).as_posix(): hash_file(path) for path in files}
        super().__init__(name, {"model": weights, "settings": asdict(self._settings)})
        self._load = load

    @cached_property
    def _pipe(self) -> Any:
        return self._load()

    def prepare(self) -> None:
        """Load the pipeline."""
        _ = self._pipe

    def enlarge(self, lr: Tensor, on_frames: OnFrames) -> Tensor:
        """The clip, sampled in windows."""
        settings, visits = self._settings, 0
        steps = settings.steps or self._pipe.default_steps

        def visited(_: object) -> None:
            nonlocal visits
            visits += 1
            on_frames(min(visits / steps, len(lr)))  # frames in overlaps are visited once for each window

        long = len(lr) > settings.window
        return self._pipe(
            lr,
            num_inference_steps=settings.steps,
            seed=settings.seed,
            window=settings.window if long else None,
            overlap=settings.overlap if long else 0,
            guided=settings.guided,
            output_type="pt",
            on_event=visited,
        ).frames


@dataclass(frozen=True, kw_only=True)
class _Task:
    method: Method
    plan: InputPlan
    target: Path
    record: dict[str, Any] = field(repr=False)


def make_predictions(
    plans: Sequence[InputPlan],
    methods: Sequence[Method],
    folder: Path,
    *,
    on_progress: Callable[[EvaluationProgress], None] | None = None,
) -> dict[str, Path]:
    """The folder of each method's clips, all of which are there and complete.

    Args:
        plans: checked input clips.
        methods: with different names.
        folder: where the methods' folders are made; those that are there are used.
        on_progress: told how far it is.

    Returns:
        Method name -> folder of clip folders.

    Raises:
        OutputError: other frames are there already, or the folder cannot be written to; found before any is made.
        ModelError: a model cannot be loaded, found before any frame is made; or it gives values that are not numbers.
        ResourceError: the disk is full.
    """
    tasks = [task for method in methods for plan in plans if (task := _task(method, plan, folder)) is not None]
    for method in dict.fromkeys(task.method for task in tasks):
        method.prepare()
    total, done = sum(len(task.plan.frames) for task in tasks), 0
    for task in tasks:

        def tell(frames: float, task: _Task = task, done: int = done) -> None:
            if on_progress is not None:
                clip = f"{task.method.name}, {task.plan.name}"
                on_progress(EvaluationProgress(done=done + int(frames), total=total, clip=clip))

        _make(task, tell)
        done += len(task.plan.frames)
    return {method.name: _place(folder, method) for method in methods}


def _place(folder: Path, method: Method) -> Path:
    return folder / method.name.replace("/", "_")


def _task(method: Method, plan: InputPlan, folder: Path) -> _Task | None:
    """What is to be made, None if it is there."""
    target = _place(folder, method) / plan.name
    if plan.source.is_dir():
        inputs = [hash_file(file) for file in picture_files(plan.source)[: plan.frames.stop]]
    else:
        inputs = [hash_file(plan.source), str(plan.frames.stop)]
    record = {"method": method.identity, "input": inputs}
    if not target.is_dir() or not any(target.iterdir()):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            PendingFolder(target).discard()
        except OSError as error:
            raise writing_error(target, error) from error
        return _Task(method=method, plan=plan, target=target, record=record)
    try:
        held = json.loads((target / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        held = None
    if held != json.loads(json.dumps(record)) or len(picture_files(target)) != len(plan.frames):
        raise OutputError(
            f"{target} holds frames that were made otherwise",
            got="other input, model or settings" if held else f"no {RECORD}",
            remedy="choose another folder (--keep-frames), or remove that one",
        )
    return None


def _make(task: _Task, on_frames: OnFrames) -> None:
    plan, pending = task.plan, PendingFolder(task.target, may_hold=IMAGE_SUFFIXES)
    try:
        lr = torch.cat(list(read_pictures(plan.source, plan.frames)))
        pictures = task.method.enlarge(lr, on_frames)
        _check(pictures, lr, task)
        stems = [file.stem for file in picture_files(plan.source)] if plan.source.is_dir() else None
        for index, picture in enumerate(pictures):
            pixels = (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
            name = f"{index:08d}" if stems is None else stems[index]
            Image.fromarray(pixels).save(pending.path / f"{name}.png", compress_level=PNG_LEVEL)
        (pending.path / RECORD).write_text(json.dumps(task.record, indent=1), encoding="utf-8")
        pending.publish()
    except OSError as error:
        raise writing_error(task.target, error) from error
    finally:
        pending.discard()


def _check(pictures: Tensor, lr: Tensor, task: _Task) -> None:
    expected = (len(lr), 3, SCALE * lr.shape[-2], SCALE * lr.shape[-1])
    if tuple(pictures.shape) != expected:
        raise ModelError(
            f"{task.method.name} gave frames of a wrong size", got=tuple(pictures.shape), expected=expected
        )
    for index, picture in enumerate(pictures):
        if not picture.isfinite().all():
            raise ModelError(
                f"{task.method.name} gave values that are not numbers (NaN) in clip {task.plan.name}, frame {index}",
                remedy="check the model's weights, or run it in float32",
            )
