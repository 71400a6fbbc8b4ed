"""Observation 2: how much detail a warp keeps, and how well it aligns, by the resolution at which it happens.

    direct            the feature is warped on its own grid (s = 1)
    high_resolution   upsampled by s, warped, kept at high resolution
    up_warp_down      upsampled by s, warped, brought back: OGWM, with s = 4 and nearest rescaling in the paper

Detail kept = sum of I(after) / sum of I(before, read where the warp reads), I the edge or the high-pass intensity
(`intensity.py`). `before` is the unwarped neighbour on the same grid as `after` (for `high_resolution`: upsampled the
same way), and its intensity *map* is read bilinearly at p + flow(p): both sums see the same content, and a warp that
loses nothing gives 1.
The high-pass gaussian has a sigma of one latent pixel on every grid.

Alignment error = sqrt(sum |after - current|^2 / sum |current - its mean|^2), per channel and feature; the sums run over
all features. `current` is the current frame's own feature: on real clips it holds occlusions, noise and flow errors
too; on `moving_textures` it is exact, and the error is the warp's alone. For `high_resolution` it is upsampled like the
neighbour: with nearest rescaling its blocks stay on the latent grid while the warped ones move, which counts as error.

All sums leave out positions within 4 latent pixels of the border, or reading from there: nothing outside is seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from dgafvsr.analysis.intensity import edge_map, high_pass_map
from dgafvsr.analysis.samples import WarpSample
from dgafvsr.errors import InputError, UsageError
from dgafvsr.flow.fields import backward_warp
from dgafvsr.sampling.ogwm import OGWM, Convention, Rescaling, warp

__all__ = ["Kept", "Method", "Variant", "WarpingResult", "WarpingSettings", "measure_warping"]

Method = Literal["direct", "high_resolution", "up_warp_down"]

MARGIN = 4
"""Latent pixels at the border that are not looked at: the high-pass kernel's reach and half a pixel of `released`."""

HIGH_PASS_SIGMA = 1.0
"""In latent pixels."""


@dataclass(frozen=True, kw_only=True)
class WarpingSettings:
    """Which warps are measured.

    Raises:
        UsageError: no scale, or one below 1.
    """

    scales: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    """The paper's s; 1 is the direct warp."""
    rescalings: tuple[Rescaling, ...] = ("nearest", "bilinear", "bicubic")
    """Of the feature, up and down."""
    conventions: tuple[Convention, ...] = ("released", "centered")
    """Of the warp, see `dgafvsr.sampling.ogwm`."""

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) < 1 or len(set(self.scales)) != len(self.scales):
            raise UsageError("The scales are out of range", got=self.scales, expected="different numbers from 1 on")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to warp."""

    method: Method
    """Where the warp happens."""
    convention: Convention
    """Of the warp."""
    scale: int = 1
    """The paper's s."""
    rescaling: Rescaling | None = None
    """Up and down; None for the direct warp, which has none."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What one way to warp did to all features."""

    edge: float
    """Edge intensity after / before; 1 keeps everything."""
    high_pass: float
    """High-pass intensity after / before."""
    alignment_error: float
    """Relative to the current feature's deviation from its mean; 0 is perfect."""


@dataclass(frozen=True, kw_only=True)
class WarpingResult:
    """All ways to warp, measured on the same features."""

    features: int
    """How many were warped."""
    skipped: int
    """How many had no position to look at: moved too far, or too small."""
    kept: dict[Variant, Kept]
    """In the order direct, then by rescaling, scale and method, for each convention."""


def measure_warping(
    samples: Iterable[WarpSample],
    settings: WarpingSettings | None = None,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> WarpingResult:
    """Detail kept and alignment error of every variant over a stream of features.

    Args:
        samples: read once, one at a time; only sums are kept.
        settings: which warps; None measures all.
        on_progress: called with the number of features done.

    Returns:
        The same values for the same samples.

    Raises:
        InputError: not one feature could be measured.
    """
    settings = settings or WarpingSettings()
    sums: dict[Variant, _Sums] = {}
    features = skipped = 0
    for sample in samples:
        with torch.no_grad():
            usable = bool(_visible(OGWM(scale=1).rescale_flow(sample.flow), 1).any())
            if usable:
                for variant, measured in _measure(sample, settings):
                    sums.setdefault(variant, _Sums()).add(measured)
        features, skipped = features + usable, skipped + (not usable)
        if on_progress is not None:
            on_progress(features + skipped)
    if not features:
        raise InputError(
            "No feature could be measured",
            got=f"{skipped} features, all too small or moved out of sight",
            expected=f"more than {2 * MARGIN} latent pixels a side that stay in the frame",
        )
    ordered = sorted(sums, key=lambda variant: settings.conventions.index(variant.convention))
    return WarpingResult(
        features=features, skipped=skipped, kept={variant: sums[variant].kept() for variant in ordered}
    )


@dataclass
class _Sums:
    """Running sums of a variant."""

    values: Tensor = field(default_factory=lambda: torch.zeros(6, dtype=torch.float64))

    def add(self, measured: Tensor) -> None:
        self.values += measured

    def kept(self) -> Kept:
        edge_after, edge_before, high_after, high_before, error, energy = self.values.tolist()
        return Kept(
            edge=_ratio(edge_after, edge_before),
            high_pass=_ratio(high_after, high_before),
            alignment_error=math.sqrt(_ratio(error, energy)),
        )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


@dataclass(frozen=True)
class _Before:
    """What is shared by all warps on one grid: where they read, what was there, what is looked for."""

    current: Tensor  # 1 C H W
    visible: Tensor  # 1 1 H W bool
    edge: float  # sum over visible positions, read where the warp reads
    high_pass: float
    scale: int

    @classmethod
    def of(cls, neighbor: Tensor, current: Tensor, flow: Tensor, scale: int) -> _Before:
        visible = _visible(flow, scale)
        edge, high = edge_map(neighbor), high_pass_map(neighbor, sigma=HIGH_PASS_SIGMA * scale)
        return cls(
            current, visible, _sum(backward_warp(edge, flow), visible), _sum(backward_warp(high, flow), visible), scale
        )

    def against(self, after: Tensor) -> Tensor:
        """The six sums of `_Sums` for one warped feature, float64."""
        edge, high = edge_map(after), high_pass_map(after, sigma=HIGH_PASS_SIGMA * self.scale)
        expected = self.current.double().flatten(2)[..., self.visible.flatten()]
        found = after.double().flatten(2)[..., self.visible.flatten()]
        error = (found - expected).square().sum()
        energy = (expected - expected.mean(-1, keepdim=True)).square().sum()
        intensities = [_sum(edge, self.visible), self.edge, _sum(high, self.visible), self.high_pass]
        return torch.tensor([*intensities, float(error), float(energy)], dtype=torch.float64)


def _measure(sample: WarpSample, settings: WarpingSettings) -> Iterator[tuple[Variant, Tensor]]:
    low = _Before.of(sample.neighbor, sample.current, OGWM(scale=1).rescale_flow(sample.flow), 1)
    if 1 in settings.scales:
        for convention in settings.conventions:
            direct = warp(sample.neighbor, OGWM(scale=1).rescale_flow(sample.flow), convention)
            yield Variant(method="direct", convention=convention), low.against(direct)
    for rescaling in settings.rescalings:
        for scale in (scale for scale in settings.scales if scale > 1):
            yield from _measure_scale(sample, low, settings, rescaling, scale)


def _measure_scale(
    sample: WarpSample, low: _Before, settings: WarpingSettings, rescaling: Rescaling, scale: int
) -> Iterator[tuple[Variant, Tensor]]:
    """High resolution and up-warp-down at one scale; they share everything but the way back."""
    for index, convention in enumerate(settings.conventions):
        ogwm = OGWM(convention=convention, rescaling=rescaling, scale=scale)
        if index == 0:
            flow, enlarged = ogwm.rescale_flow(sample.flow), ogwm.enlarge(sample.neighbor)
            high = _Before.of(enlarged, ogwm.enlarge(sample.current), flow, scale)
        warped = warp(enlarged, flow, convention)
        variant = Variant(method="high_resolution", convention=convention, scale=scale, rescaling=rescaling)
        yield variant, high.against(warped)
        yield replace(variant, method="up_warp_down"), low.against(ogwm.reduce(warped))


def _visible(flow: Tensor, scale: int) -> Tensor:
    """Positions that are, and read, at least the margin away from the border: 1 1 H W bool for a flow 1 2 H W."""
    height, width = flow.shape[-2:]
    rows = torch.arange(height, dtype=flow.dtype)[:, None].expand(height, width)
    columns = torch.arange(width, dtype=flow.dtype).expand(height, width)
    margin = MARGIN * scale
    inside = torch.ones(height, width, dtype=torch.bool)
    for position, size in (
        (columns, width),
        (rows, height),
        (columns + flow[0, 0], width),
        (rows + flow[0, 1], height),
    ):
        inside &= (position >= margin) & (position <= size - 1 - margin)
    return inside[None, None]


def _sum(values: Tensor, visible: Tensor) -> float:
    return float(values[visible].double().sum())
