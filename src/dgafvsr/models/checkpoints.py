"""Model folders: where they are, which layout they have, and their parts, read strictly.

Layouts (diffusers' folder of folders, safetensors only; `revision` picks a version on the hub):

    ours        unet/ vae/ scheduler/ guidance/ [text_encoder/ tokenizer/]; model_index.json has warp, steps, flow
    authors'    the same with dgafnet/ (older: brushnet/) for guidance/, class DGAFNetModel
    StableVSR   the same with controlnet/
    SD-x4       no guidance: every frame alone, or with a guidance folder given apart

A part that is missing, cut off, of other shapes or not finite is one error that names the file; nothing is initialised
at random in silence.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import nn

from dgafvsr.errors import ModelError
from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.guided_unet import GuidedUNet
from dgafvsr.models.prompt import load_text_parts
from dgafvsr.models.weights import load_network, read_json

__all__ = [
    "ModelParts",
    "check_guidance_fits",
    "load_guidance",
    "load_parts",
    "packaged_model",
    "parameter_count",
    "resolve_folder",
    "unet_needs_prompt",
]

GUIDANCE_FOLDERS = ("guidance", "dgafnet", "brushnet", "controlnet")
SETTINGS = ("warp", "default_steps", "flow", "noise_level", "initial_noise", "turns")
"""What model_index.json says about a model besides its parts."""

HUB_PATTERNS = ("model_index.json", "config.json", "*/*.json", "*/*.txt", "*/*.safetensors", "*.safetensors")
HUB_IGNORED = ("*.fp16.*", "*non_ema*", "x4-upscaler*")


@dataclass(frozen=True, kw_only=True)
class ModelParts:
    """The parts of a model folder, in eval mode.

    Attributes:
        unet: D_U.
        vae: `ResidualAutoencoder` or `AutoencoderKL`.
        scheduler: a diffusers scheduler.
        guidance: G_U, StableVSR's ControlNet, or None.
        text_encoder: CLIP text model, or None.
        tokenizer: its tokenizer, or None.
        low_res_scheduler: SD-x4's noise augmentation of LR frames, or None.
        settings: those of `SETTINGS` that model_index.json has.
    """

    unet: GuidedUNet
    vae: AutoencoderKL | ResidualAutoencoder
    scheduler: Any
    guidance: GuidanceUNet | ControlNetModel | None = None
    text_encoder: Any = None
    tokenizer: Any = None
    low_res_scheduler: Any = None
    settings: dict[str, Any] = field(default_factory=dict)


def packaged_model() -> Path:
    """Folder of the model that comes with the package.

    Raises:
        ModelError: this installation carries none.
    """
    folder = Path(__file__).parent.parent / "assets" / "tiny"
    if not (folder / "model_index.json").is_file():
        raise ModelError(
            "This installation has no packaged model",
            expected=folder,
            remedy="reinstall dgafvsr, or name a model folder or hub id",
        )
    return folder


def resolve_folder(folder_or_hub_id: str | Path | None, revision: str | None = None) -> Path:
    """A local folder: the one named, a hub repository's snapshot, or the packaged model for None.

    Raises:
        ModelError: there is no such folder and no such repository (or no network).
    """
    if folder_or_hub_id is None:
        return packaged_model()
    path = Path(folder_or_hub_id).expanduser()
    if path.is_dir():
        return path
    name = str(folder_or_hub_id)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise ModelError("No such model folder", got=name, expected="a folder, or a hub id such as owner/name")
    return _download(name, revision)


def _download(hub_id: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            hub_id, revision=revision, allow_patterns=list(HUB_PATTERNS), ignore_patterns=list(HUB_IGNORED)
        )
    except Exception as error:  # the hub client raises dozens of types, all of which mean the same here
        raise ModelError(
            f"{hub_id} is neither a local folder nor a model that the hub gave",
            got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}",
            remedy="check the name, the revision and the network, or download it and name the folder",
        ) from error
    return Path(folder)


def load_parts(folder: Path, *, torch_dtype: torch.dtype | None = None, with_guidance: bool = True) -> ModelParts:
    """The parts of a model folder.

    Args:
        folder: a local folder in one of the layouts above.
        torch_dtype: type of all weights; None keeps float32. A VAE that is known to overflow in float16
            (`force_upcast`) stays float32.
        with_guidance: False leaves the folder's own guidance network unread.

    Raises:
        ModelError: a part is missing, damaged or does not fit; the message names the file.
    """
    index = read_json(folder / "model_index.json")
    dtype = torch_dtype or torch.float32
    unet = load_network(_part(folder, "unet"), GuidedUNet, dtype)
    _check_denoiser(unet, folder)
    guidance_folder = next((folder / name for name in GUIDANCE_FOLDERS if (folder / name).is_dir()), None)
    guidance = load_guidance(guidance_folder, torch_dtype=dtype) if guidance_folder and with_guidance else None
    text_encoder, tokenizer = load_text_parts(folder, dtype) if unet_needs_prompt(unet) else (None, None)
    settings: dict[str, Any] = {key: index[key] for key in SETTINGS if key in index}
    low_res = folder / "low_res_scheduler"
    return ModelParts(
        unet=unet,
        vae=_load_vae(_part(folder, "vae"), dtype),
        scheduler=_load_scheduler(_part(folder, "scheduler")),
        guidance=guidance,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        low_res_scheduler=_load_scheduler(low_res) if low_res.is_dir() else None,
        settings=settings,
    )


def load_guidance(folder: Path, *, torch_dtype: torch.dtype | None = None) -> GuidanceUNet | ControlNetModel:
    """A guidance network from its own folder, or from a model folder that holds one.

    Raises:
        ModelError: there is none, or it is damaged or of an unknown class.
    """
    folder = next((folder / name for name in GUIDANCE_FOLDERS if (folder / name).is_dir()), folder)
    dtype = torch_dtype or torch.float32
    kind = read_json(folder / "config.json").get("_class_name")
    if kind == "GuidanceUNet":
        return load_network(folder, GuidanceUNet, dtype)
    if kind in ("DGAFNetModel", "BrushNetModel"):
        return load_network(folder, GuidanceUNet, dtype, config=_authors_config, rename=_authors_key)
    if kind == "ControlNetModel":
        return load_network(folder, ControlNetModel, dtype)
    raise ModelError(
        f"{folder} holds no guidance network that is known here",
        got=f"class {kind}",
        expected="GuidanceUNet, DGAFNetModel or ControlNetModel",
    )


def unet_needs_prompt(unet: GuidedUNet) -> bool:
    """Whether any block of D_U attends to a prompt."""
    blocks = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    return any(getattr(block, "has_cross_attention", False) for block in blocks)


def _part(folder: Path, name: str) -> Path:
    part = folder / name
    if not part.is_dir():
        found = ", ".join(sorted(child.name for child in folder.iterdir() if child.is_dir())) or "no folders"
        raise ModelError(f"The model folder {folder} lacks its part {name}", got=found, expected=f"a folder {name}")
    return part


def _check_denoiser(unet: GuidedUNet, folder: Path) -> None:
    """Refuse U-Net features that GuidedUNet's forward does not walk."""
    config = unet.config
    unknown = [
        name
        for name in ("addition_embed_type", "encoder_hid_dim_type", "time_cond_proj_dim", "time_embedding_act_fn")
        if config.get(name) is not None
    ]
    unknown += [name for name in ("center_input_sample", "class_embeddings_concat") if config.get(name)]
    if unknown:
        raise ModelError(f"{folder / 'unet'} uses U-Net features that the method does not have", got=unknown)


def _load_vae(folder: Path, dtype: torch.dtype) -> AutoencoderKL | ResidualAutoencoder:
    config = read_json(folder / "config.json")
    if config.get("_class_name") == "ResidualAutoencoder":
        return load_network(folder, ResidualAutoencoder, dtype)
    if dtype == torch.float16 and config.get("force_upcast", True):
        dtype = torch.float32
    vae = load_network(folder, AutoencoderKL, dtype, rename=_old_attention_key)
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    if factor != 4 or vae.config.latent_channels != 4:
        raise ModelError(
            f"{folder} is not the method's autoencoder",
            got=f"factor {factor}, {vae.config.latent_channels} channels",
            expected="factor 4, 4 channels",
            remedy="use a x4 upscaler's VAE",
        )
    return vae


def _load_scheduler(folder: Path) -> Any:
    file = folder / "scheduler_config.json"
    config = read_json(file)
    name = str(config.get("_class_name"))
    scheduler_class = getattr(importlib.import_module("diffusers"), name, None)
    if scheduler_class is None or not name.endswith("Scheduler"):
        raise ModelError(f"{file} names a scheduler that diffusers does not have", got=name)
    return scheduler_class.from_config(config)


def _authors_config(config: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    """DGAFNetModel's configuration in `GuidanceUNet`'s words."""
    wanted = (
        "in_channels", "conditioning_channels", "block_out_channels", "layers_per_block", "norm_num_groups", "norm_eps",
        "act_fn", "downsample_padding", "flip_sin_to_cos", "freq_shift", "num_class_embeds",
    )  # fmt: skip
    mid_resnets = {key.split(".")[2] for key in keys if key.startswith("mid_block.resnets.")}
    return {key: config[key] for key in wanted if key in config} | {"mid_resnets": len(mid_resnets)}


def _authors_key(key: str) -> str:
    """A weight's name in the authors' files -> its name in `GuidanceUNet`."""
    for prefix in ("dgafnet_", "brushnet_"):
        for theirs, ours in (("down_blocks.", "zero_down."), ("up_blocks.", "zero_up."), ("mid_block.", "zero_mid.")):
            if key.startswith(prefix + theirs):
                return ours + key.removeprefix(prefix + theirs)
    return key.replace("conv_in_condition.", "conv_in.")


def _old_attention_key(key: str) -> str:
    """A VAE attention weight's name in files from before diffusers 0.14 -> today's name."""
    if ".attentions." not in key:
        return key
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
        key = key.replace(f".{old}.", f".{new}.")
    return key


def parameter_count(*networks: nn.Module | None) -> int:
    """Parameters of the networks together."""
    return sum(parameter.numel() for network in networks if network is not None for parameter in network.parameters())


def check_guidance_fits(guidance: GuidanceUNet | ControlNetModel, unet: GuidedUNet) -> None:
    """Raise ModelError unless the guidance network was built for a denoiser of this shape."""
    ours, theirs = tuple(guidance.config.block_out_channels), tuple(unet.config.block_out_channels)
    if ours != theirs or guidance.config.layers_per_block != unet.config.layers_per_block:
        raise ModelError(
            "The guidance network does not fit the denoiser",
            got=f"widths {ours}, {guidance.config.layers_per_block} layers a block",
            expected=f"widths {theirs}, {unet.config.layers_per_block} layers a block",
            remedy="use a guidance network that was built from this denoiser",
        )
