"""Observation 1: are neighbouring frames closer to each other, once aligned, as features or as pixels?

While a clip is sampled, every visit but the first of a sweep has a neighbour: the frame visited before it, at the same
step. Both x0 estimates z~_{t->0} are compared in two domains, with the same flow and the same warp convention:

    feature   the neighbour's latent through OGWM (s = 4, nearest), against the current latent
    pixel     both latents decoded (not clamped), the neighbour's picture warped at full size, against the current one;
              with `detail` less the enlarged LR frame, as in latents that hold only what that lacks

Common range: per channel, the smallest and largest value of *the two pictures compared* become 0 and 1 (`range`), or
their mean minus and plus three standard deviations (`deviation`, not clipped). The same rule serves both domains, so
neither gains by a smaller range of numbers. Only positions whose whole 4 x 4 cell is read inside the neighbour are
looked at, one latent pixel from the border at least: the same places in both domains.

    PSNR      10 log10(1 / mean squared difference), dB
    SSIM      11 x 11 gaussian window of sigma 1.5, in pixels of the domain's own grid, mean over channels and over the
              positions whose whole window may be looked at
    H         Shannon entropy in bits of the difference, rounded to levels of 1/255, all channels together
    sigma     standard deviation of the difference, in levels of 1/255
    F(x)      1 / (1 + x), per pair

Each is averaged over all pairs and steps; the relative difference is feature / pixel - 1. The paper gives neither its
range nor its units; F(sigma) depends on both, so compare its direction rather than its size.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from dgafvsr.errors import InputError, UsageError
from dgafvsr.flow.fm import BidirectionalFlows, bidirectional_flows, upsample_frames
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.sampling.ogwm import FLOW_SCALE, OGWM, warp
from dgafvsr.sampling.sampler import StepEvent
from dgafvsr.video.color import to_signed

try:
    from torchmetrics.functional.image import structural_similarity_index_measure
except ImportError as error:
    raise UsageError(
        "Observation 1 needs torchmetrics", got=error, remedy="install the extra: pip install 'dgafvsr[eval]'"
    ) from error

if TYPE_CHECKING:
    from dgafvsr.flow.estimator import FlowEstimator
    from dgafvsr.pipeline import DGAFVSRPipeline

__all__ = [
    "MEASURES",
    "DomainComparison",
    "DomainsResult",
    "Normalisation",
    "PairExample",
    "StepScores",
    "compare_domains",
    "compare_pair",
]

Normalisation = Literal["range", "deviation"]

MEASURES = ("psnr", "ssim", "f_entropy", "f_sigma", "entropy", "sigma")
"""What `compare_pair` gives, in this order."""

LEVELS = 255
DEVIATIONS = 3.0
SSIM_SIDE = 11


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
    """Both domains over all steps."""

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

    def mean(self, domain: Literal["feature", "pixel"], measure: str) -> float:
        """Over all pairs of all steps."""
        return sum(getattr(step, domain)[measure] * step.pairs for step in self.steps) / self.pairs

    def relative_difference(self, measure: str) -> float:
        """Feature over pixel domain, minus 1; nan where the pixel domain has 0."""
        pixel = self.mean("pixel", measure)
        return self.mean("feature", measure) / pixel - 1 if pixel else float("nan")


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
        self._sums: dict[int, Tensor] = {}  # step -> 2 domains x measures
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
            picture = self._codec.decode(event.x0, frame)
            if self._detail:
                picture = picture - upsample_frames(frame)
            if before is not None and before[0].step == event.step:
                pair = min(event.frame, before[0].frame)
                flow = (flows.forward if event.direction == "forward" else flows.backward)[pair : pair + 1]
                self._add(event, flow.to(event.x0.device), neighbor_x0=before[0].x0, pictures=(picture, before[1]))
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
            feature, pixel = (sums / self._pairs[step]).tolist()
            steps.append(
                StepScores(
                    step=step,
                    timestep=self._times[step],
                    pairs=self._pairs[step],
                    feature=dict(zip(MEASURES, feature, strict=True)),
                    pixel=dict(zip(MEASURES, pixel, strict=True)),
                )
            )
        return DomainsResult(steps=tuple(steps), normalisation=self._normalisation, examples=tuple(self.examples))

    def _add(self, event: StepEvent, flow: Tensor, *, neighbor_x0: Tensor, pictures: tuple[Tensor, Tensor]) -> None:
        fine, coarse = _visible(flow)
        if not (_whole_windows(coarse).any() and _whole_windows(fine).any()):
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
        feature = compare_pair(aligned, event.x0, coarse, self._normalisation)
        pixel = compare_pair(warped, current, fine, self._normalisation)
        scores = torch.tensor([[found[name] for name in MEASURES] for found in (feature, pixel)], dtype=torch.float64)
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
        pipe.ogwm,
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


def compare_pair(aligned: Tensor, current: Tensor, visible: Tensor, normalisation: Normalisation) -> dict[str, float]:
    """The measures of one pair, by the names in `MEASURES`.

    Args:
        aligned: the neighbour on the current grid, 1 C H W, any range.
        current: 1 C H W.
        visible: 1 1 H W bool, where to look.
        normalisation: how values come to a common range.

    Raises:
        InputError: nowhere can a window of SSIM be looked at whole.
    """
    where, windows = visible[0, 0], _whole_windows(visible)[0, 0]
    if not windows.any():
        raise InputError(
            "There is too little to look at for SSIM",
            got=f"{int(where.sum())} positions",
            expected=f"at least {SSIM_SIDE} x {SSIM_SIDE} neighbouring ones",
        )
    low, high = _limits(aligned[0][:, where].double(), current[0][:, where].double(), normalisation)
    first, second = (((part.double() - low) / (high - low)) for part in (aligned, current))
    _, similarity = structural_similarity_index_measure(
        first, second, gaussian_kernel=True, sigma=1.5, data_range=1.0, return_full_image=True
    )
    difference = LEVELS * (first - second)[0][:, where]
    counts = torch.unique(difference.round(), return_counts=True)[1].double()
    shares = counts / counts.sum()
    entropy = float(-(shares * shares.log2()).sum())
    sigma = float(difference.std(correction=0))
    mean_square = float((difference / LEVELS).square().mean())
    return {
        "psnr": float("inf") if mean_square == 0 else -10 * float(torch.tensor(mean_square).log10()),
        "ssim": float(similarity[0][:, windows].mean()),
        "f_entropy": 1 / (1 + entropy),
        "f_sigma": 1 / (1 + sigma),
        "entropy": entropy,
        "sigma": sigma,
    }


def _limits(first: Tensor, second: Tensor, normalisation: Normalisation) -> tuple[Tensor, Tensor]:
    """What becomes 0 and 1, each 1 C 1 1, of two C K sets of values; a constant channel keeps a range of 1."""
    values = torch.cat([first, second], dim=1)
    if normalisation == "range":
        low, high = values.amin(1), values.amax(1)
    else:
        mean, reach = values.mean(1), DEVIATIONS * values.std(1, correction=0)
        low, high = mean - reach, mean + reach
    high = torch.where(high > low, high, low + 1)
    return low[None, :, None, None], high[None, :, None, None]


def _whole_windows(visible: Tensor) -> Tensor:
    """Positions around which a whole window of SSIM is visible, 1 1 H W bool."""
    share = F.avg_pool2d(visible.float(), SSIM_SIDE, stride=1, padding=SSIM_SIDE // 2)
    return share > 1 - 0.5 / SSIM_SIDE**2


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
