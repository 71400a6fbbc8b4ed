"""What `dgafvsr evaluate` runs on the spot: models and baselines, checked together with what they are scored by."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dgafvsr.apps.cli.progress import EvaluationBar
from dgafvsr.errors import UsageError

if TYPE_CHECKING:
    import torch

    from dgafvsr.evaluation.runner import EvaluationSettings
    from dgafvsr.jobs.predictions import Method, ModelSettings

__all__ = ["MethodOptions", "available_cores", "build_methods", "frames_folder", "run_methods"]

BASELINES = ("bicubic", "lanczos", "real-esrgan")
PACKAGED = "packaged"


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """The options about methods, as they were given; None and False are options that were not.

    Raises:
        UsageError: some of them say nothing without others, or contradict them.
    """

    lr: Path | None
    """The low-resolution clips."""
    models: Sequence[str]
    """NAME=MODEL or MODEL."""
    baselines: Sequence[str]
    """Names."""
    guidance: bool
    """Run models with guidance."""
    no_guidance: bool
    """Run models without."""
    steps: int | None
    """Denoising steps."""
    seed: int | None
    """Of the noise."""
    dtype: str | None
    """Of the weights."""
    keep_frames: Path | None
    """Where frames stay."""

    def __post_init__(self) -> None:
        methods = [*self.models, *self.baselines]
        if methods and self.lr is None:
            raise UsageError("Methods cannot be run without input", remedy="name the low-resolution clips (--lr)")
        if self.lr is not None and not methods:
            raise UsageError(
                "There is nothing to run on --lr", remedy="name a --model or a --baseline, or leave --lr out"
            )
        if self.keep_frames is not None and not methods:
            raise UsageError("--keep-frames has no frames to keep", remedy="name a --model or a --baseline to run")
        of_models = {
            "--steps": self.steps is not None,
            "--seed": self.seed is not None,
            "--dtype": self.dtype is not None,
            "--guidance": self.guidance,
            "--no-guidance": self.no_guidance,
        }
        idle = [option for option, given in of_models.items() if given]
        if idle and not self.models:
            raise UsageError(
                f"{', '.join(idle)} is for models, and none is run", remedy="name a --model, or leave it out"
            )

    @property
    def guided(self) -> list[bool]:
        """The ways in which models are run."""
        return [True, False] if self.guidance and self.no_guidance else [not self.no_guidance]


def build_methods(options: MethodOptions, given: Mapping[str, Path], device: torch.device) -> list[Method]:
    """The baselines and models that were asked for, in that order; their folders and packages are there.

    Args:
        options: what was asked for.
        given: the methods whose frames are there already.
        device: where models run.

    Raises:
        UsageError: an unknown baseline or dtype, or two methods of one name.
        ModelError: a model is not there.
    """
    from dgafvsr.apps.cli.devices import choose_dtype
    from dgafvsr.jobs.predictions import ModelSettings

    weights = str(choose_dtype(options.dtype or "float32", device)).removeprefix("torch.")
    run = ModelSettings(steps=options.steps, seed=options.seed or 0, dtype=weights)
    methods = [*_baselines(options.baselines), *_models(options.models, run, options.guided, device=str(device))]
    names = [*given, *(method.name for method in methods)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"Two methods are called {twice[0]}", remedy="name them: NAME=PATH, --model NAME=MODEL")
    return methods


def run_methods(
    methods: Sequence[Method], lr: Path, truth: Path | None, settings: EvaluationSettings, folder: Path
) -> dict[str, Path]:
    """Method -> folder of its frames, made or found there; what can be refused or will be missing is said before.

    Args:
        methods: what is run.
        lr: the low-resolution clips.
        truth: the ground truth, None if there is none.
        settings: how the frames will be scored.
        folder: where the frames are made.
    """
    from dgafvsr.evaluation.clips import plan_inputs
    from dgafvsr.evaluation.layouts import find_input_set
    from dgafvsr.evaluation.runner import check_sizes, missing_metrics
    from dgafvsr.jobs.predictions import SCALE, make_predictions

    plans = plan_inputs(find_input_set(lr), truth, scale=SCALE, choice=settings.choice, clips=settings.clips)
    check_sizes(plans, settings, with_truth=truth is not None)
    for reason in missing_metrics(settings, with_truth=truth is not None).values():
        typer.echo(f"note: {reason}", err=True)
    with EvaluationBar("enlarging") as bar:
        return make_predictions(plans, methods, folder, on_progress=bar)


@contextmanager
def frames_folder(kept: Path | None) -> Iterator[Path]:
    """Where frames are made: the folder to keep, or one that goes away at the end."""
    if kept is not None:
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="dgafvsr-") as folder:
        yield Path(folder)


def available_cores(device: str) -> int:
    """Cores that this process may use, 1 where they do not do the computing."""
    if device != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _baselines(names: Sequence[str]) -> Iterator[Method]:
    from dgafvsr.evaluation.baselines import interpolate_pixels
    from dgafvsr.evaluation.real_esrgan import RealESRGAN
    from dgafvsr.jobs.predictions import FrameMethod

    for name in names:
        if name not in BASELINES:
            raise UsageError("Unknown baseline", got=name, expected=f"one of {', '.join(BASELINES)}")
        if name == "real-esrgan":
            network = RealESRGAN(
                threads=available_cores("cpu")
            )  # now, so that a missing package is found before any work
            yield FrameMethod(name, lambda network=network: network)  # type: ignore[misc]
        else:
            yield FrameMethod(name, partial(_interpolation, interpolate_pixels, name))


def _interpolation(function: Any, kind: str) -> Any:
    return lambda pixels: function(pixels, kind)


def _models(arguments: Sequence[str], settings: ModelSettings, guided: list[bool], *, device: str) -> Iterator[Method]:
    import torch

    from dgafvsr.jobs.predictions import ModelMethod
    from dgafvsr.models.checkpoints import GUIDANCE_FOLDERS, resolve_folder

    for argument in arguments:
        name, _, source = argument.rpartition("=") if not Path(argument).exists() else ("", "", argument)
        folder = resolve_folder(None if source == PACKAGED else source)

        @lru_cache(maxsize=1)  # guidance on and off are one model
        def load(folder: Path = folder) -> Any:
            from dgafvsr import pipeline

            pipe: Any = pipeline.DGAFVSRPipeline
            return pipe.from_pretrained(folder, torch_dtype=getattr(torch, settings.dtype)).to(device)

        called = name or (PACKAGED if source == PACKAGED else Path(source).name)
        if not any((folder / part).is_dir() for part in GUIDANCE_FOLDERS):  # such as SD-x4: there is one way to run it
            yield ModelMethod(f"{called}, per frame", folder, load, replace(settings, guided=False))
            continue
        for each in guided:
            title = f"{called}, guidance {'on' if each else 'off'}"
            yield ModelMethod(title, folder, load, replace(settings, guided=each))
