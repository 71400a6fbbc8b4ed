"""From an HR picture to the LR frame that a network sees.

The base is the field's: the evaluation's bicubic reduction, equal to Matlab's. A share of the samples gets a fault of
real video, so that a model does not fall apart outside of the benchmark: a *mild* one (blur before the reduction,
noise, JPEG), or the evaluation's *realistic* degradation, which is far stronger. One fault is drawn per sequence and
applied to all its frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgafvsr.errors import UsageError
from dgafvsr.evaluation.degradations import blur_gaussian, reduce_bicubic
from dgafvsr.evaluation.realistic import degrade_realistic

__all__ = ["Fault", "check_fault_shares", "draw_fault", "reduce_bicubic", "to_lr"]


# The codec takes a third of a realistic degradation's time.
CODEC_SHARE = 0.3


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault and its strength."""

    kind: Literal["none", "blur", "noise", "jpeg", "realistic"] = "none"

    strength: float = 0.0
    """blur: sigma in HR pixels; noise: standard deviation in 8-bit levels; jpeg: quality; otherwise unused."""

    codec: bool = False
    """realistic: the frames also go through a video codec."""

    seed: int = 0
    """realistic: of its parameters."""


def check_fault_shares(share: float, realistic_share: float) -> None:
    """Refuse shares of mild and of realistic faults that are no probabilities, or make more than one together.

    Raises:
        UsageError: they are out of range.
    """
    if not (0.0 <= share <= 1.0 and 0.0 <= realistic_share <= 1.0 and share + realistic_share <= 1.0):
        raise UsageError(
            "the share of degraded samples is out of range",
            got=f"{share} mild and {realistic_share} realistic",
            expected="0 to 1, also in sum",
        )


def draw_fault(rng: np.random.Generator, *, share: float, realistic_share: float = 0.0) -> Fault:
    """A fault, or none.

    Args:
        rng: source of the draws.
        share: probability of a mild fault, 0 to 1.
        realistic_share: probability of a realistic degradation, 0 to 1 - share.

    Raises:
        UsageError: the shares are out of range.
    """
    check_fault_shares(share, realistic_share)
    draw = rng.random()
    if draw < realistic_share:
        return Fault(kind="realistic", codec=bool(rng.random() < CODEC_SHARE), seed=int(rng.integers(2**31)))
    if draw >= realistic_share + share:
        return Fault()
    kind = ("blur", "noise", "jpeg")[int(rng.integers(3))]
    low, high = {"blur": (0.4, 1.6), "noise": (1.0, 6.0), "jpeg": (60.0, 95.0)}[kind]
    return Fault(kind=kind, strength=float(rng.uniform(low, high)))  # type: ignore[arg-type]


def to_lr(frames: NDArray[np.uint8], fault: Fault, rng: np.random.Generator) -> Tensor:
    """LR frames of a sequence.

    Args:
        frames: T 4h 4w 3 uint8 RGB, h and w at least 2.
        fault: applied to every frame; the noise differs from frame to frame.
        rng: source of the noise.

    Returns:
        T 3 h w in [0, 1], on 8-bit levels.
    """
    hr = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
    if fault.kind == "realistic":
        return torch.cat(list(degrade_realistic(hr.split(1), seed=fault.seed, video_codec=fault.codec)))
    if fault.kind == "blur":
        hr = blur_gaussian(hr, sigma=fault.strength, radius=max(1, round(3 * fault.strength)))
    lr = reduce_bicubic(hr)
    if fault.kind == "noise":
        noise = torch.from_numpy(rng.standard_normal(lr.shape).astype(np.float32)) * (fault.strength / 255)
        lr = ((lr + noise).clamp(0, 1) * 255).round() / 255
    if fault.kind == "jpeg":
        lr = torch.stack([_jpeg(frame, round(fault.strength)) for frame in lr])
    return lr


def _jpeg(frame: Tensor, quality: int) -> Tensor:
    picture = (frame.permute(1, 2, 0) * 255).round().byte().numpy()[:, :, ::-1]
    ok, code = cv2.imencode(".jpg", np.ascontiguousarray(picture), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert decoded is not None
    return torch.from_numpy(np.ascontiguousarray(decoded[:, :, ::-1])).permute(2, 0, 1).float() / 255
