"""A model folder from trained parts: diffusers' layout, half precision, safetensors, with a model card.

model_index.json  README.md  unet/  guidance/  vae/  scheduler/  training/ (the resolved recipes)

The parts are those of a run's folder: the finished ones, or the averaged weights of the newest checkpoint.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import diffusers
import torch
from safetensors import SafetensorError
from torch import nn

from dgafvsr.errors import OutputError, UsageError
from dgafvsr.flow.estimator import FlowEstimatorName
from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.models.checkpoints import load_guidance, load_parts, resolve_folder
from dgafvsr.models.guided_unet import GuidedUNet
from dgafvsr.models.weights import load_network, read_json
from dgafvsr.sampling.noise import InitialNoise
from dgafvsr.sampling.ogwm import Convention
from dgafvsr.sampling.sweeps import Turns
from dgafvsr.training.base_model import make_base_guidance
from dgafvsr.training.checkpoints import check_names, latest_checkpoint, load_checkpoint
from dgafvsr.training.model_card import ModelCard, read_budget
from dgafvsr.training.overrides import recipe_from_json
from dgafvsr.training.own_model import make_denoiser, make_guidance, make_scheduler
from dgafvsr.training.recipe_types import BaseGuidanceRecipe, DecoderRecipe, DenoiserRecipe, GuidanceRecipe
from dgafvsr.training.runs import make_readable
from dgafvsr.training.stage_decoder import grow
from dgafvsr.training.stage_guidance import GuidanceNetwork
from dgafvsr.video.atomic import publish_folder

__all__ = ["ModelFolder", "export_run", "write_model"]

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """Everything that a model folder holds."""

    parts: Mapping[str, Any]
    """Networks by the name of their folder; written in half precision."""

    scheduler: Any
    """A diffusers scheduler."""

    warp: Convention
    """The convention that the guidance was trained with."""

    default_steps: int
    """Sampling steps when the user names none."""

    initial_noise: InitialNoise
    """How frames start when the user does not say."""

    turns: Turns
    """Whether the first frame of a sweep is guided."""

    card: str
    """Text of README.md."""

    flow: FlowEstimatorName = "dis"

    recipes: Mapping[str, Path] = field(default_factory=dict)
    """Resolved recipes by stage, kept with the model."""

    copied: Path | None = None
    """A model folder whose other parts (of a base that was not trained) are copied as they are."""


def export_run(run: Path, folder: Path, *, licence: str | None = None) -> Path:
    """The model folder of a run, finished or not.

    Args:
        run: output folder of a recipe.
        folder: receives the model; an older model there is replaced.
        licence: of the weights, for the card.

    Returns:
        `folder`.

    Raises:
        UsageError: the run has no part that could be exported yet.
        OutputError: the folder holds something that is no model, or cannot be written.
    """
    recipes = {stage: run / stage / "recipe.json" for stage in ("autoencoder", "denoiser", "guidance", "decoder")}
    recipes = {stage: file for stage, file in recipes.items() if file.is_file()}
    document = read_json(recipes["guidance"]) if "guidance" in recipes else {}
    model = _base_model(run, document, licence) if "base" in document else _own_model(run, document, licence)
    write_model(folder, replace(model, recipes=recipes))
    return folder


def _own_model(run: Path, document: Mapping[str, Any], licence: str | None) -> ModelFolder:
    if not (run / "autoencoder" / "result").is_dir():
        raise UsageError(f"{run} has no finished autoencoder", remedy="train it first, or name a run's own folder")
    autoencoder = _autoencoder(run)
    found = read_json(run / "denoiser" / "recipe.json") if (run / "denoiser" / "recipe.json").is_file() else None
    if found is None:
        raise UsageError(f"{run} has no denoiser yet", remedy="go on with its training first")
    denoiser_recipe = recipe_from_json(DenoiserRecipe, found)
    denoiser = _finished_or_average(
        run / "denoiser", make_denoiser(denoiser_recipe, autoencoder.config.latent_channels), GuidedUNet
    )
    if denoiser is None:
        raise UsageError(f"{run} has no checkpoint of its denoiser yet", remedy="go on with its training first")
    parts: dict[str, Any] = {"unet": denoiser, "vae": autoencoder}
    recipe = recipe_from_json(GuidanceRecipe, document) if document else None
    if recipe is not None and recipe.rescaling != "nearest":
        raise UsageError("a model folder has no setting for the warp's rescaling", got=recipe.rescaling)
    network = None if recipe is None else _guidance(run / "guidance", make_guidance(recipe, denoiser))
    if network is not None:
        parts["guidance"] = network
    card = ModelCard(name=run.resolve().name, parts=parts, budget=read_budget(run), licence=licence)
    return ModelFolder(
        parts=parts,
        scheduler=make_scheduler(),
        warp="released" if recipe is None else recipe.warp,
        default_steps=denoiser_recipe.sampler_steps if recipe is None else recipe.sampler_steps,
        initial_noise="independent" if recipe is None else recipe.initial_noise,
        turns="unguided" if recipe is None else recipe.turns,
        card=card.text(),
    )


def _autoencoder(run: Path) -> ResidualAutoencoder:
    """With its decoder finished, as far as that stage has come."""
    first = load_network(run / "autoencoder" / "result", ResidualAutoencoder, torch.float32)
    if not (run / "decoder" / "recipe.json").is_file():
        return first
    recipe = recipe_from_json(DecoderRecipe, read_json(run / "decoder" / "recipe.json"))
    grown = grow(first, detail_blocks=recipe.detail_blocks, fine_width=recipe.fine_width)
    return _finished_or_average(run / "decoder", grown, ResidualAutoencoder) or first


def _base_model(run: Path, document: Mapping[str, Any], licence: str | None) -> ModelFolder:
    recipe = recipe_from_json(BaseGuidanceRecipe, document)
    base = resolve_folder(recipe.base)
    parts = load_parts(base, with_guidance=False)
    network = _guidance(run / "guidance", make_base_guidance(recipe, parts))
    if network is None:
        raise UsageError(f"{run} has no checkpoint yet", remedy="go on with its training first")
    card = ModelCard(
        name=run.resolve().name, parts={"guidance": network}, budget=read_budget(run), licence=licence, base=recipe.base
    )
    return ModelFolder(
        parts={"guidance": network},
        scheduler=parts.scheduler,
        warp=recipe.warp,
        default_steps=recipe.sampler_steps,
        initial_noise="independent",
        turns="unguided",
        card=card.text(),
        flow=recipe.flow,
        copied=base,
    )


def _guidance(folder: Path, untrained: GuidanceNetwork) -> GuidanceNetwork | None:
    if (folder / "result").is_dir():
        return load_guidance(folder / "result")
    return _finished_or_average(folder, untrained, type(untrained))


def _finished_or_average(folder: Path, untrained: Network, kind: type[Network]) -> Network | None:
    """The stage's result, or the averaged weights of its newest checkpoint; None where nothing is learned yet."""
    if (folder / "result").is_dir():
        return load_network(folder / "result", kind, torch.float32)
    phases = (latest_checkpoint(folder / phase) for phase in ("texture", "sampler", "velocity", "."))
    path = next((path for path in phases if path is not None), None)
    if path is None:
        return None
    average = load_checkpoint(path).group("average")
    check_names(average, dict(untrained.named_parameters()), path)
    untrained.load_state_dict(average, strict=False)
    return untrained.eval()


def write_model(folder: Path, model: ModelFolder) -> None:
    """Write a model folder in float16; it appears complete or not at all. An older model there is replaced.

    At every moment one of the two is complete: a process that is killed while they change places leaves the older one
    as `.NAME.dgafvsr-old` beside. The networks are converted copies: those passed in keep their type.

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
        for name, network in model.parts.items():
            _save_half(network, partial / name)
        model.scheduler.save_pretrained(partial / "scheduler")
        copied = _copy_others(model, partial)
        for stage, recipe in model.recipes.items():
            (partial / "training").mkdir(exist_ok=True)
            shutil.copyfile(recipe, partial / "training" / f"{stage}.json")
        (partial / "model_index.json").write_text(json.dumps(_index(model, copied), indent=2) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(model.card, encoding="utf-8")
        publish_folder(partial, folder, aside=folder.with_name(f".{folder.name}.dgafvsr-old"))
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(f"the model cannot be written to {folder}", got=error) from error


def _copy_others(model: ModelFolder, target: Path) -> dict[str, Any]:
    """Copy the base's own parts; their entries of its model_index.json."""
    if model.copied is None:
        return {}
    index = read_json(model.copied / "model_index.json")
    others = {name: entry for name, entry in index.items() if name in _BASE_PARTS and (model.copied / name).is_dir()}
    for name in others:
        shutil.copytree(model.copied / name, target / name)
    return others


_BASE_PARTS = ("unet", "vae", "text_encoder", "tokenizer", "low_res_scheduler")


def _save_half(network: Any, folder: Path) -> None:
    half = type(network).from_config(network.config)
    half.load_state_dict(network.state_dict())
    half.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    make_readable(folder)


def _index(model: ModelFolder, copied: Mapping[str, Any]) -> dict[str, Any]:
    parts = {name: [type(network).__module__, type(network).__name__] for name, network in model.parts.items()}
    return {
        "_class_name": "DGAFVSRPipeline",
        "_diffusers_version": diffusers.__version__,
        "default_steps": model.default_steps,
        "flow": model.flow,
        "initial_noise": model.initial_noise,
        **dict(sorted({**copied, **parts}.items())),
        "scheduler": ["diffusers", type(model.scheduler).__name__],
        "turns": model.turns,
        "warp": model.warp,
    }
