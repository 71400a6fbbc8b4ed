from __future__ import annotations

import json
import shutil

import pytest
import torch
from diffusers import ControlNetModel
from safetensors.torch import load_file

from dgafvsr.errors import ModelError, UsageError
from dgafvsr.models.checkpoints import load_guidance, load_parts
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.training.checkpoints import latest_checkpoint, load_checkpoint
from dgafvsr.training.export import export_run
from dgafvsr.training.recipes import run
from dgafvsr.training.runs import RunOptions

SMALL = {
    "flow": "dis",
    "sampler_steps": 2,
    "velocity.steps": 2,
    "velocity.batch_size": 4,
    "velocity.micro_batch": 2,
    "velocity.precision": "no",
    "velocity.workers": 0,
    "velocity.log_every": 1,
    "pairs.side": 32,
    "condition_widths": [8, 12, 16],
    "encode_batch": 3,
}


@pytest.fixture
def base(parity):
    """A tiny random upscaler in SD-x4's layout, with attention and a text encoder."""
    return parity / "dgafvsr" / "model"


@pytest.fixture
def reds(data_folder, tmp_path):
    """Clips of numbered pictures, as REDS has them."""
    import av
    import cv2

    with av.open(str(data_folder / "videos" / "clip.mp4")) as container:
        pictures = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    for clip in ("001", "002"):
        (tmp_path / "train_sharp" / clip).mkdir(parents=True)
        for index, picture in enumerate(pictures[:4]):
            cv2.imwrite(str(tmp_path / "train_sharp" / clip / f"{index:08d}.png"), picture)
    return tmp_path / "train_sharp"


@pytest.mark.parametrize(("recipe", "kind"), [("guidance-sdx4", GuidanceUNet), ("stablevsr", ControlNetModel)])
def test_a_guidance_network_is_trained_for_a_frozen_base(recipe, kind, base, reds, tmp_path):
    result = run(recipe, data=reds, output=tmp_path / "run", overrides={**SMALL, "base": str(base)})
    network = load_guidance(result)
    assert isinstance(network, kind)
    zero = network.zero_mid if kind is GuidanceUNet else network.controlnet_mid_block
    assert zero.weight.abs().sum() > 0
    lines = [json.loads(line) for line in (tmp_path / "run/guidance/velocity/losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    model = export_run(tmp_path / "run", tmp_path / "model")
    parts = load_parts(model)
    assert isinstance(parts.guidance, kind)
    assert parts.settings == {
        "warp": "released",
        "default_steps": 2,
        "flow": "dis",
        "initial_noise": "independent",
        "turns": "unguided",
    }
    name = "diffusion_pytorch_model.safetensors"
    before, after = (load_file(folder / "unet" / name) for folder in (base, model))
    assert all(torch.equal(value, after[key]) for key, value in before.items())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_objective_follows_what_the_base_predicts(prediction, base, reds, tmp_path):
    shutil.copytree(base, tmp_path / "base")
    file = tmp_path / "base" / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"prediction_type": prediction}))
    overrides = {**SMALL, "base": str(tmp_path / "base"), "velocity.steps": 1}
    run("guidance-sdx4", data=reds, output=tmp_path / "run", overrides=overrides)
    line = json.loads((tmp_path / "run/guidance/velocity/losses.jsonl").read_text().splitlines()[0])
    losses = {"epsilon": line["losses"]["loss"], "v_prediction": line["losses"]["loss"]}
    assert losses[prediction] > 0
    checkpoint = load_checkpoint(latest_checkpoint(tmp_path / "run/guidance/velocity"))
    assert checkpoint.step == 1


def test_gradient_checkpointing_and_chunks_change_nothing(base, reds, tmp_path):
    weights = []
    for index, changes in enumerate(
        ({}, {"velocity.gradient_checkpointing": False, "velocity.micro_batch": 4, "encode_batch": 16})
    ):
        overrides = {**SMALL, "base": str(base), "velocity.steps": 1, **changes}
        result = run("guidance-sdx4", data=reds, output=tmp_path / str(index), overrides=overrides)
        weights.append(load_file(result / "diffusion_pytorch_model.safetensors"))
    # Adam's first step is the gradient's sign: where a gradient is rounding alone, that may differ by twice the rate
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], atol=1.01e-4, rtol=0)


@pytest.mark.parametrize("recipe", ["guidance-sdx4", "stablevsr"])
def test_a_cache_without_use_is_refused_before_anything_is_written(recipe, base, reds, tmp_path):
    options = RunOptions(cache=tmp_path / "cache")
    with pytest.raises(UsageError, match="the cache would keep nothing"):
        run(recipe, data=reds, output=tmp_path / "run", overrides={**SMALL, "base": str(base)}, options=options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train_sharp"]


def test_a_missing_base_is_refused(reds, tmp_path):
    with pytest.raises(ModelError, match="No such model folder"):
        run("guidance-sdx4", data=reds, output=tmp_path / "run", overrides={**SMALL, "base": str(tmp_path / "none")})
    assert not (tmp_path / "run").exists()
