"""The field's reductions of HR frames to LR frames: BIx4 and BDx4.

BI  Matlab's `imresize(hr, 1/4)`: cubic kernel (a = -0.5) stretched by 4 so that it averages, borders mirrored.
BD  gaussian blur of sigma 1.6 (13 x 13 taps, borders mirrored), then pixel (4i, 4j) of every 4 x 4 cell, as in the
    test sets of BasicVSR and its successors.

Both are rounded to 8 bits once, at the end.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dgafvsr.errors import InputError

__all__ = ["SCALE", "blur_gaussian", "crop_to_scale", "mirror", "reduce_bicubic", "reduce_blurred"]

SCALE = 4
"""Side of an HR frame over side of its LR frame."""

BD_SIGMA, BD_RADIUS = 1.6, 6


def reduce_bicubic(hr: Tensor) -> Tensor:
    """BIx4.

    Args:
        hr: N 3 4h 4w float in [0, 1].

    Returns:
        N 3 h w in [0, 1], on 8-bit levels.

    Raises:
        InputError: the sides are no multiples of 4.
    """
    _check(hr)
    border = 2 * SCALE  # half the width of the stretched kernel
    reduced = F.interpolate(
        mirror(hr, border), scale_factor=1 / SCALE, mode="bicubic", antialias=True, align_corners=False
    )
    inner = border // SCALE
    return _round(reduced[..., inner:-inner, inner:-inner])


def reduce_blurred(hr: Tensor) -> Tensor:
    """BDx4.

    Args:
        hr: N 3 4h 4w float in [0, 1].

    Returns:
        N 3 h w in [0, 1], on 8-bit levels.

    Raises:
        InputError: the sides are no multiples of 4.
    """
    _check(hr)
    return _round(blur_gaussian(hr, sigma=BD_SIGMA, radius=BD_RADIUS)[..., ::SCALE, ::SCALE])


def crop_to_scale(frames: Tensor) -> Tensor:
    """N C H W without the last rows and columns that no whole LR pixel covers."""
    height, width = (side // SCALE * SCALE for side in frames.shape[-2:])
    return frames[..., :height, :width]


def blur_gaussian(frames: Tensor, *, sigma: float, radius: int) -> Tensor:
    """N C H W blurred by a normalised gaussian of 2 radius + 1 taps along each axis, borders mirrored.

    Args:
        frames: N C H W float.
        sigma: in pixels, above 0.
        radius: in pixels, at most the shorter side.
    """
    offsets = torch.arange(-radius, radius + 1, dtype=frames.dtype, device=frames.device)
    taps = torch.exp(-0.5 * (offsets / sigma) ** 2)
    taps = taps / taps.sum()
    planes = mirror(frames, radius).flatten(0, 1)[:, None]
    return F.conv2d(F.conv2d(planes, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1)).view_as(frames)


def mirror(frames: Tensor, border: int) -> Tensor:
    """N C H W with `border` pixels more on each side, mirrored at the edge with the edge pixel repeated."""
    top, bottom = frames[..., :border, :].flip(-2), frames[..., -border:, :].flip(-2)
    taller = torch.cat([top, frames, bottom], dim=-2)
    return torch.cat([taller[..., :border].flip(-1), taller, taller[..., -border:].flip(-1)], dim=-1)


def _check(hr: Tensor) -> None:
    if hr.ndim != 4 or not hr.is_floating_point() or any(side % SCALE or side < 2 * SCALE for side in hr.shape[-2:]):
        raise InputError(
            "The frames cannot be reduced by 4",
            got=f"{tuple(hr.shape)} {hr.dtype}",
            expected="N 3 4h 4w floats, h and w at least 2",
            remedy="cut the sides to multiples of 4",
        )


def _round(lr: Tensor) -> Tensor:
    return (lr.clamp(0, 1) * 255).round() / 255
