"""A finished model of ours goes on learning: on other footage, or for longer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from diffusers.models.controlnets.controlnet import ControlNetModel

from dgafvsr.errors import ModelError
from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.models.checkpoints import ModelParts, load_parts, resolve_folder
from dgafvsr.training.own_model import train_decoder, train_denoiser, train_guidance
from dgafvsr.training.recipe_types import DenoiserRecipe, FinetuneRecipe, GuidanceRecipe
from dgafvsr.training.runs import Run

GUIDANCE_READS = ("dense", "zero_condition", "aligned_lr", "reliability")
"""What a guidance network's configuration says of the data that it learns from, by a recipe's names."""

__all__ = ["FinetunedAutoencoder", "finetune", "resolved_denoiser", "resolved_guidance"]


@dataclass(frozen=True, kw_only=True)
class FinetunedAutoencoder:
    """Stands where a chain has the recipe of its autoencoder."""

    base: str
    """The model folder that it was taken from."""


def finetune(run: Run, recipe: FinetuneRecipe) -> None:
    """Train the base's D_U, G_U and decoder further in a run's folder, laid out as a chain's; the base is only read.

    A base without guidance gets a new G_U.

    Raises:
        ModelError: the base is missing, damaged, or not of our own kind.
        OutOfTimeError: the budget ended before.
    """
    folder = resolve_folder(recipe.base)
    parts = load_parts(folder)
    if not isinstance(parts.vae, ResidualAutoencoder) or isinstance(parts.guidance, ControlNetModel):
        raise ModelError(
            f"{folder} cannot be fine-tuned",
            got=f"{type(parts.vae).__name__}, {type(parts.guidance).__name__}",
            expected="a model made by `dgafvsr train tiny`",
            remedy="train guidance for a published upscaler with guidance-sdx4",
        )
    result = run.begin("autoencoder", FinetunedAutoencoder(base=str(folder))) / "result"
    if not result.exists():
        run.save(parts.vae, result)
    train_denoiser(run, resolved_denoiser(recipe.denoiser, parts), start=parts.unet)
    guidance = resolved_guidance(recipe.guidance, parts)
    train_guidance(run, guidance, start=parts.guidance)
    if recipe.decoder is not None:
        train_decoder(run, recipe.decoder, guidance)


def resolved_denoiser(recipe: DenoiserRecipe, parts: ModelParts) -> DenoiserRecipe:
    """The recipe with the base's widths and number of steps."""
    config = parts.unet.config
    return dataclasses.replace(
        recipe,
        block_out_channels=tuple(config.block_out_channels),
        layers_per_block=config.layers_per_block,
        norm_num_groups=config.norm_num_groups,
        sampler_steps=parts.settings.get("default_steps", recipe.sampler_steps),
    )


def resolved_guidance(recipe: GuidanceRecipe, parts: ModelParts) -> GuidanceRecipe:
    """The recipe with what the base's guidance reads and how the base samples."""
    settings: dict[str, Any] = {
        name: parts.settings[name] for name in ("warp", "initial_noise", "turns") if name in parts.settings
    }
    if "default_steps" in parts.settings:
        settings["sampler_steps"] = parts.settings["default_steps"]
    if parts.guidance is not None:
        settings |= {name: parts.guidance.config[name] for name in GUIDANCE_READS}
    return dataclasses.replace(recipe, **settings)
