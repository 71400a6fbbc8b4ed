"""All methods' versions of one clip, scored in lockstep with the ground truth, two frames of each in memory.

What the temporal metrics need of the truth is computed once per pair of frames and shared by the methods.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dgafvsr.errors import InputError, ModelError
from dgafvsr.evaluation.clips import ClipPlan, read_pictures
from dgafvsr.evaluation.metrics import METRICS, MetricName, psnr, ssim
from dgafvsr.evaluation.perceptual import PerceptualDistance
from dgafvsr.evaluation.protocols import Protocol
from dgafvsr.evaluation.temporal import TruthMotion, tlpips, tof, warping_error
from dgafvsr.flow.estimator import FlowEstimator, create_flow_estimator
from dgafvsr.flow.raft import RAFTFlow

__all__ = ["ClipScorer", "FrameValues", "Instruments", "load_instruments"]


@dataclass(frozen=True, kw_only=True)
class Instruments:
    """The networks behind the metrics; None where no metric needs one or it cannot be had."""

    device: torch.device
    lpips: PerceptualDistance | None = None
    dists: PerceptualDistance | None = None
    flow: FlowEstimator | None = None


@dataclass(frozen=True, kw_only=True)
class FrameValues:
    """The scores of one frame of one method."""

    method: str
    frame: int
    """Index in the clip."""
    values: Mapping[MetricName, float]
    """Without those that the frame does not have."""


def load_instruments(
    metrics: Sequence[MetricName], protocol: Protocol, *, device: torch.device, flow_weights: Path | None = None
) -> tuple[Instruments, dict[MetricName, str]]:
    """The networks that these metrics need, and why some metrics cannot be computed.

    Args:
        metrics: what will be asked for.
        protocol: names the flow estimator and its mode.
        device: where they run.
        flow_weights: a local file for RAFT, None for the published weights.
    """
    unavailable: dict[MetricName, str] = {}
    needs: dict[str, tuple[MetricName, ...]] = {
        "lpips": ("lpips", "tlpips"),
        "dists": ("dists",),
        "flow": ("tof", "warping"),
    }
    loaded: dict[str, PerceptualDistance | FlowEstimator] = {}
    for instrument, users in needs.items():
        asked = [name for name in users if name in metrics]
        if not asked:
            continue
        try:
            loaded[instrument] = _load(instrument, protocol, device, flow_weights)
        except ModelError as error:
            unavailable |= dict.fromkeys(asked, str(error))
    return Instruments(device=device, **loaded), unavailable  # type: ignore[arg-type]


def _load(
    instrument: str, protocol: Protocol, device: torch.device, flow_weights: Path | None
) -> PerceptualDistance | FlowEstimator:
    if instrument in ("lpips", "dists"):
        return PerceptualDistance("lpips" if instrument == "lpips" else "dists", device=device)
    if protocol.flow in ("raft_large", "raft_small"):
        size = "large" if protocol.flow == "raft_large" else "small"
        return RAFTFlow.from_pretrained(size, weights=flow_weights, device=device, mode=protocol.flow_mode)  # type: ignore[arg-type]
    return create_flow_estimator(protocol.flow, device=device, weights=flow_weights)


@dataclass(frozen=True, kw_only=True)
class _TruthPair:
    """What the temporal metrics need of two neighbouring frames of the truth."""

    change: Tensor | None
    motion: TruthMotion | None


class ClipScorer:
    """Scores clips under one protocol.

    Args:
        metrics: those to compute; their instruments must be there.
        protocol: colour space and crop of each.
        instruments: the networks.
    """

    def __init__(self, metrics: Sequence[MetricName], protocol: Protocol, instruments: Instruments) -> None:
        self.metrics, self.protocol, self.instruments = tuple(metrics), protocol, instruments

    @torch.no_grad()
    def __call__(self, plan: ClipPlan) -> Iterator[FrameValues]:
        """The scores of every method, frame after frame.

        Args:
            plan: a checked clip.

        Yields:
            One value per frame and method.

        Raises:
            InputError: a score is not a number.
        """
        readers = {method: read_pictures(path, plan.frames) for method, path in plan.predictions.items()}
        previous: dict[str, Tensor] = {}
        previous_truth: Tensor | None = None
        for index, picture in zip(plan.frames, read_pictures(plan.truth, plan.frames), strict=True):
            truth = picture.to(self.instruments.device)
            pair = None if previous_truth is None else self._truth_pair(truth, previous_truth)
            for method, reader in readers.items():
                prediction = next(reader).to(self.instruments.device)
                values = self._frame(prediction, truth)
                if pair is not None:
                    values |= self._change(prediction, previous[method], pair)
                _refuse_nan(values, method, plan.name, index)
                previous[method] = prediction
                yield FrameValues(method=method, frame=index, values=values)
            previous_truth = truth

    def _frame(self, prediction: Tensor, truth: Tensor) -> dict[MetricName, float]:
        """Scores of a picture by itself."""
        functions = {"psnr": psnr, "ssim": ssim, "lpips": self.instruments.lpips, "dists": self.instruments.dists}
        values: dict[MetricName, float] = {}
        for name in self.metrics:
            function = functions.get(name)
            if function is not None:
                pair = (self.protocol.view(picture, name) for picture in (prediction, truth))
                values[name] = float(function(*pair))
        return values

    def _truth_pair(self, truth: Tensor, previous: Tensor) -> _TruthPair:
        """The truth's side of the temporal metrics."""
        change, motion, tools = None, None, self.instruments
        if "tlpips" in self.metrics:
            assert tools.lpips is not None
            change = tools.lpips(*(self.protocol.view(picture, "tlpips") for picture in (truth, previous)))
        if "tof" in self.metrics or "warping" in self.metrics:
            assert tools.flow is not None
            now, before = (self.protocol.view(picture, "tof") for picture in (truth, previous))
            motion = TruthMotion.between(now, before, tools.flow, occlusions="warping" in self.metrics)
        return _TruthPair(change=change, motion=motion)

    def _change(self, prediction: Tensor, previous: Tensor, pair: _TruthPair) -> dict[MetricName, float]:
        """Scores of how a prediction has changed since the frame before."""
        values: dict[MetricName, float] = {}
        for name in self.metrics:
            if not METRICS[name].temporal:
                continue
            now, before = (self.protocol.view(picture, name) for picture in (prediction, previous))
            if name == "tlpips":
                assert pair.change is not None
                assert self.instruments.lpips is not None
                value = tlpips(now, before, truth_change=pair.change, lpips=self.instruments.lpips)
            elif name == "tof":
                assert pair.motion is not None
                assert self.instruments.flow is not None
                value = tof(now, before, motion=pair.motion, estimator=self.instruments.flow)
            else:
                assert pair.motion is not None
                value = warping_error(now, before, motion=pair.motion)
            values[name] = float(value)
        return values


def _refuse_nan(values: Mapping[MetricName, float], method: str, clip: str, frame: int) -> None:
    for name, value in values.items():
        if math.isnan(value):
            raise InputError(
                f"{METRICS[name].title} of {method} is not a number in clip {clip}, frame {frame}",
                remedy="check the pictures and the weights of the metric",
            )
