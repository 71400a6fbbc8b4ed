"""RAFT (Teed and Deng, ECCV 2020) from torchvision, with lookups that need no all-pairs volume.

The network is torchvision's own, built by its public constructors with our correlation block. The paper's FM is
`raft_large` with the weights C_T_SKHT_V2, 12 updates, last prediction, frames in [-1, 1], eval mode.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models.optical_flow import (  # type: ignore[import-untyped]
    RAFT,
    Raft_Large_Weights,
    Raft_Small_Weights,
    raft_large,
    raft_small,
)

from dgafvsr.errors import ModelError, UsageError
from dgafvsr.flow.correlation import OnDemandCorrBlock
from dgafvsr.flow.estimator import check_frame_pair
from dgafvsr.flow.padding import crop_flow, pad_frames

__all__ = ["RAFTFlow", "RAFTMode", "RAFTSize", "build_raft"]

RAFTSize = Literal["large", "small"]

_RADIUS = {"large": 4, "small": 3}
_PUBLISHED = {"large": Raft_Large_Weights.C_T_SKHT_V2, "small": Raft_Small_Weights.C_T_V2}


@dataclass(frozen=True, kw_only=True)
class RAFTMode:
    """How the network is run.

    The default is the correct way. The authors' tOF script feeds [0, 1] and leaves the network in train mode, so that
    the context encoder normalises by the statistics of the frame at hand: `RAFTMode(signed=False, train=True)`
    reproduces their published tOF (docs/deviations.md).
    """

    updates: int = 12
    """Refinements; the last prediction is the flow."""
    signed: bool = True
    """True maps frames from [0, 1] to [-1, 1], as the weights were trained; False feeds them as they are."""
    train: bool = False
    """True runs batch normalisation on the statistics of the batch."""
    half: bool = False
    """True computes features and updates in half precision (float16 on GPUs, bfloat16 on the CPU) by autocast. Weights,
    coordinates and the flow itself stay float32."""

    def __post_init__(self) -> None:
        if self.updates < 1:
            raise UsageError("RAFT needs at least one update", got=self.updates)


class RAFTFlow:
    """A FlowEstimator around a RAFT network.

    Args:
        network: torchvision's RAFT; it is set to the mode's eval or train state and its gradients are switched off.
        mode: number of updates and how frames are presented.
    """

    def __init__(self, network: RAFT, *, mode: RAFTMode | None = None) -> None:
        self.mode = mode or RAFTMode()
        self.network = network.requires_grad_(False).train(self.mode.train)

    @classmethod
    def from_pretrained(
        cls,
        size: RAFTSize = "large",
        *,
        weights: Path | None = None,
        device: torch.device | str = "cpu",
        mode: RAFTMode | None = None,
    ) -> RAFTFlow:
        """RAFT with trained weights.

        Args:
            size: which of torchvision's two networks.
            weights: a .safetensors file with torchvision's keys; None means the published weights from the torch hub
                cache, downloaded there (and checked by hash) when they are missing.
            device: where the network runs.
            mode: number of updates and how frames are presented.

        Raises:
            ModelError: the weights cannot be had, are damaged or of another shape.
        """
        network = build_raft(size)
        source = _PUBLISHED[size].url if weights is None else str(weights)
        state = _published_weights(size) if weights is None else _local_weights(weights)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise ModelError(
                f"{source} does not hold the weights of RAFT {size}",
                got=" ".join(str(error).split())[:300],
                expected=f"the state of torchvision's raft_{size}",
            ) from error
        return cls(network.to(device), mode=mode)

    @torch.no_grad()
    def __call__(self, current: Tensor, neighbor: Tensor) -> Tensor:
        """The flow that leads from `current` to `neighbor`.

        Args:
            current: N 3 H W float RGB, nominally [0, 1], not clamped; any size and device.
            neighbor: N 3 H W float RGB, nominally [0, 1].

        Returns:
            N 2 H W float32, (dx, dy) in pixels, on the device of `current`: current(p) ~ neighbor(p + flow(p)).
        """
        check_frame_pair(current, neighbor)
        height, width = current.shape[-2:]
        frames, kind = (self._prepare(current), self._prepare(neighbor)), self._device.type
        with torch.autocast(kind, torch.bfloat16 if kind == "cpu" else torch.float16, enabled=self.mode.half):
            flow = self.network(*frames, num_flow_updates=self.mode.updates)[-1]
        if isinstance(self.network.corr_block, OnDemandCorrBlock):
            self.network.corr_block.release()
        return crop_flow(flow, height=height, width=width).float().to(current.device)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _prepare(self, frames: Tensor) -> Tensor:
        """N 3 H' W' in the range, type, device and size that the network takes: multiples of 8, at least 128."""
        frames = frames.to(device=self._device, dtype=next(self.network.parameters()).dtype)
        return pad_frames(frames * 2 - 1 if self.mode.signed else frames, multiple=8, minimum=128)


def build_raft(size: RAFTSize) -> RAFT:
    """A torchvision RAFT of that size with random weights and the on-demand correlation block."""
    constructor = raft_large if size == "large" else raft_small
    return constructor(corr_block=OnDemandCorrBlock(num_levels=4, radius=_RADIUS[size]))


def _published_weights(size: RAFTSize) -> dict[str, Tensor]:
    """The weights that torchvision publishes, from its hub cache or by its own download."""
    published = _PUBLISHED[size]
    try:
        return dict(published.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        cache = Path(torch.hub.get_dir()) / "checkpoints"
        raise ModelError(
            f"The weights of RAFT {size} could not be fetched",
            got=f"{type(error).__name__}: {error}",
            expected=f"{Path(published.url).name} in {cache}, or a connection to {published.url}",
            remedy=f"download {published.url} elsewhere and put it into {cache}, give a local .safetensors file, "
            "or use `--flow dis`, which needs no weights",
        ) from error


def _local_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file."""
    if path.suffix != ".safetensors" or not path.is_file():
        raise ModelError(
            f"{path} is not a file of weights",
            expected="an existing .safetensors file",
            remedy="check the path, or use `--flow dis`, which needs no weights",
        )
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is damaged", got=str(error), remedy="copy or download it again") from error
