"""How our own models are trained: every number of it, as typed defaults registered by name.

    autoencoder-tiny   stage 1: LR-conditioned f4 autoencoder
    denoiser-tiny      stage 2: D_U, squared error on v, then the unrolled sampler's picture
    guidance-tiny      stage 3: G_U, the authors' step, then the unrolled guided sampler's picture
    tiny               all three and the finished model folder

A run's folder holds one folder a stage, each with the resolved `recipe.json` (written before the first step), the
losses and a checkpoint; running the same command again goes on where it stopped. `guidance-tiny` departs from the
authors' training in what `stage_guidance.py` lists, in size, and in its material: photographs in synthetic motion
besides clips.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgafvsr.errors import UsageError
from dgafvsr.sampling.noise import InitialNoise
from dgafvsr.sampling.ogwm import Convention
from dgafvsr.training.data.samples import SequenceSettings
from dgafvsr.training.stage_autoencoder import AutoencoderLoss
from dgafvsr.training.stage_denoiser import SamplerLoss
from dgafvsr.training.stage_guidance import GuidedSamplerLoss
from dgafvsr.training.trainer import Listener, TrainerConfig

__all__ = [
    "RECIPES",
    "TINY",
    "AutoencoderRecipe",
    "DenoiserRecipe",
    "GuidanceRecipe",
    "ModelRecipe",
    "Recipe",
    "run",
    "with_overrides",
]


@dataclass(frozen=True, kw_only=True)
class AutoencoderRecipe:
    """Stage 1."""

    trainer: TrainerConfig
    loss: AutoencoderLoss

    side: int
    """HR side of the crops in pixels."""

    fault_share: float
    """Share of crops with a mildly degraded LR frame, 0 to 1."""

    width: int
    encoder_blocks: int
    decoder_blocks: int
    detail_width: int


@dataclass(frozen=True, kw_only=True)
class DenoiserRecipe:
    """Stage 2."""

    velocity: TrainerConfig
    """Squared error on v."""

    sampler: TrainerConfig | None
    """Loss on the unrolled sampler's picture; None leaves it out."""

    sampler_loss: SamplerLoss
    side: int
    fault_share: float

    sampler_share: float
    """Share of the timesteps of `velocity` that are the default sampler's own, 0 to 1."""

    sampler_steps: int
    """Steps of the default sampler."""

    block_out_channels: tuple[int, ...]
    layers_per_block: int
    norm_num_groups: int


@dataclass(frozen=True, kw_only=True)
class GuidanceRecipe:
    """Stage 3."""

    velocity: TrainerConfig
    """The authors' step."""

    sampler: TrainerConfig | None
    """Loss on the unrolled guided sampler's picture; None leaves it out."""

    sampler_loss: GuidedSamplerLoss

    pairs: SequenceSettings
    """Material of `velocity`."""

    sequences: SequenceSettings
    """Material of `sampler`."""

    warp: Convention

    shared_noise_share: float
    """Share of pairs whose frames have the same noise in `velocity`, 0 to 1; the authors' is 0."""

    sampler_share: float
    """Share of the timesteps of `velocity` that are the default sampler's own, 0 to 1; the authors' is 0."""

    sampler_steps: int
    """Steps of the default sampler; also written into the model."""

    initial_noise: InitialNoise
    """How the model's frames start by default; written into the model."""


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """All stages of a model."""

    autoencoder: AutoencoderRecipe
    denoiser: DenoiserRecipe
    guidance: GuidanceRecipe


Recipe = AutoencoderRecipe | DenoiserRecipe | GuidanceRecipe | ModelRecipe

TINY = ModelRecipe(
    autoencoder=AutoencoderRecipe(
        trainer=TrainerConfig(steps=800, batch_size=16, learning_rate=6e-4, average_decay=0.995),
        loss=AutoencoderLoss(perceptual_weight=0.2, perceptual_side=64, latent_noise=0.1, latent_weight=1e-2),
        side=128,
        fault_share=0.2,
        width=96,
        encoder_blocks=4,
        decoder_blocks=8,
        detail_width=48,
    ),
    denoiser=DenoiserRecipe(
        velocity=TrainerConfig(steps=1800, batch_size=16, learning_rate=8e-4, average_decay=0.995, seed=1),
        sampler=TrainerConfig(
            steps=1050, batch_size=8, learning_rate=3e-4, average_decay=0.99, checkpoint_every=50, seed=1
        ),
        sampler_loss=SamplerLoss(perceptual_weight=1.0, perceptual_side=96, grid_weight=5.0),
        side=128,
        fault_share=0.2,
        sampler_share=0.5,
        sampler_steps=4,
        block_out_channels=(64, 96, 128),
        layers_per_block=1,
        norm_num_groups=16,
    ),
    guidance=GuidanceRecipe(
        velocity=TrainerConfig(
            steps=350, batch_size=12, learning_rate=3e-4, average_decay=0.99, checkpoint_every=50, seed=2
        ),
        sampler=TrainerConfig(
            steps=400, batch_size=6, learning_rate=2e-4, average_decay=0.99, checkpoint_every=50, seed=3
        ),
        sampler_loss=GuidedSamplerLoss(
            perceptual_weight=1.0, perceptual_side=96, grid_weight=10.0, temporal_weight=0.5
        ),
        pairs=SequenceSettings(frames=2, side=128),
        sequences=SequenceSettings(frames=3, side=128),
        warp="released",
        shared_noise_share=0.5,
        sampler_share=0.5,
        sampler_steps=4,
        initial_noise="shared",
    ),
)
"""The packaged model: two hours on two CPU cores."""

RECIPES: Mapping[str, Recipe] = {
    "autoencoder-tiny": TINY.autoencoder,
    "denoiser-tiny": TINY.denoiser,
    "guidance-tiny": TINY.guidance,
    "tiny": TINY,
}


def with_overrides(recipe: Recipe, overrides: Mapping[str, object]) -> Recipe:
    """The recipe with fields replaced.

    Args:
        recipe: stays as it is.
        overrides: values by dotted field name, such as `{"denoiser.velocity.steps": 100}`.

    Raises:
        UsageError: no such field, or a value of another type.
    """
    changed: Any = recipe
    for name, value in overrides.items():
        changed = _replace(changed, name.split("."), value, name)
    return changed  # type: ignore[no-any-return]


def _replace(node: Any, path: list[str], value: object, name: str) -> Any:
    fields = [field.name for field in dataclasses.fields(node)] if dataclasses.is_dataclass(node) else []
    if path[0] not in fields:
        raise UsageError(
            f"the recipe has no field {name}", got=path[0], expected=", ".join(fields) or "no further field"
        )
    old = getattr(node, path[0])
    new = _replace(old, path[1:], value, name) if len(path) > 1 else _converted(old, value, name)
    return dataclasses.replace(node, **{path[0]: new})


def _converted(old: object, value: object, name: str) -> object:
    """The value as the type of the one it replaces; None is kept where something may be left out."""
    if isinstance(old, tuple) and isinstance(value, (list, tuple)):
        return tuple(value)
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if old is None or type(value) is type(old) or (value is None and dataclasses.is_dataclass(old)):
        return value
    raise UsageError(f"the recipe's field {name} has another type", got=repr(value), expected=type(old).__name__)


def run(
    name: str,
    *,
    data: Path,
    output: Path,
    overrides: Mapping[str, object] | None = None,
    max_minutes: float | None = None,
    listener: Listener | None = None,
) -> Path:
    """Train by a recipe, or go on with a run that was stopped.

    Args:
        name: one of `RECIPES`.
        data: folder with `photos` and, optionally, `videos`.
        output: the run's folder; made if it is missing.
        overrides: recipe fields by dotted name, see `with_overrides`.
        max_minutes: save and return after this long; None trains to the end.
        listener: told the losses every few steps.

    Returns:
        The model folder of a finished chain, the trained part's folder of a finished stage; the run's folder when the
        time was up before.

    Raises:
        UsageError: no such recipe or field, an earlier stage is missing, or the folder holds a run with other settings.
        InputError: no training photographs.

    Example:
        >>> run("tiny", data=Path("train"), output=Path("runs/tiny"), max_minutes=60)  # doctest: +SKIP
    """
    from dgafvsr.training.runs import Run

    if name not in RECIPES:
        raise UsageError(f"there is no training recipe {name}", expected=", ".join(sorted(RECIPES)))
    recipe = with_overrides(RECIPES[name], overrides or {})
    return Run(data=data, output=output, max_minutes=max_minutes, listener=listener).follow(recipe)
