"""Interpolation baselines: x4 by bicubic (a = -0.5, Matlab's and Pillow's kernel) or Lanczos (a = 3).

Computed in float per channel (Pillow's mode F), rounded to 8 bits once. PyTorch's own bicubic has a = -0.75: it is what
FM feeds to the flow, not what the field calls bicubic.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dgafvsr.errors import UsageError
from dgafvsr.video.color import to_uint8, to_unit

__all__ = ["Interpolation", "interpolate_pixels"]

Interpolation = Literal["bicubic", "lanczos"]

SCALE = 4
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}


def interpolate_pixels(pixels: NDArray[np.uint8], kind: Interpolation, *, scale: int = SCALE) -> NDArray[np.uint8]:
    """The picture enlarged by interpolation.

    Args:
        pixels: H W 3 uint8 RGB.
        kind: the kernel.
        scale: the factor of both sides.

    Returns:
        scale*H scale*W 3 uint8 RGB.

    Raises:
        UsageError: unknown kernel.
    """
    if kind not in _FILTERS:
        raise UsageError("Unknown interpolation", got=repr(kind), expected=f"one of {', '.join(_FILTERS)}")
    height, width = pixels.shape[:2]
    size = (scale * width, scale * height)
    channels = to_unit(pixels).transpose(2, 0, 1)
    enlarged = [np.asarray(Image.fromarray(channel).resize(size, _FILTERS[kind])) for channel in channels]
    return to_uint8(np.stack(enlarged, axis=-1))
