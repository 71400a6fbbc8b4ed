from __future__ import annotations

import json
import shutil

import pytest
import torch
from tests import factories

from conftest import TINY_OVERRIDES
from dgafvsr.errors import UsageError
from dgafvsr.models.checkpoints import load_guidance
from dgafvsr.training.ablation import ARMS, arm_recipe
from dgafvsr.training.recipes import RECIPES, run
from dgafvsr.training.runs import RunOptions

SMALL = {key: value for key, value in TINY_OVERRIDES.items() if key.startswith("guidance.")}
SMALL = {key: value for key, value in SMALL.items() if not key.startswith("guidance.sampler.")} | {
    "guidance.velocity.steps": 1,
    "guidance.pairs.motion.shift_px": 2.0,
    "scoring.frames": 3,
    "scoring.side": 64,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "model"
    factories.pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def val(tmp_path_factory, data_folder):
    folder = tmp_path_factory.mktemp("held") / "out"
    folder.mkdir()
    shutil.copy(data_folder / "videos" / "clip.mp4", folder / "clip.mp4")
    return folder


def test_every_arm_is_trained_and_the_table_has_them_all(base, val, data_folder, tmp_path):
    made = {"data": data_folder, "output": tmp_path / "run", "overrides": {**SMALL, "base": str(base)}}
    assert run("ablation", options=RunOptions(val=val, max_minutes=0.0), **made) == tmp_path / "run"
    assert not (tmp_path / "run" / "table.md").exists()
    table = run("ablation", options=RunOptions(val=val), **made)
    rows = table.read_text()
    for name in ("bicubic", "off", *ARMS):
        assert f"| {name} |" in rows
    scores = json.loads((tmp_path / "run" / "table.json").read_text())["methods"]
    assert scores["bicubic"]["mean"]["psnr"] > 10
    networks = {arm: load_guidance(tmp_path / "run" / "arms" / arm / "result") for arm in ARMS}
    assert networks["zero"].config.zero_condition
    assert not networks["nearest-sparse"].config.dense
    assert not hasattr(networks["stablevsr"], "zero_up")
    assert networks["aligned-lr"].conv_in.in_channels == 14
    # all arms met the same first batch: those that differ only in sampling or in the neighbour start alike
    first = {arm: json.loads((tmp_path / "run/arms" / arm / "velocity/losses.jsonl").read_text()) for arm in ARMS}
    assert len({line["losses"]["loss"] for line in first.values()}) == 1  # zero convolutions: the frozen denoiser's


def test_the_table_is_never_that_of_other_arms(base, val, data_folder, tmp_path):
    output = tmp_path / "run"

    def call(*arms, minutes=None):
        overrides = {**SMALL, "base": str(base), "arms": arms}
        options = RunOptions(val=val, max_minutes=minutes)
        return run("ablation", data=data_folder, output=output, overrides=overrides, options=options)

    tables = [output / "table.md", output / "table.json"]
    assert call("zero") == tables[0]
    first = tables[0].read_text()
    assert call("zero", minutes=0.0) == tables[0]  # all is there; only the table is made again
    assert tables[0].read_text() == first
    assert call("zero", "centered", minutes=0.0) == output  # the new arm is not trained yet
    assert not any(table.exists() for table in tables)
    assert "| centered |" in call("zero", "centered").read_text()
    assert "| centered |" not in call("zero").read_text()
    shutil.rmtree(output / "arms" / "off" / "frames")
    assert call("zero", minutes=0.0) == output  # not sampled yet
    assert not any(table.exists() for table in tables)


def test_arms_differ_from_the_method_in_what_they_say():
    recipe = RECIPES["ablation"].make()
    method = arm_recipe(recipe, "nearest-dense")
    assert method == recipe.guidance
    for arm, changes in ARMS.items():
        own = arm_recipe(recipe, arm)
        assert {name: getattr(own, name) for name in changes} == dict(changes)
        assert own.velocity == method.velocity
        assert own.pairs == method.pairs


def test_unknown_arms_and_missing_clips_are_refused(base, val, data_folder, tmp_path):
    overrides = {**SMALL, "base": str(base)}
    made = {**overrides, "arms": ("sideways",)}
    with pytest.raises(UsageError, match="no arm sideways"):
        run("ablation", data=data_folder, output=tmp_path, overrides=made, options=RunOptions(val=val))
    with pytest.raises(UsageError, match="needs validation clips"):
        run("ablation", data=data_folder, output=tmp_path, overrides=overrides)
    assert list(tmp_path.iterdir()) == []


def test_a_zero_condition_ignores_the_neighbour():
    unet = factories.denoiser()
    network = factories.guidance(unet)
    control = type(network).from_config({**network.config, "zero_condition": True})
    control.load_state_dict(network.state_dict())
    z, lr, aligned = (torch.randn(2, channels, 8, 12) for channels in (4, 3, 4))
    expected = network(z, lr, torch.zeros_like(aligned), 5).mid
    assert torch.equal(control(z, lr, aligned, 5).mid, expected)
    assert not torch.equal(network(z, lr, aligned, 5).mid, expected)
