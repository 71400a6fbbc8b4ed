from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from conftest import TINY_OVERRIDES
from dgafvsr.errors import OutputError, UsageError
from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.models.checkpoints import load_parts
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.guided_unet import GuidedUNet
from dgafvsr.training.checkpoints import latest_checkpoint, load_checkpoint
from dgafvsr.training.export import ModelFolder, export_run, write_model
from dgafvsr.training.model_card import ModelCard
from dgafvsr.training.own_model import make_scheduler
from dgafvsr.training.recipes import run
from dgafvsr.training.runs import RunOptions

OLD = ".model.dgafvsr-old"


@pytest.fixture
def model() -> ModelFolder:
    denoiser = GuidedUNet(
        in_channels=7,
        out_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D",) * 2,
        mid_block_type="UNetMidBlock2D",
        up_block_types=("UpBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
    )
    parts = {
        "unet": denoiser,
        "guidance": GuidanceUNet.from_denoiser(denoiser),
        "vae": ResidualAutoencoder(width=8, encoder_blocks=1, decoder_blocks=1, detail_width=4),
    }
    return ModelFolder(
        parts=parts,
        scheduler=make_scheduler(),
        warp="centered",
        default_steps=3,
        initial_noise="independent",
        turns="guided",
        card=ModelCard(name="toy", parts=parts, licence="CC0").text(),
    )


def test_index_names_classes_and_settings(model, tmp_path):
    write_model(tmp_path / "model", model)
    index = json.loads((tmp_path / "model" / "model_index.json").read_text())
    assert index["_class_name"] == "DGAFVSRPipeline"
    assert (index["warp"], index["default_steps"], index["flow"]) == ("centered", 3, "dis")
    assert index["turns"] == "guided"
    assert index["unet"] == ["dgafvsr.models.guided_unet", "GuidedUNet"]
    card = (tmp_path / "model" / "README.md").read_text()
    assert "| vae | ResidualAutoencoder | 0.01 M |" in card
    assert "Licence of the weights: CC0." in card
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_a_model_is_replaced_and_anything_else_is_kept(model, tmp_path):
    write_model(tmp_path / "model", model)
    (tmp_path / "model" / "README.md").write_text("old")
    write_model(tmp_path / "model", model)
    assert "toy" in (tmp_path / "model" / "README.md").read_text()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"")
    with pytest.raises(OutputError, match="something else"):
        write_model(tmp_path / "photos", model)
    assert (tmp_path / "photos" / "holiday.jpg").exists()


@pytest.mark.parametrize(("fault", "kept"), [(OSError(5, "broken"), "model"), (KeyboardInterrupt(), OLD)])
def test_an_older_model_is_there_whatever_happens_to_the_new_one(model, tmp_path, monkeypatch, fault, kept):
    """A kill is never caught, as `KeyboardInterrupt` is not here."""
    write_model(tmp_path / "model", model)
    (tmp_path / "model" / "README.md").write_text("old")
    rename = Path.rename

    def torn(self, target):
        if self.name == "model.partial":
            raise fault
        return rename(self, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", torn)
        with pytest.raises((OutputError, KeyboardInterrupt)):
            write_model(tmp_path / "model", model)
    left = ["model"] if kept == "model" else [OLD, "model.partial"]
    assert sorted(path.name for path in tmp_path.iterdir()) == left
    assert (tmp_path / kept / "README.md").read_text() == "old"
    assert load_parts(tmp_path / kept).guidance is not None
    write_model(tmp_path / "model", model)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert "toy" in (tmp_path / "model" / "README.md").read_text()


def test_exported_networks_keep_their_type(model, tmp_path):
    write_model(tmp_path / "model", model)
    assert {parameter.dtype for parameter in model.parts["unet"].parameters()} == {model.parts["unet"].dtype}
    assert str(model.parts["unet"].dtype) == "torch.float32"


def test_an_unfinished_run_is_exported_from_its_averaged_weights(data_folder, tmp_path):
    output = tmp_path / "run"
    with pytest.raises(UsageError, match="no finished autoencoder"):
        export_run(output, tmp_path / "model")
    only = {key: value for key, value in TINY_OVERRIDES.items() if key.startswith("autoencoder.")}
    run(
        "autoencoder-tiny",
        data=data_folder,
        output=output,
        overrides={key.partition(".")[2]: value for key, value in only.items()},
    )
    with pytest.raises(UsageError, match="no denoiser yet"):
        export_run(output, tmp_path / "model")
    overrides = {key.partition(".")[2]: value for key, value in TINY_OVERRIDES.items() if key.startswith("denoiser.")}
    stopped = run(
        "denoiser-tiny",
        data=data_folder,
        output=output,
        overrides={**overrides, "velocity.steps": 4000, "velocity.log_every": 1},
        options=RunOptions(listener=lambda report: report.step == 1 and os.kill(os.getpid(), signal.SIGTERM)),
    )
    assert stopped == output
    lines = [{"step": step, "scores": {"off": {"psnr": 20 + step, "lpips": 0.5}}} for step in (1, 2)]
    (output / "denoiser" / "velocity" / "validation.jsonl").write_text("\n".join(map(json.dumps, lines)))
    export_run(output, tmp_path / "model", licence="CC BY 4.0")
    parts = load_parts(tmp_path / "model")
    assert parts.guidance is None
    assert parts.settings["default_steps"] == 2
    checkpoint = load_checkpoint(latest_checkpoint(output / "denoiser" / "velocity"))
    average = checkpoint.group("average")["conv_in.weight"]
    assert torch.equal(parts.unet.conv_in.weight, average.half().float())
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"| denoiser/velocity | {checkpoint.step} of 4,000 | 2 |" in card
    assert "| denoiser/velocity | 2 | off | 22.000 | 0.500 |" in card
    assert "3 photographs and 1 clip" in card
    assert "CC BY 4.0" in card


def test_a_decoder_that_is_still_learning_is_exported_from_its_averaged_weights(data_folder, tmp_path):
    output = tmp_path / "run"

    def stop_in_the_last_stage(report):
        if report.stage == "decoder" and report.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    overrides = {**TINY_OVERRIDES, "decoder.trainer.steps": 500, "decoder.trainer.log_every": 1}
    options = RunOptions(listener=stop_in_the_last_stage)
    assert run("tiny", data=data_folder, output=output, overrides=overrides, options=options) == output
    parts = load_parts(export_run(output, tmp_path / "model"))
    average = load_checkpoint(latest_checkpoint(output / "decoder")).group("average")
    assert torch.equal(parts.vae.fine[0].weight, average["fine.0.weight"].half().float())
