"""From an HR picture to the LR frame that a network sees.

The base is the field's: antialiased bicubic to a quarter of the side, rounded to 8 bits. A share of the samples then
gets a *mild* fault of real video (blur before the reduction, noise, JPEG), so that the packaged model does not fall
apart outside of the benchmark. One fault is drawn per sequence and applied to all its frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dgafvsr.errors import UsageError
from dgafvsr.models.autoencoder import FACTOR

__all__ = ["Fault", "draw_fault", "reduce_bicubic", "to_lr"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A mild fault and its strength."""

    kind: Literal["none", "blur", "noise", "jpeg"] = "none"

    strength: float = 0.0
    """blur: sigma in HR pixels; noise: standard deviation in 8-bit levels; jpeg: quality; none: unused."""


def draw_fault(rng: np.random.Generator, *, share: float) -> Fault:
    """A fault with probability `share` in [0, 1], else none."""
    if not 0.0 <= share <= 1.0:
        raise UsageError("the share of degraded samples is out of range", got=share, expected="0 to 1")
    if rng.random() >= share:
        return Fault()
    kind = ("blur", "noise", "jpeg")[int(rng.integers(3))]
    low, high = {"blur": (0.4, 1.6), "noise": (1.0, 6.0), "jpeg": (60.0, 95.0)}[kind]
    return Fault(kind=kind, strength=float(rng.uniform(low, high)))  # type: ignore[arg-type]


def reduce_bicubic(hr: Tensor) -> Tensor:
    """N 3 4h 4w in [0, 1] -> N 3 h w: antialiased bicubic x1/4, clamped and rounded to 8-bit levels."""
    lr = F.interpolate(hr, scale_factor=1 / FACTOR, mode="bicubic", antialias=True, align_corners=False)
    return (lr.clamp(0, 1) * 255).round() / 255


def to_lr(frames: NDArray[np.uint8], fault: Fault, rng: np.random.Generator) -> Tensor:
    """LR frames of a sequence.

    Args:
        frames: T 4h 4w 3 uint8 RGB.
        fault: applied to every frame; the noise differs from frame to frame.
        rng: source of the noise.

    Returns:
        T 3 h w in [0, 1], on 8-bit levels.
    """
    hr = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
    if fault.kind == "blur":
        hr = _blur(hr, fault.strength)
    lr = reduce_bicubic(hr)
    if fault.kind == "noise":
        noise = torch.from_numpy(rng.standard_normal(lr.shape).astype(np.float32)) * (fault.strength / 255)
        lr = ((lr + noise).clamp(0, 1) * 255).round() / 255
    if fault.kind == "jpeg":
        lr = torch.stack([_jpeg(frame, round(fault.strength)) for frame in lr])
    return lr


def _blur(hr: Tensor, sigma: float) -> Tensor:
    radius = max(1, round(3 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).to(hr.dtype)
    padded = F.pad(hr, (radius,) * 4, mode="replicate").flatten(0, 1).unsqueeze(1)
    blurred = F.conv2d(F.conv2d(padded, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))
    return blurred.view_as(hr)


def _jpeg(frame: Tensor, quality: int) -> Tensor:
    picture = (frame.permute(1, 2, 0) * 255).round().byte().numpy()[:, :, ::-1]
    ok, code = cv2.imencode(".jpg", np.ascontiguousarray(picture), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert decoded is not None
    return torch.from_numpy(np.ascontiguousarray(decoded[:, :, ::-1])).permute(2, 0, 1).float() / 255
