"""Follows a recipe: builds networks and data, trains the stages that are not finished, keeps their results.

    output/autoencoder/      recipe.json  checkpoint.safetensors  losses.jsonl  result/
    output/denoiser/         recipe.json  velocity/  sampler/  result/
    output/guidance/         recipe.json  velocity/  sampler/  result/
    output/model/            the finished model folder

A stage with a `result` is finished and never trained again.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import nn

from dgafvsr.errors import UsageError
from dgafvsr.flow.estimator import create_flow_estimator
from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.guided_unet import GuidedUNet
from dgafvsr.models.weights import load_network
from dgafvsr.training.data.clips import ClipLibrary
from dgafvsr.training.data.photos import PhotoLibrary
from dgafvsr.training.data.samples import PictureSamples, SequenceSamples
from dgafvsr.training.export import ModelFolder, model_card, write_model
from dgafvsr.training.objective import Diffusion
from dgafvsr.training.recipes import AutoencoderRecipe, DenoiserRecipe, GuidanceRecipe, ModelRecipe, Recipe
from dgafvsr.training.stage_autoencoder import AutoencoderStage, measure_latents
from dgafvsr.training.stage_denoiser import DenoiserStage, SamplerStage
from dgafvsr.training.stage_guidance import GuidanceStage, GuidedSamplerStage
from dgafvsr.training.trainer import Listener, Stage, TrainerConfig, train

__all__ = ["OutOfTimeError", "Run", "make_scheduler"]

Network = TypeVar("Network", bound=nn.Module)


class OutOfTimeError(Exception):
    """The time budget ended; everything is saved. Never leaves this room."""


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


class Run:
    """One call of `recipes.run`.

    Args:
        data: folder with `photos` and, optionally, `videos`.
        output: the run's folder.
        max_minutes: budget, or None.
        listener: told the losses, or None.
    """

    def __init__(
        self, *, data: Path, output: Path, max_minutes: float | None = None, listener: Listener | None = None
    ) -> None:
        self.output, self.listener = output, listener
        self.photos = PhotoLibrary(data / "photos")
        self.clips = ClipLibrary(data / "videos")
        self._deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes

    def follow(self, recipe: Recipe) -> Path:
        """Train what the recipe says: the finished part's folder, or the run's folder if the time was up."""
        try:
            if isinstance(recipe, AutoencoderRecipe):
                return self.autoencoder(recipe)
            if isinstance(recipe, DenoiserRecipe):
                return self.denoiser(recipe)
            if isinstance(recipe, GuidanceRecipe):
                return self.guidance(recipe)
            return self.model(recipe)
        except OutOfTimeError:
            return self.output

    def autoencoder(self, recipe: AutoencoderRecipe) -> Path:
        """Stage 1; the latents' statistics are measured at its end and become part of the network."""
        folder = self._begin("autoencoder", recipe)
        result = folder / "result"
        if result.exists():
            return result
        shape = {
            "width": recipe.width,
            "encoder_blocks": recipe.encoder_blocks,
            "decoder_blocks": recipe.decoder_blocks,
            "detail_width": recipe.detail_width,
        }
        with _seeded(recipe.trainer.seed):
            network = ResidualAutoencoder(**shape)
        data = self._pictures(recipe, recipe.trainer.seed)
        self._train(AutoencoderStage(network, data, recipe.loss), recipe.trainer, folder, "autoencoder")
        mean, std = measure_latents(network, data)
        network.register_to_config(latents_mean=mean, latents_std=std)
        return _save(network, result)

    def denoiser(self, recipe: DenoiserRecipe) -> Path:
        """Stage 2."""
        folder = self._begin("denoiser", recipe)
        result = folder / "result"
        if result.exists():
            return result
        codec = self._load("autoencoder", ResidualAutoencoder)
        with _seeded(recipe.velocity.seed):
            network = _make_denoiser(recipe, codec.config.latent_channels)
        diffusion = Diffusion.of(make_scheduler(), recipe.sampler_steps)
        data = self._pictures(recipe, recipe.velocity.seed)
        self._phase(
            network,
            recipe.velocity,
            folder / "velocity",
            lambda: DenoiserStage(network, codec, diffusion, data, sampler_share=recipe.sampler_share),
        )
        if recipe.sampler is not None:
            other = self._pictures(recipe, recipe.sampler.seed)
            self._phase(
                network,
                recipe.sampler,
                folder / "sampler",
                lambda: SamplerStage(network, codec, diffusion, other, recipe.sampler_loss),
            )
        return _save(network, result)

    def guidance(self, recipe: GuidanceRecipe) -> Path:
        """Stage 3."""
        folder = self._begin("guidance", recipe)
        result = folder / "result"
        if result.exists():
            return result
        codec = self._load("autoencoder", ResidualAutoencoder)
        denoiser = self._load("denoiser", GuidedUNet)
        network = GuidanceUNet.from_denoiser(denoiser, codec.config.latent_channels)
        diffusion = Diffusion.of(make_scheduler(), recipe.sampler_steps)
        flow = create_flow_estimator("dis")
        pairs = SequenceSamples(self.photos, self.clips, flow, recipe.pairs, seed=recipe.velocity.seed)
        self._phase(
            network,
            recipe.velocity,
            folder / "velocity",
            lambda: GuidanceStage(
                network,
                denoiser,
                codec,
                diffusion,
                pairs,
                convention=recipe.warp,
                shared_noise_share=recipe.shared_noise_share,
                sampler_share=recipe.sampler_share,
            ),
        )
        if recipe.sampler is not None:
            longer = SequenceSamples(self.photos, self.clips, flow, recipe.sequences, seed=recipe.sampler.seed)
            self._phase(
                network,
                recipe.sampler,
                folder / "sampler",
                lambda: GuidedSamplerStage(
                    network, denoiser, codec, diffusion, longer, recipe.sampler_loss, convention=recipe.warp
                ),
            )
        return _save(network, result)

    def model(self, recipe: ModelRecipe) -> Path:
        """All stages, then the model folder."""
        self.autoencoder(recipe.autoencoder)
        self.denoiser(recipe.denoiser)
        self.guidance(recipe.guidance)
        return self.export(recipe)

    def export(self, recipe: ModelRecipe) -> Path:
        """The model folder of the stages that are finished."""
        parts: dict[str, Any] = {
            "vae": self._load("autoencoder", ResidualAutoencoder),
            "unet": self._load("denoiser", GuidedUNet),
            "guidance": self._load("guidance", GuidanceUNet),
        }
        folder = self.output / "model"
        card = model_card(
            name=self.output.name,
            training=describe(recipe),
            parameters={name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
            notes=f"Trained on {len(self.photos)} photographs and {len(self.clips)} clips.",
        )
        model = ModelFolder(
            denoiser=parts["unet"],
            guidance=parts["guidance"],
            autoencoder=parts["vae"],
            scheduler=make_scheduler(),
            warp=recipe.guidance.warp,
            default_steps=recipe.guidance.sampler_steps,
            initial_noise=recipe.guidance.initial_noise,
            card=card,
        )
        with _one_process() as first:
            if first:
                write_model(folder, model)
        return folder

    def _pictures(self, recipe: AutoencoderRecipe | DenoiserRecipe, seed: int) -> PictureSamples:
        return PictureSamples(self.photos, side=recipe.side, fault_share=recipe.fault_share, seed=seed)

    def _begin(self, name: str, recipe: Recipe) -> Path:
        """The stage's folder, with its resolved recipe; refuses to mix two recipes in one folder."""
        folder = self.output / name
        file = folder / "recipe.json"
        resolved = json.loads(json.dumps(dataclasses.asdict(recipe)))
        if file.exists():
            found = json.loads(file.read_text(encoding="utf-8"))
            if found != resolved:
                raise UsageError(
                    f"{folder} holds a run with other settings",
                    got=", ".join(sorted(key for key in resolved if found.get(key) != resolved[key])),
                    remedy="choose another output folder, or repeat the settings of the first call",
                )
            return folder
        with _one_process() as first:
            if first:
                folder.mkdir(parents=True, exist_ok=True)
                partial = file.with_suffix(".partial")
                partial.write_text(json.dumps(resolved, indent=2) + "\n", encoding="utf-8")
                os.replace(partial, file)
        return folder

    def _load(self, name: str, network: type[Network]) -> Network:
        folder = self.output / name / "result"
        if not folder.exists():
            raise UsageError(
                f"the stage {name} is not finished in {self.output}",
                remedy=f"train it first with the same output folder: recipe {name}-tiny, or tiny for all stages",
            )
        return load_network(folder, network, torch.float32)

    def _phase(self, network: nn.Module, config: TrainerConfig, folder: Path, make: Callable[[], Stage]) -> None:
        """Train one phase of a stage on the weights that the phase before left in `network`."""
        network.requires_grad_(True)
        self._train(make(), config, folder, "/".join(folder.parts[-2:]))

    def _train(self, stage: Stage, config: TrainerConfig, folder: Path, name: str) -> None:
        minutes = None if self._deadline is None else (self._deadline - time.monotonic()) / 60
        if minutes is not None and minutes <= 0:
            raise OutOfTimeError
        done = train(stage, config, folder=folder, name=name, max_minutes=minutes, listener=self.listener)
        if not done.finished:
            raise OutOfTimeError


def describe(recipe: ModelRecipe) -> dict[str, str]:
    """One line a training phase, for the model card."""
    phases = {
        "autoencoder": recipe.autoencoder.trainer,
        "denoiser, v": recipe.denoiser.velocity,
        "denoiser, unrolled sampler": recipe.denoiser.sampler,
        "guidance, v": recipe.guidance.velocity,
        "guidance, unrolled sampler": recipe.guidance.sampler,
    }
    return {
        name: f"{config.steps} steps of {config.batch_size}, AdamW {config.learning_rate:g}"
        for name, config in phases.items()
        if config is not None
    }


def _make_denoiser(recipe: DenoiserRecipe, latent_channels: int) -> GuidedUNet:
    levels = len(recipe.block_out_channels)
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


def _save(network: Any, folder: Path) -> Path:
    """Save a finished part; the folder appears complete or not at all."""
    with _one_process() as first:
        if first:
            partial = folder.with_name(folder.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            network.to(memory_format=torch.contiguous_format).save_pretrained(partial, safe_serialization=True)
            partial.rename(folder)
    return folder


@contextmanager
def _one_process() -> Iterator[bool]:
    """True in the process that writes; the others wait until it has."""
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    yield state.is_main_process
    state.wait_for_everyone()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Initial weights from a seed, leaving torch's global generator as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
