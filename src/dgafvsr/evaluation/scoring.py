"""Methods' versions of one clip, scored in lockstep with the ground truth, two frames of each in memory.

What the metrics need of the truth is computed once and shared by the methods. A clip may be scored in segments: the
frame before a segment is read too, so that segments put together give the whole clip's scores.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from dgafvsr.errors import InputError, ModelError
from dgafvsr.evaluation.clips import ClipPlan, read_pictures
from dgafvsr.evaluation.metrics import METRICS, MetricName, Unavailable, psnr, ssim
from dgafvsr.evaluation.no_reference import QualityName, QualityScore
from dgafvsr.evaluation.perceptual import MetricUnavailableError, PerceptualDistance, PerceptualName
from dgafvsr.evaluation.protocols import Protocol
from dgafvsr.evaluation.temporal import TruthMotion, tlpips, tof, warping_error
from dgafvsr.flow.estimator import FlowEstimator, create_flow_estimator
from dgafvsr.flow.raft import RAFTFlow

__all__ = ["FLOW_METRICS", "ClipScorer", "FrameValues", "InstrumentSettings", "Instruments", "load_instruments"]

FLOW_METRICS: tuple[MetricName, ...] = ("tof", "warping")
"""Those that look at optical flow."""
QUALITIES: tuple[QualityName, ...] = ("musiq", "clipiqa", "niqe")


@dataclass(frozen=True, kw_only=True)
class InstrumentSettings:
    """Where the networks behind the metrics come from and run."""

    protocol: Protocol
    """Names the flow estimator and its mode."""
    device: str = "cpu"
    """Where they run."""
    flow_weights: Path | None = None
    """A local file for RAFT, None for the published weights."""
    niqe_prior: Path | None = None
    """NIQE's statistics of natural pictures, None for pyiqa's."""


@dataclass(frozen=True, kw_only=True)
class Instruments:
    """The networks behind the metrics; None where no metric needs one or it cannot be had."""

    device: torch.device
    lpips: PerceptualDistance | None = None
    dists: PerceptualDistance | None = None
    flow: FlowEstimator | None = None
    qualities: Mapping[str, QualityScore] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FrameValues:
    """The scores of one frame of one method."""

    method: str
    frame: int
    """Index in the clip."""
    values: Mapping[MetricName, float]
    """Without those that the frame does not have."""


def load_instruments(
    metrics: Sequence[MetricName], settings: InstrumentSettings
) -> tuple[Instruments, dict[MetricName, Unavailable]]:
    """The networks that these metrics need, and why some metrics cannot be computed.

    Args:
        metrics: what will be asked for.
        settings: which networks, and where.

    Raises:
        InputError: the NIQE prior cannot be used.
        ModelError: the flow weights that were named cannot be used.
    """
    unavailable: dict[MetricName, Unavailable] = {}
    users: dict[str, tuple[MetricName, ...]] = {
        "lpips": ("lpips", "tlpips"),
        "dists": ("dists",),
        "flow": FLOW_METRICS,
        **{name: (name,) for name in QUALITIES},
    }
    loaded: dict[str, Any] = {}
    for instrument, names in users.items():
        asked = [name for name in names if name in metrics]
        if not asked:
            continue
        try:
            loaded[instrument] = _load(instrument, settings)
        except ModelError as error:
            if instrument == "flow" and settings.flow_weights is not None:
                raise  # weights that were named are not passed over
            short = error.short if isinstance(error, MetricUnavailableError) else "no weights"
            unavailable |= dict.fromkeys(asked, Unavailable(short, str(error)))
    qualities: dict[str, QualityScore] = {name: loaded.pop(name) for name in QUALITIES if name in loaded}
    return Instruments(device=torch.device(settings.device), qualities=qualities, **loaded), unavailable


def _load(instrument: str, settings: InstrumentSettings) -> PerceptualDistance | FlowEstimator | QualityScore:
    if instrument in ("lpips", "dists"):
        return PerceptualDistance(cast(PerceptualName, instrument), device=settings.device)
    if instrument != "flow":
        return QualityScore(cast(QualityName, instrument), device=settings.device, niqe_prior=settings.niqe_prior)
    protocol, device, weights = settings.protocol, torch.device(settings.device), settings.flow_weights
    if protocol.flow.startswith("raft_"):
        size: Literal["large", "small"] = "large" if "large" in protocol.flow else "small"
        mode = replace(protocol.flow_mode, half=protocol.flow.endswith("_half"))
        return RAFTFlow.from_pretrained(size, weights=weights, device=device, mode=mode)
    return create_flow_estimator(protocol.flow, device=device, weights=weights)


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
    def __call__(self, plan: ClipPlan, frames: range | None = None) -> Iterator[FrameValues]:
        """The scores of every method, frame after frame.

        Args:
            plan: a checked clip.
            frames: a part of the plan's frames; None means all.

        Yields:
            One value per frame and method.

        Raises:
            InputError: a score is not a number.
        """
        frames = frames or plan.frames
        read = range(max(plan.frames.start, frames.start - 1), frames.stop) if self._temporal else frames
        readers = {method: read_pictures(path, read) for method, path in plan.predictions.items()}
        truths = None if plan.truth is None else read_pictures(plan.truth, read)
        before: dict[str, Tensor] = {}
        truth_before: Tensor | None = None
        for index in read:
            truth = None if truths is None else next(truths).to(self.instruments.device)
            views = {} if truth is None else {name: self.protocol.view(truth, name) for name in self._full_reference}
            scored = index in frames
            pair = self._truth_pair(truth, truth_before) if scored else None
            for method, reader in readers.items():
                prediction = next(reader).to(self.instruments.device)
                if scored:
                    values = self._frame(prediction, views)
                    if method in before and self._temporal:
                        values |= self._change(prediction, before[method], pair)
                    _refuse_nan(values, method, plan.name, index)
                    yield FrameValues(method=method, frame=index, values=values)
                before[method] = prediction
            truth_before = truth

    @property
    def _temporal(self) -> bool:
        return any(METRICS[name].temporal for name in self.metrics)

    @property
    def _full_reference(self) -> list[MetricName]:
        return [name for name in self.metrics if METRICS[name].needs_truth and not METRICS[name].temporal]

    def _frame(self, prediction: Tensor, truths: Mapping[MetricName, Tensor]) -> dict[MetricName, float]:
        """Scores of a picture by itself; `truths` holds the ground truth as each metric sees it."""
        pairs = {"psnr": psnr, "ssim": ssim, "lpips": self.instruments.lpips, "dists": self.instruments.dists}
        values: dict[MetricName, float] = {}
        for name in self.metrics:
            seen = self.protocol.view(prediction, name)
            if name in self.instruments.qualities:
                values[name] = float(self.instruments.qualities[name](seen))
            elif (compare := pairs.get(name)) is not None:
                values[name] = float(compare(seen, truths[name]))
        return values

    def _truth_pair(self, truth: Tensor | None, previous: Tensor | None) -> _TruthPair | None:
        """The truth's side of the temporal metrics; None without two frames of truth."""
        if truth is None or previous is None:
            return None
        change, motion, tools = None, None, self.instruments
        if "tlpips" in self.metrics:
            assert tools.lpips is not None
            change = tools.lpips(*(self.protocol.view(picture, "tlpips") for picture in (truth, previous)))
        if "tof" in self.metrics or "warping" in self.metrics:
            motion = self._motion(truth, previous)
        return _TruthPair(change=change, motion=motion)

    def _motion(self, picture: Tensor, previous: Tensor) -> TruthMotion:
        assert self.instruments.flow is not None
        now, before = (self.protocol.view(each, "tof") for each in (picture, previous))
        return TruthMotion.between(now, before, self.instruments.flow, occlusions="warping" in self.metrics)

    def _change(self, prediction: Tensor, previous: Tensor, pair: _TruthPair | None) -> dict[MetricName, float]:
        """Scores of how a prediction has changed since the frame before."""
        values: dict[MetricName, float] = {}
        for name in self.metrics:
            if not METRICS[name].temporal:
                continue
            now, before = (self.protocol.view(picture, name) for picture in (prediction, previous))
            if name == "tlpips":
                assert pair is not None
                assert pair.change is not None
                assert self.instruments.lpips is not None
                value = tlpips(now, before, truth_change=pair.change, lpips=self.instruments.lpips)
            elif name == "tof":
                assert pair is not None
                assert pair.motion is not None
                assert self.instruments.flow is not None
                value = tof(now, before, motion=pair.motion, estimator=self.instruments.flow)
            else:  # without ground truth, along the prediction's own motion
                motion = self._motion(prediction, previous) if pair is None else pair.motion
                assert motion is not None
                value = warping_error(now, before, motion=motion)
            values[name] = float(value)
        return values


def _refuse_nan(values: Mapping[MetricName, float], method: str, clip: str, frame: int) -> None:
    for name, value in values.items():
        if math.isnan(value):
            raise InputError(
                f"{METRICS[name].title} of {method} is not a number in clip {clip}, frame {frame}",
                remedy="check the pictures and the weights of the metric",
            )
