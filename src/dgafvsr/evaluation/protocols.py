"""How numbers are made, as values: colour space, crop, skipped frames and the flow of tOF, under a name.

A result carries its protocol; numbers under different protocols are not comparable.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from dgafvsr.errors import UsageError
from dgafvsr.evaluation.metrics import MetricName
from dgafvsr.flow.estimator import FlowEstimatorName
from dgafvsr.flow.raft import RAFTMode

__all__ = ["PROTOCOLS", "Protocol", "get_protocol", "studio_luma"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a clip is scored.

    Raises:
        UsageError: a crop or skip below 0.
    """

    name: str
    """As results show it."""
    luma_metrics: tuple[MetricName, ...] = ()
    """Metrics computed on BT.601 studio-range Y, repeated for three channels; all others see RGB."""
    crop_border: int = 0
    """Pixels left out on each side."""
    skip_first: int = 0
    """Frames left out at the start of each clip."""
    skip_last: int = 0
    """Frames left out at the end of each clip."""
    flow: FlowEstimatorName = "raft_large"
    """The estimator behind tOF and the warping error."""
    flow_mode: RAFTMode = field(default_factory=RAFTMode)
    """How RAFT is run; without meaning for DIS."""

    def __post_init__(self) -> None:
        for what, value in (("crop", self.crop_border), ("skip", self.skip_first), ("skip", self.skip_last)):
            if value < 0:
                raise UsageError(f"A protocol cannot {what} a negative amount", got=value, expected="0 or more")

    def with_flow(self, flow: FlowEstimatorName) -> Protocol:
        """The same protocol with another flow estimator; its name tells."""
        return self if flow == self.flow else replace(self, name=f"{self.name}, {flow} flow", flow=flow)

    def changed(
        self,
        *,
        luma_metrics: tuple[MetricName, ...] | None = None,
        crop_border: int | None = None,
        skip_first: int | None = None,
        skip_last: int | None = None,
    ) -> Protocol:
        """The same protocol with other values, whose name tells what differs; None leaves a value as it is.

        Raises:
            UsageError: a crop or skip below 0.
        """
        wanted = {
            "luma_metrics": luma_metrics,
            "crop_border": crop_border,
            "skip_first": skip_first,
            "skip_last": skip_last,
        }
        values: dict[str, Any] = {
            field: value for field, value in wanted.items() if value is not None and value != getattr(self, field)
        }
        told = {
            "luma_metrics": f"Y for {'+'.join(luma_metrics)}" if luma_metrics else "RGB for all",
            "crop_border": f"crop {crop_border}",
            "skip_first": f"without the first {skip_first}",
            "skip_last": f"without the last {skip_last}",
        }
        return replace(self, name=", ".join([self.name, *(told[field] for field in values)]), **values)

    def view(self, pictures: Tensor, metric: MetricName) -> Tensor:
        """What a metric sees of pictures: cropped, in its colour space.

        Args:
            pictures: N 3 H W float RGB in [0, 1].
            metric: the one that will look at them.

        Returns:
            N 3 H' W' in [0, 1].
        """
        height, width = pictures.shape[-2:]
        if 2 * self.crop_border >= min(height, width):
            raise UsageError(
                f"The protocol {self.name} crops everything away",
                got=f"{self.crop_border} pixels on each side of {width}x{height}",
            )
        border = self.crop_border
        cropped = pictures[..., border : height - border, border : width - border]
        return studio_luma(cropped).expand(-1, 3, -1, -1) if metric in self.luma_metrics else cropped


def studio_luma(pictures: Tensor) -> Tensor:
    """BT.601 studio-range Y, (65.481 R + 128.553 G + 24.966 B + 16) / 255, not rounded.

    Args:
        pictures: N 3 H W float RGB in [0, 1].

    Returns:
        N 1 H W in [16/255, 235/255].
    """
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=pictures.dtype, device=pictures.device)
    return (torch.einsum("nchw,c->nhw", pictures, weights)[:, None] + 16) / 255


AUTHORS_RAFT = RAFTMode(signed=False, train=True)

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(name="standard"),
        Protocol(name="paper-reds4", flow_mode=AUTHORS_RAFT),
        Protocol(name="paper-vid4", luma_metrics=("psnr", "ssim", "lpips", "dists"), flow_mode=AUTHORS_RAFT),
    )
}


def get_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        UsageError: there is none; the message lists them.
    """
    if name not in PROTOCOLS:
        raise UsageError("Unknown protocol", got=repr(name), expected=f"one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
