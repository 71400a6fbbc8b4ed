"""StableVSR's guidance: alignment in the pixel domain, residuals from a ControlNet (arXiv 2311.15908).

The neighbour's x0 estimate is decoded (unclamped RGB), warped at full size, and read by the ControlNet. That costs a
VAE decode for every guided visit, and it is what DGAF-VSR's feature-domain alignment replaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import Tensor

from dgafvsr.models.guided_unet import EncoderResiduals
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.models.pixel_guidance import pixel_guidance_residuals
from dgafvsr.sampling.ogwm import Convention, warp

__all__ = ["PixelGuidance"]


@dataclass(frozen=True, kw_only=True)
class PixelGuidance:
    """Guidance by the neighbour's warped RGB estimate.

    Args:
        network: the ControlNet.
        codec: decodes the estimate.
        convention: of the warp; the public StableVSR weights use `released`.
    """

    network: ControlNetModel
    codec: LatentCodec
    convention: Convention = "released"

    reliability: ClassVar[bool] = False
    """It reads no reliability of the flow."""

    def keep(self, flow: Tensor) -> Tensor:
        """The whole N 2 4h 4w flow: this alignment really works at high resolution."""
        return flow

    def align(self, neighbor_x0: Tensor, neighbor_lr: Tensor, kept: Tensor) -> Tensor:
        """The neighbour's decoded estimate on the current frame's grid: N 3 4h 4w, RGB in about [-1, 1]."""
        return warp(self.codec.decode(neighbor_x0, neighbor_lr), kept, self.convention)

    def residuals(
        self,
        *,
        latents: Tensor,
        lr: Tensor,
        aligned: Tensor,
        timestep: Tensor | float | int,
        prompt_embeds: Tensor | None = None,
        class_labels: Tensor | None = None,
    ) -> EncoderResiduals:
        """Residuals for D_U's skips and mid output; arguments as `FTCM.residuals`, `aligned` from `align`."""
        return pixel_guidance_residuals(
            self.network,
            latents=latents,
            lr=lr,
            warped=aligned,
            timestep=timestep,
            prompt_embeds=prompt_embeds,
            class_labels=class_labels,
        )
