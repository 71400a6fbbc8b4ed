"""Predictions against ground truth: check everything, then score every frame of every clip of every method.

Nothing is computed before clips, names, counts, sizes and readability are settled. A metric whose weights cannot be had
is reported as unavailable, with its reason; the others are computed. What the cache holds is not computed again; each
clip's scores go there when the clip is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dgafvsr.errors import InputError, UsageError
from dgafvsr.evaluation.cache import ScoreCache, Values
from dgafvsr.evaluation.clips import ClipPlan, InputPlan, plan_clips
from dgafvsr.evaluation.metrics import METRICS, MetricName, Unavailable
from dgafvsr.evaluation.no_reference import read_niqe_prior
from dgafvsr.evaluation.probes import FrameChoice
from dgafvsr.evaluation.protocols import PROTOCOLS, Protocol
from dgafvsr.evaluation.results import ClipScores, EvaluationResult, MethodScores
from dgafvsr.evaluation.scoring import FLOW_METRICS, FrameValues, Instruments, InstrumentSettings, load_instruments
from dgafvsr.evaluation.workers import Segment, score_segments, segments_of

__all__ = [
    "NO_TRUTH_METRICS",
    "EvaluationProgress",
    "EvaluationSettings",
    "check_inputs",
    "check_sizes",
    "evaluate_folders",
    "missing_metrics",
]

NO_TRUTH_METRICS: tuple[MetricName, ...] = ("musiq", "clipiqa", "niqe", "warping")
"""What is computed of a benchmark without ground truth, such as VideoLQ, if nobody asks for other metrics."""


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
    niqe_prior: Path | None = None
    """A local .npz or .mat file of NIQE's natural-picture statistics; None means pyiqa's."""
    jobs: int = 1
    """Processes that score, at least 1; the results do not depend on it."""
    cache: Path | None = None
    """Folder of scores that are there already and will be; None keeps none."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown or not self.metrics:
            raise UsageError("These are no metrics", got=unknown or "none", expected=f"some of {', '.join(METRICS)}")
        if self.jobs < 1:
            raise UsageError("The number of processes is impossible", got=self.jobs, expected="--jobs of at least 1")

    @property
    def choice(self) -> FrameChoice:
        """The frames of a clip that are scored."""
        skip_first, skip_last = self.protocol.skip_first, self.protocol.skip_last
        return FrameChoice(skip_first=skip_first, skip_last=skip_last, max_frames=self.max_frames)

    @property
    def instruments(self) -> InstrumentSettings:
        """Which networks the metrics use."""
        return InstrumentSettings(
            protocol=self.protocol,
            device=self.device,
            flow_weights=self.flow_weights,
            niqe_prior=self.niqe_prior,
        )


@dataclass(frozen=True, kw_only=True)
class EvaluationProgress:
    """How far an evaluation is."""

    done: int
    """Pictures scored (or made), over all methods."""
    total: int
    """Pictures to score (or to make)."""
    clip: str
    """The clip at work."""


def evaluate_folders(
    predictions: Mapping[str, Path],
    truth: Path | None,
    settings: EvaluationSettings | None = None,
    *,
    on_progress: Callable[[EvaluationProgress], None] | None = None,
) -> EvaluationResult:
    """The scores of several methods on the same clips.

    Args:
        predictions: method name -> folder of pictures, video, or folder of clips; the order is the table's.
        truth: the same for the ground truth; clips are matched by name, a single one with a single one. None where
            there is none: then only the metrics that need none are computed.
        settings: protocol, metrics and frames; None means the defaults.
        on_progress: called after each scored picture.

    Returns:
        Per frame, per clip and mean, with the protocol and what was unavailable.

    Raises:
        InputError: predictions and truth do not fit or cannot be read; raised before anything is computed.
        UsageError: a setting that makes no sense.
        ResourceError: a process died or the disk is full.

    Example:
        >>> result = evaluate_folders({"ours": Path("out")}, Path("gt"))         # doctest: +SKIP
        >>> result.methods[0].mean("psnr")                                       # doctest: +SKIP
        21.9
    """
    settings = settings or EvaluationSettings()
    check_inputs({}, truth, settings)
    plans = plan_clips(predictions, truth, choice=settings.choice, clips=settings.clips)
    unavailable = _without_truth(settings.metrics) if truth is None else {}
    unavailable |= _without_pairs(plans, [name for name in settings.metrics if name not in unavailable])
    wanted = tuple(name for name in settings.metrics if name not in unavailable)
    check_sizes(plans, settings, with_truth=truth is not None)
    scores = _Scores(plans, wanted, ScoreCache(settings.cache, settings.instruments), on_progress)
    instruments, missing = load_instruments(scores.missing_metrics(), settings.instruments)
    unavailable |= missing
    scores.compute([name for name in wanted if name not in missing], instruments, settings)
    return EvaluationResult(
        truth=truth,
        protocol=settings.protocol,
        metrics=settings.metrics,
        unavailable=unavailable,
        methods=scores.by_method([name for name in wanted if name not in missing]),
        max_frames=settings.max_frames,
        truth_clips={plan.name: plan.truth for plan in plans if plan.truth is not None},
    )


def check_inputs(predictions: Mapping[str, Path], truth: Path | None, settings: EvaluationSettings) -> None:
    """Find out whether these can be scored, before other methods are run for hours to stand beside them.

    Args:
        predictions: those that are there already, as for `evaluate_folders`; may be empty.
        truth: as for `evaluate_folders`.
        settings: as for `evaluate_folders`.

    Raises:
        InputError: predictions and truth do not fit or cannot be read, or a file of weights is not there.
        ModelError: named weights cannot be used.
        UsageError: a setting that makes no sense, or weights are named that nothing would use.
    """
    _check_weights(settings)
    if predictions:
        plans = plan_clips(predictions, truth, choice=settings.choice, clips=settings.clips)
        check_sizes(plans, settings, with_truth=truth is not None)


class _Scores:
    """The scores of all clips, methods and metrics: those of the cache first, then the computed ones.

    Args:
        plans: the clips.
        metrics: what is wanted.
        cache: where scores are looked for and kept.
        on_progress: called after each scored picture.
    """

    def __init__(
        self,
        plans: list[ClipPlan],
        metrics: tuple[MetricName, ...],
        cache: ScoreCache,
        on_progress: Callable[[EvaluationProgress], None] | None,
    ) -> None:
        self._plans, self._metrics, self._cache, self._on_progress = plans, metrics, cache, on_progress
        self._values: dict[tuple[str, str, MetricName], Values] = {}
        for plan in plans:
            for method in plan.predictions:
                for name in metrics:
                    held = cache.find(plan, method, name)
                    if held is not None:
                        self._values[plan.name, method, name] = held

    def missing_metrics(self) -> list[MetricName]:
        """Those that are to be computed somewhere."""
        keys = [(plan.name, method) for plan in self._plans for method in plan.predictions]
        return [name for name in self._metrics if any((*key, name) not in self._values for key in keys)]

    def compute(self, metrics: list[MetricName], instruments: Instruments, settings: EvaluationSettings) -> None:
        """Fill the gaps, clip after clip; each clip is kept when it is done."""
        work = [segment for plan in self._plans for segment in self._segments(plan, metrics)]
        self._done = sum(len(plan.frames) * len(plan.predictions) for plan in self._plans)
        self._total = self._done
        self._done -= sum(len(segment.frames) * len(segment.plan.predictions) for segment in work)
        scored = score_segments(work, instruments, settings.instruments, jobs=settings.jobs, on_pictures=self._report)
        gathered: list[FrameValues] = []
        for segment, found in scored:
            gathered += found
            if segment.frames.stop == segment.plan.frames.stop:
                self._take(segment, gathered)
                gathered = []

    def by_method(self, metrics: list[MetricName]) -> tuple[MethodScores, ...]:
        """All scores of these metrics, which must be there."""
        methods = []
        for method in self._plans[0].predictions:
            clips = [
                ClipScores(
                    name=plan.name,
                    frames=tuple(plan.frames),
                    values={name: self._values[plan.name, method, name] for name in metrics},
                    path=plan.predictions[method],
                    notes=plan.notes,
                )
                for plan in self._plans
            ]
            methods.append(MethodScores(name=method, clips=tuple(clips)))
        return tuple(methods)

    def _segments(self, plan: ClipPlan, metrics: list[MetricName]) -> list[Segment]:
        """What is missing of a clip; methods that lack the same metrics are scored together."""
        groups: dict[tuple[MetricName, ...], dict[str, Path]] = {}
        for method, path in plan.predictions.items():
            missing = tuple(name for name in metrics if (plan.name, method, name) not in self._values)
            if missing:
                groups.setdefault(missing, {})[method] = path
        parts = [segments_of(replace(plan, predictions=methods), names) for names, methods in groups.items()]
        return [segment for part in parts for segment in part]

    def _take(self, segment: Segment, found: list[FrameValues]) -> None:
        """Remember and keep the scores of a clip, all of its segments together."""
        for method in segment.plan.predictions:
            frames = [value for value in found if value.method == method]
            for name in segment.metrics:
                values = tuple(frame.values.get(name) for frame in frames)
                self._values[segment.plan.name, method, name] = values
                self._cache.keep(segment.plan, method, name, values)

    def _report(self, segment: Segment, pictures: int) -> None:
        self._done += pictures
        if self._on_progress is not None:
            self._on_progress(EvaluationProgress(done=self._done, total=self._total, clip=segment.plan.name))


def _without_truth(metrics: tuple[MetricName, ...]) -> dict[MetricName, Unavailable]:
    """The metrics that need the ground truth that is not there."""
    return {
        name: Unavailable("no truth", "it needs ground truth and there is none")
        for name in metrics
        if METRICS[name].needs_truth
    }


def _without_pairs(plans: list[ClipPlan], metrics: Sequence[MetricName]) -> dict[MetricName, Unavailable]:
    """The temporal metrics that a clip of one frame rules out, and why."""
    short = next((plan.name for plan in plans if len(plan.frames) < 2), None)
    if short is None:
        return {}
    reason = Unavailable("one frame", f"it needs two neighbouring frames and clip {short} is scored on one")
    return {name: reason for name in metrics if METRICS[name].temporal}


def check_sizes(plans: Sequence[ClipPlan | InputPlan], settings: EvaluationSettings, *, with_truth: bool) -> None:
    """Refuse pictures that a metric cannot take, before the first is made or scored.

    Args:
        plans: the clips, with the size of the pictures that will be scored.
        settings: the metrics and the protocol's crop.
        with_truth: whether there is ground truth; without it some metrics are not computed.

    Raises:
        InputError: they are too small; the message names the clip and the metric.
    """
    crop_border = settings.protocol.crop_border
    computed = [name for name in settings.metrics if with_truth or not METRICS[name].needs_truth]
    for plan in plans:
        side = min(plan.height, plan.width) - 2 * crop_border
        for name in computed:
            if side < METRICS[name].minimum_side:
                raise InputError(
                    f"The pictures of {plan.name} are too small for {METRICS[name].title}",
                    got=f"{plan.width}x{plan.height}, crop of {crop_border} pixels a side",
                    expected=f"at least {METRICS[name].minimum_side} pixels on each side",
                    remedy=f"leave {name} out",
                )


def missing_metrics(settings: EvaluationSettings, *, with_truth: bool) -> dict[MetricName, str]:
    """The metrics that will have no value on this machine, and why; found out before frames are made for hours.

    Args:
        settings: what is to be computed.
        with_truth: whether there is ground truth.

    Raises:
        ModelError: flow weights that were named cannot be used.
    """
    absent = {} if with_truth else _without_truth(settings.metrics)
    wanted = [name for name in settings.metrics if name not in absent]
    absent |= load_instruments(wanted, settings.instruments)[1]
    return {name: f"{METRICS[name].title} n/a: {found.reason}" for name, found in absent.items()}


def _check_weights(settings: EvaluationSettings) -> None:
    """Refuse files of weights that cannot be used, or that nothing would use."""
    flow, prior = settings.flow_weights, settings.niqe_prior
    if flow is not None:
        if not flow.is_file():
            raise InputError(f"{flow} is no file of flow weights", remedy="check the path")
        users = [name for name in settings.metrics if name in FLOW_METRICS]
        if not users or not settings.protocol.flow.startswith("raft"):
            raise UsageError(
                f"Nothing would use the flow weights {flow}",
                got=f"metrics {', '.join(settings.metrics)}; flow {settings.protocol.flow}",
                expected=f"{' or '.join(FLOW_METRICS)} with RAFT",
                remedy="leave --flow-weights out",
            )
        load_instruments(users, settings.instruments)
    if prior is not None:
        read_niqe_prior(prior)
        if "niqe" not in settings.metrics:
            raise UsageError(
                f"Nothing would use the prior {prior}",
                got=f"metrics {', '.join(settings.metrics)}",
                remedy="add niqe to --metrics, or leave --niqe-prior out",
            )
