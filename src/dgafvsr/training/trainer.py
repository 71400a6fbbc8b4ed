"""One loop for every stage: processes, precision, accumulation, clipping, an average of the weights, exact resume.

Step k learns from the samples k*B ... (k+1)*B - 1 of the stage's data, B the batch over all processes; noise belongs to
the sample (`draws.py`), the learning rate is a function of k. So a resumed run continues bit for bit, and the number of
processes and micro-batches changes nothing but the order of summation.

accelerate sets up the processes (`accelerate launch` or `torchrun`): DDP, or FSDP by accelerate's own configuration
with `fsdp_version: 2`. Precision is autocast per stage and not accelerate's, which is fixed once per process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor

from dgafvsr.errors import OutputError, ResourceError, UsageError
from dgafvsr.interruption import Wish, stop_on_signals
from dgafvsr.training.batches import load_batches
from dgafvsr.training.checkpoints import (
    Checkpoint,
    check_names,
    latest_checkpoint,
    load_checkpoint,
    optimizer_tensors,
    place,
    restore_optimizer,
    save_checkpoint,
    whole,
)
from dgafvsr.training.draws import Draws
from dgafvsr.training.failures import can_go_on, failed_step, keep_batch
from dgafvsr.training.full_memory import explained_memory
from dgafvsr.training.optimizers import Average, make_optimizer
from dgafvsr.training.reports import Listener, Meter, RunLog, StepReport, ValidationReport
from dgafvsr.training.settings import TrainerConfig, learning_rate_at
from dgafvsr.training.sharding import is_sharded
from dgafvsr.training.stage import NOISE_BINS, Stage

__all__ = [
    "Listener",
    "Stage",
    "StepReport",
    "TrainOptions",
    "TrainResult",
    "TrainerConfig",
    "Validate",
    "learning_rate_at",
    "train",
]


class Validate(Protocol):
    """Looks at a stage whose averaged weights are in place."""

    def __call__(self, stage: Stage, *, name: str, step: int, folder: Path) -> ValidationReport | None:
        """The report, with its picture below `folder`; None where the stage makes no pictures."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What a call may choose without changing what is learned."""

    max_minutes: float | None = None
    """Save and return after this long; None trains to the end."""

    keep: int = 2
    """Checkpoints that are kept."""

    listener: Listener | None = None
    """Told every `log_every` steps."""

    validate: Validate | None = None
    """Called every `validate_every` steps and after the last."""

    stop: Wish | None = None
    """Whether training shall end early; None listens to SIGTERM and SIGINT by itself."""

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise UsageError("too few checkpoints to keep", got=self.keep, expected="at least 1")


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Where training stands when `train` returns."""

    step: int

    finished: bool
    """False when the time budget ended, or somebody ended it, before the last step."""


def train(
    stage: Stage, config: TrainerConfig, *, folder: Path, name: str, options: TrainOptions | None = None
) -> TrainResult:
    """Train a stage, or go on from the newest checkpoint in `folder`; leaves the averaged weights in `stage.trained`.

    Args:
        stage: moved to the device that accelerate chooses.
        config: schedule and precision.
        folder: receives checkpoints, `losses.jsonl`, validation and TensorBoard files.
        name: the stage's name in reports.
        options: budget and listeners; None means the defaults.

    Returns:
        The step reached and whether it was the last.

    Raises:
        ResourceError: the loss is no longer finite, or in fp16 no gradient is (the batch is saved beside the
            checkpoints), or the disk or the memory is full.
        ModelError: the checkpoint found is damaged or of another network.
        UsageError: the batch cannot be divided as asked, something that the configuration needs is not installed, or
            the weights cannot be sharded as asked.
    """
    options = options or TrainOptions()
    with explained_memory(name, config):
        loop = _Loop(stage, config, folder=folder, name=name, options=options)
        with stop_on_signals() if options.stop is None else nullcontext(options.stop) as stop:
            return loop.run(stop)


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """Numbers of a step, means over all processes."""

    losses: dict[str, float]
    norm: float
    stop: bool
    by_level: Tensor | None


class _Loop:
    """State of one call of `train`."""

    def __init__(self, stage: Stage, config: TrainerConfig, *, folder: Path, name: str, options: TrainOptions) -> None:
        from accelerate import Accelerator

        self.config, self.folder, self.name, self.options = config, folder, name, options
        folder.mkdir(parents=True, exist_ok=True)
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available())
        self.share = _share(config.batch_size, self.accelerator.num_processes, config.micro_batch)
        self.sharded = is_sharded(self.accelerator, stage, config.precision)
        if config.gradient_checkpointing:
            stage.checkpoint_gradients()
        self.stage = stage.to(self.accelerator.device)
        if config.compiled:
            stage.compile_networks()
        self.optimizer = make_optimizer(stage.learned(), config)
        self.prepared = self._prepare()
        self.scaler = torch.amp.GradScaler(self.accelerator.device.type, enabled=config.precision == "fp16")
        self.average = Average(stage.trained, config.average_decay)
        self.updates = 0
        self.start = self._restore()

    def _prepare(self) -> Any:
        if not self.sharded:
            return self.accelerator.prepare(self.stage)
        self.stage.to(memory_format=torch.contiguous_format)  # FSDP takes no other
        # with FSDP the optimiser has to follow its parameters to their shards
        prepared, _ = self.accelerator.prepare(self.stage, self.optimizer)
        return prepared

    def _restore(self) -> int:
        path = latest_checkpoint(self.folder)
        if path is None:
            return 0
        checkpoint = load_checkpoint(path)
        own = self.stage.trained.state_dict()
        trained, averages = checkpoint.group("trained"), checkpoint.group("average")
        check_names(trained, own, path)
        check_names(averages, self.average.tensors, path)
        self.stage.trained.load_state_dict({name: place(value, own[name]) for name, value in trained.items()})
        self.average.tensors = {name: place(averages[name], value) for name, value in self.average.tensors.items()}
        restore_optimizer(self.optimizer, self.stage.trained, checkpoint)
        if self.stage.critic is not None:
            critic = checkpoint.group("critic")
            check_names(critic, self.stage.critic.state_dict(), path)
            self.stage.critic.load_state_dict(critic)
            restore_optimizer(self.optimizer, self.stage.critic, checkpoint)
        self.updates = int(checkpoint.notes.get("updates", checkpoint.step))
        if "scale" in checkpoint.notes and self.scaler.is_enabled():
            state = self.scaler.state_dict()
            state |= {"scale": float(checkpoint.notes["scale"]), "_growth_tracker": int(checkpoint.notes["growth"])}
            self.scaler.load_state_dict(state)
        return checkpoint.step

    def _save(self, step: int) -> None:
        trained = {f"trained.{name}": whole(value) for name, value in self.stage.trained.state_dict().items()}
        average = {f"average.{name}": whole(value) for name, value in self.average.tensors.items()}
        moments = optimizer_tensors(self.optimizer, self.stage.trained)
        critic = {}
        if self.stage.critic is not None:
            critic = {f"critic.{name}": whole(value) for name, value in self.stage.critic.state_dict().items()}
            moments |= optimizer_tensors(self.optimizer, self.stage.critic)
        notes = {"updates": str(self.updates)}
        if self.scaler.is_enabled():
            state = self.scaler.state_dict()
            notes |= {"scale": str(state["scale"]), "growth": str(state["_growth_tracker"])}
        if self.accelerator.is_main_process:
            checkpoint = Checkpoint(step=step, tensors={**trained, **average, **critic, **moments}, notes=notes)
            save_checkpoint(self.folder, checkpoint, keep=self.options.keep)

    def _samples(self, step: int) -> list[int]:
        """Indices of this process's samples of a step."""
        first = step * self.config.batch_size + self.accelerator.process_index * self.share.samples
        return list(range(first, first + self.share.samples))

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        batches = load_batches(
            self.stage.data,
            [self._samples(step) for step in range(self.start, self.config.steps)],
            workers=self.config.workers,
            pinned=self.accelerator.device.type == "cuda",
        )
        for batch in batches:
            yield {key: value.to(self.accelerator.device, non_blocking=True) for key, value in batch.items()}

    def _step(self, step: int, batch: dict[str, Tensor], stop: Callable[[], bool]) -> _Measured:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(step, self.config)
        self.optimizer.zero_grad()
        sums: dict[str, Tensor] = {}
        for first in range(0, self.share.samples, self.share.micro_batch):
            rows = slice(first, first + self.share.micro_batch)
            for key, value in self._forward_backward(step, batch, rows).items():
                sums[key] = sums[key] + value if key in sums else value
        self.scaler.unscale_(self.optimizer)
        norm = whole(torch.nn.utils.clip_grad_norm_(self.stage.learned(), self.config.clip_norm))
        measured = self._measure(sums, norm, stop)
        scale = self.scaler.get_scale()
        scaled = scale if self.scaler.is_enabled() else None
        if not can_go_on(measured.losses["loss"], measured.norm, scale=scaled):
            self._give_up(step, batch, measured, scaled)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.updates += int(self.scaler.get_scale() >= scale)
        self.average.update(step)
        return measured

    def _forward_backward(self, step: int, batch: dict[str, Tensor], rows: slice) -> dict[str, Tensor]:
        """Detached losses of a micro-batch, weighted by its share; its gradients are added to the others'."""
        weight = self.share.micro_batch / self.share.samples
        draws = Draws(self.config.seed, self._samples(step)[rows], step=step)
        last = rows.stop >= self.share.samples
        dtype = torch.float16 if self.config.precision == "fp16" else torch.bfloat16
        with nullcontext() if last else self.accelerator.no_sync(self.prepared):
            with torch.autocast(self.accelerator.device.type, dtype, enabled=self.config.precision != "no"):
                losses = self.prepared({key: value[rows] for key, value in batch.items()}, draws)
            self.scaler.scale(losses["loss"] * weight).backward()
        return {key: value.detach() * (1 if key == "by_level" else weight) for key, value in losses.items()}

    def _measure(self, sums: dict[str, Tensor], norm: Tensor, stop: Callable[[], bool]) -> _Measured:
        """Means over the processes, with one transfer from the device: it is also what all of them agree on."""
        names = [key for key in sums if key != "by_level"]
        flag = torch.tensor(float(stop()), device=norm.device)
        vector = torch.stack([flag, norm.float(), *(sums[name].float() for name in names)])
        levels = sums.get("by_level")
        if levels is not None:
            vector = torch.cat([vector, levels.flatten().to(vector)])
        values = self.accelerator.reduce(vector, reduction="mean").cpu()
        found = dict(zip(names, values[2 : 2 + len(names)].tolist(), strict=True))
        by_level = None if levels is None else values[2 + len(names) :].view(2, NOISE_BINS)
        return _Measured(losses=found, norm=float(values[1]), stop=bool(values[0] > 0), by_level=by_level)

    def _give_up(self, step: int, batch: dict[str, Tensor], measured: _Measured, scale: float | None) -> NoReturn:
        """Keep what is needed to see the same step again, then stop: the weights are still those before it."""
        with suppress(OutputError, ResourceError):  # the disk may be full; the last checkpoint is intact
            self._save(step)
        rank = f"-process{self.accelerator.process_index}" if self.accelerator.num_processes > 1 else ""
        path = self.folder / f"failure-{step:06d}{rank}.safetensors"
        draws = Draws(self.config.seed, self._samples(step), step=step)
        notes = {"step": str(step), "seed": str(self.config.seed), "losses": str(measured)}
        kept = keep_batch(path, batch, draws, notes)
        loss = measured.losses["loss"]
        raise failed_step(self.name, step, loss=loss, norm=measured.norm, scale=scale, kept=kept)

    def _is_validated(self, step: int) -> bool:
        """Whether a step is followed by validation, which takes a while: it is saved before."""
        every = self.config.validate_every
        if every <= 0 or self.options.validate is None or self.sharded:
            return False
        return step % every == 0 or step == self.config.steps

    def _validate(self, step: int, log: RunLog | None) -> None:
        """Validation on the first process; left out under FSDP, where no process has the whole network."""
        validate = self.options.validate
        if validate is None or not self._is_validated(step):
            return
        if log is not None:
            self.stage.eval()
            with self.average.lent(), torch.no_grad():
                report = validate(self.stage, name=self.name, step=step, folder=self.folder)
            self.stage.train()
            if report is not None:
                log.validation(report)
        self.accelerator.wait_for_everyone()

    def run(self, stop: Wish) -> TrainResult:
        """Steps until the last one or the end of the budget; the averaged weights are in place afterwards."""
        began, minutes = time.monotonic(), self.options.max_minutes

        def enough() -> bool:
            return stop() or (minutes is not None and time.monotonic() - began > minutes * 60)

        writes = self.accelerator.is_main_process and self.start < self.config.steps
        with closing(RunLog(self.folder, self.options.listener)) if writes else nullcontext() as log:
            step = self._follow(enough, log)
        self.accelerator.wait_for_everyone()
        self.average.settle()
        self.stage.eval()
        return TrainResult(step=step, finished=step >= self.config.steps)

    def _follow(self, enough: Wish, log: RunLog | None) -> int:
        """The steps; the number of the one that comes next."""
        self.stage.train()
        meter, step = Meter(self.name, self.config), self.start
        for batch in self._batches():
            measured = self._step(step, batch, enough)
            step += 1
            report = meter.add(step, measured.losses, measured.norm, measured.by_level)
            if report is not None and log is not None:
                log.step(report)
            with meter.pause():
                due = step == self.config.steps or step % self.config.checkpoint_every == 0
                if due or measured.stop or self._is_validated(step):
                    self._save(step)
                if measured.stop:
                    break
                self._validate(step, log)
        return step


@dataclass(frozen=True, kw_only=True)
class _Share:
    """A process's part of a step."""

    samples: int
    micro_batch: int


def _share(batch_size: int, processes: int, micro_batch: int | None) -> _Share:
    samples, left = divmod(batch_size, processes)
    if left:
        raise UsageError(
            "batch_size cannot be shared by the processes", got=f"{batch_size} samples, {processes} processes"
        )
    micro_batch = min(micro_batch or samples, samples)
    if samples % micro_batch:
        raise UsageError(
            "micro_batch does not divide a process's share of the batch", got=f"{micro_batch} of {samples} samples"
        )
    return _Share(samples=samples, micro_batch=micro_batch)
