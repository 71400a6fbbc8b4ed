"""OGWM: optical-flow guided warping of a latent, at high resolution, without the high-resolution tensor.

The neighbour's x0 estimate is upsampled s = 4 times (nearest), warped by the flow of the x4 frames, and brought back to
the latent grid. On a piecewise-constant grid a bilinear sample touches at most 2 x 2 latents, and only the samples that
survive the reduction matter, so the module samples the h x w latent directly: the same values, no x4 tensor. A
bilinear sample of the x4 grid at p lies inside a cell and equals its latent, unless floor(p) is the cell's last pixel;
then it mixes with the next cell. Along each axis that is a bilinear sample of the latent itself at

    u = c + max(p - 4 c - 3, 0),    c = floor(p / 4)

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
        return self._sample(feature, kept).to(feature.dtype)

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

    def _sample(self, feature: Tensor, kept: Tensor) -> Tensor:
        """The fused warp: float32 N C h w, the mean over the K kept pixels of every cell."""
        batch, (height, width) = len(feature), feature.shape[-2:]
        samples = kept.shape[2]
        pixel = torch.arange(samples, device=kept.device).view(-1, 1, 1)
        columns = torch.arange(width, device=kept.device) * FLOW_SCALE + pixel % FLOW_SCALE
        rows = torch.arange(height, device=kept.device)[:, None] * FLOW_SCALE + pixel // FLOW_SCALE
        grid = torch.empty(batch, samples, height, width, 2, device=kept.device)
        padded = [1 << (side - 1).bit_length() for side in (width, height)]
        for axis, (pixels, side) in enumerate(((columns, width), (rows, height))):
            position = _sample_position(kept[:, axis].float() + pixels, side * FLOW_SCALE, self.convention)
            grid[..., axis] = _normalised(_latent_position(position, side), padded[axis])
        # Beyond the latent lie zeros anyway; with sides that are powers of two, normalising rounds next to nothing.
        wide = F.pad(feature.float(), (0, padded[0] - width, 0, padded[1] - height))
        sampled = F.grid_sample(wide, grid.flatten(1, 2), mode="bilinear", padding_mode="zeros", align_corners=False)
        return sampled.unflatten(2, (samples, height)).mean(dim=2)


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


def _latent_position(position: Tensor, cells: int) -> Tensor:
    """Where the latent is sampled (u of the module's text) for positions on the x4 grid, both in their own pixels."""
    inside = position.clamp(-2, cells * FLOW_SCALE + 1)  # everything beyond reads zeros alike, infinity too
    cell = (inside / FLOW_SCALE).floor_()
    return inside.sub_(cell, alpha=FLOW_SCALE).sub_(FLOW_SCALE - 1).clamp_(min=0).add_(cell)


def _normalised(position: Tensor, size: int) -> Tensor:
    """grid_sample's coordinate (align_corners=False) of positions in pixels of a grid."""
    return (position * (2 / size)).add_(1 / size - 1)


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
