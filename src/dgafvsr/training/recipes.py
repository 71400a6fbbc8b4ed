"""How models are trained: every number of it, as typed Python functions registered by name.

Our own small models: autoencoder, denoiser, guidance network and finished decoder of the packaged model, their chain. A
run's folder holds one folder a stage, each with the resolved `recipe.json` (written before the first step), the losses
and checkpoints; running the same command again goes on where it stopped. `guidance-tiny` departs from the authors'
training in what `stage_guidance.py` lists, in size, and in its material: photographs in synthetic motion besides clips.

The paper's training, and StableVSR's, of a guidance network for a published upscaler. The ablation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgafvsr.errors import UsageError
from dgafvsr.interruption import stop_on_signals
from dgafvsr.training.data.augmentation import Augmentation
from dgafvsr.training.data.samples import SequenceSettings
from dgafvsr.training.overrides import with_overrides
from dgafvsr.training.picture_loss import SamplerLoss
from dgafvsr.training.recipe_types import (
    AblationRecipe,
    AutoencoderRecipe,
    BaseGuidanceRecipe,
    DecoderRecipe,
    DenoiserRecipe,
    Domain,
    FinetuneRecipe,
    GuidanceRecipe,
    ModelRecipe,
    Recipe,
)
from dgafvsr.training.runs import RunOptions
from dgafvsr.training.settings import TrainerConfig
from dgafvsr.training.stage_autoencoder import AutoencoderLoss
from dgafvsr.training.stage_guidance import GuidedSamplerLoss

__all__ = ["RECIPES", "TINY", "RecipeEntry", "recipe", "resolve", "run"]


@dataclass(frozen=True, kw_only=True)
class RecipeEntry:
    """A registered recipe."""

    name: str
    what: str
    """What it trains, in one line."""

    budget: str
    """What it takes."""

    make: Callable[[], Recipe]
    """The recipe with its default values."""


RECIPES: dict[str, RecipeEntry] = {}
"""The recipes by name, in the order of `dgafvsr train --list`."""


def recipe(name: str, *, budget: str) -> Callable[[Callable[[], Recipe]], Callable[[], Recipe]]:
    """Register a function that makes a recipe; the first line of its docstring says what the recipe trains.

    Args:
        name: on the command line.
        budget: what it takes, such as "2 h on 2 CPU cores".
    """

    def register(make: Callable[[], Recipe]) -> Callable[[], Recipe]:
        what = (make.__doc__ or "").strip().splitlines()[0].rstrip(".")
        RECIPES[name] = RecipeEntry(name=name, what=what, budget=budget, make=make)
        return make

    return register


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
            steps=1900, batch_size=8, learning_rate=3e-4, average_decay=0.998, checkpoint_every=100, seed=1
        ),
        sampler_loss=SamplerLoss(perceptual_weight=1.5, perceptual_side=96, grid_weight=5.0),
        texture=TrainerConfig(
            steps=1650,
            batch_size=8,
            learning_rate=3e-4,
            clip_norm=2.0,
            average_decay=0.998,
            checkpoint_every=100,
            seed=31,
        ),
        texture_loss=SamplerLoss(
            perceptual_weight=1.5,
            perceptual_side=96,
            grid_weight=7.0,
            lattice_weight=0.5,
            period_weight=1.0,
            statistics_weight=0.5,
            adversarial_weight=0.1,
        ),
        side=128,
        fault_share=0.2,
        sampler_share=0.5,
        sampler_steps=2,
        block_out_channels=(64, 96, 128),
        layers_per_block=1,
        norm_num_groups=16,
    ),
    guidance=GuidanceRecipe(
        velocity=TrainerConfig(
            steps=350, batch_size=12, learning_rate=3e-4, average_decay=0.99, checkpoint_every=50, seed=2
        ),
        sampler=TrainerConfig(
            steps=1800,
            batch_size=6,
            learning_rate=3e-4,
            clip_norm=2.0,
            average_decay=0.998,
            checkpoint_every=100,
            seed=41,
        ),
        sampler_loss=GuidedSamplerLoss(
            perceptual_weight=1.2,
            perceptual_side=96,
            grid_weight=7.0,
            lattice_weight=0.5,
            period_weight=1.0,
            statistics_weight=0.5,
            temporal_weight=3.0,
            adversarial_weight=0.1,
        ),
        pairs=SequenceSettings(frames=2, side=128),
        sequences=SequenceSettings(frames=3, side=128),
        warp="released",
        shared_noise_share=0.5,
        sampler_share=0.5,
        sampler_steps=2,
        initial_noise="shared",
        turns="guided",
    ),
    decoder=DecoderRecipe(
        trainer=TrainerConfig(
            steps=1500,
            batch_size=4,
            learning_rate=3e-4,
            clip_norm=2.0,
            average_decay=0.998,
            checkpoint_every=100,
            seed=51,
        ),
        loss=GuidedSamplerLoss(
            perceptual_weight=1.5,
            perceptual_side=96,
            grid_weight=7.0,
            lattice_weight=0.5,
            period_weight=1.0,
            statistics_weight=0.5,
            temporal_weight=2.0,
            adversarial_weight=0.1,
        ),
        pairs=SequenceSettings(frames=2, side=128),
        detail_blocks=2,
        fine_width=16,
    ),
)
"""The packaged model: about four hours on two CPU cores. Its card says how the weights in the package were made."""


@recipe("autoencoder-tiny", budget="about 25 min on 2 CPU cores")
def autoencoder_tiny() -> AutoencoderRecipe:
    """Stage 1 of tiny: LR-conditioned f4 autoencoder."""
    return TINY.autoencoder


@recipe("denoiser-tiny", budget="about 2 h on 2 CPU cores, after autoencoder-tiny")
def denoiser_tiny() -> DenoiserRecipe:
    """Stage 2 of tiny: D_U, squared error on v, then the unrolled sampler's picture, then its texture with a critic."""
    return TINY.denoiser


@recipe("guidance-tiny", budget="about 1 h on 2 CPU cores, after denoiser-tiny")
def guidance_tiny() -> GuidanceRecipe:
    """Stage 3 of tiny: G_U, the authors' step, then the unrolled guided sampler's picture, with a critic."""
    return TINY.guidance


@recipe("tiny", budget="about 4 h on 2 CPU cores")
def tiny() -> ModelRecipe:
    """All four stages of the packaged model and its model folder."""
    return TINY


@recipe("finetune", budget="about 2 h on 2 CPU cores")
def finetune() -> FinetuneRecipe:
    """Go on with the packaged model, or with --base, on your own material: texture of D_U, G_U, decoder."""
    return FinetuneRecipe(
        base=None,
        denoiser=dataclasses.replace(TINY.denoiser, velocity=None, sampler=None),
        guidance=dataclasses.replace(TINY.guidance, velocity=None),
        decoder=TINY.decoder,
    )


@recipe("guidance-sdx4", budget="4 GPUs of 40 GB or more, days")
def guidance_sdx4() -> BaseGuidanceRecipe:
    """The paper: G_U for StableVSR's or the SD-x4 upscaler (--base), on REDS.

    Batch 32, AdamW 5e-5 constant, weight decay 1e-2, clip 1.0, crop 256, horizontal flips, the authors' step. How long
    they trained is not published; 20,000 steps are StableVSR's.
    """
    return _for_base("features")


@recipe("stablevsr", budget="4 GPUs of 40 GB or more, days")
def stablevsr() -> BaseGuidanceRecipe:
    """StableVSR: a ControlNet on warped pixels for the same base and data."""
    return _for_base("pixels")


@recipe("ablation", budget="10 arms of about 15 min on 2 CPU cores, and the table")
def ablation() -> AblationRecipe:
    """The paper's four cases, centred warp, zero-condition control, StableVSR's arm and ours, and their table."""
    shared = dataclasses.replace(
        TINY.guidance,
        sampler=None,
        pairs=dataclasses.replace(TINY.guidance.pairs, frames=3),
        warp="released",
        turns="unguided",
    )
    return AblationRecipe(
        base=None,
        arms=(
            "bicubic-sparse",
            "nearest-sparse",
            "bicubic-dense",
            "nearest-dense",
            "centered",
            "zero",
            "guided-neighbor",
            "aligned-lr",
            "reliability",
            "stablevsr",
        ),
        guidance=shared,
    )


def _for_base(domain: Domain) -> BaseGuidanceRecipe:
    return BaseGuidanceRecipe(
        base="claudiom4sir/StableVSR",
        velocity=TrainerConfig(
            steps=20_000,
            batch_size=32,
            micro_batch=4,
            gradient_checkpointing=True,
            learning_rate=5e-5,
            betas=(0.9, 0.999),
            warmup_steps=0,
            schedule="constant",
            weight_decay=1e-2,
            clip_norm=1.0,
            average_decay=0.0,
            workers=4,
            checkpoint_every=500,
        ),
        # triplets of REDS: the centre and one of its two neighbours is a pair in either direction of time
        pairs=SequenceSettings(
            frames=2,
            side=256,
            clip_share=1.0,
            exact_flow_share=0.0,
            fault_share=0.0,
            augmentation=Augmentation(flips=True, turns=False, reverse=True),
        ),
        domain=domain,
    )


def resolve(name: str, overrides: Mapping[str, object]) -> Recipe:
    """A recipe with fields replaced: what `run` trains by.

    Raises:
        UsageError: no such recipe or field, or a value that does not fit.
    """
    if name not in RECIPES:
        raise UsageError(f"there is no training recipe {name}", expected=", ".join(sorted(RECIPES)))
    return with_overrides(RECIPES[name].make(), overrides)


def run(
    name: str,
    *,
    data: Path,
    output: Path,
    overrides: Mapping[str, object] | None = None,
    options: RunOptions | None = None,
) -> Path:
    """Train by a recipe, or go on with a run that was stopped.

    SIGTERM and SIGINT end it after the step at work, with everything saved.

    Args:
        name: one of `RECIPES`.
        data: training material: a folder of photographs, videos, picture folders (REDS and others), or a pack.
        output: the run's folder; made if it is missing.
        overrides: recipe fields by dotted name, see `overrides.with_overrides`.
        options: budget, validation clips and caches; None means the defaults.

    Returns:
        The model folder of a finished chain, the trained part's folder of a finished stage, the table of a finished
        ablation; the run's folder when the time was up before.

    Raises:
        UsageError: no such recipe or field, an earlier stage is missing, the folder holds a run with other settings, or
            the cache would keep nothing.
        InputError: no training material.
        ResourceError: a loss is not finite, or the disk is full.

    Example:
        >>> run("tiny", data=Path("train"), output=Path("runs/tiny"))  # doctest: +SKIP
    """
    from dgafvsr.training.runs import OutOfTimeError, Run

    chosen = resolve(name, overrides or {})
    with stop_on_signals() as stop:
        made = Run(
            data=data,
            output=output,
            options=dataclasses.replace(options or RunOptions(), stop=stop),
            keeps_flow=not isinstance(chosen, BaseGuidanceRecipe),
        )
        try:
            return _follow(made, chosen)
        except OutOfTimeError:
            return output
        finally:
            made.list_skipped()


def _follow(made: Any, chosen: Recipe) -> Path:
    """Train what the recipe says; the finished part."""
    from dgafvsr.training import own_model
    from dgafvsr.training.ablation import train_ablation
    from dgafvsr.training.base_model import train_base_guidance
    from dgafvsr.training.export import export_run
    from dgafvsr.training.finetune import finetune as finetune_model
    from dgafvsr.training.runs import one_process

    if isinstance(chosen, AutoencoderRecipe):
        return own_model.train_autoencoder(made, chosen)
    if isinstance(chosen, DenoiserRecipe):
        return own_model.train_denoiser(made, chosen)
    if isinstance(chosen, GuidanceRecipe):
        return own_model.train_guidance(made, chosen)
    if isinstance(chosen, BaseGuidanceRecipe):
        return train_base_guidance(made, chosen)
    if isinstance(chosen, AblationRecipe):
        return train_ablation(made, chosen)
    if isinstance(chosen, FinetuneRecipe):
        finetune_model(made, chosen)
    else:
        _train_chain(made, chosen)
    with one_process() as first:
        if first:
            export_run(made.output, made.output / "model")
    return Path(made.output / "model")


def _train_chain(made: Any, chosen: ModelRecipe) -> None:
    from dgafvsr.training import own_model

    own_model.train_autoencoder(made, chosen.autoencoder)
    own_model.train_denoiser(made, chosen.denoiser)
    own_model.train_guidance(made, chosen.guidance)
    if chosen.decoder is not None:
        own_model.train_decoder(made, chosen.decoder, chosen.guidance)
