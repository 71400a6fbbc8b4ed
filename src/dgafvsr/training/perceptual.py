"""LPIPS as a training loss.

Training uses the VGG variant and evaluation judges with AlexNet and DISTS, so that the loss does not flatter the score.
torchmetrics (extra `dgafvsr[train]`) carries the linear heads; torchvision fetches the VGG features at first use.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dgafvsr.errors import UsageError
from dgafvsr.models.autoencoder import FACTOR
from dgafvsr.training.draws import Draws

__all__ = ["PerceptualLoss", "grid_loss", "lattice_loss", "period_loss", "random_windows", "statistics_loss"]

_LIVELY = 0.01
"""Mean difference of neighbouring pixels, of a range of 2, below which a lattice is too faint to count fully."""

_FAINT = 1e-6
"""Squared feature below which two channels count as alike; DISTS's constant."""


class PerceptualLoss(nn.Module):
    """LPIPS-VGG between pictures in [-1, 1]; its parameters are frozen and are not part of any checkpoint.

    Raises:
        UsageError: torchmetrics is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
        except ImportError as error:
            raise UsageError(
                "the perceptual loss needs torchmetrics", remedy="install it with `pip install 'dgafvsr[train]'`"
            ) from error
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.net = LearnedPerceptualImagePatchSimilarity(net_type="vgg").net
        self.requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean LPIPS of two batches: N 3 H W in [-1, 1], H and W at least 32 -> a scalar."""
        return self.distance(self.features(output), self.features(target))

    def features(self, picture: Tensor) -> tuple[Tensor, ...]:
        """VGG16's relu1_2 ... relu5_3 of N 3 H W in [-1, 1], at 1 ... 1/16 of its size; shared with the critic."""
        return tuple(self.net.net(self.net.scaling_layer(picture)))

    def distance(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Mean LPIPS of two batches from their features: a scalar."""
        layers = [
            head((F.normalize(one.float(), dim=1) - F.normalize(other.float(), dim=1)) ** 2).mean()
            for head, one, other in zip(self.net.lins, first, second, strict=True)
        ]
        return torch.stack(layers).sum()


def statistics_loss(output: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """How much the statistics of feature maps differ: a scalar, 0 for the same maps and at most 2.

    After DISTS (Ding et al., "Image Quality Assessment: Unifying Structure and Texture Similarity", TPAMI 2020), here
    with equal weights: means, and variances and covariances, of each channel over the whole window are compared as SSIM
    compares them. The mean of a rectified feature tells how much of a texture there is, wherever it lies, so half of
    this does not ask for the softness that is the mean of all possible textures; and unlike a critic it stays the same.

    Args:
        output: feature maps, N C H W each, of any number of layers.
        target: those of the truth.
    """
    layers = []
    for one, other in zip(output, target, strict=True):
        x, y = one.float().flatten(2), other.float().flatten(2)
        x_mean, y_mean = x.mean(dim=2, keepdim=True), y.mean(dim=2, keepdim=True)
        x_spread, y_spread = x - x_mean, y - y_mean
        brightness = _similarity(x_mean * y_mean, x_mean.square(), y_mean.square())
        structure = _similarity(
            *(
                (first * second).mean(dim=2, keepdim=True)
                for first, second in ((x_spread, y_spread), (x_spread, x_spread), (y_spread, y_spread))
            )
        )
        layers.append(1 - (brightness.mean() + structure.mean()) / 2)
    return torch.stack(layers).mean()


def _similarity(both: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return (2 * both + _FAINT) / (first + second + _FAINT)


def grid_loss(output: Tensor, target: Tensor, *, cells: int = 8) -> Tensor:
    """How much a picture repeats the same error in every 4 x 4 cell: a scalar, 0 for a picture without a grid.

    A few-step network that is asked for texture it cannot predict offers the decoder's pattern of one constant latent,
    repeated cell by cell; LPIPS likes that. The error of each of the 16 positions of a cell, averaged over neighbouring
    cells, shows the grid (and a shift of colour) and nothing else: real detail averages out.

    Args:
        output: N 3 4h 4w in [-1, 1].
        target: N 3 4h 4w in [-1, 1].
        cells: side of the average in cells; h and w are at least that.
    """
    error = F.pixel_unshuffle(output.float() - target.float(), FACTOR)
    return F.avg_pool2d(error, cells, stride=max(1, cells // 2)).abs().mean()


def lattice_loss(output: Tensor, target: Tensor, *, cells: int = 8) -> Tensor:
    """How much livelier some positions of the 4 x 4 cells are than others, beyond the target: a scalar, 0 for none.

    `grid_loss` sees an error that repeats; this sees one whose sign changes from cell to cell, such as edges that fall
    on the cells' borders. The absolute differences of neighbouring pixels, averaged over neighbouring cells, are alike
    at all 16 positions of a natural picture; their mean relative deviation is compared, place by place.

    Args:
        output: N 3 4h 4w in [-1, 1].
        target: N 3 4h 4w in [-1, 1].
        cells: side of the average in cells; h and w are at least that.
    """
    made, natural = (_lattice(picture.float(), cells) for picture in (output, target))
    return F.relu(made - natural).mean()


def _lattice(picture: Tensor, cells: int) -> Tensor:
    """Relative deviation of the 16 positions' liveliness, N 2 h' w': along rows and along columns."""
    along = (
        F.pad(picture[..., 1:] - picture[..., :-1], (1, 0)),
        F.pad(picture[..., 1:, :] - picture[..., :-1, :], (0, 0, 1, 0)),
    )
    parts = []
    for change in along:
        lively = F.pixel_unshuffle(change.abs().mean(dim=1, keepdim=True), FACTOR)
        lively = F.avg_pool2d(lively, cells, stride=max(1, cells // 2))
        mean = lively.mean(dim=1, keepdim=True)
        parts.append(((lively - mean).abs() / (mean + _LIVELY)).mean(dim=1))
    return torch.stack(parts, dim=1)


def period_loss(output: Tensor, target: Tensor, *, cells: int = 8) -> Tensor:
    """How much a picture's texture repeats from cell to cell, beyond the target: a scalar, 0 for none.

    Dots that stand in every second cell or so, whose place in the cell and sign change, pass `grid_loss` and
    `lattice_loss`; and LPIPS likes them for grass. What gives them away is the autocorrelation of the differences of
    neighbouring pixels: it falls smoothly with distance in natural texture, and has a bump at the side of a cell here.

    Args:
        output: N 3 4h 4w in [-1, 1], h and w at least 2.
        target: N 3 4h 4w in [-1, 1].
        cells: side in cells of the places that are compared one by one; smaller pictures are one place.
    """
    return F.relu(_bump(output, cells) - _bump(target, cells)).mean()


def _bump(picture: Tensor, cells: int) -> Tensor:
    """Autocorrelation at the distance of a cell beyond the mean of the two beside it, N 2 h' w': in rows, in columns.

    The loss compares place by place, so both directions are cut to the same size.
    """
    luma = picture.float().mean(dim=1, keepdim=True)
    parts = []
    for axis in (3, 2):
        change = luma.diff(dim=axis)
        count = change.shape[axis] - FACTOR - 1
        here = change.narrow(axis, 0, count)
        around = [_local_mean(here * change.narrow(axis, FACTOR + offset, count), cells) for offset in (-1, 0, 1)]
        energy = _local_mean(here.square(), cells)
        parts.append((around[1] - (around[0] + around[2]) / 2) / (energy + _LIVELY**2))
    height, width = (min(part.shape[axis] for part in parts) for axis in (2, 3))
    return torch.cat([part[:, :, :height, :width] for part in parts], dim=1)


def _local_mean(values: Tensor, cells: int) -> Tensor:
    side = [min(FACTOR * cells, extent) for extent in values.shape[-2:]]
    return F.avg_pool2d(values, side, stride=FACTOR * max(1, cells // 2))


def random_windows(*pictures: Tensor, side: int, draws: Draws) -> tuple[Tensor, ...]:
    """A random square of each sample, the same in every batch given.

    Args:
        pictures: N C H W each.
        side: of the square; at least min(H, W) keeps all.
        draws: of these N samples.

    Returns:
        N C side side each.
    """
    height, width = pictures[0].shape[-2:]
    if side >= min(height, width):
        return pictures
    corners = list(
        zip(draws.integers(height - side + 1).tolist(), draws.integers(width - side + 1).tolist(), strict=True)
    )
    return tuple(
        torch.stack([row[:, y : y + side, x : x + side] for row, (y, x) in zip(picture, corners, strict=True)])
        for picture in pictures
    )
