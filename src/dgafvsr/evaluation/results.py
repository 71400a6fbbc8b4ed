"""Scores as data: per frame, per clip, mean of clips; nothing is computed here but means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dgafvsr.evaluation.metrics import MetricName, Unavailable
from dgafvsr.evaluation.protocols import Protocol
from dgafvsr.evaluation.published import PublishedRow, published_rows

__all__ = ["ClipScores", "EvaluationResult", "MethodScores"]


@dataclass(frozen=True, kw_only=True)
class ClipScores:
    """The scores of one method on one clip."""

    name: str
    """Of the clip."""
    frames: tuple[int, ...]
    """Indices of the scored frames in the clip."""
    values: Mapping[MetricName, tuple[float | None, ...]]
    """One value per scored frame; None where the metric has none: temporal metrics at the first frame."""
    path: Path
    """The frames: a folder, a video or a picture."""
    notes: tuple[str, ...] = ()
    """What a reader of the numbers should know."""

    @property
    def scored(self) -> range:
        """The scored frames, which follow each other."""
        return range(self.frames[0], self.frames[-1] + 1)

    def mean(self, metric: MetricName) -> float | None:
        """Over the frames that have a value; None if the metric was not computed."""
        return _mean(self.values.get(metric, ()))


@dataclass(frozen=True, kw_only=True)
class MethodScores:
    """The scores of one method."""

    name: str
    """Of the method."""
    clips: tuple[ClipScores, ...]
    """In the order of the truth."""

    def mean(self, metric: MetricName) -> float | None:
        """Mean over clips of the mean over frames; None if the metric was not computed."""
        return _mean([clip.mean(metric) for clip in self.clips])


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """What was scored, how, and the scores."""

    truth: Path | None
    """The set of clips that served as ground truth, None if there was none."""
    protocol: Protocol
    """How the numbers were made."""
    metrics: tuple[MetricName, ...]
    """What was asked for, in order, unavailable ones included."""
    unavailable: Mapping[MetricName, Unavailable]
    """Metric -> why it could not be computed."""
    methods: tuple[MethodScores, ...]
    """In the order given."""
    max_frames: int | None = None
    """The limit on frames of a clip, None if there was none."""
    truth_clips: Mapping[str, Path] = field(default_factory=dict)
    """Clip -> its ground truth, where there is one."""

    @property
    def clip_names(self) -> tuple[str, ...]:
        """The scored clips, in order."""
        return tuple(clip.name for clip in self.methods[0].clips) if self.methods else ()

    @property
    def frame_count(self) -> int:
        """Scored frames of all clips, for one method."""
        return sum(len(clip.frames) for clip in self.methods[0].clips) if self.methods else 0

    @property
    def published(self) -> tuple[PublishedRow, ...]:
        """What others have published for these clips under this protocol."""
        return published_rows(self.protocol.name, self.clip_names, truth=self.truth is not None)

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes of all clips, each once."""
        every = (f"{clip.name}, {note}" for method in self.methods for clip in method.clips for note in clip.notes)
        return tuple(dict.fromkeys(every))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and math.isfinite(sum(known)) else (sum(known) if known else None)
