"""Observation 1: are neighbouring frames closer to each other, once aligned, as features or as pixels?

While a clip is sampled, every visit but the first of a sweep has a neighbour: the frame visited before it, at the same
step. Both x0 estimates z~_{t->0} are compared three times, with the same flow and the same warp convention:

    feature   the neighbour's latent through OGWM (s = 4, nearest), against the current latent
    pixel     both latents decoded (not clamped), the neighbour's picture warped at full size, against the current one
    decoded   the neighbour's latent through OGWM and then decoded, against the current picture: alignment of features
              as in `feature`, judged on the pictures of `pixel`

`feature` against `pixel` is the paper's comparison. It sets two kinds of numbers beside each other, so it also tells
how a model's latents are distributed: where they hold only what the enlarged LR frame lacks, as in our own models, all
that is easy to predict is in the pictures alone. `decoded` against `pixel` asks the same question on one scale; the
decoder may see the current LR frame (ours does), as G_U does. With `detail` every decoded picture has its own enlarged
LR frame (FM's bicubic) taken off before it is warped and compared: then the pixel domain too moves detail only and owes
the rest to the current LR frame.

Common range, PSNR, SSIM, H, sigma and F are those of `pair_measures.py`, the same for all three. Only positions whose
whole 4 x 4 cell is read inside the neighbour are looked at, one latent pixel from the border at least: the same places
in all domains. Each measure is averaged over all pairs and steps; the relative difference is feature (or decoded) /
pixel - 1. The paper gives neither its range nor its units; F(sigma) depends on both, so compare its direction rather
than its size.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from dgafvsr.analysis.pair_measures import MEASURES, Normalisation, compare_pair, whole_windows
from dgafvsr.errors import InputError, UsageError
from dgafvsr.flow.fm import BidirectionalFlows, bidirectional_flows, upsample_frames
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.sampling.ogwm import FLOW_SCALE, OGWM, Convention, warp
from dgafvsr.sampling.sampler import StepEvent
from dgafvsr.video.color import to_signed

if TYPE_CHECKING:
    from dgafvsr.flow.estimator import FlowEstimator
    from dgafvsr.pipeline import DGAFVSRPipeline

__all__ = [
    "DOMAINS",
    "Domain",
    "DomainComparison",
    "DomainsResult",
    "PairExample",
    "StepScores",
    "compare_domains",
]

Domain = Literal["feature", "pixel", "decoded"]

DOMAINS: tuple[Domain, ...] = get_args(Domain)
"""What is compared, see the module's text."""


@dataclass(frozen=True, kw_only=True)
class StepScores:
    """The means of one diffusion step over all its pairs, by the names in `MEASURES`."""

    step: int
    """0 is the noisiest."""
    timestep: float
    """The diffusion time t."""
    pairs: int
    """Pairs of neighbouring frames."""
    feature: dict[str, float]
    """In the feature domain."""
    pixel: dict[str, float]
    """In the pixel domain."""
    decoded: dict[str, float]
    """Aligned as features, compared as pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PairExample:
    """What was compared at one step, for pictures; on the CPU."""

    step: int
    """0 is the noisiest."""
    timestep: float
    """The diffusion time t."""
    latent: Tensor
    """The current x0 estimate, 1 4 h w."""
    aligned: Tensor
    """The neighbour's through OGWM, 1 4 h w."""
    picture: Tensor
    """The current estimate decoded, 1 3 4h 4w, about [-1, 1]."""
    warped: Tensor
    """The neighbour's decoded and warped, 1 3 4h 4w."""
    flow: Tensor
    """How the current frame reads its neighbour, 1 2 4h 4w in HR pixels."""


@dataclass(frozen=True, kw_only=True)
class DomainsResult:
    """All domains over all steps."""

    steps: tuple[StepScores, ...]
    """In the order of sampling, never empty."""
    normalisation: Normalisation
    """How values came to a common range."""
    examples: tuple[PairExample, ...] = field(default=(), compare=False)
    """One pair at some steps, in the order of sampling."""

    @property
    def pairs(self) -> int:
        """Compared pairs in all."""
        return sum(step.pairs for step in self.steps)

    def mean(self, domain: Domain, measure: str) -> float:
        """Over all pairs of all steps."""
        return sum(getattr(step, domain)[measure] * step.pairs for step in self.steps) / self.pairs

    def relative_difference(self, measure: str, domain: Domain = "feature") -> float:
        """This domain over the pixel domain, minus 1; nan where the pixel domain has 0."""
        pixel = self.mean("pixel", measure)
        return self.mean(domain, measure) / pixel - 1 if pixel else float("nan")


class DomainComparison:
    """A listener of the sampler that compares neighbours as they are visited.

    Args:
        codec: decodes the x0 estimates.
        ogwm: the feature domain's warp; its convention serves the pixel domain too.
        normalisation: how values come to a common range.
        detail: take the enlarged LR frame (FM's bicubic) off the decoded pictures before they are compared.
        example_steps: of which the first compared pair is kept, for pictures.

    Attributes:
        examples: those pairs.
    """

    def __init__(
        self,
        codec: LatentCodec,
        ogwm: OGWM,
        *,
        normalisation: Normalisation = "range",
        detail: bool = False,
        example_steps: Collection[int] = (),
    ) -> None:
        if normalisation not in get_args(Normalisation):
            raise UsageError("Unknown normalisation", got=normalisation, expected=get_args(Normalisation))
        self._codec, self._ogwm, self._normalisation, self._detail = codec, ogwm, normalisation, detail
        self._sums: dict[int, Tensor] = {}  # step -> domains x measures
        self._pairs: dict[int, int] = {}
        self._times: dict[int, float] = {}
        self._example_steps = frozenset(example_steps)
        self.examples: list[PairExample] = []

    def listen(self, lr: Tensor, flows: BidirectionalFlows) -> Callable[[StepEvent], None]:
        """What the pipeline calls after each visit of one clip.

        Args:
            lr: T 3 h w in [0, 1].
            flows: whole flows between its frames, T-1 2 4h 4w.
        """
        before: tuple[StepEvent, Tensor] | None = None

        def hear(event: StepEvent) -> None:
            nonlocal before
            frame = to_signed(lr[event.frame : event.frame + 1]).to(event.x0.device)
            picture = self._picture(event.x0, frame)
            if before is not None and before[0].step == event.step:
                pair = min(event.frame, before[0].frame)
                flow = (flows.forward if event.direction == "forward" else flows.backward)[pair : pair + 1]
                self._add(event, flow.to(event.x0.device), frame, before[0].x0, pictures=(picture, before[1]))
            before = event, picture

        return hear

    def result(self) -> DomainsResult:
        """What was heard so far.

        Raises:
            InputError: no pair was compared.
        """
        if not self._sums:
            raise InputError(
                "No neighbouring frames could be compared",
                expected="clips of at least 2 frames whose motion stays inside the frame",
            )
        steps = []
        for step, sums in sorted(self._sums.items()):
            feature, pixel, decoded = (
                dict(zip(MEASURES, values, strict=True)) for values in (sums / self._pairs[step]).tolist()
            )
            steps.append(
                StepScores(
                    step=step,
                    timestep=self._times[step],
                    pairs=self._pairs[step],
                    feature=feature,
                    pixel=pixel,
                    decoded=decoded,
                )
            )
        return DomainsResult(steps=tuple(steps), normalisation=self._normalisation, examples=tuple(self.examples))

    def _picture(self, latent: Tensor, frame: Tensor) -> Tensor:
        """The decoded latent, 1 3 4h 4w; with `detail` less the enlarged LR frame 1 3 h w in [-1, 1]."""
        picture = self._codec.decode(latent, frame)
        return picture - upsample_frames(frame) if self._detail else picture

    def _add(
        self, event: StepEvent, flow: Tensor, frame: Tensor, neighbor_x0: Tensor, *, pictures: tuple[Tensor, Tensor]
    ) -> None:
        fine, coarse = _visible(flow)
        if not (whole_windows(coarse).any() and whole_windows(fine).any()):
            return
        aligned = self._ogwm(neighbor_x0, self._ogwm.keep(flow))
        current, neighbor = pictures
        warped = warp(neighbor, flow, self._ogwm.convention)
        if event.step in self._example_steps and event.step not in self._pairs:
            shown = (event.x0, aligned, current, warped, flow)
            latent, aligned_cpu, picture, warped_cpu, flow_cpu = (each.detach().cpu() for each in shown)
            self.examples.append(
                PairExample(
                    step=event.step,
                    timestep=event.timestep,
                    latent=latent,
                    aligned=aligned_cpu,
                    picture=picture,
                    warped=warped_cpu,
                    flow=flow_cpu,
                )
            )
        compared = (aligned, event.x0, coarse), (warped, current, fine), (self._picture(aligned, frame), current, fine)
        found = [compare_pair(*pair, self._normalisation) for pair in compared]  # in the order of DOMAINS
        scores = torch.tensor([[each[name] for name in MEASURES] for each in found], dtype=torch.float64)
        self._sums[event.step] = self._sums.get(event.step, torch.zeros_like(scores)) + scores
        self._pairs[event.step] = self._pairs.get(event.step, 0) + 1
        self._times[event.step] = event.timestep


def compare_domains(
    pipe: DGAFVSRPipeline,
    clips: Iterable[Tensor],
    estimator: FlowEstimator,
    *,
    steps: int | None = None,
    normalisation: Normalisation = "range",
    detail: bool = False,
    convention: Convention | None = None,
    on_event: Callable[[StepEvent], None] | None = None,
    **options: Any,
) -> DomainsResult:
    """Sample clips and compare neighbours in both domains at every step.

    Args:
        pipe: the model.
        clips: LR frames, each T 3 h w in [0, 1], sides of at least 16; one clip is held at a time.
        estimator: of optical flow; both the guidance and the comparison use it.
        steps: T; None takes the model's default.
        normalisation: how values come to a common range.
        detail: take the enlarged LR frame off the pictures, for models whose latents hold only what it lacks.
        convention: of the warps that are compared; the model samples with its own. None takes the model's.
        on_event: called after every visit, for progress.
        **options: for the pipeline: seed, scheduler, guided.

    Returns:
        The same values for the same clips, model and seed.

    Raises:
        InputError: a clip cannot be sampled, or no pair could be compared.
        UsageError: an option is out of its range.
    """
    last = (pipe.default_steps if steps is None else steps) - 1
    comparison = DomainComparison(
        LatentCodec(pipe.vae),
        pipe.ogwm if convention is None else replace(pipe.ogwm, convention=convention),
        normalisation=normalisation,
        detail=detail,
        example_steps={0, last // 2, last},
    )
    for lr in clips:
        flows = bidirectional_flows(lr, estimator)
        hear = comparison.listen(lr, flows)

        def both(event: StepEvent, hear: Callable[[StepEvent], None] = hear) -> None:
            hear(event)
            if on_event is not None:
                on_event(event)

        pipe(
            lr,
            num_inference_steps=steps,
            flows=(flows.forward, flows.backward),
            output_type="latent",
            on_event=both,
            **options,
        )
    return comparison.result()


def _visible(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Where to look on the HR grid and on the latent grid, 1 1 4h 4w and 1 1 h w bool, for a flow 1 2 4h 4w."""
    height, width = flow.shape[-2:]
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None].expand(height, width)
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype).expand(height, width)
    inside = torch.ones(height, width, dtype=torch.bool, device=flow.device)
    for position, size in (
        (columns, width),
        (rows, height),
        (columns + flow[0, 0], width),
        (rows + flow[0, 1], height),
    ):
        inside &= (position >= FLOW_SCALE) & (position <= size - 1 - FLOW_SCALE)
    cells = F.avg_pool2d(inside[None, None].float(), FLOW_SCALE) == 1
    return cells.repeat_interleave(FLOW_SCALE, 2).repeat_interleave(FLOW_SCALE, 3), cells
