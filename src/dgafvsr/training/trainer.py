"""One loop for every stage: accelerate, bf16, clipping, warm-up and cosine, an average of the weights, exact resume.

A *stage* is a module whose `forward(batch, generator)` returns its losses (key `loss` is minimised); `stage.trained` is
the network that learns. Noise of step k comes from a generator seeded with (seed, k, process), data of step k are the
samples k*batch ... (k+1)*batch - 1, the learning rate is a function of k: a resumed run continues bit for bit.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dgafvsr.errors import ResourceError, UsageError
from dgafvsr.training.checkpoints import (
    Checkpoint,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)

__all__ = ["Listener", "Stage", "StepReport", "TrainResult", "TrainerConfig", "learning_rate_at", "train"]

logger = logging.getLogger(__name__)


class Stage(nn.Module):
    """What is learned and by which loss; frozen networks are further submodules.

    Subclasses set `trained` and `data` and implement `forward(batch, generator) -> losses`.
    """

    trained: nn.Module
    data: Dataset[dict[str, Tensor]]

    def learned(self) -> list[nn.Parameter]:
        """Parameters that the optimiser moves."""
        return [parameter for parameter in self.trained.parameters() if parameter.requires_grad]


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How long, how fast and how precisely a stage is trained."""

    steps: int
    """Optimiser steps."""

    batch_size: int
    """Samples per step and process."""

    learning_rate: float
    """Peak learning rate of AdamW."""

    warmup_steps: int = 50
    """Steps of linear warm-up from 0."""

    final_rate: float = 0.05
    """Learning rate after the last step as a share of the peak; the way down is a cosine. 1 keeps it constant."""

    weight_decay: float = 1e-2
    clip_norm: float = 1.0

    average_decay: float = 0.998
    """Decay of the exponential average of the weights, which is what a stage exports."""

    precision: Literal["no", "bf16"] = "bf16"
    seed: int = 0

    workers: int = 0
    """Processes that prepare data; 0 prepares in the training process."""

    checkpoint_every: int = 200
    log_every: int = 10

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is too small", got=getattr(self, name), expected="at least 1")
        if self.learning_rate <= 0:
            raise UsageError("learning_rate is out of range", got=self.learning_rate, expected="a positive number")
        if not 0 <= self.average_decay < 1:
            raise UsageError("average_decay is out of range", got=self.average_decay, expected="0 to below 1")


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What the listener is told every `log_every` steps."""

    stage: str
    step: int
    steps: int

    losses: dict[str, float]
    """Means since the last report."""

    gradient_norm: float
    learning_rate: float
    seconds_per_step: float


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Where training stands when `train` returns."""

    step: int

    finished: bool
    """False when the time budget ended before the last step."""


Listener = Callable[[StepReport], None]


def learning_rate_at(step: int, config: TrainerConfig) -> float:
    """Learning rate of step 0 ... steps-1: linear warm-up, then a cosine from the peak to `final_rate` of it."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    past = max(0, step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, past)))
    return config.learning_rate * warm * (config.final_rate + (1 - config.final_rate) * cosine)


def train(
    stage: Stage,
    config: TrainerConfig,
    *,
    folder: Path,
    name: str,
    max_minutes: float | None = None,
    listener: Listener | None = None,
) -> TrainResult:
    """Train a stage, or go on from `folder`/checkpoint.safetensors; leaves the averaged weights in `stage.trained`.

    Args:
        stage: moved to the device that accelerate chooses.
        config: schedule and precision.
        folder: receives `checkpoint.safetensors` and `losses.jsonl`.
        name: the stage's name in reports.
        max_minutes: save and return after this long; None trains to the end.
        listener: called every `log_every` steps.

    Returns:
        The step reached and whether it was the last.

    Raises:
        ResourceError: the loss is no longer finite.
        ModelError: the checkpoint found is damaged or of another network.
    """
    loop = _Loop(stage, config, folder=folder, name=name, listener=listener)
    return loop.run(max_minutes)


class _Loop:
    """State of one call of `train`."""

    def __init__(
        self, stage: Stage, config: TrainerConfig, *, folder: Path, name: str, listener: Listener | None
    ) -> None:
        from accelerate import Accelerator

        self.config, self.folder, self.name, self.listener = config, folder, name, listener
        self.path = folder / "checkpoint.safetensors"
        folder.mkdir(parents=True, exist_ok=True)
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available())
        self.stage = stage.to(self.accelerator.device)
        self.optimizer = torch.optim.AdamW(
            stage.learned(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay
        )
        self.start = self._restore()
        self.prepared, self.wrapped_optimizer = self.accelerator.prepare(self.stage, self.optimizer)

    def _restore(self) -> int:
        self.average = {name: value.detach().clone() for name, value in self.stage.trained.named_parameters()}
        if not self.path.exists():
            return 0
        checkpoint = load_checkpoint(self.path)
        self.stage.trained.load_state_dict(checkpoint.group("trained"))
        averages = checkpoint.group("average")
        self.average = {name: averages[name].to(value) for name, value in self.average.items()}
        restore_optimizer(self.optimizer, self.stage.trained, checkpoint)
        return checkpoint.step

    def _save(self, step: int) -> None:
        if not self.accelerator.is_main_process:
            return
        trained = {f"trained.{name}": value for name, value in self.stage.trained.state_dict().items()}
        average = {f"average.{name}": value for name, value in self.average.items()}
        moments = optimizer_tensors(self.optimizer, self.stage.trained)
        save_checkpoint(self.path, Checkpoint(step=step, tensors={**trained, **average, **moments}))

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        size, world = self.config.batch_size, self.accelerator.num_processes
        first = self.accelerator.process_index * size
        indices = [
            [step * size * world + first + offset for offset in range(size)]
            for step in range(self.start, self.config.steps)
        ]
        loader: DataLoader[Any] = DataLoader(
            self.stage.data,
            batch_sampler=indices,
            num_workers=self.config.workers,  # type: ignore[arg-type]
        )
        for batch in loader:
            yield {key: value.to(self.accelerator.device, non_blocking=True) for key, value in batch.items()}

    def _generator(self, step: int) -> torch.Generator:
        key = (self.config.seed * 1_000_003 + step) * 1_009 + self.accelerator.process_index
        return torch.Generator().manual_seed(key % 2**63)

    def _step(self, step: int, batch: dict[str, Tensor]) -> tuple[dict[str, float], float]:
        rate = learning_rate_at(step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # not accelerate's own mixed precision: that is fixed once per process, and a chain runs several stages
        with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            losses = self.prepared(batch, self._generator(step))
        if not torch.isfinite(losses["loss"].detach()):
            raise ResourceError(
                f"the loss of {self.name} is not finite at step {step}",
                remedy="lower learning_rate; the last checkpoint is intact",
            )
        self.wrapped_optimizer.zero_grad()
        self.accelerator.backward(losses["loss"])
        norm = self.accelerator.clip_grad_norm_(self.stage.learned(), self.config.clip_norm)
        self.wrapped_optimizer.step()
        self._update_average(step)
        return {key: float(value.detach()) for key, value in losses.items()}, float(norm or 0.0)

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        decay = min(self.config.average_decay, (1 + step) / (10 + step))
        for name, value in self.stage.trained.named_parameters():
            self.average[name].lerp_(value.detach(), 1 - decay)

    def _agreed(self, mine: bool) -> bool:
        """Whether any process says so: all stop after the same step."""
        flag = torch.tensor([float(mine)], device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, reduction="sum") > 0)

    def run(self, max_minutes: float | None) -> TrainResult:
        """Steps until the last one or the end of the budget; the averaged weights are in place afterwards."""
        began = time.monotonic()
        self.stage.train()
        meter = _Meter(self)
        step = self.start
        for batch in self._batches():
            losses, norm = self._step(step, batch)
            step += 1
            meter.add(step, losses, norm)
            out_of_time = max_minutes is not None and self._agreed(time.monotonic() - began > max_minutes * 60)
            if step % self.config.checkpoint_every == 0 or step == self.config.steps or out_of_time:
                self._save(step)
            if out_of_time:
                break
        self.accelerator.wait_for_everyone()
        self.stage.trained.load_state_dict(self.average, strict=False)
        self.stage.eval()
        return TrainResult(step=step, finished=step >= self.config.steps)


class _Meter:
    """Means of the losses between reports, to the listener, the log and `losses.jsonl`."""

    def __init__(self, loop: _Loop) -> None:
        self.loop = loop
        self._clear()

    def _clear(self) -> None:
        self.sums: dict[str, float] = {}
        self.count, self.since = 0, time.monotonic()

    def add(self, step: int, losses: dict[str, float], gradient_norm: float) -> None:
        """Take the losses of the step that ended as number `step`; report when it is due."""
        for key, value in losses.items():
            self.sums[key] = self.sums.get(key, 0.0) + value
        self.count += 1
        config = self.loop.config
        if step % config.log_every and step != config.steps:
            return
        report = StepReport(
            stage=self.loop.name,
            step=step,
            steps=config.steps,
            losses={key: value / self.count for key, value in self.sums.items()},
            gradient_norm=gradient_norm,
            learning_rate=learning_rate_at(step - 1, config),
            seconds_per_step=(time.monotonic() - self.since) / self.count,
        )
        self._clear()
        if not self.loop.accelerator.is_main_process:
            return
        text = " ".join(f"{key}={value:.4f}" for key, value in report.losses.items())
        logger.info("%s %d/%d %s %.2f s/step", report.stage, step, config.steps, text, report.seconds_per_step)
        with (self.loop.folder / "losses.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(report)) + "\n")
        if self.loop.listener is not None:
            self.loop.listener(report)
