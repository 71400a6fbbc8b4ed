import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests import factories

from dgafvsr.errors import ModelError
from dgafvsr.models.checkpoints import load_guidance, load_parts, resolve_folder
from dgafvsr.models.guidance_unet import GuidanceUNet

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path):
    """A saved tiny model that a test may damage."""
    factories.pipeline().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_every_part_is_read_back(folder):
    parts = load_parts(folder)
    assert parts.settings == {
        "warp": "released",
        "default_steps": 2,
        "flow": "dis",
        "noise_level": 0,
        "initial_noise": "independent",
        "turns": "unguided",
    }
    assert torch.equal(parts.unet.conv_in.weight, factories.denoiser().conv_in.weight)
    assert isinstance(parts.guidance, GuidanceUNet)
    assert not parts.unet.training
    assert parts.scheduler.config.timestep_spacing == "trailing"


def test_dtype_is_taken(folder):
    parts = load_parts(folder, torch_dtype=torch.bfloat16)
    assert parts.unet.dtype == parts.guidance.dtype == parts.vae.dtype == torch.bfloat16


@pytest.mark.parametrize("part", ["unet", "vae", "scheduler"])
def test_missing_part_is_named(folder, part):
    shutil.rmtree(folder / part)
    with pytest.raises(ModelError, match=f"lacks its part {part}"):
        load_parts(folder)


def test_missing_index_is_named(folder):
    (folder / "model_index.json").unlink()
    with pytest.raises(ModelError, match=r"lacks the file model_index\.json"):
        load_parts(folder)


def test_truncated_weights_are_named(folder):
    file = folder / "unet" / WEIGHTS
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"unet.*is damaged or cut off"):
        load_parts(folder)


def test_pickled_weights_are_never_read(folder):
    (folder / "unet" / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelError, match="never unpickled"):
        load_parts(folder)


def edit(file, change):
    weights = load_file(file)
    change(weights)
    save_file(weights, file)


def test_nan_in_weights_is_named(folder):
    edit(folder / "guidance" / WEIGHTS, lambda weights: weights["zero_mid.bias"].fill_(float("nan")))
    with pytest.raises(ModelError, match=r"guidance.*not numbers.*zero_mid.bias"):
        load_parts(folder)


def test_missing_tensor_is_named(folder):
    edit(folder / "unet" / WEIGHTS, lambda weights: weights.pop("conv_in.bias"))
    with pytest.raises(ModelError, match=r"unet.*1 missing \(conv_in.bias\)"):
        load_parts(folder)


def test_wrong_shape_is_named(folder):
    edit(folder / "vae" / WEIGHTS, lambda weights: weights.update({"encoder.0.bias": torch.zeros(3)}))
    with pytest.raises(ModelError, match=r"vae.*encoder.0.bias of shape \(3,\)"):
        load_parts(folder)


def test_broken_configuration_is_named(folder):
    (folder / "unet" / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"unet.config.json cannot be read"):
        load_parts(folder)


def test_unknown_scheduler_is_named(folder):
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": "os"}))
    with pytest.raises(ModelError, match="scheduler that diffusers does not have"):
        load_parts(folder)


def test_vae_of_another_factor_is_refused(folder):
    from diffusers import AutoencoderKL

    shutil.rmtree(folder / "vae")
    AutoencoderKL(block_out_channels=(8, 8), norm_num_groups=4, down_block_types=("DownEncoderBlock2D",) * 2,
                  up_block_types=("UpDecoderBlock2D",) * 2).save_pretrained(folder / "vae")  # fmt: skip
    with pytest.raises(ModelError, match="factor 2, 4 channels"):
        load_parts(folder)


def test_sharded_weights_are_read(folder):
    weights = load_file(folder / "unet" / WEIGHTS)
    names = sorted(weights)
    shards = {"a.safetensors": names[:10], "b.safetensors": names[10:]}
    for file, keys in shards.items():
        save_file({key: weights[key] for key in keys}, folder / "unet" / file)
    (folder / "unet" / WEIGHTS).unlink()
    index = {"weight_map": {key: file for file, keys in shards.items() for key in keys}}
    (folder / "unet" / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    assert torch.equal(load_parts(folder).unet.conv_in.weight, weights["conv_in.weight"])


@pytest.mark.parametrize("prefix", ["dgafnet_", "brushnet_"])
def test_both_prefixes_of_the_authors_files(prefix, parity, tmp_path):
    shutil.copytree(parity / "dgafvsr" / "model" / "dgafnet", tmp_path / "net")
    weights = load_file(tmp_path / "net" / WEIGHTS)
    save_file({key.replace("dgafnet_", prefix): value for key, value in weights.items()}, tmp_path / "net" / WEIGHTS)
    loaded = load_guidance(tmp_path / "net")
    assert torch.equal(loaded.zero_up[3].weight, weights["dgafnet_up_blocks.3.weight"])


def test_old_names_of_vae_attention_are_read(parity, tmp_path):
    shutil.copytree(parity / "dgafvsr" / "model", tmp_path / "model")
    file = tmp_path / "model" / "vae" / WEIGHTS
    names = (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn"))
    weights = load_file(file)
    for new, old in names:
        weights = {key.replace(f".{new}.", f".{old}."): value for key, value in weights.items()}
    assert any(".query." in key for key in weights)
    save_file(weights, file)
    load_parts(tmp_path / "model")


def test_float16_keeps_a_vae_that_overflows_in_float32(parity):
    parts = load_parts(parity / "dgafvsr" / "model", torch_dtype=torch.float16)
    assert parts.unet.dtype == torch.float16
    assert parts.vae.dtype == torch.float32


def test_no_such_folder_is_not_taken_for_a_hub_id():
    with pytest.raises(ModelError, match="No such model folder"):
        resolve_folder("./nowhere/model")


def test_hub_failure_is_one_error(monkeypatch):
    import huggingface_hub

    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ModelError, match="neither a local folder nor a model that the hub gave"):
        resolve_folder("owner/name")


def test_hub_download_asks_for_safetensors_of_the_revision(monkeypatch, tmp_path):
    import huggingface_hub

    asked = {}

    def snapshot(hub_id, **options):
        asked.update(options, hub_id=hub_id)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert resolve_folder("owner/name", revision="v2") == tmp_path
    assert asked["revision"] == "v2"
    assert not any(pattern.endswith((".bin", ".ckpt", "*")) for pattern in asked["allow_patterns"])
