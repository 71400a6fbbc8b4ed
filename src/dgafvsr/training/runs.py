"""A run's folder: one folder a stage, with what it needs to be resumed, and what is left when it is finished.

    output/STAGE/recipe.json           the resolved recipe, written before the first step
    output/STAGE/circumstances.json    data, machine and versions of the last call
    output/STAGE/PHASE/                checkpoints, losses.jsonl, validation, tensorboard
    output/STAGE/result/               the finished network

A stage with a `result` is finished and never trained again.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn
from torch.utils.data import Dataset

from dgafvsr.errors import OutputError, UsageError
from dgafvsr.evaluation.clips import discover_clips
from dgafvsr.flow.estimator import FlowEstimator
from dgafvsr.interruption import Wish
from dgafvsr.models.weights import load_network
from dgafvsr.training.checkpoints import whole
from dgafvsr.training.data.flow_cache import FlowCache
from dgafvsr.training.data.library import DataSettings, open_data
from dgafvsr.training.data.samples import PictureSamples, SequenceSamples, SequenceSettings
from dgafvsr.training.overrides import differences, recipe_to_json
from dgafvsr.training.reports import Listener
from dgafvsr.training.settings import TrainerConfig
from dgafvsr.training.trainer import Stage, TrainOptions, train
from dgafvsr.training.validation import ScoringSettings, Validator, find_validation, load_clips

__all__ = [
    "SKIPPED",
    "OutOfTimeError",
    "Run",
    "RunOptions",
    "any_process",
    "leave_together",
    "make_readable",
    "one_process",
    "seeded",
]

Network = TypeVar("Network", bound=nn.Module)

SKIPPED = "skipped.txt"
"""Lists the training sources that any call of the run could not use, after a first line that counts them."""


class PictureRecipe(Protocol):
    """What a recipe says about its pictures."""

    @property
    def side(self) -> int: ...
    @property
    def fault_share(self) -> float: ...
    @property
    def realistic_share(self) -> float: ...


class OutOfTimeError(Exception):
    """The time budget ended, or somebody ended it; everything is saved. Never leaves this room."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a call may choose without changing what is learned."""

    max_minutes: float | None = None
    """Save and return after this long; None trains to the end."""

    keep: int = 2
    """Checkpoints that each phase keeps."""

    val: Path | None = None
    """Held-out clips; None looks for a folder `val` in the data folder and beside it."""

    cache: Path | None = None
    """Folder in which decoded video and the flow of clips are kept; None keeps none. Recipes that estimate flow where
    they train keep video only."""

    listener: Listener | None = None
    """Told the losses."""

    stop: Wish | None = None
    """Whether the run shall end early; None listens to signals in each phase."""

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise UsageError("too few checkpoints to keep", got=self.keep, expected="at least 1")


class Run:
    """One call of `recipes.run`.

    Args:
        data: training material, as `dgafvsr.training.data.library.open_data` takes it.
        output: the run's folder.
        options: budget, validation, caches.
        keeps_flow: whether the recipe takes flow from the cache (`sequences`), or estimates it where it trains
            (`FramesOnly`).

    Raises:
        InputError: there is no training data, or no clip where validation clips were named.
        OutputError: the run's folder cannot be one.
        UsageError: there is nothing that the cache would keep.
    """

    def __init__(self, *, data: Path, output: Path, options: RunOptions | None = None, keeps_flow: bool = True) -> None:
        self.output, self.options = output, options or RunOptions()
        minutes = self.options.max_minutes  # looking through the data counts
        self._deadline = None if minutes is None else time.monotonic() + 60 * minutes
        in_the_way = next((place for place in (output, *output.parents) if place.exists() and not place.is_dir()), None)
        if in_the_way is not None:
            raise OutputError(
                f"{in_the_way} is a file", expected="a folder for the run", remedy="name another --output"
            )
        self.val = self.options.val or find_validation(data)
        if self.val is not None:
            discover_clips(self.val)
        self.data = open_data(
            data, cache=self.options.cache, settings=DataSettings(), val=self.val, keeps_flow=keeps_flow
        )

    @cached_property
    def _validator(self) -> Validator | None:
        return None if self.val is None else Validator(clips=load_clips(self.val, ScoringSettings()))

    def pictures(self, recipe: PictureRecipe, *, seed: int) -> PictureSamples:
        """Single pictures of the material."""
        return PictureSamples(
            self.data.pictures,
            side=recipe.side,
            fault_share=recipe.fault_share,
            realistic_share=recipe.realistic_share,
            seed=seed,
        )

    def sequences(self, settings: SequenceSettings, flow: FlowEstimator, *, seed: int) -> SequenceSamples:
        """Sequences of the material with DIS flow, kept on disk where there is a cache."""
        kept = None if self.data.disk is None else FlowCache(self.data.disk, flow, name="dis")
        return SequenceSamples(self.data.pictures, self.data.clips, flow, settings, flow_cache=kept, seed=seed)

    def begin(self, name: str, recipe: Any) -> Path:
        """The stage's folder, with its resolved recipe; refuses to mix two recipes in one folder.

        Raises:
            UsageError: the folder holds a stage with other settings.
        """
        folder = self.output / name
        file = folder / "recipe.json"
        if file.exists():
            different = differences(json.loads(file.read_text(encoding="utf-8")), recipe)
            if different:
                raise UsageError(
                    f"{folder} holds a run with other settings",
                    got=", ".join(different),
                    remedy="choose another output folder, or repeat the settings of the first call",
                )
        with one_process() as first:
            if first:
                folder.mkdir(parents=True, exist_ok=True)
                if not file.exists():
                    _write_json(file, recipe_to_json(recipe))
                if not (folder / "result").exists():
                    _write_json(folder / "circumstances.json", self._circumstances())
        return folder

    def _circumstances(self) -> dict[str, Any]:
        from accelerate import PartialState

        cuda = torch.cuda.is_available()
        return {
            "data": self.data.summary(),
            "device": torch.cuda.get_device_name() if cuda else f"{platform.machine()} CPU, {os.cpu_count()} cores",
            "processes": PartialState(cpu=not cuda).num_processes,
            "versions": {name: version(name) for name in ("dgafvsr", "torch", "diffusers", "accelerate")},
        }

    def load(self, name: str, network: type[Network]) -> Network:
        """A finished stage's network.

        Raises:
            UsageError: the stage is not finished.
        """
        self.need(name)
        return load_network(self.output / name / "result", network, torch.float32)

    def need(self, name: str) -> None:
        """Refuse to go on without a finished stage; asked before anything is written.

        Raises:
            UsageError: the stage is not finished.
        """
        if not (self.output / name / "result").exists():
            raise UsageError(
                f"the stage {name} is not finished in {self.output}",
                remedy=f"train it first with the same output folder: recipe {name}-tiny, or tiny for all stages",
            )

    def phase(self, network: nn.Module, config: TrainerConfig, folder: Path, make: Callable[[], Stage]) -> Stage:
        """Train one phase of a stage on the weights that the phase before left in `network`.

        Raises:
            OutOfTimeError: the budget ended before the phase did.
        """
        network.requires_grad_(True)
        with seeded(config.seed):  # of a critic's weights
            stage = make()
        name = folder.relative_to(self.output).as_posix()
        options = TrainOptions(
            max_minutes=self.minutes_left_together(),
            keep=self.options.keep,
            listener=self.options.listener,
            validate=self._validator if config.validate_every else None,
            stop=self.options.stop,
        )
        if not train(stage, config, folder=folder, name=name, options=options).finished:
            raise OutOfTimeError
        return stage

    def minutes_left_together(self) -> float | None:
        """As `minutes_left`, for all processes: they go on together or stop together, so every one has to ask.

        Their clocks differ, and a signal may reach only some of them: if one left alone, the others would wait for it.

        Raises:
            OutOfTimeError: in any of them nothing is left, or somebody wants the run to end.
        """
        minutes: float | None = None
        try:
            minutes = self.minutes_left()
            wants_stop = False
        except OutOfTimeError:
            wants_stop = True
        if any_process(wants_stop):
            raise OutOfTimeError
        return minutes

    def minutes_left(self) -> float | None:
        """Of the budget by this process's clock; None without one.

        Raises:
            OutOfTimeError: nothing is left, or somebody wants the run to end.
        """
        if self.options.stop is not None and self.options.stop():
            raise OutOfTimeError
        minutes = None if self._deadline is None else (self._deadline - time.monotonic()) / 60
        if minutes is not None and minutes <= 0:
            raise OutOfTimeError
        return minutes

    def list_skipped(self) -> None:
        """Name the sources that could not be used in `output`/skipped.txt, with those of earlier calls."""
        file, lines = self.output / SKIPPED, self.data.problems_summary().splitlines()
        if not lines or not self.output.is_dir():
            return
        known = file.read_text(encoding="utf-8").splitlines()[1:] if file.is_file() else []
        lines = sorted({*known, *lines})
        count = "1 training source was skipped" if len(lines) == 1 else f"{len(lines)} training sources were skipped"
        partial = file.with_suffix(f".{os.getpid()}.partial")
        partial.write_text("\n".join([count, *lines]) + "\n", encoding="utf-8")
        partial.replace(file)

    @staticmethod
    def save(network: Any, folder: Path) -> Path:
        """Save a finished part; the folder appears complete or not at all."""
        weights = {name: whole(value).detach().cpu().contiguous() for name, value in network.state_dict().items()}
        with one_process() as first:
            if first:
                partial = folder.with_name(folder.name + ".partial")
                shutil.rmtree(partial, ignore_errors=True)
                # diffusers would take fields that were registered later for defaults, and leave them out
                settings = {name: value for name, value in network.config.items() if name != "_use_default_values"}
                copy = type(network).from_config(settings)
                copy.load_state_dict(weights)
                copy.save_pretrained(partial, safe_serialization=True)
                make_readable(partial)
                partial.rename(folder)
        return folder


def make_readable(folder: Path) -> None:
    """Give weights the mode of the configuration beside them: safetensors writes for its own user only."""
    for weights in folder.glob("*.safetensors"):
        shutil.copymode(weights.with_name("config.json"), weights)


class FramesOnly(Dataset[dict[str, Any]]):
    """Sequences without flow, for stages that estimate it where they train.

    Args:
        run: brings the material.
        settings: of the sequences.
        seed: makes another sequence of samples.
    """

    def __init__(self, run: Run, settings: SequenceSettings, *, seed: int) -> None:
        data = run.data
        self._samples = SequenceSamples(data.pictures, data.clips, _no_flow, settings, seed=seed)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self._samples[index]
        return {"hr": sample["hr"], "lr": sample["lr"]}


def _no_flow(current: torch.Tensor, neighbor: torch.Tensor) -> torch.Tensor:
    """The place of a flow that nobody reads."""
    del neighbor
    return current.new_zeros(len(current), 2, *current.shape[-2:])


def _write_json(file: Path, document: dict[str, Any]) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    partial.replace(file)


@contextmanager
def one_process() -> Iterator[bool]:
    """True in the process that writes; the others wait until it has."""
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    try:
        yield state.is_main_process
    finally:
        state.wait_for_everyone()


def any_process(wish: bool) -> bool:
    """Whether this process or another one wishes it; every process has to ask, and all get the same answer."""
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    if state.num_processes == 1:
        return wish
    flag = torch.tensor(float(wish), device=state.device)
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return bool(flag > 0)


def leave_together() -> None:
    """Close the connection of the processes once all have come here; does nothing for a process that is alone.

    A launcher takes a process that goes before the others have closed theirs for one that has failed.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initial weights from a seed, leaving torch's global generators as they were. Networks begin on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
