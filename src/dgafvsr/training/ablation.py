"""The paper's ablation, and ours: guidance networks that differ in one thing, trained alike around frozen networks.

    bicubic-sparse, nearest-sparse, bicubic-dense, nearest-dense    the paper's cases 1 to 4; the last is the method
    centered         the unbiased warp convention
    zero             control: the condition is zeros, so what is gained is capacity, not guidance
    guided-neighbor  the neighbour's x0 is guided in 70 % of the steps, as it is in sampling
    aligned-lr       G_U also sees the aligned LR frame, which shows where the flow is wrong
    stablevsr        pixel guidance: decoded estimate, warped at full size, ControlNet

All arms see the same samples, noise and timesteps in the same order. `sparse` leaves out the residuals of D_U's
decoder: encoder-only guidance.

    output/arms/ARM/...      a stage's folder each
    output/arms/ARM/frames/  the validation clips as this arm shows them
    output/table.md, .json   the table of the arms of the last call; none while one of them is not finished
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from dgafvsr.errors import UsageError
from dgafvsr.evaluation.metrics import MetricName
from dgafvsr.evaluation.report import save_report
from dgafvsr.flow.estimator import create_flow_estimator
from dgafvsr.models.checkpoints import ModelParts, load_guidance, load_parts, resolve_folder
from dgafvsr.sampling.ogwm import OGWM
from dgafvsr.training.objective import Diffusion
from dgafvsr.training.own_model import make_guidance, train_guidance_phases
from dgafvsr.training.recipe_types import AblationRecipe, GuidanceRecipe
from dgafvsr.training.runs import OutOfTimeError, Run, one_process
from dgafvsr.training.stage import ClipSampler
from dgafvsr.training.stage_guidance import Surroundings
from dgafvsr.training.validation import bicubic_sampler, load_clips, sample_clips, score_samplers

__all__ = ["ARMS", "arm_recipe", "train_ablation"]

ARMS: Mapping[str, Mapping[str, Any]] = {
    "bicubic-sparse": {"rescaling": "bicubic", "dense": False},
    "nearest-sparse": {"dense": False},
    "bicubic-dense": {"rescaling": "bicubic"},
    "nearest-dense": {},
    "centered": {"warp": "centered"},
    "zero": {"zero_condition": True},
    "guided-neighbor": {"guided_neighbor_share": 0.7},
    "aligned-lr": {"aligned_lr": True},
    "reliability": {"reliability": True},
    "stablevsr": {"domain": "pixels"},
}
"""What each arm changes of the shared recipe."""

TABLES = (".md", ".json")
"""In the order in which they are written: what the second shows, the first shows too."""

METRICS: tuple[MetricName, ...] = ("psnr", "ssim", "lpips", "dists", "tlpips", "tof")


def arm_recipe(recipe: AblationRecipe, arm: str) -> GuidanceRecipe:
    """The shared recipe with what the arm changes.

    Raises:
        UsageError: there is no such arm.
    """
    if arm not in ARMS:
        raise UsageError(f"the ablation has no arm {arm}", expected=", ".join(ARMS))
    return dataclasses.replace(recipe.guidance, **ARMS[arm])


def train_ablation(run: Run, recipe: AblationRecipe) -> Path:
    """Train the arms that are not finished, one after the other, then sample, score and write the table.

    Returns:
        The table, `output`/table.md.

    Raises:
        UsageError: an unknown arm, or there are no validation clips to make the table on.
        OutOfTimeError: the budget ended before the table was made.
    """
    recipes = {arm: arm_recipe(recipe, arm) for arm in recipe.arms}
    if run.val is None:
        raise UsageError("the ablation's table needs validation clips", remedy="name them with --val")
    base = resolve_folder(recipe.base)
    run.begin("ablation", recipe)
    parts = load_parts(base, with_guidance=False)
    with one_process() as first:
        if first and _shown(run.output) != {"bicubic", *recipes, "off"}:
            _remove_table(run.output)
    samplers: dict[str, ClipSampler] = {"bicubic": bicubic_sampler}
    for arm, own in recipes.items():
        samplers[arm] = _train_arm(run, own, parts, arm)
    around = _surroundings(recipe.guidance, parts)
    samplers["off"] = around.rollout(None)
    with one_process() as first:
        if first:
            _make_table(run, recipe, samplers)
    table = run.output / "table.md"
    if not table.exists():
        raise OutOfTimeError
    return table


def _surroundings(recipe: GuidanceRecipe, parts: ModelParts) -> Surroundings:
    return Surroundings(
        denoiser=parts.unet,
        autoencoder=parts.vae,
        diffusion=Diffusion.of(parts.scheduler, recipe.sampler_steps),
        flow=create_flow_estimator("dis"),
        ogwm=OGWM(convention=recipe.warp, rescaling=recipe.rescaling),
        initial_noise=recipe.initial_noise,
        turns=recipe.turns,
    )


def _train_arm(run: Run, recipe: GuidanceRecipe, parts: ModelParts, arm: str) -> ClipSampler:
    """The finished arm as a model."""
    folder = run.begin(f"arms/{arm}", recipe)
    result, around = folder / "result", _surroundings(recipe, parts)
    if not result.exists():
        network = make_guidance(recipe, parts.unet)
        train_guidance_phases(run, recipe, network, around, folder)
        run.save(network, result)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for part in (around.denoiser, around.autoencoder):
        part.to(device)
    return around.rollout(around.guidance(load_guidance(result).to(device)))


def _make_table(run: Run, recipe: AblationRecipe, samplers: Mapping[str, ClipSampler]) -> None:
    """Sample what is not there yet, score, and write the table; leaves none when the time is up."""
    assert run.val is not None
    clips = load_clips(run.val, recipe.scoring)
    folders = {name: run.output / "arms" / name / "frames" for name in samplers}
    for name, sampler in samplers.items():
        if not sample_clips(sampler, clips, folders[name], stop=_time_is_up(run)):
            _remove_table(run.output)
            return
    result = score_samplers(folders, clips, run.output / "truth", METRICS)
    for suffix in TABLES:
        save_report(result, run.output / f"table{suffix}", overwrite=True)


def _shown(output: Path) -> set[str]:
    """The samplers of the table that is there; empty where there is none, or a damaged one."""
    try:
        return set(json.loads((output / "table.json").read_text(encoding="utf-8"))["methods"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _remove_table(output: Path) -> None:
    for suffix in TABLES:
        (output / f"table{suffix}").unlink(missing_ok=True)


def _time_is_up(run: Run) -> Callable[[], bool]:
    def ask() -> bool:
        try:
            run.minutes_left()
        except OutOfTimeError:
            return True
        return False

    return ask
