"""Flow fields as data: resizing, forward-backward consistency, warping on their own grid.

Grids: pixel centres are whole numbers, (0, 0) is the centre of the top left pixel. A flow is N 2 H W, (dx, dy) in
pixels of the grid it is defined on.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dgafvsr.errors import InputError

__all__ = ["backward_warp", "consistency_mask", "resize_flow", "with_reliability"]


def resize_flow(flow: Tensor, *, height: int, width: int) -> Tensor:
    """The same motion on another grid: bilinear, align_corners=False, no antialias; values scale with the grid.

    Args:
        flow: N 2 H W float, (dx, dy) in pixels of the H W grid.
        height: rows of the new grid.
        width: columns of the new grid.

    Returns:
        N 2 height width, (dx, dy) in pixels of the new grid.
    """
    _check_flow(flow)
    scale = flow.new_tensor([width / flow.shape[3], height / flow.shape[2]]).view(1, 2, 1, 1)
    return F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False) * scale


def backward_warp(image: Tensor, flow: Tensor, *, outside: Literal["zeros", "border"] = "zeros") -> Tensor:
    """What `image` shows at p + flow(p), for every p: bilinear between pixel centres; zero flow is the identity.

    Args:
        image: N C H W float, any range.
        flow: N 2 H W float, (dx, dy) in pixels of the image.
        outside: what lies beyond the image: zeros, which fade in over the last half pixel, or its border repeated.

    Returns:
        N C H W.
    """
    _check_flow(flow)
    if image.shape[0] != flow.shape[0] or image.shape[-2:] != flow.shape[-2:]:
        raise InputError("The flow does not fit the image", got=f"flow {tuple(flow.shape)}, image {tuple(image.shape)}")
    height, width = flow.shape[-2:]
    targets = _pixel_centers(flow) + flow
    # align_corners=False maps pixel centre x of W pixels to (2x + 1) / W - 1 and has no division by zero at W = 1.
    size = flow.new_tensor([width, height]).view(1, 2, 1, 1)
    grid = ((2 * targets + 1) / size - 1).permute(0, 2, 3, 1).to(image.dtype)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode=outside, align_corners=False)


def consistency_mask(flow: Tensor, flow_back: Tensor, *, relative: float = 0.01, absolute: float = 0.5) -> Tensor:
    """Where a flow and its opposite agree: True is visible in both frames, False is occluded or has left the frame.

    |f + b'|^2 < relative (|f|^2 + |b'|^2) + absolute, with b'(p) = b(p + f(p)) (Sundaram et al., ECCV 2010).

    Args:
        flow: N 2 H W, f: current(p) ~ neighbor(p + f(p)), in pixels.
        flow_back: N 2 H W, b: neighbor(q) ~ current(q + b(q)), in pixels.
        relative: tolerated share of the squared motion.
        absolute: tolerated squared error in square pixels.

    Returns:
        N 1 H W bool on the grid of `current`.
    """
    back = backward_warp(flow_back, flow, outside="border")
    error = (flow + back).square().sum(1, keepdim=True)
    motion = flow.square().sum(1, keepdim=True) + back.square().sum(1, keepdim=True)
    targets = _pixel_centers(flow) + flow
    limit = flow.new_tensor([flow.shape[3] - 1, flow.shape[2] - 1]).view(1, 2, 1, 1)
    inside = ((targets >= 0) & (targets <= limit)).all(1, keepdim=True)
    return (error < relative * motion + absolute) & inside


def with_reliability(flow: Tensor, flow_back: Tensor) -> Tensor:
    """The flow N 2 H W with a third channel: 1 where it agrees with its opposite, 0 where it cannot be trusted."""
    return torch.cat([flow, consistency_mask(flow, flow_back).to(flow)], dim=1)


def _pixel_centers(flow: Tensor) -> Tensor:
    """1 2 H W, (x, y) of every pixel of the flow's grid."""
    rows = torch.arange(flow.shape[2], device=flow.device, dtype=flow.dtype)
    columns = torch.arange(flow.shape[3], device=flow.device, dtype=flow.dtype)
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"))[None]


def _check_flow(flow: Tensor) -> None:
    """Raise InputError unless the tensor is shaped like a flow."""
    if flow.ndim != 4 or flow.shape[1] != 2 or not flow.is_floating_point():
        raise InputError("This is no flow", got=f"{tuple(flow.shape)} {flow.dtype}", expected="N 2 H W floats")
