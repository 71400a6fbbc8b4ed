"""How much detail a feature holds: edge intensity and high-pass intensity, as maps on its own grid.

    edge       |grad f| = sqrt(gx^2 + gy^2), gx, gy by the 3 x 3 Sobel operator over 8 (1 for a ramp of slope 1)
    high-pass  |f - G_sigma * f|, G a normalised gaussian cut off at 3 sigma

Both are averaged over channels; the borders are repeated. The paper names both without defining them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["edge_map", "high_pass_map"]


def edge_map(feature: Tensor) -> Tensor:
    """Magnitude of the Sobel gradient.

    Args:
        feature: N C H W float.

    Returns:
        N 1 H W, the feature's units a pixel, mean over channels.
    """
    smooth, slope = feature.new_tensor([1.0, 2.0, 1.0]) / 4, feature.new_tensor([-1.0, 0.0, 1.0]) / 2
    gradient_x = _separable(feature, rows=smooth, columns=slope)
    gradient_y = _separable(feature, rows=slope, columns=smooth)
    return torch.hypot(gradient_x, gradient_y).mean(1, keepdim=True)


def high_pass_map(feature: Tensor, *, sigma: float) -> Tensor:
    """Magnitude of what a gaussian blur takes away.

    Args:
        feature: N C H W float.
        sigma: of the gaussian, in pixels of this grid, above 0.

    Returns:
        N 1 H W in the feature's units, mean over channels.
    """
    assert sigma > 0
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, device=feature.device, dtype=feature.dtype)
    taps = torch.exp(-0.5 * (offsets / sigma) ** 2)
    taps = taps / taps.sum()
    return (feature - _separable(feature, rows=taps, columns=taps)).abs().mean(1, keepdim=True)


def _separable(feature: Tensor, *, rows: Tensor, columns: Tensor) -> Tensor:
    """Correlation of every channel with the outer product of two odd kernels, borders repeated: N C H W."""
    across, down = len(columns) // 2, len(rows) // 2
    planes = F.pad(feature, (across, across, down, down), mode="replicate").flatten(0, 1)[:, None]
    filtered = F.conv2d(F.conv2d(planes, rows.view(1, 1, -1, 1)), columns.view(1, 1, 1, -1))
    return filtered.view_as(feature)
