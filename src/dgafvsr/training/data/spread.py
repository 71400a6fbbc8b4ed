"""Which pictures to keep when there is no room for all: each next one the least like those before it."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dgafvsr.training.data.blobs import Picture

__all__ = ["describe_picture", "is_soft", "spread_order"]

_GRID: Final = 4
_BLOCK: Final = 32
# Root mean square of what halving takes from a block, in 8-bit levels; the sharpest blocks of a soft picture are below.
_SOFT_CHANGE: Final = 2.5


def describe_picture(picture: Picture, later: Picture | None = None) -> NDArray[np.float32]:
    """What a picture looks like, 64 numbers: colour, fine detail and change on a 4 x 4 grid; for distances.

    Args:
        picture: H W 3.
        later: a later frame of the same run, to tell how much moves; None for a photograph.
    """
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    colors = cv2.resize(lab, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    detail = np.abs(lab[..., 0] - cv2.GaussianBlur(lab[..., 0], (0, 0), 1.5))
    details = cv2.resize(detail, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    if later is not None:
        change = cv2.absdiff(picture, later).astype(np.float32).mean(2)
        details = details + cv2.resize(change, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    # Square roots, so that a few very busy pictures are not the whole spread; detail weighs as much as colour.
    return np.concatenate([colors.ravel(), 12 * np.sqrt(details).ravel()]).astype(np.float32)


def spread_order(descriptions: NDArray[np.float32]) -> list[int]:
    """Indices of the rows, farthest point first: starts with the row nearest to the mean.

    Args:
        descriptions: N D.
    """
    centred = descriptions - descriptions.mean(0)
    order = [int(np.argmin(np.square(centred).sum(1)))]
    nearest = np.full(len(centred), np.inf, dtype=np.float32)
    for _ in range(len(centred) - 1):
        nearest = np.minimum(nearest, np.square(centred - centred[order[-1]]).sum(1))
        nearest[order[-1]] = -1
        order.append(int(np.argmax(nearest)))
    return order


def is_soft(picture: Picture) -> bool:
    """Whether a picture has no detail that halving it would lose, in its sharpest places."""
    height, width = picture.shape[:2]
    if min(height, width) < 4 * _BLOCK:
        return False
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(grey, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    lost = np.square(grey - cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))
    blocks = cv2.resize(lost, (width // _BLOCK, height // _BLOCK), interpolation=cv2.INTER_AREA)
    return float(np.sqrt(np.percentile(blocks, 95))) < _SOFT_CHANGE
