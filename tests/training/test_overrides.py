from __future__ import annotations

import dataclasses

import pytest

from dgafvsr.errors import UsageError
from dgafvsr.training.overrides import differences, recipe_from_json, recipe_to_json, with_overrides
from dgafvsr.training.recipe_types import GuidanceRecipe, ModelRecipe
from dgafvsr.training.recipes import RECIPES, TINY
from dgafvsr.training.settings import TrainerConfig


def test_overrides_replace_one_field_and_leave_the_original():
    changed = with_overrides(TINY, {"guidance.sampler": None, "autoencoder.loss.latent_noise": 0})
    assert changed.guidance.sampler is None
    assert changed.autoencoder.loss.latent_noise == 0.0
    assert changed.denoiser == TINY.denoiser
    assert TINY.guidance.sampler is not None


def test_what_was_left_out_can_be_put_in():
    without = with_overrides(TINY, {"denoiser.sampler": None, "denoiser.velocity.micro_batch": 4})
    assert without.denoiser.velocity.micro_batch == 4
    again = with_overrides(without, {"denoiser.sampler": {"steps": 5, "batch_size": 2, "learning_rate": 1e-4}})
    assert again.denoiser.sampler == TrainerConfig(steps=5, batch_size=2, learning_rate=1e-4)
    widths = with_overrides(TINY, {"denoiser.block_out_channels": [8, 16]})
    assert widths.denoiser.block_out_channels == (8, 16)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("denoiser.velocity.stepz", 1, r"no field denoiser\.velocity\.stepz"),
        ("denoiser.velocity.steps", "many", "another type.*a whole number"),
        ("denoiser.velocity.compiled", "yes", "another type.*true or false"),
        ("denoiser.velocity.betas", 0.9, "another type.*a list"),
        ("denoiser.velocity.betas", [0.9], "another length.*2 values"),
        ("denoiser.velocity.learning_rate", float("nan"), "no number"),
        ("denoiser.velocity.weight_decay", float("inf"), "no number"),
        ("guidance.pairs", None, r"another type.*such as guidance\.pairs\.frames"),
        ("denoiser.velocity.steps", True, "another type"),
        ("denoiser.velocity.steps", 0, "steps is too small"),
        ("guidance.warp", "sideways", r"guidance\.warp is out of range"),
        ("guidance.sampler", {"steps": 5}, r"guidance\.sampler is incomplete.*batch_size, learning_rate"),
        ("guidance.sampler", {"speed": 5}, r"guidance\.sampler has no field speed"),
        ("denoiser.block_out_channels", [8, "wide"], "another type"),
        ("guidance.guided_neighbor_share", 0.5, "needs longer sequences"),
        ("guidance.sampler_steps", 0, "sampler_steps is out of range"),
        ("denoiser.sampler_steps", 3000, "sampler_steps is out of range"),
        ("denoiser.fault_share", 1.5, "fault_share is out of range"),
        ("autoencoder.realistic_share", 0.9, "degraded samples is out of range"),
        ("guidance.pairs.realistic_share", 0.9, "degraded samples is out of range"),
        ("guidance.sampler_loss.temporal_weight", -3.0, "temporal_weight is out of range"),
        ("guidance.sampler_loss.shared_noise_share", 2.0, "shared_noise_share is out of range"),
        ("denoiser.sampler_loss.perceptual_side", 0, "perceptual_side is too small"),
        ("denoiser.sampler_loss.gradient_steps", 0, "gradient_steps is too small"),
        ("autoencoder.loss.latent_weight", -1, "latent_weight is out of range"),
    ],
)
def test_wrong_overrides_are_refused(field, value, message):
    with pytest.raises(UsageError, match=message):
        with_overrides(TINY, {field: value})


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_survive_their_file(name):
    recipe = RECIPES[name].make()
    document = recipe_to_json(recipe)
    assert recipe_from_json(type(recipe), document) == recipe
    assert differences(document, recipe) == []


def test_differences_in_what_is_learned_are_named_and_circumstances_are_not():
    found = recipe_to_json(TINY)
    other = with_overrides(
        TINY, {"denoiser.velocity.learning_rate": 1e-3, "guidance.sampler": None, "guidance.velocity.workers": 3}
    )
    assert differences(found, other) == ["denoiser.velocity.learning_rate", "guidance.sampler"]
    assert differences({**found, "speed": 1}, TINY) == ["speed"]
    ablation = RECIPES["ablation"].make()
    assert differences(recipe_to_json(ablation), dataclasses.replace(ablation, arms=("zero",))) == []
    base = RECIPES["guidance-sdx4"].make()
    assert differences(recipe_to_json(base), dataclasses.replace(base, encode_batch=3)) == []


def test_files_of_before_a_field_existed_stay_good():
    found = recipe_to_json(TINY.guidance)
    for field in ("dense", "domain", "rescaling"):
        del found[field]
    del found["velocity"]["schedule"]
    assert differences(found, TINY.guidance) == []
    assert recipe_from_json(GuidanceRecipe, found) == TINY.guidance
    assert differences(found, dataclasses.replace(TINY.guidance, dense=False)) == ["dense"]


def test_a_file_that_lacks_what_is_needed_is_refused():
    with pytest.raises(UsageError, match="ModelRecipe is incomplete"):
        recipe_from_json(ModelRecipe, {})
