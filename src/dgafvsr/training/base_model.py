"""A guidance network for a published upscaler (SD-x4's or StableVSR's layout): the paper's own training.

The base's denoiser, VAE and text encoder stay frozen; the prompt is constant, so its embedding is computed once and the
text encoder is not kept. FM's flow is estimated on each batch where the network trains, as RAFT needs a GPU.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel

from dgafvsr.errors import ModelError
from dgafvsr.flow.estimator import create_flow_estimator
from dgafvsr.models.checkpoints import ModelParts, load_parts, resolve_folder
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.prompt import embed_prompt
from dgafvsr.sampling.ogwm import OGWM
from dgafvsr.training.objective import Condition, Diffusion
from dgafvsr.training.recipe_types import BaseGuidanceRecipe
from dgafvsr.training.runs import FramesOnly, Run, seeded
from dgafvsr.training.stage_guidance import GuidanceNetwork, GuidanceStage, Surroundings

__all__ = ["make_base_guidance", "train_base_guidance"]


def make_base_guidance(recipe: BaseGuidanceRecipe, parts: ModelParts) -> GuidanceNetwork:
    """The guidance network of the base's denoiser; it leaves the denoiser as it is until it has learned.

    Raises:
        ModelError: the base is of a kind that cannot be guided.
    """
    if recipe.domain == "features":
        return GuidanceUNet.from_denoiser(
            parts.unet,
            zero_condition=recipe.zero_condition,
            aligned_lr=recipe.aligned_lr,
            reliability=recipe.reliability,
        )
    if len(recipe.condition_widths) != 3:
        raise ModelError(
            "the ControlNet's condition has to come down to a quarter of its side",
            got=f"condition_widths {recipe.condition_widths}",
            expected="three widths",
        )
    with seeded(recipe.velocity.seed):
        return ControlNetModel.from_unet(  # type: ignore[no-any-return]
            parts.unet, conditioning_embedding_out_channels=recipe.condition_widths
        )


def train_base_guidance(run: Run, recipe: BaseGuidanceRecipe) -> Path:
    """Train the guidance network; the base's folder is only read.

    Raises:
        ModelError: the base is missing, damaged or of another kind.
    """
    base = resolve_folder(recipe.base)
    folder = run.begin("guidance", recipe)
    result = folder / "result"
    if result.exists():
        return result
    run.minutes_left_together()
    parts = load_parts(base, with_guidance=False)
    around = _surroundings(recipe, parts)
    network = make_base_guidance(recipe, parts)
    run.phase(
        network,
        recipe.velocity,
        folder / "velocity",
        lambda: GuidanceStage(
            network,
            around,
            FramesOnly(run, recipe.pairs, seed=recipe.velocity.seed),
            shared_noise_share=recipe.shared_noise_share,
            transported_noise_share=recipe.transported_noise_share,
            sampler_share=recipe.sampler_share,
            guided_neighbor_share=recipe.guided_neighbor_share,
        ),
    )
    return run.save(network, result)


def _surroundings(recipe: BaseGuidanceRecipe, parts: ModelParts) -> Surroundings:
    prompt = None if parts.text_encoder is None else embed_prompt(parts.text_encoder, parts.tokenizer)
    labelled = parts.unet.config.num_class_embeds is not None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Surroundings(
        denoiser=parts.unet,
        autoencoder=parts.vae,
        diffusion=Diffusion.of(parts.scheduler, recipe.sampler_steps),
        flow=create_flow_estimator(recipe.flow, device=device),
        ogwm=OGWM(convention=recipe.warp),
        condition=Condition(prompt_embeds=prompt, noise_level=recipe.noise_level if labelled else None),
        encode_batch=recipe.encode_batch,
    )
