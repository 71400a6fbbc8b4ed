"""Our own small models, stage by stage: autoencoder, denoiser, guidance network, decoder."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from dgafvsr.flow.estimator import create_flow_estimator
from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.models.checkpoints import load_guidance
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.guided_unet import GuidedUNet
from dgafvsr.sampling.ogwm import OGWM
from dgafvsr.training.data.samples import PictureSamples, SequenceSettings
from dgafvsr.training.objective import Diffusion
from dgafvsr.training.recipe_types import AutoencoderRecipe, DecoderRecipe, DenoiserRecipe, GuidanceRecipe
from dgafvsr.training.runs import Run, seeded
from dgafvsr.training.stage_autoencoder import AutoencoderStage, measure_latents
from dgafvsr.training.stage_decoder import DecoderStage, grow
from dgafvsr.training.stage_denoiser import DenoiserStage, SamplerStage
from dgafvsr.training.stage_guidance import GuidanceNetwork, GuidanceStage, GuidedSamplerStage, Surroundings

__all__ = [
    "make_autoencoder",
    "make_denoiser",
    "make_guidance",
    "make_scheduler",
    "train_autoencoder",
    "train_decoder",
    "train_denoiser",
    "train_guidance",
    "train_guidance_phases",
]

CONDITION_WIDTHS = (16, 32, 64)
"""Of a small ControlNet's condition embedding; each after the first halves the side."""


def make_scheduler() -> DDIMScheduler:
    """Our own models' sampler: DDIM, v-prediction, zero terminal SNR, so that few steps start from pure noise."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


def make_autoencoder(recipe: AutoencoderRecipe) -> ResidualAutoencoder:
    """The untrained autoencoder."""
    with seeded(recipe.trainer.seed):
        return ResidualAutoencoder(
            width=recipe.width,
            encoder_blocks=recipe.encoder_blocks,
            decoder_blocks=recipe.decoder_blocks,
            detail_width=recipe.detail_width,
        )


def make_denoiser(recipe: DenoiserRecipe, latent_channels: int) -> GuidedUNet:
    """The untrained D_U."""
    levels = len(recipe.block_out_channels)
    with seeded(_seed(recipe)):
        return GuidedUNet(
            in_channels=latent_channels + 3,
            out_channels=latent_channels,
            block_out_channels=recipe.block_out_channels,
            down_block_types=("DownBlock2D",) * levels,
            mid_block_type="UNetMidBlock2D",
            up_block_types=("UpBlock2D",) * levels,
            layers_per_block=recipe.layers_per_block,
            norm_num_groups=recipe.norm_num_groups,
            only_cross_attention=False,
        )


def _seed(recipe: DenoiserRecipe | GuidanceRecipe) -> int:
    """Of the initial weights: the first phase's."""
    return next((phase.seed for phase in (recipe.velocity, recipe.sampler) if phase is not None), 0)


def make_guidance(recipe: GuidanceRecipe, denoiser: GuidedUNet) -> GuidanceNetwork:
    """The guidance network of this denoiser; it leaves the denoiser as it is until it has learned."""
    if recipe.domain == "pixels":
        with seeded(_seed(recipe)):
            return ControlNetModel.from_unet(denoiser, conditioning_embedding_out_channels=CONDITION_WIDTHS)  # type: ignore[no-any-return]
    return GuidanceUNet.from_denoiser(
        denoiser,
        denoiser.config.out_channels,
        dense=recipe.dense,
        zero_condition=recipe.zero_condition,
        aligned_lr=recipe.aligned_lr,
        reliability=recipe.reliability,
    )


def train_autoencoder(run: Run, recipe: AutoencoderRecipe) -> Path:
    """Stage 1; the latents' statistics are measured at its end and become part of the network."""
    folder = run.begin("autoencoder", recipe)
    result = folder / "result"
    if result.exists():
        return result
    network = make_autoencoder(recipe)
    data = run.pictures(recipe, seed=recipe.trainer.seed)
    run.phase(network, recipe.trainer, folder, lambda: AutoencoderStage(network, data, recipe.loss))
    mean, std = measure_latents(network, data)
    network.register_to_config(latents_mean=mean, latents_std=std)
    return run.save(network, result)


def train_denoiser(run: Run, recipe: DenoiserRecipe, start: GuidedUNet | None = None) -> Path:
    """Stage 2.

    Args:
        run: has a finished autoencoder.
        recipe: phases and, without `start`, widths.
        start: a network that goes on learning; None makes one.
    """
    run.need("autoencoder")
    folder = run.begin("denoiser", recipe)
    result = folder / "result"
    if result.exists():
        return result
    codec = run.load("autoencoder", ResidualAutoencoder)
    network = start or make_denoiser(recipe, codec.config.latent_channels)
    diffusion = Diffusion.of(make_scheduler(), recipe.sampler_steps)

    def material(seed: int) -> PictureSamples:
        return run.pictures(recipe, seed=seed)

    if (velocity := recipe.velocity) is not None:
        data = material(velocity.seed)
        share = recipe.sampler_share
        stage = partial(DenoiserStage, network, codec, diffusion, data, sampler_share=share)
        run.phase(network, velocity, folder / "velocity", stage)
    finishing = (("sampler", recipe.sampler, recipe.sampler_loss), ("texture", recipe.texture, recipe.texture_loss))
    for name, config, loss in finishing:
        if config is not None:
            finish = partial(SamplerStage, network, codec, diffusion, material(config.seed), loss)
            run.phase(network, config, folder / name, finish)
    return run.save(network, result)


def train_guidance(run: Run, recipe: GuidanceRecipe, start: GuidanceNetwork | None = None) -> Path:
    """Stage 3.

    Args:
        run: has a finished denoiser.
        recipe: phases, and what the network reads.
        start: a network that goes on learning; None makes one from the denoiser.
    """
    run.need("denoiser")
    folder = run.begin("guidance", recipe)
    result = folder / "result"
    if result.exists():
        return result
    denoiser = run.load("denoiser", GuidedUNet)
    around = _surroundings(recipe, denoiser, run.load("autoencoder", ResidualAutoencoder))
    network = start or make_guidance(recipe, denoiser)
    train_guidance_phases(run, recipe, network, around, folder)
    return run.save(network, result)


def train_guidance_phases(
    run: Run, recipe: GuidanceRecipe, network: GuidanceNetwork, around: Surroundings, folder: Path
) -> None:
    """The authors' step, then the unrolled guided sampler."""
    if (velocity := recipe.velocity) is not None:
        pairs = run.sequences(_read_by(recipe, recipe.pairs), around.flow, seed=velocity.seed)
        stage = partial(
            GuidanceStage,
            network,
            around,
            pairs,
            shared_noise_share=recipe.shared_noise_share,
            transported_noise_share=recipe.transported_noise_share,
            sampler_share=recipe.sampler_share,
            guided_neighbor_share=recipe.guided_neighbor_share,
        )
        run.phase(network, velocity, folder / "velocity", stage)
    if (finish := recipe.sampler) is not None:
        sequences = run.sequences(_read_by(recipe, recipe.sequences), around.flow, seed=finish.seed)
        run.phase(
            network,
            finish,
            folder / "sampler",
            partial(GuidedSamplerStage, network, around, sequences, recipe.sampler_loss),
        )


def train_decoder(run: Run, recipe: DecoderRecipe, guidance: GuidanceRecipe) -> Path:
    """Stage 4: the autoencoder with its decoder finished; the first stage's result stays as it is.

    Args:
        run: has a finished guidance network.
        recipe: of this stage.
        guidance: of the guidance network.
    """
    run.need("guidance")
    folder = run.begin("decoder", recipe)
    result = folder / "result"
    if result.exists():
        return result
    before = run.load("autoencoder", ResidualAutoencoder)
    with seeded(recipe.trainer.seed):
        network = grow(before, detail_blocks=recipe.detail_blocks, fine_width=recipe.fine_width)
    around = _surroundings(guidance, run.load("denoiser", GuidedUNet), network)
    guide = load_guidance(run.output / "guidance" / "result")
    pairs = run.sequences(_read_by(guidance, recipe.pairs), around.flow, seed=recipe.trainer.seed)
    run.phase(network, recipe.trainer, folder, partial(DecoderStage, network, guide, around, pairs, recipe.loss))
    return run.save(network, result)


def _read_by(recipe: GuidanceRecipe, sequences: SequenceSettings) -> SequenceSettings:
    """The sequences with what the guidance network reads of their flow."""
    return dataclasses.replace(sequences, reliability=sequences.reliability or recipe.reliability)


def _surroundings(recipe: GuidanceRecipe, denoiser: GuidedUNet, autoencoder: ResidualAutoencoder) -> Surroundings:
    return Surroundings(
        denoiser=denoiser,
        autoencoder=autoencoder,
        diffusion=Diffusion.of(make_scheduler(), recipe.sampler_steps),
        flow=create_flow_estimator("dis"),
        ogwm=OGWM(convention=recipe.warp, rescaling=recipe.rescaling),
        initial_noise=recipe.initial_noise,
        turns=recipe.turns,
    )
