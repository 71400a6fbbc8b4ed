"""RAFT's correlation lookups without the all-pairs volume: the same numbers, memory linear in pixels.

torchvision's block stores <f1(p), f2(q)> for every pair of feature pixels p, q, pools it over q into a pyramid and
samples (2r + 1)^2 values around p + flow(p) at every level. Pooling and bilinear sampling over q are linear, and so is
the inner product:

    pool(<f1(p), f2>)(q) = <f1(p), pool(f2)(q)>

So the pyramid of f2 is enough. The lookups around one centre lie one pixel apart, hence share one bilinear fraction:
(2r + 2)^2 inner products at whole pixels, then one interpolation between neighbouring products.
Conventions are torchvision's: coordinates are pixel centres (x, y) on the feature grid, align_corners=True, level l
reads at coordinates / 2^l, zero outside, and the first index of the window moves x.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgafvsr.errors import InputError

__all__ = ["OnDemandCorrBlock"]

# Gathered target features alive at a time, in numbers: 8 MiB of float32 stay in a CPU's cache (measured: half the time
# of 64 MiB), an accelerator wants fewer and larger steps.
CPU_CHUNK_NUMBERS = 1 << 21
ACCELERATOR_CHUNK_NUMBERS = 1 << 24


class OnDemandCorrBlock(nn.Module):
    """A drop-in for torchvision's CorrBlock: `RAFT(..., corr_block=OnDemandCorrBlock(num_levels=4, radius=4))`.

    Args:
        num_levels: levels of the pyramid; each halves the target's sides, rounding down.
        radius: r; each level gives (2r + 1)^2 correlations per pixel.
        chunk_numbers: target features gathered at a time, None to suit the device; bounds the working memory and
            changes the result by rounding only.
    """

    def __init__(self, *, num_levels: int = 4, radius: int = 4, chunk_numbers: int | None = None) -> None:
        super().__init__()
        self.num_levels, self.radius, self.chunk_numbers = num_levels, radius, chunk_numbers
        self.out_channels = num_levels * (2 * radius + 1) ** 2
        self._query: Tensor | None = None
        self._pyramid: list[_TargetLevel] = []

    def build_pyramid(self, fmap1: Tensor, fmap2: Tensor) -> None:
        """Keep the query features and the pooled target features.

        Args:
            fmap1: N C h w features at whose pixels correlations will be asked for.
            fmap2: N C h w features that are looked up.

        Raises:
            InputError: the maps differ in shape or are too small for the pyramid.
        """
        smallest = 2**self.num_levels
        if fmap1.shape != fmap2.shape or min(fmap1.shape[-2:]) < smallest:
            raise InputError(
                "These feature maps cannot be correlated",
                got=f"{tuple(fmap1.shape)} and {tuple(fmap2.shape)}",
                expected=f"two of one shape, both sides at least {smallest}",
            )
        self._query = (fmap1 / math.sqrt(fmap1.shape[1])).flatten(2).transpose(1, 2).contiguous()
        self._pyramid = []
        for level in range(self.num_levels):
            fmap2 = F.avg_pool2d(fmap2, kernel_size=2, stride=2) if level else fmap2
            self._pyramid.append(_TargetLevel(fmap2))

    def index_pyramid(self, centroids_coords: Tensor) -> Tensor:
        """The correlations around the given centres.

        Args:
            centroids_coords: N 2 h w float, (x, y) in pixels of the feature grid; may lie outside of it.

        Returns:
            N num_levels * (2r + 1)^2 h w; level after level, within a level x offset after x offset.
        """
        assert self._query is not None, "build_pyramid comes first"
        batch, _, height, width = centroids_coords.shape
        centers = centroids_coords.permute(0, 2, 3, 1).reshape(batch, height * width, 2)
        features = centers.new_empty(batch, height * width, self.out_channels)
        window = (2 * self.radius + 1) ** 2
        suited = CPU_CHUNK_NUMBERS if centers.device.type == "cpu" else ACCELERATOR_CHUNK_NUMBERS
        per_chunk = max(1, (self.chunk_numbers or suited) // ((2 * self.radius + 2) ** 2 * self._query.shape[2]))
        for sample in range(batch):
            for start in range(0, height * width, per_chunk):
                part = slice(start, start + per_chunk)
                query, center = self._query[sample, part], centers[sample, part]
                for level, target in enumerate(self._pyramid):
                    found = target.correlate(sample, query, center / 2**level, self.radius)
                    features[sample, part, level * window : (level + 1) * window] = found
        return features.transpose(1, 2).reshape(batch, self.out_channels, height, width)

    def release(self) -> None:
        """Forget the features of the last pair of frames."""
        self._query, self._pyramid = None, []


class _TargetLevel:
    """One level of the target pyramid as rows of features, with one row of zeros for everything outside."""

    def __init__(self, features: Tensor) -> None:
        self.height, self.width = features.shape[-2:]
        self.rows = F.pad(features.flatten(2).transpose(1, 2), (0, 0, 0, 1))

    def correlate(self, sample: int, query: Tensor, center: Tensor, radius: int) -> Tensor:
        """Inner products of queries with the window around their centres.

        Args:
            sample: index in the batch.
            query: Q C features, already divided by sqrt(C); half precision under autocast, which coordinates never are.
            center: Q 2 float, (x, y) in pixels of this level.
            radius: r.

        Returns:
            Q (2r + 1)^2, x offset after x offset.
        """
        corner = center.floor()
        offsets = torch.arange(-radius, radius + 2, device=center.device)
        x, y = (corner[:, axis, None].long() + offsets for axis in (0, 1))
        inside = ((x >= 0) & (x < self.width))[:, :, None] & ((y >= 0) & (y < self.height))[:, None, :]
        outside_row = self.height * self.width
        index = torch.where(inside, y[:, None, :] * self.width + x[:, :, None], outside_row)
        found = self.rows[sample].index_select(0, index.flatten()).view(*index.shape, -1).flatten(1, 2)
        products = torch.bmm(found, query[:, :, None]).view(index.shape).to(center.dtype)
        fraction_x, fraction_y = ((center - corner)[:, axis, None, None] for axis in (0, 1))
        along_x = torch.lerp(products[:, :-1], products[:, 1:], fraction_x)
        return torch.lerp(along_x[:, :, :-1], along_x[:, :, 1:], fraction_y).flatten(1)
