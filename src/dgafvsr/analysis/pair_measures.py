"""How alike two aligned pictures (or features) are: what observation 1 counts, with its common range.

Common range: per channel, the smallest and largest value of *the two pictures compared* become 0 and 1 (`range`), or
their mean minus and plus three standard deviations (`deviation`, not clipped). PSNR relative to `range` grows with the
tails of a distribution, and detail in pixels has long ones: it is near zero nearly everywhere. `deviation` measures
every kind of picture in units of its own spread.

    PSNR      10 log10(1 / mean squared difference), dB
    SSIM      11 x 11 gaussian window of sigma 1.5, in pixels of the picture's own grid, mean over channels and over the
              positions whose whole window may be looked at; in float32
    H         Shannon entropy in bits of the difference, rounded to levels of 1/255, all channels together
    sigma     standard deviation of the difference, in levels of 1/255
    F(x)      1 / (1 + x), per pair
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from dgafvsr.errors import InputError, UsageError
from dgafvsr.evaluation.metrics import for_float64

try:
    from torchmetrics.functional.image import structural_similarity_index_measure
except ImportError as error:
    raise UsageError(
        "Observation 1 needs torchmetrics", got=error, remedy="install the extra: pip install 'dgafvsr[eval]'"
    ) from error

__all__ = ["MEASURES", "Normalisation", "compare_pair", "whole_windows"]

Normalisation = Literal["range", "deviation"]

MEASURES = ("psnr", "ssim", "f_entropy", "f_sigma", "entropy", "sigma")
"""What `compare_pair` gives, in this order."""

LEVELS = 255
DEVIATIONS = 3.0
SSIM_SIDE = 11


def compare_pair(aligned: Tensor, current: Tensor, visible: Tensor, normalisation: Normalisation) -> dict[str, float]:
    """The measures of one pair, by the names in `MEASURES`.

    Args:
        aligned: the neighbour on the current grid, 1 C H W, any range.
        current: 1 C H W.
        visible: 1 1 H W bool, where to look.
        normalisation: how values come to a common range.

    Raises:
        InputError: nowhere can a window of SSIM be looked at whole.
    """
    aligned, current, visible = map(for_float64, (aligned, current, visible))
    where, windows = visible[0, 0], whole_windows(visible)[0, 0]
    if not windows.any():
        raise InputError(
            "There is too little to look at for SSIM",
            got=f"{int(where.sum())} positions",
            expected=f"at least {SSIM_SIDE} x {SSIM_SIDE} neighbouring ones",
        )
    low, high = _limits(aligned[0][:, where].double(), current[0][:, where].double(), normalisation)
    first, second = (((part.double() - low) / (high - low)) for part in (aligned, current))
    _, similarity = structural_similarity_index_measure(  # float32: 17 times faster, 1e-5 away
        first.float(), second.float(), gaussian_kernel=True, sigma=1.5, data_range=1.0, return_full_image=True
    )
    difference = LEVELS * (first - second)[0][:, where]
    counts = torch.unique(difference.round(), return_counts=True)[1].double()
    shares = counts / counts.sum()
    entropy = float(-(shares * shares.log2()).sum())
    sigma = float(difference.std(correction=0))
    mean_square = float((difference / LEVELS).square().mean())
    return {
        "psnr": float("inf") if mean_square == 0 else -10 * float(torch.tensor(mean_square).log10()),
        "ssim": float(similarity[0][:, windows].double().mean()),
        "f_entropy": 1 / (1 + entropy),
        "f_sigma": 1 / (1 + sigma),
        "entropy": entropy,
        "sigma": sigma,
    }


def _limits(first: Tensor, second: Tensor, normalisation: Normalisation) -> tuple[Tensor, Tensor]:
    """What becomes 0 and 1, each 1 C 1 1, of two C K sets of values; a constant channel keeps a range of 1."""
    values = torch.cat([first, second], dim=1)
    if normalisation == "range":
        low, high = values.amin(1), values.amax(1)
    else:
        mean, reach = values.mean(1), DEVIATIONS * values.std(1, correction=0)
        low, high = mean - reach, mean + reach
    high = torch.where(high > low, high, low + 1)
    return low[None, :, None, None], high[None, :, None, None]


def whole_windows(visible: Tensor) -> Tensor:
    """Positions around which a whole window of SSIM is visible: 1 1 H W bool for 1 1 H W bool."""
    share = F.avg_pool2d(visible.float(), SSIM_SIDE, stride=1, padding=SSIM_SIDE // 2)
    return share > 1 - 0.5 / SSIM_SIDE**2
