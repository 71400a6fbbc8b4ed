"""Spatial tiles of a latent, as data: where they lie and how their predictions become one.

G_U and D_U run tile by tile at every visit (step, frame), and the predictions are blended to one for the whole frame
before the scheduler's step. So no tile ever has a result of its own that could be pasted beside another, and OGWM, the
flow and the scheduler go on seeing whole frames. What a tile changes: convolutions see zeros beyond its border, which
the weights fade out, and GroupNorm averages over the tile instead of the frame (benchmarks/tiles.py measures both).

Tiles start at multiples of the networks' total stride, so that strided convolutions read the same pixels as they do in
the whole frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dgafvsr.errors import UsageError

__all__ = ["MINIMUM_TILE", "Span", "Tile", "Tiling", "blend_tiles", "plan_spans", "plan_tiles"]

MINIMUM_TILE = 32
"""Shortest side of a tile in LR pixels: below it the weights leave nothing that is not near a border."""


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How frames are cut.

    Raises:
        UsageError: a value out of its range.
    """

    tile: int
    """Side of a tile in LR pixels, at least `MINIMUM_TILE`; rounded down to a multiple of the networks' stride."""
    overlap: int = 16
    """LR pixels that neighbouring tiles share at least, from 0 to half a tile."""

    def __post_init__(self) -> None:
        if self.tile < MINIMUM_TILE:
            raise UsageError("The tile is too small", got=self.tile, expected=f"at least {MINIMUM_TILE} LR pixels")
        if not 0 <= self.overlap <= self.tile // 2:
            raise UsageError(
                "The overlap of the tiles is out of range", got=self.overlap, expected=f"0 to {self.tile // 2}"
            )


@dataclass(frozen=True, kw_only=True)
class Span:
    """One tile along one axis.

    Attributes:
        start: first pixel.
        stop: pixel after the last.
        weights: of each of its pixels, stop - start float32 in (0, 1]; over all spans of an axis they sum to one.
    """

    start: int
    stop: int
    weights: Tensor


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A rectangle of the latent grid.

    Attributes:
        rows: its place from top to bottom.
        columns: its place from left to right.
        weights: of each of its pixels, h' w', where its predictions are blended.
    """

    rows: Span
    columns: Span
    weights: Tensor = field(repr=False)

    def crop(self, image: Tensor, scale: int = 1) -> Tensor:
        """The tile's part of N C sH sW, a view."""
        rows, columns = (slice(scale * span.start, scale * span.stop) for span in (self.rows, self.columns))
        return image[..., rows, columns]


def plan_spans(size: int, tiling: Tiling, stride: int = 1) -> list[Span]:
    """Tiles along an axis of `size` pixels, spread evenly, starting at multiples of `stride`.

    Each is at most `tiling.tile` long and shares at least `tiling.overlap` pixels with the next.

    Raises:
        UsageError: the overlap leaves a tile no room to advance by a stride.
    """
    length = tiling.tile // stride * stride
    if size <= length:
        return [Span(start=0, stop=size, weights=torch.ones(size))]
    advance = (length - tiling.overlap) // stride * stride
    if advance < 1:
        raise UsageError(
            "The tile is too small for this model", got=tiling.tile, expected=f"at least {tiling.overlap + 2 * stride}"
        )
    last = -((length - size) // stride) * stride  # the first multiple from which a tile reaches the end
    count = -(-last // advance) + 1
    starts = [last * index // (count - 1) // stride * stride for index in range(count)]
    bounds = [(start, min(start + length, size)) for start in starts]
    raw = [_raw_weights(start, stop, size, tiling.overlap) for start, stop in bounds]
    total = torch.zeros(size)
    for (start, stop), weights in zip(bounds, raw, strict=True):
        total[start:stop] += weights
    return [
        Span(start=start, stop=stop, weights=weights / total[start:stop])
        for (start, stop), weights in zip(bounds, raw, strict=True)
    ]


def plan_tiles(latents: Tensor, tiling: Tiling, stride: int = 1) -> list[Tile]:
    """The tiles of latents ... h w, row by row, with weights of their type and on their device; see `plan_spans`."""
    down, across = (
        [(span, span.weights.to(latents)) for span in plan_spans(size, tiling, stride)] for size in latents.shape[-2:]
    )
    return [
        Tile(rows=rows, columns=columns, weights=heights[:, None] * widths)
        for rows, heights in down
        for columns, widths in across
    ]


def blend_tiles(predict: Callable[[Tile], Tensor], tiles: list[Tile], like: Tensor) -> Tensor:
    """One prediction for a whole frame: the weighted sum of what `predict` gives for each tile.

    Args:
        predict: called once a tile, gives N C h' w'.
        tiles: of the frame, planned for its type and device.
        like: N C h w, for the shape, type and device of the result.
    """
    if len(tiles) == 1:
        return predict(tiles[0])
    total = torch.zeros_like(like)
    for tile in tiles:
        tile.crop(total).add_(predict(tile) * tile.weights)
    return total


def _raw_weights(start: int, stop: int, size: int, overlap: int) -> Tensor:
    """1 inside, falling as a squared sine over the overlap towards each border that is not the frame's own."""
    pixels = torch.arange(start, stop, dtype=torch.float32)
    weights = torch.ones(stop - start)
    for border, distance in ((start > 0, pixels - start + 0.5), (stop < size, stop - pixels - 0.5)):
        if border and overlap:
            weights *= torch.sin(torch.pi / 2 * (distance / overlap).clamp(max=1)).square()
    return weights
