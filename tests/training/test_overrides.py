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
        ("denoiser.velocity.steps", "many", "another type"),
        ("denoiser.velocity.steps", True, "another type"),
        ("denoiser.velocity.steps", 0, "steps is too small"),
        ("guidance.warp", "sideways", r"guidance\.warp is out of range"),
        ("guidance.sampler", {"steps": 5}, r"guidance\.sampler is incomplete"),
        ("guidance.sampler", {"speed": 5}, r"guidance\.sampler has no field speed"),
        ("denoiser.block_out_channels", [8, "wide"], "another type"),
        ("guidance.guided_neighbor_share", 0.5, "needs longer sequences"),
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
