"""DIS, dense inverse search (Kroeger et al., ECCV 2016), from OpenCV: flow without weights, on the CPU.

Works on 8-bit luma (BT.601 weights, full range): frames are clamped to [0, 1] and rounded to 8 bits first. The result
does not depend on the number of threads, on the device that holds the frames or on the calls before.
"""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dgafvsr.errors import UsageError
from dgafvsr.flow.estimator import check_frame_pair
from dgafvsr.flow.padding import crop_flow, pad_frames

__all__ = ["DISFlow", "DISPreset"]

DISPreset = Literal["ultrafast", "fast", "medium"]

# Below this OpenCV has no room for its coarsest scale and changes its settings silently, or refuses.
MINIMUM_SIDE = 64


class DISFlow:
    """A FlowEstimator that needs no weights.

    Args:
        preset: OpenCV's settings; "medium" is the most accurate, "ultrafast" the fastest.

    Raises:
        UsageError: unknown preset.
    """

    def __init__(self, preset: DISPreset = "medium") -> None:
        if preset not in get_args(DISPreset):
            raise UsageError(
                "Unknown DIS preset", got=repr(preset), expected=f"one of {', '.join(get_args(DISPreset))}"
            )
        self.preset = preset

    def __call__(self, current: Tensor, neighbor: Tensor) -> Tensor:
        """The flow that leads from `current` to `neighbor`.

        Args:
            current: N 3 H W float RGB, clamped to [0, 1]; any size.
            neighbor: N 3 H W float RGB, clamped to [0, 1].

        Returns:
            N 2 H W float32, (dx, dy) in pixels, on the device of `current`: current(p) ~ neighbor(p + flow(p)).
        """
        check_frame_pair(current, neighbor)
        pairs = zip(_luma(current), _luma(neighbor), strict=True)
        flows = [torch.from_numpy(self._flow(*pair)).permute(2, 0, 1) for pair in pairs]
        height, width = current.shape[-2:]
        return crop_flow(torch.stack(flows), height=height, width=width).to(current.device)

    def _flow(self, current: npt.NDArray[np.uint8], neighbor: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """H W 2 flow of one pair of H W luma planes; a new solver each time, since OpenCV's keeps buffers."""
        preset = getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{self.preset.upper()}")
        return cv2.DISOpticalFlow.create(preset).calc(current, neighbor, None)  # type: ignore[no-any-return]


def _luma(frames: Tensor) -> list[npt.NDArray[np.uint8]]:
    """N planes H W of 8-bit BT.601 luma, padded to the smallest size that DIS takes."""
    levels = (frames.detach().clamp(0, 1) * 255).round().float()  # older torch cannot pad bytes
    rgb = pad_frames(levels, minimum=MINIMUM_SIDE).to(torch.uint8).cpu().permute(0, 2, 3, 1).numpy()
    return [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in rgb]
