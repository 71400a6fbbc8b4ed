"""What the memory planner knows of a model: sizes that follow from the configurations of its networks.

What a network holds grows with its pixels (of a tile, or of the frame) by a number that follows from its configuration:
at its peak a guided visit holds G_U's taps and residuals and D_U's skips. What PyTorch's kernels need on top was fitted
on peak resident sets of the packaged model on the CPU (benchmarks/memory_plan.py compares).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from dgafvsr.models.autoencoder import FACTOR, ResidualAutoencoder
from dgafvsr.models.checkpoints import parameter_count
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.offload import Offload, device_weight_bytes, offload_of
from dgafvsr.sampling.reuse import Reuse

__all__ = ["ModelFacts", "model_facts"]

NETWORK_FACTOR = 2.05
"""What guided visits hold over their taps, residuals and skips: inputs and outputs of the kernels, their workspaces."""
DETAIL_FACTOR, FINE_FACTOR, KL_FACTOR = 3.5, 2.75, 2.0
"""What decoders hold over their widest stage: the packaged one at twice the latent's resolution and then, when that is
gone, at full size; diffusers' AutoencoderKL (untested)."""
FLOW_VALUES = {"dis": 500, "dis_fast": 500, "raft_small": 1500, "raft_large": 3000}
"""float32 values per LR pixel that FM holds; RAFT's with on-demand correlation (untested)."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What the planner needs to know of a model."""

    weight_bytes: int
    """Of all its networks, as they are loaded."""
    device_weight_bytes: int
    """Of those that are on a GPU at the same time: of all, or fewer with offload."""
    value_bytes: int
    """Of one number in D_U: 4 for float32, 2 for half precision."""
    network_values: float
    """Per LR pixel, of a guided visit."""
    decoder_values: float
    """Per LR pixel, of the VAE's decoder."""
    decoder_value_bytes: int
    """Of one number in the VAE."""
    flow_values: float
    """float32 values per LR pixel, of FM."""
    held_values: float
    """float32 values per LR pixel that every frame of a window keeps: LR frame, latents, kept flows."""
    reused_values: float = 0
    """float32 values per LR pixel that every frame keeps of the networks from step to step; of every tile, all of its
    pixels."""
    offload: Offload = "none"
    """Whether weights wait on the CPU."""


def model_facts(pipeline: Any, reuse: Reuse | None = None, *, offload: Offload | None = None) -> ModelFacts:
    """The facts of a `DGAFVSRPipeline`, run with that reuse across steps.

    Args:
        pipeline: the model.
        reuse: across steps.
        offload: of its weights to the CPU; None for what it has.
    """
    parts, config = pipeline.components, pipeline.config
    unet, vae = parts["unet"], parts["vae"]
    networks: dict[str, Any] = {name: part for name, part in parts.items() if isinstance(part, torch.nn.Module)}
    offload = offload_of(networks.values()) if offload is None else offload
    decodes = not isinstance(parts.get("guidance"), GuidanceUNet | None)  # StableVSR's
    skips, rising = _stage_values(tuple(unet.config.block_out_channels), unet.config.layers_per_block)
    guided = parts.get("guidance") is not None
    kept = 2 * (FACTOR**2 if config["warp"] == "centered" else 1)
    return ModelFacts(
        weight_bytes=sum(parameter_count(network) * network.dtype.itemsize for network in networks.values()),
        device_weight_bytes=device_weight_bytes(networks, offload, decodes_at_visits=decodes),
        offload=offload,
        value_bytes=unet.dtype.itemsize,
        network_values=NETWORK_FACTOR * (2 * (skips + rising) if guided else skips + rising),
        decoder_values=_decoder_values(vae),
        decoder_value_bytes=vae.dtype.itemsize,
        flow_values=FLOW_VALUES.get(config["flow"], FLOW_VALUES["raft_large"]) if guided else 0,
        held_values=14 + (2 * kept if guided else 0),
        reused_values=_reused_values(unet, guided, reuse),
    )


def _stage_values(widths: tuple[int, ...], layers: int) -> tuple[float, float]:
    """Values per latent pixel of a U-Net's down and up stages, one for each tap."""
    levels = range(len(widths))
    down = widths[0] + sum(layers * widths[level] / 4**level for level in levels)
    down += sum(widths[level] / 4 ** (level + 1) for level in levels[:-1])
    up = sum((layers + 1) * widths[level] / 4**level for level in levels)
    up += sum(widths[level] / 4 ** (level - 1) for level in levels[1:])
    return down, up


def _reused_values(unet: Any, guided: bool, reuse: Reuse | None) -> float:
    """What is kept of a frame from step to step, in float32 values per LR pixel."""
    if reuse is None:
        return 0
    widths, values = tuple(unet.config.block_out_channels), 0.0
    if guided and reuse.guidance_every != 1 and reuse.guidance_between == "reused":
        values += sum(_stage_values(widths, unet.config.layers_per_block)) + widths[-1] / 4 ** (len(widths) - 1)
    if reuse.features_every > 1:
        values += (2 if guided else 1) * widths[min(1, len(widths) - 1)]
    return values * unet.dtype.itemsize / 4


def _decoder_values(vae: Any) -> float:
    if isinstance(vae, ResidualAutoencoder):
        detail, fine = 4 * vae.config.detail_width, FACTOR**2 * vae.config.fine_width
        return max(DETAIL_FACTOR * detail, FINE_FACTOR * fine)
    first, second = vae.config.block_out_channels[:2]
    return KL_FACTOR * FACTOR**2 * (first + second)
