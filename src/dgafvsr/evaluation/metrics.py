"""The metrics by name, and those that compare two pictures without a network: PSNR and SSIM.

Pictures are N 3 H W float RGB (or three copies of Y) in [0, 1]; every function gives one number per picture. The
formulas are torchmetrics'; data_range is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dgafvsr.errors import InputError, UsageError

try:
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
except ImportError as error:
    raise UsageError(
        "Evaluation needs torchmetrics", got=error, remedy="install the extra: pip install 'dgafvsr[eval]'"
    ) from error

__all__ = [
    "METRICS",
    "Metric",
    "MetricName",
    "Unavailable",
    "check_pictures",
    "for_float64",
    "parse_metrics",
    "psnr",
    "ssim",
]

MetricName = Literal["psnr", "ssim", "lpips", "dists", "musiq", "clipiqa", "niqe", "tlpips", "tof", "warping"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What is known of a metric before it is computed."""

    name: MetricName
    """As options and files spell it."""
    title: str
    """As tables show it, with its factor."""
    higher_is_better: bool
    """Which way is up."""
    temporal: bool
    """Whether it needs two neighbouring frames; such a metric has no value for a clip's first frame."""
    needs_truth: bool
    """Whether it is undefined without ground truth. The warping error then follows the prediction's own motion."""
    decimals: int
    """Digits after the point in tables."""
    minimum_side: int
    """The smallest height and width of a picture, in pixels."""

    @property
    def heading(self) -> str:
        """The title with an arrow towards better."""
        return f"{self.title} {'↑' if self.higher_is_better else '↓'}"


@dataclass(frozen=True)
class Unavailable:
    """Why a metric has no value."""

    short: str
    """In a table's cell."""
    reason: str
    """Below the table."""


def _metric(name: MetricName, title: str, decimals: int, minimum_side: int) -> Metric:
    return Metric(
        name=name,
        title=title,
        higher_is_better=name in ("psnr", "ssim", "musiq", "clipiqa"),
        temporal=name in ("tlpips", "tof", "warping"),
        needs_truth=name in ("psnr", "ssim", "lpips", "dists", "tlpips", "tof"),
        decimals=decimals,
        minimum_side=minimum_side,
    )


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _metric("psnr", "PSNR", 2, 1),
        _metric("ssim", "SSIM", 4, 11),
        _metric("lpips", "LPIPS", 4, 31),
        _metric("dists", "DISTS", 4, 16),
        _metric("musiq", "MUSIQ", 2, 32),
        _metric("clipiqa", "CLIP-IQA", 4, 32),
        _metric("niqe", "NIQE", 3, 192),
        _metric("tlpips", "tLPIPS x1e3", 2, 31),
        _metric("tof", "tOF x10", 3, 16),
        _metric("warping", "E_warp x1e3", 3, 16),
    )
}


def parse_metrics(text: str) -> tuple[MetricName, ...]:
    """The metrics that a comma-separated list names, in its order, each once.

    Raises:
        UsageError: an unknown name, or none.
    """
    names = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        raise UsageError(
            f"Unknown metrics: {', '.join(unknown)}" if unknown else "No metric was named",
            expected=f"a comma-separated list of {', '.join(METRICS)}",
        )
    return tuple(METRICS[name].name for name in names)


def check_pictures(first: Tensor, *others: Tensor, metric: MetricName) -> None:
    """Raise InputError unless all are N 3 H W floats in [0, 1] of one shape, free of NaN and large enough."""
    title, smallest = METRICS[metric].title, METRICS[metric].minimum_side
    if any(other.shape != first.shape for other in others) or first.ndim != 4 or first.shape[1] != 3 or not len(first):
        raise InputError(
            f"{title} needs pictures of one size",
            got=" and ".join(str(tuple(pictures.shape)) for pictures in (first, *others)),
            expected="N 3 H W tensors",
        )
    if min(first.shape[-2:]) < smallest:
        raise InputError(
            f"The pictures are too small for {title}",
            got=f"{first.shape[-1]}x{first.shape[-2]}",
            expected=f"at least {smallest} pixels on each side",
        )
    for pictures in (first, *others):
        low, high = float(pictures.min()), float(pictures.max())
        if not (low >= 0 and high <= 1):
            raise InputError(f"{title} needs finite values in [0, 1]", got=f"values from {low:g} to {high:g}")


def psnr(prediction: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, 10 log10(1 / MSE) over all channels; infinite for equal pictures.

    Args:
        prediction: N 3 H W float in [0, 1].
        truth: N 3 H W float in [0, 1].

    Returns:
        N, float64.

    Raises:
        InputError: the pictures cannot be compared.
    """
    check_pictures(prediction, truth, metric="psnr")
    pairs = zip(for_float64(prediction).double(), for_float64(truth).double(), strict=True)
    return torch.stack([peak_signal_noise_ratio(*pair, data_range=1.0) for pair in pairs])


def ssim(prediction: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity: 11x11 gaussian window of sigma 1.5, mean over channels and all positions.

    Computed in float32, 17 times as fast here as float64 and within 1e-5 of it on real frames. Borders are mirrored, as
    in torchmetrics, by which the paper's numbers were made; Matlab and BasicSR leave out the 5 pixels at each border
    instead, which gives slightly other numbers.

    Args:
        prediction: N 3 H W float in [0, 1].
        truth: N 3 H W float in [0, 1].

    Returns:
        N, float64, at most 1.

    Raises:
        InputError: the pictures cannot be compared.
    """
    check_pictures(prediction, truth, metric="ssim")
    similarity: Tensor = structural_similarity_index_measure(
        prediction.float(), truth.float(), gaussian_kernel=True, sigma=1.5, reduction="none", data_range=1.0
    )
    return for_float64(similarity).reshape(len(prediction)).double()


def for_float64(values: Tensor) -> Tensor:
    """The same values where they can become float64: on the CPU if they are on an Apple GPU, which has no such type."""
    return values.cpu() if values.device.type == "mps" else values
