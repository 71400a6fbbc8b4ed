"""The options of `dgafvsr upscale` and `dgafvsr batch` that choose between speed and quality."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from dgafvsr.errors import UsageError

if TYPE_CHECKING:
    from dgafvsr.sampling.presets import Quality, SamplingChoice
    from dgafvsr.sampling.reuse import Reuse

__all__ = [
    "BetweenOption",
    "FeaturesOption",
    "FlowScaleOption",
    "GuidanceEveryOption",
    "NoiseOption",
    "PresetOption",
    "SolverOption",
    "TurnsOption",
    "preset_of",
    "sampling_of",
]

SPEED = "Speed and quality"

PresetOption = Annotated[
    str | None,
    typer.Option(
        "--quality",
        metavar="NAME",
        rich_help_panel=SPEED,
        help="fast, balanced or best: steps, solver and what else is not asked for here, as the model allows.",
        show_default="the model's own way",
    ),
]
SolverOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=SPEED, help="ddim, ddpm, dpm++ or unipc.", show_default="the model's"),
]
TurnsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=SPEED,
        help="Whether the frame at which a sweep begins is guided or unguided; guided costs a network call a sweep.",
        show_default="the model's",
    ),
]
GuidanceEveryOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|LIST",
        rich_help_panel=SPEED,
        help="Frames guide each other at every n-th step, or at listed steps only, such as 0,-1 (first and last).",
        show_default="1",
    ),
]
BetweenOption = Annotated[
    str | None,
    typer.Option(
        "--guidance-between",
        metavar="NAME",
        rich_help_panel=SPEED,
        help="What guides the other steps: reused (the last guided step's) or skipped (nothing).",
        show_default="reused",
    ),
]
FeaturesOption = Annotated[
    int | None,
    typer.Option(
        "--features-every",
        metavar="N",
        rich_help_panel=SPEED,
        help="The networks run whole at every n-th step, and their outermost level alone between.",
        show_default="1",
    ),
]
FlowScaleOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", rich_help_panel=SPEED, help="Estimate flow on frames 4, 2 or 1 times as large.", show_default="4"
    ),
]
NoiseOption = Annotated[
    str | None,
    typer.Option(
        "--initial-noise",
        metavar="NAME",
        rich_help_panel=SPEED,
        help="What frames start from: independent, shared or transported (follows the motion) noise.",
        show_default="the model's",
    ),
]


def preset_of(text: str | None) -> Quality | None:
    """The preset of `--quality`.

    Raises:
        UsageError: there is none of that name; a number is meant for `--crf`.
    """
    from dgafvsr.sampling.presets import check_quality

    if text is not None and text.isdecimal():
        raise UsageError(
            "--quality is fast, balanced or best", got=text, remedy=f"use --crf {text} for the quality of the video"
        )
    check_quality(text)
    return cast("Quality | None", text)


def sampling_of(
    *,
    solver: str | None,
    turns: str | None,
    guidance_every: str | None,
    guidance_between: str | None,
    features_every: int | None,
    flow_scale: int | None,
    initial_noise: str | None,
) -> SamplingChoice:
    """What the options ask for; what they leave out is left to the preset and the model.

    Raises:
        UsageError: a value that there is not.
    """
    from dgafvsr.sampling.noise import InitialNoise
    from dgafvsr.sampling.presets import SamplingChoice
    from dgafvsr.sampling.solvers import Solver
    from dgafvsr.sampling.sweeps import Turns

    return SamplingChoice(
        solver=cast("Solver | None", solver),
        turns=cast("Turns | None", turns),
        reuse=_reuse(guidance_every, guidance_between, features_every),
        flow_scale=flow_scale,
        initial_noise=cast("InitialNoise | None", initial_noise),
    )


def _reuse(every: str | None, between: str | None, features: int | None) -> Reuse | None:
    from dgafvsr.sampling.reuse import BetweenGuidance, Reuse

    if every is None and features is None:
        if between is not None:
            raise UsageError(
                "--guidance-between needs steps without guidance", got=between, remedy="add --guidance-every"
            )
        return None
    return Reuse(
        guidance_every=1 if every is None else _every(every),
        guidance_between="reused" if between is None else cast(BetweenGuidance, between),
        features_every=1 if features is None else features,
    )


def _every(text: str) -> int | tuple[int, ...]:
    words = text.split(",")
    if not all(word.strip().removeprefix("-").isdecimal() for word in words):
        raise UsageError("The steps with guidance are not understood", got=text, expected="such as 2, or 0,3")
    steps = tuple(int(word) for word in words)
    return steps if len(steps) > 1 or steps[0] < 1 else steps[0]
