"""What an optical flow estimator is, and the estimators there are by name.

Direction: `estimator(current, neighbor)` gives the flow for which current(p) ~ neighbor(p + flow(p)), with p = (x, y) a
pixel centre and flow = (dx, dy) in pixels of the frames given. It is what a *backward* warp of `neighbor` onto the grid
of `current` reads; the flow lives on the grid of `current`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from dgafvsr.errors import InputError, UsageError

__all__ = ["FlowEstimator", "FlowEstimatorName", "check_frame_pair", "create_flow_estimator"]

FlowEstimatorName = Literal["dis", "dis_fast", "raft_large", "raft_large_half", "raft_small", "raft_small_half"]


class FlowEstimator(Protocol):
    """Anything that turns two frames into the flow between them."""

    def __call__(self, current: Tensor, neighbor: Tensor) -> Tensor:
        """The flow that leads from `current` to `neighbor`.

        Args:
            current: N 3 H W float, nominally in [0, 1], RGB.
            neighbor: N 3 H W float, nominally in [0, 1], RGB.

        Returns:
            N 2 H W float32, (dx, dy) in pixels, on the device of `current`: current(p) ~ neighbor(p + flow(p)).
        """
        ...


def create_flow_estimator(
    name: FlowEstimatorName, *, device: torch.device | str = "cpu", weights: Path | None = None
) -> FlowEstimator:
    """The estimator of that name, ready to be called.

    Args:
        name: "dis" and "dis_fast" are OpenCV's DIS, which needs no weights; "raft_large" and "raft_small" are
            torchvision's RAFT, with "_half" in half precision.
        device: where the network runs; DIS always runs on the CPU.
        weights: a local .safetensors file for RAFT; None means torchvision's published weights, fetched at first
            use.

    Raises:
        UsageError: no estimator has that name, or weights are given to one that has none.
        ModelError: the weights are missing, damaged or of another shape.

    Example:
        >>> estimator = create_flow_estimator("dis")
        >>> estimator(torch.zeros(1, 3, 20, 30), torch.zeros(1, 3, 20, 30)).shape
        torch.Size([1, 2, 20, 30])
    """
    if name not in get_args(FlowEstimatorName):
        raise UsageError(
            "Unknown flow estimator", got=repr(name), expected=f"one of {', '.join(get_args(FlowEstimatorName))}"
        )
    return _FACTORIES[name](torch.device(device), weights)


def check_frame_pair(current: Tensor, neighbor: Tensor) -> None:
    """Raise InputError unless both are N 3 H W floating-point tensors of one shape and device."""
    fits = current.shape == neighbor.shape and current.ndim == 4 and current.shape[1] == 3 and current.numel() > 0
    if not (fits and current.is_floating_point() and neighbor.is_floating_point()):
        raise InputError(
            "Optical flow needs two frames of one size",
            got=f"{_describe(current)} and {_describe(neighbor)}",
            expected="two N 3 H W floating-point tensors in [0, 1]",
        )
    if current.device != neighbor.device:
        raise InputError("Optical flow needs both frames on one device", got=f"{current.device} and {neighbor.device}")


def _describe(frames: Tensor) -> str:
    """Shape and dtype of a tensor, for an error."""
    return f"{' '.join(map(str, frames.shape))} {str(frames.dtype).removeprefix('torch.')}"


def _dis(preset: Literal["medium", "fast"]) -> Callable[[torch.device, Path | None], FlowEstimator]:
    def build(device: torch.device, weights: Path | None) -> FlowEstimator:
        from dgafvsr.flow.dis import DISFlow

        if weights is not None:
            raise UsageError(
                "DIS has no weights", got=weights, remedy="leave the weights out or choose raft_large or raft_small"
            )
        return DISFlow(preset)

    return build


def _raft(size: Literal["large", "small"], *, half: bool) -> Callable[[torch.device, Path | None], FlowEstimator]:
    def build(device: torch.device, weights: Path | None) -> FlowEstimator:
        from dgafvsr.flow.raft import RAFTFlow, RAFTMode

        return RAFTFlow.from_pretrained(size, weights=weights, device=device, mode=RAFTMode(half=half))

    return build


_FACTORIES: dict[str, Callable[[torch.device, Path | None], FlowEstimator]] = {
    "dis": _dis("medium"),
    "dis_fast": _dis("fast"),
    "raft_large": _raft("large", half=False),
    "raft_large_half": _raft("large", half=True),
    "raft_small": _raft("small", half=False),
    "raft_small_half": _raft("small", half=True),
}
