from __future__ import annotations

import json

import pytest

from dgafvsr.errors import OutputError
from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.guided_unet import GuidedUNet
from dgafvsr.training.export import ModelFolder, model_card, write_model
from dgafvsr.training.runs import make_scheduler


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
    return ModelFolder(
        denoiser=denoiser,
        guidance=GuidanceUNet.from_denoiser(denoiser),
        autoencoder=ResidualAutoencoder(width=8, encoder_blocks=1, decoder_blocks=1, detail_width=4),
        scheduler=make_scheduler(),
        warp="centered",
        default_steps=3,
        initial_noise="independent",
        card=model_card(name="toy", training={"denoiser": "none"}, parameters={"unet": 1_500_000}, notes="A toy."),
    )


def test_index_names_classes_and_settings(model, tmp_path):
    write_model(tmp_path / "model", model)
    index = json.loads((tmp_path / "model" / "model_index.json").read_text())
    assert index["_class_name"] == "DGAFVSRPipeline"
    assert (index["warp"], index["default_steps"], index["flow"]) == ("centered", 3, "dis")
    assert index["unet"] == ["dgafvsr.models.guided_unet", "GuidedUNet"]
    assert "1.50 M" in (tmp_path / "model" / "README.md").read_text()
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


def test_exported_networks_keep_their_type(model, tmp_path):
    write_model(tmp_path / "model", model)
    assert {parameter.dtype for parameter in model.denoiser.parameters()} == {model.denoiser.dtype}
    assert str(model.denoiser.dtype) == "torch.float32"
