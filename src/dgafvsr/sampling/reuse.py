"""Reuse across steps: which parts of the networks run at which steps, and what is kept of a frame in between.

The method runs G_U and D_U whole at every visit. Their outputs change slowly from one step to the next, which leaves
two things to save, both off by default:

guidance   G_U runs at some steps only. At the others a frame is guided by the residuals of its last guided step, or by
           nothing; the flow, OGWM and previews are not needed there either.
features   the lower levels of both networks run at some steps only (DeepCache); their outermost level always runs.

With few steps a step is a long way, so both cost more quality the fewer steps there are: benchmarks/frontier.py
measures it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from dgafvsr.errors import UsageError
from dgafvsr.models.deep_features import DeepFeatures
from dgafvsr.models.guided_unet import EncoderResiduals, GuidanceResiduals

__all__ = ["BetweenGuidance", "Recall", "Recollection", "Reuse"]

BetweenGuidance = Literal["reused", "skipped"]
"""What guides a frame at steps without G_U: the residuals of its last step with G_U, or nothing."""

Residuals = GuidanceResiduals | EncoderResiduals


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """Which parts of the networks run at which steps. The default is the method: everything, at every step.

    Kept memory, in numbers a frame of h w LR pixels, of the networks' type: residuals 3240 h w for SD-x4 (373 MB at
    320x180 in half precision) and 510 h w for the packaged model; features of both networks 1024 h w and 192 h w.

    Raises:
        UsageError: a value out of its range.
    """

    guidance_every: int | tuple[int, ...] = 1
    """G_U runs at every n-th step, the first among them, or at these steps of 0 .. T - 1 alone; -1 is the last."""
    guidance_between: BetweenGuidance = "reused"
    """What guides the other steps. Nothing is kept where it is `skipped`."""
    features_every: int = 1
    """D_U and G_U run whole at every n-th step, the first among them, and their outermost level alone between."""

    def __post_init__(self) -> None:
        every = self.guidance_every
        if not every if isinstance(every, tuple) else every < 1:
            raise UsageError(
                "The steps with guidance are impossible", got=every, expected="every n-th, n from 1, or some steps"
            )
        if self.guidance_between not in get_args(BetweenGuidance):
            raise UsageError(
                "Unknown guidance of the steps between",
                got=self.guidance_between,
                expected=" or ".join(get_args(BetweenGuidance)),
            )
        if self.features_every < 1:
            raise UsageError(
                "The steps with all features are impossible", got=self.features_every, expected="every n-th, n from 1"
            )

    def guided_steps(self, steps: int) -> frozenset[int]:
        """The steps of 0 .. T - 1 at which G_U runs.

        Raises:
            UsageError: a step that was named is beyond the last.
        """
        if isinstance(self.guidance_every, int):
            return frozenset(range(0, steps, self.guidance_every))
        missing = [step for step in self.guidance_every if not -steps <= step < steps]
        if missing:
            raise UsageError(
                "Guidance is asked for at a step that there is not",
                got=missing[0],
                expected=f"0 to {steps - 1}, or from the end {-steps} to -1",
            )
        return frozenset(step % steps for step in self.guidance_every)


@dataclass(kw_only=True)
class _Kept:
    """Of a frame, or of one tile of it."""

    residuals: Residuals | None = None
    denoiser: DeepFeatures | None = None
    guidance: DeepFeatures | None = None


class Recall:
    """What one sampling run keeps of its frames; it is freed with the run.

    Args:
        reuse: what is kept.
        steps: T.
    """

    def __init__(self, reuse: Reuse, steps: int) -> None:
        self._reuse = reuse
        self._kept: dict[tuple[int, ...], _Kept] = {}
        self.guided_steps = reuse.guided_steps(steps)
        self._keeps_residuals = reuse.guidance_between == "reused" and len(self.guided_steps) < steps

    def visit(self, step: int, place: tuple[int, ...], *, preview: bool = False) -> Recollection:
        """What a visit finds and where it leaves something.

        Args:
            step: of the visit.
            place: frame, and row and column of the tile where there are tiles.
            preview: the visit is made for another frame: it finds what is there and leaves nothing.
        """
        return Recollection(
            kept=self._kept.setdefault(place, _Kept()),
            whole=step % self._reuse.features_every == 0,
            keeps_features=self._reuse.features_every > 1 and not preview,
            keeps_residuals=self._keeps_residuals and not preview,
            reuses_residuals=step not in self.guided_steps and not preview,
        )


@dataclass(frozen=True, kw_only=True)
class Recollection:
    """What one visit of one frame or tile finds of those before, see `Recall.visit`."""

    kept: _Kept = field(repr=False)
    whole: bool
    keeps_features: bool
    keeps_residuals: bool
    reuses_residuals: bool

    @property
    def residuals(self) -> Residuals | None:
        """Residuals of an earlier step that serve at this one."""
        return self.kept.residuals if self.reuses_residuals else None

    def keep(self, residuals: Residuals) -> Residuals:
        """The residuals of this step, kept for later ones where they are wanted."""
        if self.keeps_residuals:
            self.kept.residuals = _complete(residuals, self.kept.residuals)
        return residuals

    def features(self, *, guided: bool) -> tuple[DeepFeatures | None, DeepFeatures | None]:
        """Deep features of D_U and G_U: filled ones to use, empty ones to fill, None for a plain call.

        A frame whose features come from an unguided visit has none of G_U: guided, it is visited in full again.
        """
        kept = self.kept
        known = kept.denoiser is not None and (kept.guidance is not None or not guided)
        if known and not self.whole:
            return kept.denoiser, kept.guidance if guided else None
        if not self.keeps_features:
            return None, None
        kept.denoiser, kept.guidance = DeepFeatures(), DeepFeatures() if guided else None
        return kept.denoiser, kept.guidance


def _complete(residuals: Residuals, before: Residuals | None) -> Residuals:
    """Residuals of the outermost level alone, completed by those of an earlier step; others as they are."""
    if not isinstance(residuals, GuidanceResiduals) or residuals.mid is not None:
        return residuals
    assert isinstance(before, GuidanceResiduals), "G_U's features come from a step that left residuals too"
    return GuidanceResiduals(
        down=residuals.down + before.down[len(residuals.down) :],
        mid=before.mid,
        up=before.up[: len(before.up) - len(residuals.up)] + residuals.up,
    )
