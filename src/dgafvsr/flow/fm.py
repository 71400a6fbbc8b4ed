"""FM, the paper's flow module: flow between neighbouring frames in both directions, on the x4 grid.

Frames are upsampled x4 first (bicubic, align_corners=False, no antialias, not clamped), so that the flow has the
resolution at which OGWM warps. `keep` reduces each flow at once to what the warp reads (OGWM keeps every 4th row and
column), so no flow of the full size is stored.

Names: forward[i] is read when a forward sweep warps frame i towards frame i + 1; backward[i] when a backward sweep
warps frame i + 1 towards frame i. Both are in frame order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dgafvsr.errors import InputError, UsageError
from dgafvsr.flow.estimator import FlowEstimator
from dgafvsr.flow.fields import resize_flow, with_reliability

__all__ = ["BidirectionalFlows", "bidirectional_flows", "check_flow_scale", "upsample_frames"]

RESCALING = 4


@dataclass(frozen=True, kw_only=True)
class BidirectionalFlows:
    """Flow between the neighbouring frames of a clip of T frames, (dx, dy) in pixels of the x4 grid.

    A third channel, where there is one, is the flow's reliability, 0 to 1.
    """

    forward: Tensor
    """T-1 2 H W: `frame_{i+1}(p) ~ frame_i(p + forward[i](p))`."""
    backward: Tensor
    """T-1 2 H W: `frame_i(p) ~ frame_{i+1}(p + backward[i](p))`."""

    def __post_init__(self) -> None:
        if self.forward.shape != self.backward.shape or self.forward.ndim < 4 or self.forward.shape[1] not in (2, 3):
            raise InputError(
                "The flows of the two directions do not fit",
                got=f"{tuple(self.forward.shape)} and {tuple(self.backward.shape)}",
                expected="two T-1 2 ... tensors of one shape",
            )


def bidirectional_flows(
    lr_frames: Tensor,
    estimator: FlowEstimator,
    *,
    keep: Callable[[Tensor], Tensor] | None = None,
    scale: int = RESCALING,
    reliability: bool = False,
) -> BidirectionalFlows:
    """Flow between all neighbouring frames of a clip, in both directions.

    Args:
        lr_frames: T 3 h w float in [0, 1], RGB, T at least 1.
        estimator: called with two upsampled frames 1 3 4h 4w at a time.
        keep: what is stored of a flow 1 2 4h 4w, as 1 2 ...; None stores all of it.
        scale: times that frames are enlarged for the estimator, 1, 2 or 4. Below 4, the method's, the flow is estimated
            on fewer pixels and enlarged (bilinear): several times faster, and coarser.
        reliability: whether a third channel says where the two directions agree; `keep` gets it too.

    Returns:
        Flows on the device where the estimator leaves them; 0 2 H W for a clip of one frame.

    Example:
        >>> from dgafvsr.flow.dis import DISFlow
        >>> flows = bidirectional_flows(torch.rand(3, 3, 8, 10), DISFlow(), keep=lambda flow: flow[..., ::4, ::4])
        >>> flows.forward.shape
        torch.Size([2, 2, 8, 10])
    """
    if lr_frames.ndim != 4 or lr_frames.shape[1] != 3 or len(lr_frames) == 0 or not lr_frames.is_floating_point():
        raise InputError(
            "FM needs a clip", got=f"{tuple(lr_frames.shape)} {lr_frames.dtype}", expected="T 3 h w floats in [0, 1]"
        )
    check_flow_scale(scale)
    keep = keep or (lambda flow: flow)
    height, width = (RESCALING * side for side in lr_frames.shape[-2:])
    if len(lr_frames) == 1:
        none = keep(lr_frames.new_zeros(1, 3 if reliability else 2, height, width, dtype=torch.float32))[:0]
        return BidirectionalFlows(forward=none, backward=none.clone())

    def flow_between(current: Tensor, neighbor: Tensor) -> Tensor:
        flow = estimator(current, neighbor)
        return flow if scale == RESCALING else resize_flow(flow, height=height, width=width)

    forward, backward = [], []
    here = upsample_frames(lr_frames[:1], scale)
    for index in range(1, len(lr_frames)):
        after = upsample_frames(lr_frames[index : index + 1], scale)
        pair = flow_between(after, here), flow_between(here, after)
        if reliability:
            pair = with_reliability(*pair), with_reliability(*reversed(pair))
        forward.append(keep(pair[0]).clone())
        backward.append(keep(pair[1]).clone())
        here = after
    return BidirectionalFlows(forward=torch.cat(forward), backward=torch.cat(backward))


def check_flow_scale(scale: int) -> None:
    """Raise UsageError unless flow can be estimated on frames enlarged so many times."""
    if scale not in (1, 2, RESCALING):
        raise UsageError("The scale of the flow is impossible", got=scale, expected="1, 2 or 4")


def upsample_frames(lr_frames: Tensor, scale: int = RESCALING) -> Tensor:
    """N 3 sh sw: bicubic, align_corners=False, no antialias, not clamped; lr_frames are N 3 h w in [0, 1]."""
    if scale == 1:
        return lr_frames
    return F.interpolate(lr_frames, scale_factor=scale, mode="bicubic", align_corners=False)
