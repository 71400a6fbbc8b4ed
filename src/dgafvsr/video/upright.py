"""Pictures as players show them: turned, and mirrored, by the mark that a film carries.

The program works on pictures as they are stored and hands the mark on. Only where two films are seen in one, or a
picture is shown by itself, do they have to be turned.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgafvsr.video.frames import SourceInfo

__all__ = ["upright_info", "upright_picture"]


def upright_picture(pixels: NDArray[Any], info: SourceInfo) -> NDArray[Any]:
    """A picture of a film as it is shown: H W or H W 3, or W H (3) where it is turned by a quarter.

    Args:
        pixels: H W or H W 3, as stored.
        info: of its film.
    """
    if info.mirroring is None:
        return np.ascontiguousarray(np.rot90(pixels, _quarters(info)))
    # A point moves from (x, y) to (a x + c y, b x + d y).
    a, b, _, c, d, *_ = info.mirroring
    if abs(a) < abs(b):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    rows, columns = (slice(None, None, -1 if scale < 0 else 1) for scale in (d, a))
    return np.ascontiguousarray(pixels[rows, columns])


def upright_info(info: SourceInfo) -> SourceInfo:
    """What is known of the film once its pictures are upright.

    Args:
        info: of the film as it is stored.
    """
    upright = replace(info, rotation=0, mirroring=None)
    if not _is_on_its_side(info):
        return upright
    upright = upright.resized(width=info.height, height=info.width)
    return replace(upright, sample_aspect_ratio=1 / info.sample_aspect_ratio)


def _is_on_its_side(info: SourceInfo) -> bool:
    if info.mirroring is not None:
        return abs(info.mirroring[0]) < abs(info.mirroring[1])
    return _quarters(info) % 2 == 1


def _quarters(info: SourceInfo) -> int:
    return round(info.rotation / 90) % 4
