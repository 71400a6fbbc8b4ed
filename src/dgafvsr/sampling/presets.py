"""`quality`: named choices between speed and quality, for a model by the number of steps that its card names.

A model that was finished for few steps (the packaged one: 2) loses by more of them and cannot do with fewer, so its
presets save pixels of the flow and what changes little from step to step: `balanced` keeps the networks' lower levels
(for memory, see `Reuse`), `fast` leaves guidance out of the first steps. A model of many steps (the SD-x4 layout: 50 of
DDPM) gets a solver that needs fewer. No preset leaves guidance out. Whatever is asked for explicitly wins over the
preset. benchmarks/frontier.py measures the presets among their neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, get_args

from dgafvsr.errors import UsageError
from dgafvsr.flow.fm import check_flow_scale
from dgafvsr.sampling.noise import InitialNoise
from dgafvsr.sampling.reuse import Reuse
from dgafvsr.sampling.solvers import Solver, check_solver
from dgafvsr.sampling.sweeps import Turns

__all__ = [
    "FEW_STEPS",
    "KEPT_FEATURES",
    "LAST_STEP",
    "PRESETS",
    "Quality",
    "SamplingChoice",
    "SamplingSettings",
    "check_quality",
    "preset",
]

Quality = Literal["fast", "balanced", "best"]

FEW_STEPS = 4
"""A model whose card names at most so many steps was finished for few of them."""


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How frames are sampled, with nothing left open.

    Raises:
        UsageError: an unknown name.
    """

    steps: int
    """T; the scheduler says how many there can be."""
    solver: Solver | None = None
    """How a prediction becomes the next latent; None for the scheduler as it is."""
    guided: bool = True
    """Whether neighbouring frames guide each other."""
    turns: Turns = "unguided"
    """What guides the frame at which a sweep begins."""
    reuse: Reuse = field(default_factory=Reuse)
    """Which parts of the networks run at which steps."""
    flow_scale: int = 4
    """Times that frames are enlarged before flow is estimated on them: 1, 2 or 4."""
    initial_noise: InitialNoise = "independent"
    """What frames start from."""

    def __post_init__(self) -> None:
        check_solver(self.solver)
        check_flow_scale(self.flow_scale)
        for name, value, kind in (("turns", self.turns, Turns), ("initial noise", self.initial_noise, InitialNoise)):
            if value not in get_args(kind):
                raise UsageError(f"Unknown {name}", got=value, expected=" or ".join(get_args(kind)))


@dataclass(frozen=True, kw_only=True)
class SamplingChoice:
    """What is asked for of `SamplingSettings`; None leaves a field to whoever comes next.

    Raises:
        UsageError: an unknown name.
    """

    steps: int | None = None
    solver: Solver | None = None
    guided: bool | None = None
    turns: Turns | None = None
    reuse: Reuse | None = None
    flow_scale: int | None = None
    initial_noise: InitialNoise | None = None

    def __post_init__(self) -> None:
        self.on(SamplingSettings(steps=1))

    @property
    def asked(self) -> dict[str, Any]:
        """The fields that are not None, by name."""
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in named.items() if value is not None}

    def over(self, base: SamplingChoice) -> Self:
        """This choice, completed by another where it leaves something open."""
        return replace(self, **(base.asked | self.asked))

    def on(self, own: SamplingSettings) -> SamplingSettings:
        """The settings of a model with this choice instead of its own."""
        return replace(own, **self.asked)


LAST_STEP = Reuse(guidance_every=(-1,), guidance_between="skipped")
"""Frames guide each other at the step that makes the result. Of two steps the first knows next to nothing yet."""

KEPT_FEATURES = Reuse(features_every=2)
"""At every second step the networks' lower levels are those of the step before: it costs less than 1 % of any score."""

PRESETS: Mapping[Literal["few", "many"], Mapping[Quality, SamplingChoice]] = {
    "few": {
        "fast": SamplingChoice(reuse=LAST_STEP, turns="unguided", flow_scale=1),
        "balanced": SamplingChoice(reuse=KEPT_FEATURES, flow_scale=2),
        "best": SamplingChoice(),
    },
    "many": {
        "fast": SamplingChoice(steps=8, solver="dpm++", flow_scale=2),
        "balanced": SamplingChoice(steps=20, solver="dpm++", flow_scale=2),
        "best": SamplingChoice(),
    },
}
"""By the kind of model: few or many steps."""


def check_quality(quality: str | None) -> None:
    """Raise UsageError unless there is a preset of that name, or it is None."""
    if quality is not None and quality not in get_args(Quality):
        raise UsageError("Unknown quality", got=quality, expected=" or ".join(get_args(Quality)))


def preset(quality: Quality | None, default_steps: int) -> SamplingChoice:
    """What a preset means for a model, never more steps than its own; nothing for None.

    Args:
        quality: the preset.
        default_steps: those of the model's card.

    Raises:
        UsageError: there is no such preset.
    """
    check_quality(quality)
    if quality is None:
        return SamplingChoice()
    chosen = PRESETS["few" if default_steps <= FEW_STEPS else "many"][quality]
    return chosen if chosen.steps is None else replace(chosen, steps=min(chosen.steps, default_steps))
