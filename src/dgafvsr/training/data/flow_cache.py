"""Flow of whole frames of clips, kept on disk: crops of it serve every sample that meets the pair again.

The flow is what the estimator of inference sees on the *clean* LR frames upsampled x4; sequences whose LR frames are
degraded get their flow from those instead. Whole frames also give better flow at the edges of a crop than the crop
itself does. Kept in half precision: below 0.01 px of error for motion up to 16 px.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dgafvsr.evaluation.degradations import crop_to_scale, reduce_bicubic
from dgafvsr.flow.estimator import FlowEstimator
from dgafvsr.models.autoencoder import upsample_lr
from dgafvsr.training.data.blobs import Picture
from dgafvsr.training.data.clips import ClipCrop, ClipLibrary
from dgafvsr.training.data.disk_cache import DiskCache, content_key

__all__ = ["FlowCache"]


class FlowCache:
    """Flow between frames of clips.

    Args:
        disk: where it is kept.
        estimator: of the flow.
        name: of the estimator with everything that changes its results, such as "dis" or "raft_large 3f2a9c"; part of
            the key.
    """

    def __init__(self, disk: DiskCache, estimator: FlowEstimator, *, name: str) -> None:
        self.disk, self.estimator, self.name = disk, estimator, name

    def flow(self, clips: ClipLibrary, crop: ClipCrop) -> Tensor:
        """The flow that leads from each frame of a crop, but the first, to the one before: T-1 2 S S in HR pixels."""
        return self._pairs(clips, crop, crop.indices[1:], crop.indices[:-1])

    def flow_backward(self, clips: ClipLibrary, crop: ClipCrop) -> Tensor:
        """The flow that leads from each frame of a crop, but the last, to the one after: T-1 2 S S in HR pixels."""
        return self._pairs(clips, crop, crop.indices[:-1], crop.indices[1:])

    def _pairs(self, clips: ClipLibrary, crop: ClipCrop, current: tuple[int, ...], neighbor: tuple[int, ...]) -> Tensor:
        side = crop.frames.shape[1]
        rows, columns = slice(crop.top, crop.top + side), slice(crop.left, crop.left + side)
        flows = [self._whole(clips, crop.clip, *pair)[:, rows, columns] for pair in zip(current, neighbor, strict=True)]
        return torch.stack([flow.float() for flow in flows])

    def _whole(self, clips: ClipLibrary, clip: int, current: int, neighbor: int) -> Tensor:
        """2 H W of whole frames, their last rows and columns repeated where no whole LR pixel covers them."""
        settings = {"what": "flow", "estimator": self.name, "current": current, "neighbor": neighbor}
        key = content_key(clips.content(clip, (current, neighbor)), settings)
        frames = (clips.frame(clip, number) for number in (current, neighbor))
        return self.disk.get(key, lambda: {"flow": self._estimate(*frames)})["flow"]

    def _estimate(self, current: Picture, neighbor: Picture) -> Tensor:
        height, width = current.shape[:2]
        hr = torch.from_numpy(np.stack([current, neighbor])).permute(0, 3, 1, 2).float() / 255
        seen = upsample_lr(reduce_bicubic(crop_to_scale(hr))).clamp(0, 1)
        flow = self.estimator(seen[:1], seen[1:])
        margin = (0, width - flow.shape[-1], 0, height - flow.shape[-2])
        return torch.nn.functional.pad(flow, margin, mode="replicate")[0].half()
