"""A model folder from trained parts: diffusers' layout, half precision, safetensors, with a model card.

model_index.json  README.md  unet/  guidance/  vae/  scheduler/
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch

from dgafvsr.errors import OutputError
from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.guided_unet import GuidedUNet
from dgafvsr.sampling.noise import InitialNoise
from dgafvsr.sampling.ogwm import Convention

__all__ = ["ModelFolder", "model_card", "write_model"]


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """Everything that a model folder holds."""

    denoiser: GuidedUNet
    guidance: GuidanceUNet
    autoencoder: ResidualAutoencoder

    scheduler: Any
    """A diffusers scheduler."""

    warp: Convention
    """The convention that the guidance was trained with."""

    default_steps: int
    """Sampling steps when the user names none."""

    initial_noise: InitialNoise
    """How frames start when the user does not say."""

    card: str
    """Text of README.md."""


def write_model(folder: Path, model: ModelFolder) -> None:
    """Write a model folder in float16; it appears complete or not at all. An older model there is replaced.

    The networks are converted copies: those passed in keep their type.

    Raises:
        OutputError: the folder holds something that is no model, or cannot be written.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "model_index.json").is_file():
        raise OutputError(
            f"{folder} holds something else than a model", remedy="name an empty or new folder for the model"
        )
    partial = folder.with_name(folder.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, network in _networks(model).items():
            _save_half(network, partial / name)
        model.scheduler.save_pretrained(partial / "scheduler")
        (partial / "model_index.json").write_text(json.dumps(_index(model), indent=2) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(model.card, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except OSError as error:
        raise OutputError(f"the model cannot be written to {folder}", got=error) from error


def _networks(model: ModelFolder) -> dict[str, Any]:
    return {"unet": model.denoiser, "guidance": model.guidance, "vae": model.autoencoder}


def _save_half(network: Any, folder: Path) -> None:
    half = type(network).from_config(network.config)
    half.load_state_dict(network.state_dict())
    half.to(torch.float16).save_pretrained(folder, safe_serialization=True)


def _index(model: ModelFolder) -> dict[str, Any]:
    parts = {
        name: [type(network).__module__, type(network).__name__] for name, network in sorted(_networks(model).items())
    }
    return {
        "_class_name": "DGAFVSRPipeline",
        "_diffusers_version": diffusers.__version__,
        "default_steps": model.default_steps,
        "flow": "dis",
        "initial_noise": model.initial_noise,
        **parts,
        "scheduler": ["diffusers", type(model.scheduler).__name__],
        "warp": model.warp,
    }


def model_card(*, name: str, training: dict[str, str], parameters: dict[str, int], notes: str) -> str:
    """Text of a model's README.md.

    Args:
        name: of the model.
        training: what was done in each stage, by the stage's name.
        parameters: number of parameters by the part's name.
        notes: paragraphs on data, licence and quality.
    """
    sizes = "\n".join(f"| {part} | {count / 1e6:.2f} M |" for part, count in parameters.items())
    stages = "\n".join(f"| {stage} | {text} |" for stage, text in training.items())
    return (
        f"# {name}\n\n"
        "A small model for `dgafvsr`: x4 video super-resolution by latent diffusion with dense guidance from aligned\n"
        "features (DGAF-VSR, arXiv 2511.16928). It needs no text encoder and no flow network.\n\n"
        f"| part | parameters |\n|---|---|\n{sizes}\n\n"
        f"## Training\n\n| stage | done |\n|---|---|\n{stages}\n\n{notes.strip()}\n"
    )
