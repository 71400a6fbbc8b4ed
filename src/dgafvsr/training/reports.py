"""What a run tells: a listener, `losses.jsonl` and `validation.jsonl`, and TensorBoard where it is installed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dgafvsr.training.settings import TrainerConfig, learning_rate_at

__all__ = ["Listener", "Meter", "RunLog", "StepReport", "ValidationReport"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What the listener is told every `log_every` steps."""

    stage: str
    step: int
    steps: int

    losses: dict[str, float]
    """Means since the last report, over all processes."""

    gradient_norm: float
    """Of the last step, before clipping."""

    learning_rate: float
    seconds_per_step: float
    """Without validation and the saving of checkpoints."""

    samples_per_second: float = 0.0
    """Over all processes."""

    noise_levels: tuple[float | None, ...] = ()
    """Mean loss in equal parts of the diffusion time, low noise first; None where no sample fell."""


@dataclass(frozen=True, kw_only=True)
class ValidationReport:
    """What a validation has measured."""

    stage: str
    step: int

    scores: dict[str, dict[str, float]]
    """Metric values by sampler (`on`, `off`) and metric name, means over clips."""

    picture: Path
    """PNG strip: a row for the ground truth and for each sampler, frames from left to right."""


Listener = Callable[[StepReport], None]


class RunLog:
    """Writes reports; only the first process has one.

    Args:
        folder: of the training phase.
        listener: told every step report, or None.
    """

    def __init__(self, folder: Path, listener: Listener | None) -> None:
        self._folder, self._listener = folder, listener
        self._board = _tensorboard(folder)

    def step(self, report: StepReport) -> None:
        """Pass a step report on."""
        text = " ".join(f"{key}={value:.4f}" for key, value in report.losses.items())
        logger.info("%s %d/%d %s %.2f s/step", report.stage, report.step, report.steps, text, report.seconds_per_step)
        self._append("losses.jsonl", asdict(report))
        levels = {f"noise level/{k}": value for k, value in enumerate(report.noise_levels) if value is not None}
        self._scalars(
            {
                **{f"loss/{name}": value for name, value in report.losses.items()},
                **levels,
                "training/learning rate": report.learning_rate,
                "training/gradient norm": report.gradient_norm,
                "training/samples per second": report.samples_per_second,
            },
            report.step,
        )
        if self._listener is not None:
            self._listener(report)

    def validation(self, report: ValidationReport) -> None:
        """Pass a validation report on, with its picture."""
        self._append("validation.jsonl", asdict(report) | {"picture": report.picture.name})
        for sampler, scores in report.scores.items():
            logger.info("%s %d guidance %s: %s", report.stage, report.step, sampler, scores)
            self._scalars({f"validation/{name} {sampler}": value for name, value in scores.items()}, report.step)
        if self._board is not None:
            import numpy as np
            from PIL import Image

            with Image.open(report.picture) as picture:
                self._board.add_image("validation", np.asarray(picture), report.step, dataformats="HWC")

    def close(self) -> None:
        """Write what TensorBoard still holds."""
        if self._board is not None:
            self._board.close()

    def _append(self, name: str, document: dict[str, Any]) -> None:
        with (self._folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(document) + "\n")

    def _scalars(self, values: Mapping[str, float], step: int) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)


class Meter:
    """Means between reports.

    Args:
        stage: the stage's name in reports.
        config: says when a report is due.
    """

    def __init__(self, stage: str, config: TrainerConfig) -> None:
        self._stage, self._config = stage, config
        self._clear()

    def _clear(self) -> None:
        self._sums: dict[str, float] = {}
        self._levels: Tensor | None = None
        self._count, self._since, self._paused = 0, time.monotonic(), 0.0

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What is done while the context is open does not count as time of the steps."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._paused += time.monotonic() - began

    def add(
        self, step: int, losses: Mapping[str, float], norm: float, by_level: Tensor | None = None
    ) -> StepReport | None:
        """Take the losses of the step that ended as number `step`.

        Args:
            step: counted from 1.
            losses: means over the batch, by name.
            norm: of the gradients, before clipping.
            by_level: 2 x NOISE_BINS sums and counts (`stage.by_noise_level`), or None.

        Returns:
            The report, when it is due.
        """
        for key, value in losses.items():
            self._sums[key] = self._sums.get(key, 0.0) + value
        if by_level is not None:
            self._levels = by_level if self._levels is None else self._levels + by_level
        self._count += 1
        if step % self._config.log_every and step != self._config.steps:
            return None
        seconds = (time.monotonic() - self._since - self._paused) / self._count
        levels = [] if self._levels is None else list(zip(*self._levels.tolist(), strict=True))
        report = StepReport(
            stage=self._stage,
            step=step,
            steps=self._config.steps,
            losses={key: value / self._count for key, value in self._sums.items()},
            gradient_norm=norm,
            learning_rate=learning_rate_at(step - 1, self._config),
            seconds_per_step=seconds,
            samples_per_second=self._config.batch_size / max(seconds, 1e-9),
            noise_levels=tuple(total / count if count else None for total, count in levels),
        )
        self._clear()
        return report


def _tensorboard(folder: Path) -> Any:
    """A TensorBoard writer into the phase's folder, or None where the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), flush_secs=30)
