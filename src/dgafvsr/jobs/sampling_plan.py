"""How a job samples: settled from the memory there is when the job begins, and kept to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dgafvsr.jobs.fallback import FallbackUpscaler, Reduction
from dgafvsr.jobs.memory import expected_bytes, plan_pipeline
from dgafvsr.jobs.memory_facts import model_facts
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.upscaler import Upscaler
from dgafvsr.sampling.reuse import Reuse
from dgafvsr.sampling.windows import count_visits
from dgafvsr.video.frames import SourceInfo

__all__ = ["SamplingPlan", "plan_sampling", "with_fallback"]

DEFAULT_WINDOW = 24
"""Frames, where nothing is known of the memory that the model needs."""


@dataclass(frozen=True, kw_only=True)
class SamplingPlan:
    """What a job goes on with whatever memory there is when it is resumed."""

    window: int
    """Frames sampled together, at least 1."""
    overlap: int
    """Frames that neighbouring windows share, fewer than `window`."""
    tile: int | None
    """Side of the tiles in pixels of the film, None for whole frames."""
    lockstep: int = 1
    """Neighbouring windows of a shot that are sampled together, at least 1."""
    side_by_side: bool = True
    """Whether frames of a window are decoded while the next one is sampled, as far as the memory allows."""

    @property
    def stretch(self) -> int:
        """Frames of the windows that are sampled together: what a call of the model gets, and a job stores at once."""
        return self.window + (self.lockstep - 1) * (self.window - self.overlap)

    @property
    def together(self) -> dict[str, int]:
        """What the model is told of windows inside a call, nothing where the call is one window."""
        if self.lockstep == 1:
            return {}
        return {"window": self.window, "overlap": self.overlap, "window_batch": self.lockstep}

    def visits(self, frames: int) -> int:
        """Frames of all windows of a call for so many frames; those in overlaps count once for each window."""
        return count_visits(frames, self.window, self.overlap)


def plan_sampling(pipeline: Upscaler, info: SourceInfo, settings: UpscaleSettings) -> SamplingPlan:
    """The plan of a new job: what was asked for if it fits into the memory, and the rest as it does.

    Args:
        pipeline: the model; what is no `DGAFVSRPipeline` has no known need and gets the default window.
        info: of the film.
        settings: of the job.

    Raises:
        ResourceError: nothing fits, or what was asked for does not; it says what would.
    """
    if "unet" not in pipeline.components:
        window = settings.window or DEFAULT_WINDOW
        tile = None if settings.tile == "auto" else settings.tile
        overlap = min(settings.overlap, window - 1)
        return SamplingPlan(window=window, overlap=overlap, tile=tile, lockstep=settings.lockstep or 1)
    frames = info.expected_frames if settings.part is None else settings.part.expected_frames(info)
    asked = settings.window
    fitting = plan_pipeline(
        pipeline,
        info.width,
        info.height,
        overlap=settings.overlap,
        window=asked if asked is None or frames is None else min(asked, frames),  # more frames are never held
        tile=settings.tile,
        lockstep=settings.lockstep,
        reuse=settings.sampling.reuse,
    )
    window = asked or fitting.window
    return SamplingPlan(
        window=window,
        overlap=min(settings.overlap, window - 1),
        tile=fitting.tile,
        lockstep=fitting.lockstep,
        side_by_side=fitting.side_by_side,
    )


def with_fallback(
    pipeline: Upscaler, plan: SamplingPlan, reduction: Reduction | None, reuse: Reuse | None = None
) -> FallbackUpscaler:
    """The model, made to do with less where the memory turns out smaller than planned.

    Args:
        pipeline: the model.
        plan: of the job.
        reduction: what an earlier run of the job had come to, None for nothing.
        reuse: across steps, as the job asks the model for it.
    """
    threads = not str(pipeline.device).startswith("mps")  # Metal takes commands from one thread at a time
    return FallbackUpscaler(
        pipeline,
        start=reduction,
        side_by_side=plan.side_by_side and threads,
        needed_bytes=_needed_bytes(pipeline, plan, reuse),
    )


def _needed_bytes(
    pipeline: Upscaler, plan: SamplingPlan, reuse: Reuse | None
) -> Callable[[int, int, Reduction], int] | None:
    if "unet" not in pipeline.components:
        return None
    facts = model_facts(pipeline, reuse)
    device: Literal["cpu", "cuda"] = "cuda" if str(pipeline.device).startswith("cuda") else "cpu"

    def needed(width: int, height: int, reduction: Reduction) -> int:
        window = plan.window if reduction.window is None else reduction.window
        return expected_bytes(
            width,
            height,
            facts,
            window=window,
            tile=reduction.tile,
            lockstep=1 if reduction.one_by_one else plan.lockstep,
            device=device,
            decoding="in turns",
            stored=True,
        )

    return needed
