"""FTCM: from the neighbour's x0 estimate to the residuals that guide one frame at one step.

    residuals = Conv0(G_U(<z_t, x, OGWM(z~_{t->0} of the neighbour)>))

The sampler and the training objective both call this, so they cannot drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dgafvsr.models.autoencoder import FACTOR
from dgafvsr.models.deep_features import DeepFeatures
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.guided_unet import GuidanceResiduals
from dgafvsr.sampling.ogwm import OGWM

__all__ = ["FTCM"]


@dataclass(frozen=True, kw_only=True)
class FTCM:
    """The paper's guidance: alignment in the feature domain, dense residuals from a full U-Net.

    Args:
        network: G_U.
        ogwm: how the neighbour's estimate is aligned.
    """

    network: GuidanceUNet
    ogwm: OGWM

    @property
    def reliability(self) -> bool:
        """Whether the network reads where the flow can be trusted."""
        return bool(self.network.config.reliability)

    def keep(self, flow: Tensor) -> Tensor:
        """What the alignment needs of an N 2 4h 4w flow (`OGWM.keep`), or of N 3 4h 4w with its reliability."""
        kept = self.ogwm.keep(flow[:, :2])
        if not self.reliability:
            return kept
        cells = F.avg_pool2d(flow[:, 2:], FACTOR)
        grid = cells.unsqueeze(2) if kept.ndim == 5 else F.interpolate(cells, size=kept.shape[-2:])
        return torch.cat([kept, grid.expand(-1, 1, *kept.shape[2:])], dim=1)

    def align(self, neighbor_x0: Tensor, neighbor_lr: Tensor, kept: Tensor) -> Tensor:
        """The neighbour's x0 estimate on the current frame's grid, N 4 h w.

        For a network with `aligned_lr` its LR frame follows, aligned alike: N 7 h w. For one with `reliability` the
        last channel is the share of each cell where the flow can be trusted.
        """
        flow, trust = kept[:, :2], kept[:, 2:]
        aligned = [self.ogwm(neighbor_x0, flow)]
        if self.network.config.aligned_lr:
            aligned.append(self.ogwm(neighbor_lr.to(neighbor_x0), flow))
        if self.reliability:
            height, width = neighbor_x0.shape[-2:]
            cells = trust.mean(dim=2) if trust.ndim == 5 else F.adaptive_avg_pool2d(trust, (height, width))
            aligned.append(cells.to(neighbor_x0))
        return torch.cat(aligned, dim=1)

    def residuals(
        self,
        *,
        latents: Tensor,
        lr: Tensor,
        aligned: Tensor,
        timestep: Tensor | float | int,
        prompt_embeds: Tensor | None = None,
        class_labels: Tensor | None = None,
        deep: DeepFeatures | None = None,
    ) -> GuidanceResiduals:
        """Residuals for D_U.

        Args:
            latents: noisy latents z_t, N 4 h w, as D_U gets them.
            lr: LR frames in [-1, 1], N 3 h w.
            aligned: what `align` returned, N 4 h w and what else the network reads.
            timestep: the diffusion time t.
            prompt_embeds: ignored: G_U has no attention.
            class_labels: N noise levels, or None.
            deep: of G_U, see `GuidanceUNet.forward`; None for a plain call.

        Returns:
            One residual a stage, in G_U's type.
        """
        del prompt_embeds
        dtype = self.network.dtype
        options = {"class_labels": class_labels} | ({} if deep is None else {"deep": deep})
        return self.network(latents.to(dtype), lr.to(dtype), aligned.to(dtype), timestep, **options)
