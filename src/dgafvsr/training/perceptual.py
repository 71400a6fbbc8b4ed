"""LPIPS as a training loss.

Training uses the VGG variant and evaluation judges with AlexNet and DISTS, so that the loss does not flatter the score.
torchmetrics (extra `dgafvsr[train]`) carries the linear heads; torchvision fetches the VGG features at first use.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dgafvsr.errors import UsageError
from dgafvsr.models.autoencoder import FACTOR

__all__ = ["PerceptualLoss", "grid_loss", "random_window"]


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
        return self.net(output, target, normalize=False).mean()


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


def random_window(*pictures: Tensor, side: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """The same random square of every batch: N C H W -> N C side side; a side of at least min(H, W) keeps all."""
    height, width = pictures[0].shape[-2:]
    if side >= min(height, width):
        return pictures
    top = int(torch.randint(height - side + 1, (1,), generator=generator))
    left = int(torch.randint(width - side + 1, (1,), generator=generator))
    return tuple(picture[..., top : top + side, left : left + side] for picture in pictures)
