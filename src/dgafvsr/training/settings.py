"""How a stage is trained: length, rate, precision; and the learning rate as a function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

from dgafvsr.errors import UsageError

__all__ = ["CIRCUMSTANCES", "OptimizerName", "Precision", "Schedule", "TrainerConfig", "learning_rate_at"]

Precision = Literal["no", "bf16", "fp16"]
Schedule = Literal["cosine", "linear", "constant"]
OptimizerName = Literal["adamw", "adamw8bit"]

CIRCUMSTANCES: Final = frozenset(
    {
        "arms",
        "encode_batch",
        "micro_batch",
        "gradient_checkpointing",
        "compiled",
        "workers",
        "checkpoint_every",
        "log_every",
        "validate_every",
    }
)
"""Recipe fields that do not change what is learned (but for rounding): a resumed run may have others."""


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How long, how fast and how precisely a stage is trained."""

    steps: int
    """Optimiser steps."""

    batch_size: int
    """Samples per optimiser step, over all processes: the result does not depend on how many there are."""

    learning_rate: float
    """Peak learning rate of AdamW."""

    micro_batch: int | None = None
    """Samples per forward pass of a process; gradients of several are accumulated. None takes its share at once."""

    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""

    compiled: bool = False
    """Compile D_U and G_U (torch.compile), forwards and backwards: minutes at the start, meant for GPUs."""

    optimizer: OptimizerName = "adamw"
    """One fused kernel where torch has it. `adamw8bit` keeps its moments in 8 bits and needs bitsandbytes."""

    betas: tuple[float, float] = (0.9, 0.99)
    """Decay of Adam's moments."""

    warmup_steps: int = 50
    """Steps of linear warm-up from 0."""

    schedule: Schedule = "cosine"
    """The way from the peak to `final_rate` after the warm-up; `constant` stays at the peak."""

    final_rate: float = 0.05
    """Learning rate after the last step as a share of the peak. 1 keeps it constant."""

    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    """Gradients are scaled down to this norm."""

    average_decay: float = 0.998
    """Decay of the exponential average of the weights, which is what a stage exports."""

    precision: Precision = "bf16"
    """Type of the arithmetic (autocast); weights and moments stay float32. `fp16` scales the loss."""

    seed: int = 0

    workers: int = 0
    """Processes that prepare data; 0 prepares in the training process."""

    checkpoint_every: int = 200
    log_every: int = 10

    validate_every: int = 500
    """Steps between validations, where there are validation clips; 0 never validates."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "micro_batch", "checkpoint_every", "log_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is too small", got=value, expected="at least 1")
        for name in ("workers", "validate_every", "warmup_steps"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is too small", got=getattr(self, name), expected="at least 0")
        for name in ("learning_rate", "clip_norm"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} is out of range", got=getattr(self, name), expected="a positive number")
        for name in ("seed", "final_rate", "weight_decay"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is out of range", got=getattr(self, name), expected="0 or more")
        for name, decays in (("average_decay", (self.average_decay,)), ("betas", self.betas)):
            if not all(0 <= decay < 1 for decay in decays):
                raise UsageError(f"{name} is out of range", got=getattr(self, name), expected="0 to below 1")
        for name, kind in (("precision", Precision), ("schedule", Schedule), ("optimizer", OptimizerName)):
            if getattr(self, name) not in get_args(kind):
                raise UsageError(f"unknown {name}", got=getattr(self, name), expected=" or ".join(get_args(kind)))


def learning_rate_at(step: int, config: TrainerConfig) -> float:
    """Learning rate of step 0 ... steps-1: linear warm-up, then the schedule from the peak to `final_rate` of it."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    past = min(1.0, max(0, step - config.warmup_steps) / max(1, config.steps - config.warmup_steps))
    left = {"cosine": 0.5 * (1 + math.cos(math.pi * past)), "linear": 1 - past, "constant": 1.0}[config.schedule]
    return config.learning_rate * warm * (config.final_rate + (1 - config.final_rate) * left)
