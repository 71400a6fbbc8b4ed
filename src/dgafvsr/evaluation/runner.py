"""Predictions against ground truth: check everything, then score every frame of every clip of every method.

Nothing is computed before clips, names, counts, sizes and readability are settled. A metric whose weights cannot be had
is reported as unavailable, with its reason; the others are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from dgafvsr.errors import InputError, UsageError
from dgafvsr.evaluation.clips import ClipPlan, FrameChoice, plan_clips
from dgafvsr.evaluation.metrics import METRICS, MetricName
from dgafvsr.evaluation.protocols import PROTOCOLS, Protocol
from dgafvsr.evaluation.results import ClipScores, EvaluationResult, MethodScores
from dgafvsr.evaluation.scoring import ClipScorer, FrameValues, load_instruments

__all__ = ["EvaluationProgress", "EvaluationSettings", "evaluate_folders"]


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What is computed of which frames.

    Raises:
        UsageError: no metric, or an unknown one.
    """

    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["standard"])
    """How the numbers are made."""
    metrics: tuple[MetricName, ...] = ("psnr", "ssim", "lpips", "dists", "tlpips")
    """In the order of the table's columns."""
    max_frames: int | None = None
    """Score at most so many frames of each clip, from its start; None means all."""
    clips: tuple[str, ...] | None = None
    """Names of the clips to score; None means all of the truth."""
    device: str = "cpu"
    """Where the networks run."""
    flow_weights: Path | None = None
    """A local .safetensors file for RAFT; None means the published weights."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown or not self.metrics:
            raise UsageError("These are no metrics", got=unknown or "none", expected=f"some of {', '.join(METRICS)}")


@dataclass(frozen=True, kw_only=True)
class EvaluationProgress:
    """How far an evaluation is."""

    done: int
    """Pictures scored, over all methods."""
    total: int
    """Pictures to score."""
    clip: str
    """The clip at work."""


def evaluate_folders(
    predictions: Mapping[str, Path],
    truth: Path,
    settings: EvaluationSettings | None = None,
    *,
    on_progress: Callable[[EvaluationProgress], None] | None = None,
) -> EvaluationResult:
    """The scores of several methods on the same clips.

    Args:
        predictions: method name -> folder of pictures, video, or folder of clips; the order is the table's.
        truth: the same for the ground truth; clips are matched by name, a single one with a single one.
        settings: protocol, metrics and frames; None means the defaults.
        on_progress: called after each scored picture.

    Returns:
        Per frame, per clip and mean, with the protocol and what was unavailable.

    Raises:
        InputError: predictions and truth do not fit or cannot be read; raised before anything is computed.
        UsageError: a setting that makes no sense.

    Example:
        >>> result = evaluate_folders({"ours": Path("out")}, Path("gt"))         # doctest: +SKIP
        >>> result.methods[0].mean("psnr")                                       # doctest: +SKIP
        21.9
    """
    settings = settings or EvaluationSettings()
    protocol = settings.protocol
    choice = FrameChoice(skip_first=protocol.skip_first, skip_last=protocol.skip_last, max_frames=settings.max_frames)
    plans = plan_clips(predictions, truth, choice=choice, clips=settings.clips)
    _check_sizes(plans, settings)
    unavailable = _without_pairs(plans, settings.metrics)
    wanted = [name for name in settings.metrics if name not in unavailable]
    instruments, missing = load_instruments(
        wanted, protocol, device=torch.device(settings.device), flow_weights=settings.flow_weights
    )
    unavailable |= missing
    scorer = ClipScorer([name for name in wanted if name not in missing], protocol, instruments)
    return EvaluationResult(
        truth=truth,
        protocol=protocol,
        metrics=settings.metrics,
        unavailable=unavailable,
        methods=_score(plans, scorer, on_progress),
        max_frames=settings.max_frames,
    )


def _score(
    plans: list[ClipPlan], scorer: ClipScorer, on_progress: Callable[[EvaluationProgress], None] | None
) -> tuple[MethodScores, ...]:
    """Every clip of every method, clip after clip."""
    methods = list(plans[0].predictions)
    total, done = sum(len(plan.frames) for plan in plans) * len(methods), 0
    clips: dict[str, list[ClipScores]] = {method: [] for method in methods}
    for plan in plans:
        collected: dict[str, list[FrameValues]] = {method: [] for method in methods}
        for scored in scorer(plan):
            collected[scored.method].append(scored)
            done += 1
            if on_progress is not None:
                on_progress(EvaluationProgress(done=done, total=total, clip=plan.name))
        for method, frames in collected.items():
            clips[method].append(_clip_scores(plan, frames, scorer.metrics))
    return tuple(MethodScores(name=method, clips=tuple(scores)) for method, scores in clips.items())


def _clip_scores(plan: ClipPlan, frames: list[FrameValues], metrics: tuple[MetricName, ...]) -> ClipScores:
    return ClipScores(
        name=plan.name,
        frames=tuple(plan.frames),
        values={name: tuple(frame.values.get(name) for frame in frames) for name in metrics},
        notes=plan.notes,
    )


def _without_pairs(plans: list[ClipPlan], metrics: tuple[MetricName, ...]) -> dict[MetricName, str]:
    """The temporal metrics that a clip of one frame rules out, and why."""
    short = next((plan.name for plan in plans if len(plan.frames) < 2), None)
    if short is None:
        return {}
    reason = f"it needs two neighbouring frames and clip {short} is scored on one"
    return {name: reason for name in metrics if METRICS[name].temporal}


def _check_sizes(plans: list[ClipPlan], settings: EvaluationSettings) -> None:
    """Refuse pictures that a metric cannot take, before the first is computed."""
    for plan in plans:
        side = min(plan.height, plan.width) - 2 * settings.protocol.crop_border
        for name in settings.metrics:
            if side < METRICS[name].minimum_side:
                raise InputError(
                    f"The pictures of {plan.truth} are too small for {METRICS[name].title}",
                    got=f"{plan.width}x{plan.height}, crop of {settings.protocol.crop_border} pixels a side",
                    expected=f"at least {METRICS[name].minimum_side} pixels on each side",
                    remedy=f"leave {name} out",
                )
