"""Frames as programs hold them: PIL pictures, arrays and tensors <-> the T 3 h w tensor that the method works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from PIL import Image
from torch import Tensor

from dgafvsr.errors import InputError, UsageError
from dgafvsr.video.color import to_array, to_tensor, to_uint8

__all__ = ["MINIMUM_SIDE", "FramesLike", "FramesOut", "OutputType", "as_frames", "check_output_type", "from_frames"]

FramesLike = Sequence[Image.Image] | np.ndarray | Tensor
FramesOut = np.ndarray | Tensor | list[Image.Image]
OutputType = Literal["np", "pil", "pt", "latent", "lazy"]

MINIMUM_SIDE = 16
"""Smallest side of an LR frame, in pixels: below it the networks' deepest level has nothing to see."""


def as_frames(frames: FramesLike) -> Tensor:
    """A clip as T 3 h w float32 in [0, 1], on the device it was on (CPU for pictures and arrays).

    Args:
        frames: PIL pictures of one size; a T H W 3 array, uint8 or float in [0, 1]; or a T 3 H W tensor in [0, 1].

    Raises:
        InputError: no frames, frames of different sizes, another shape, type or range, or sides below the minimum.
    """
    if isinstance(frames, Tensor):
        clip = _checked_tensor(frames)
    elif isinstance(frames, np.ndarray):
        clip = _from_array(frames)
    else:
        clip = _from_pictures(list(frames))
    if min(clip.shape[-2:]) < MINIMUM_SIDE:
        raise InputError(
            "The frames are too small", got=f"{clip.shape[-1]} x {clip.shape[-2]}", expected=f"{MINIMUM_SIDE} px a side"
        )
    return clip


def from_frames(frames: Tensor, output_type: OutputType) -> FramesOut:
    """A clip T 3 H W float in [0, 1] as "np" (T H W 3 float), "pil" (list of 8-bit pictures) or "pt" (as it is)."""
    if output_type == "pt":
        return frames
    array = to_array(frames)
    if output_type == "np":
        return array
    return [Image.fromarray(picture) for picture in to_uint8(array)]


def check_output_type(output_type: str) -> OutputType:
    """The name, if it is one; UsageError otherwise."""
    if output_type not in get_args(OutputType):
        raise UsageError("Unknown output_type", got=repr(output_type), expected=", ".join(get_args(OutputType)))
    return output_type  # type: ignore[return-value]


def _checked_tensor(frames: Tensor) -> Tensor:
    if frames.ndim != 4 or frames.shape[1] != 3 or not len(frames) or not frames.is_floating_point():
        raise InputError(
            "The frames have the wrong shape or type",
            got=f"{tuple(frames.shape)} {frames.dtype}",
            expected="a T 3 H W floating-point tensor in [0, 1], T at least 1",
        )
    low, high = frames.min(), frames.max()
    if not (low >= 0 and high <= 1):  # NaN fails too
        raise InputError("The frames are out of range", got=f"[{low:.4g}, {high:.4g}]", expected="[0, 1]")
    return frames.float()


def _from_array(frames: np.ndarray) -> Tensor:
    if frames.ndim != 4 or frames.shape[3] != 3 or not len(frames):
        raise InputError("The frames have the wrong shape", got=frames.shape, expected="T H W 3, T at least 1")
    return to_tensor(frames) if frames.dtype == np.uint8 else _checked_tensor(to_tensor(frames))


def _from_pictures(pictures: list[Image.Image]) -> Tensor:
    if not pictures:
        raise InputError("There are no frames", expected="at least 1")
    for index, picture in enumerate(pictures):
        if not isinstance(picture, Image.Image):
            raise InputError(f"Frame {index} is not a picture", got=type(picture).__name__, expected="PIL.Image.Image")
        if picture.size != pictures[0].size:
            raise InputError(
                "The frames differ in size",
                got=f"{picture.size[0]} x {picture.size[1]} at frame {index}",
                expected=f"{pictures[0].size[0]} x {pictures[0].size[1]} as frame 0",
            )
    return _from_array(np.stack([np.asarray(picture.convert("RGB")) for picture in pictures]))
