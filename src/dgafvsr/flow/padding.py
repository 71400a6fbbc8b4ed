"""Sizes that an estimator cannot take: frames are padded below and to the right, the flow is cropped back.

Padding repeats the last row and column, so that nothing moves in it that does not move at the border of the frame.
Pixel p keeps its coordinates, hence flow values need no correction.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["crop_flow", "pad_frames"]


def pad_frames(frames: Tensor, *, multiple: int = 1, minimum: int = 1) -> Tensor:
    """Frames whose sides are at least `minimum` and divisible by `multiple`.

    Args:
        frames: N C H W float, any range.
        multiple: both sides of the result are a multiple of this, in pixels.
        minimum: both sides of the result are at least this, in pixels.

    Returns:
        N C H' W' with the input at its top left corner; the input itself where nothing is missing.
    """
    height, width = frames.shape[-2:]
    bottom, right = (_padded(side, multiple, minimum) - side for side in (height, width))
    return F.pad(frames, (0, right, 0, bottom), mode="replicate") if bottom or right else frames


def crop_flow(flow: Tensor, *, height: int, width: int) -> Tensor:
    """The top left N 2 height width part of a flow that was estimated on padded frames."""
    return flow[..., :height, :width].contiguous()


def _padded(side: int, multiple: int, minimum: int) -> int:
    """The smallest multiple of `multiple` that is not below `side` or `minimum`."""
    return -(-max(side, minimum) // multiple) * multiple
