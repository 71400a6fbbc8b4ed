"""StableVSR's guidance network: a ControlNet that reads a warped RGB frame.

It is diffusers' own `ControlNetModel` (encoder and mid block with attention, a 3-channel condition at four times the
latent's side); this wrapper only gives its two outputs their names. Unlike G_U it touches the skip connections and the
mid output, never the main path of the down blocks, and has no decoder.
"""

from __future__ import annotations

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import Tensor

from dgafvsr.models.guided_unet import EncoderResiduals

__all__ = ["pixel_guidance_residuals"]


def pixel_guidance_residuals(
    controlnet: ControlNetModel,
    *,
    latents: Tensor,
    lr: Tensor,
    warped: Tensor,
    timestep: Tensor | float | int,
    prompt_embeds: Tensor | None,
    class_labels: Tensor | None = None,
) -> EncoderResiduals:
    """Residuals of the ControlNet for D_U.

    Args:
        controlnet: StableVSR's ControlNet.
        latents: noisy latents z_t, N 4 h w.
        lr: LR frames in [-1, 1], N 3 h w.
        warped: the neighbour's decoded x0 estimate after warping, N 3 4h 4w, RGB in about [-1, 1].
        timestep: the diffusion time t.
        prompt_embeds: N L D.
        class_labels: N noise levels, or None.

    Returns:
        One residual for every skip connection and one for the mid output.
    """
    dtype = controlnet.dtype
    skips, mid = controlnet(
        torch.cat([latents.to(dtype), lr.to(dtype)], dim=1),
        timestep,
        encoder_hidden_states=prompt_embeds,
        controlnet_cond=warped.to(dtype),
        class_labels=class_labels,
        return_dict=False,
    )
    return EncoderResiduals(skips=tuple(skips), mid=mid)
