from __future__ import annotations

import json

import pytest
import torch

from conftest import TINY_OVERRIDES
from dgafvsr.errors import ModelError
from dgafvsr.models.checkpoints import load_parts
from dgafvsr.training.recipes import run

SMALL = {
    "denoiser.side": 32,
    "denoiser.texture.steps": 2,
    "denoiser.texture.batch_size": 2,
    "denoiser.texture.precision": "no",
    "denoiser.texture_loss.perceptual_weight": 0.0,
    "denoiser.texture_loss.adversarial_weight": 0.0,
    "denoiser.texture_loss.statistics_weight": 0.0,
    "guidance.sampler.steps": 2,
    "guidance.sampler.batch_size": 2,
    "guidance.sampler.precision": "no",
    "guidance.sampler_loss.perceptual_weight": 0.0,
    "guidance.sampler_loss.adversarial_weight": 0.0,
    "guidance.sampler_loss.statistics_weight": 0.0,
    "guidance.sequences.side": 32,
    "decoder.trainer.steps": 2,
    "decoder.trainer.batch_size": 2,
    "decoder.trainer.precision": "no",
    "decoder.loss.perceptual_weight": 0.0,
    "decoder.loss.adversarial_weight": 0.0,
    "decoder.loss.statistics_weight": 0.0,
    "decoder.pairs.side": 32,
    "decoder.fine_width": 4,
    "decoder.detail_blocks": 1,
}


@pytest.fixture(scope="module")
def base(data_folder, tmp_path_factory):
    """A finished toy model with a convention of its own."""
    overrides = {**TINY_OVERRIDES, "guidance.warp": "centered", "guidance.turns": "unguided"}
    return run("tiny", data=data_folder, output=tmp_path_factory.mktemp("base"), overrides=overrides)


def test_a_model_goes_on_learning_and_keeps_what_it_is(base, data_folder, tmp_path):
    model = run("finetune", data=data_folder, output=tmp_path / "run", overrides={**SMALL, "base": str(base)})
    before, after = load_parts(base), load_parts(model)
    assert after.settings == before.settings
    assert after.settings["warp"] == "centered"
    for part in ("unet", "guidance"):
        old, new = (getattr(parts, part).state_dict() for parts in (before, after))
        moved = max(float((new[name] - value).abs().max()) for name, value in old.items())
        assert 0 < moved < 0.01, part
    new = after.vae.state_dict()
    kept = {name for name, value in before.vae.state_dict().items() if torch.equal(value, new[name])}
    assert {name for name in new if name.startswith("encoder.")} <= kept
    assert not any(name.startswith("fine.") for name in kept)


def test_the_resolved_recipes_are_those_of_the_base(base, data_folder, tmp_path):
    run("finetune", data=data_folder, output=tmp_path / "run", overrides={**SMALL, "base": str(base)})
    denoiser, guidance, first = (
        json.loads((tmp_path / "run" / stage / "recipe.json").read_text())
        for stage in ("denoiser", "guidance", "autoencoder")
    )
    assert denoiser["block_out_channels"] == [8, 16]
    assert denoiser["velocity"] is None
    assert (guidance["warp"], guidance["turns"], guidance["sampler_steps"]) == ("centered", "unguided", 2)
    assert first == {"base": str(base)}


def test_a_base_of_another_kind_is_refused(data_folder, tmp_path):
    with pytest.raises(ModelError, match=r"model_index\.json"):
        run("finetune", data=data_folder, output=tmp_path / "run", overrides={**SMALL, "base": str(data_folder)})
