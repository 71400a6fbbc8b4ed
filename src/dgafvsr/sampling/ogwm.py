"""OGWM: optical-flow guided warping of a latent, at high resolution, without the high-resolution tensor.

The neighbour's x0 estimate is upsampled s = 4 times (nearest), warped by the flow of the x4 frames, and brought back to
the latent grid. On a piecewise-constant grid a bilinear sample touches at most 2 x 2 latents, and only the samples that
survive the reduction matter, so the module is a gather on the h x w latent: exact, and 16 times fewer samples.

Two conventions, part of a model's configuration because its networks were trained with one of them:

`released`  the authors' code. Sampling positions are normalised by (W - 1) but read with align_corners=False, so zero
            flow is not the identity: q = p W / (W - 1) - 1/2, an offset of -0.5 px at the left edge and +0.5 px at the
            right. The reduction keeps the corner pixel (4i, 4j) of each cell, which floors the motion.
`centered`  pixel centres throughout, zero flow is the identity; the reduction averages the 4 x 4 cell. Unbiased.

Both read zeros outside the frame. Flows are backward flows in HR pixels: current(p) ~ neighbour(p + flow(p)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from dgafvsr.errors import UsageError

__all__ = ["OGWM", "Convention", "Rescaling", "warp"]

Convention = Literal["released", "centered"]
Rescaling = Literal["nearest", "bilinear", "bicubic"]

FLOW_SCALE = 4
"""Flows come on the grid of the x4 frames."""


@dataclass(frozen=True, kw_only=True)
class OGWM:
    """Aligns a neighbour's latent with the current frame.

    Args:
        convention: pixel-centre convention, see the module's text.
        rescaling: `nearest` is the method; `bicubic` is the paper's ablation; `bilinear` is for Observation 2.
        scale: the paper's s; 4 is the method, 1 the direct low-resolution warp, others for Observation 2.

    Example:
        >>> ogwm = OGWM()
        >>> kept = ogwm.keep(flow)             # once a pair of frames
        >>> aligned = ogwm(x0_neighbor, kept)  # once a step
    """

    convention: Convention = "released"
    rescaling: Rescaling = "nearest"
    scale: int = FLOW_SCALE

    def __post_init__(self) -> None:
        if self.convention not in get_args(Convention):
            raise UsageError("Unknown warp convention", got=self.convention, expected=get_args(Convention))
        if self.rescaling not in get_args(Rescaling):
            raise UsageError("Unknown warp rescaling", got=self.rescaling, expected=get_args(Rescaling))
        if self.scale < 1:
            raise UsageError("The warp's scale is out of range", got=self.scale, expected="a whole number from 1 on")

    @property
    def fused(self) -> bool:
        """Whether the gather serves this setting; if not, the rescaled tensors are really made."""
        return self.rescaling == "nearest" and self.scale == FLOW_SCALE

    def keep(self, flow: Tensor) -> Tensor:
        """The part of a flow that the warp needs.

        Args:
            flow: N 2 4h 4w, (dx, dy) in HR pixels.

        Returns:
            N 2 K h w in HR pixels for the fused warp, K = 1 (`released`) or 16 (`centered`, row by row of the cell);
            N 2 sh sw in pixels of that grid otherwise.
        """
        if not self.fused:
            return self.rescale_flow(flow)
        if self.convention == "released":
            return flow[:, :, None, ::FLOW_SCALE, ::FLOW_SCALE].contiguous()
        cells = F.pixel_unshuffle(flow, FLOW_SCALE)
        return cells.unflatten(1, (2, FLOW_SCALE**2))

    def __call__(self, feature: Tensor, kept: Tensor) -> Tensor:
        """The feature, warped to the current frame.

        Args:
            feature: the neighbour's latent, N C h w, any floating type.
            kept: what `keep` returned for the flow current -> neighbour.

        Returns:
            N C h w in the feature's type; positions outside the neighbour are 0.
        """
        if not self.fused:
            return _rescale_warp_rescale(feature, kept, self)
        samples = kept.shape[2]
        total = sum(self._gather(feature, kept[:, :, k], k) for k in range(samples))
        return (total / samples).to(feature.dtype)  # type: ignore[union-attr]

    def enlarge(self, feature: Tensor) -> Tensor:
        """Step (a) as the paper draws it: the feature N C h w on the grid s times as fine, N C sh sw."""
        return _rescale(feature, [self.scale * side for side in feature.shape[-2:]], self.rescaling)

    def rescale_flow(self, flow: Tensor) -> Tensor:
        """The flow N 2 4h 4w in HR pixels on the grid of `enlarge`: N 2 sh sw in pixels of that grid."""
        return _rescale_flow(flow, self.scale / FLOW_SCALE)

    def reduce(self, warped: Tensor) -> Tensor:
        """Step (c): N C sh sw back to N C h w; `nearest` keeps the corner, or averages the cell when `centered`."""
        if self.rescaling == "nearest" and self.convention == "centered":
            return F.avg_pool2d(warped, self.scale)
        return _rescale(warped, [side // self.scale for side in warped.shape[-2:]], self.rescaling)

    def _gather(self, feature: Tensor, flow: Tensor, k: int) -> Tensor:
        """Bilinear samples of the (never made) x4 feature at pixel k of every cell: float32 N C h w."""
        height, width = feature.shape[-2:]
        columns = torch.arange(width, device=flow.device, dtype=torch.float32) * FLOW_SCALE + k % FLOW_SCALE
        rows = torch.arange(height, device=flow.device, dtype=torch.float32) * FLOW_SCALE + k // FLOW_SCALE
        flow = flow.float()
        x = _sample_position(columns + flow[:, 0], width * FLOW_SCALE, self.convention)
        y = _sample_position(rows[:, None] + flow[:, 1], height * FLOW_SCALE, self.convention)
        flat = feature.flatten(2)
        total = torch.zeros(feature.shape, dtype=torch.float32, device=feature.device)
        for row, row_weight in _cells(y, height):
            for column, column_weight in _cells(x, width):
                index = (row * width + column).flatten(1)[:, None].expand(-1, feature.shape[1], -1)
                weight = (row_weight * column_weight)[:, None]
                total += flat.gather(2, index).view(feature.shape).float() * weight
        return total


def warp(image: Tensor, flow: Tensor, convention: Convention) -> Tensor:
    """Backward warp on the flow's own grid, bilinear, zeros outside.

    Args:
        image: N C H W.
        flow: N 2 H W, (dx, dy) in pixels of this grid.
        convention: `centered` reads pixel p + flow(p) exactly; `released` has the authors' normalisation.

    Returns:
        N C H W in the image's type.
    """
    height, width = image.shape[-2:]
    columns = torch.arange(width, device=flow.device, dtype=torch.float32)
    rows = torch.arange(height, device=flow.device, dtype=torch.float32)
    x = _sample_position(columns + flow[:, 0].float(), width, convention)
    y = _sample_position(rows[:, None] + flow[:, 1].float(), height, convention)
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    sampled = F.grid_sample(image.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled.to(image.dtype)


def _sample_position(position: Tensor, size: int, convention: Convention) -> Tensor:
    """Where a wanted position is really read, in pixel units (0 = centre of the first pixel)."""
    if convention == "centered":
        return position
    normalised = 2 * position / max(size - 1, 1) - 1
    return (normalised + 1) * (size / 2) - 0.5


def _cells(position: Tensor, cells: int) -> list[tuple[Tensor, Tensor]]:
    """The two latent indices that a bilinear HR sample touches along one axis, with their weights (0 outside)."""
    size = cells * FLOW_SCALE
    position = position.clamp(-2, size + 1)  # everything beyond reads zeros alike, and infinity has no index
    lower = position.floor()
    fraction = position - lower
    first = lower.long()
    out = []
    for pixel, weight in ((first, 1 - fraction), (first + 1, fraction)):
        inside = (pixel >= 0) & (pixel < size)
        cell = pixel.clamp(0, size - 1).div(FLOW_SCALE, rounding_mode="floor")
        out.append((cell, weight * inside))
    return out


def _rescale_flow(flow: Tensor, factor: float) -> Tensor:
    """Flow on a grid of another size, values in that grid's pixels (bilinear, averaging where it shrinks)."""
    if factor == 1:
        return flow
    size = [round(side * factor) for side in flow.shape[-2:]]
    resized = F.interpolate(flow, size=size, mode="bilinear", align_corners=False, antialias=factor < 1)
    return resized * factor


def _rescale_warp_rescale(feature: Tensor, flow: Tensor, ogwm: OGWM) -> Tensor:
    """The module as the paper draws it, with its high-resolution tensors: up, warp, down."""
    return ogwm.reduce(warp(ogwm.enlarge(feature), flow, ogwm.convention))


def _rescale(image: Tensor, size: list[int], rescaling: Rescaling) -> Tensor:
    if list(image.shape[-2:]) == size:
        return image
    align = None if rescaling == "nearest" else False
    return F.interpolate(image, size=size, mode=rescaling, align_corners=align)
