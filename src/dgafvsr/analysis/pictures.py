"""One pair of neighbouring frames as pictures: what the tables of the observations are about.

Features are shown as the mean over channels after each channel was brought to zero mean and unit deviation; flow in the
usual colours (hue is direction, saturation is speed, white is still).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgafvsr.analysis.domains import PairExample
from dgafvsr.analysis.intensity import edge_map
from dgafvsr.analysis.samples import WarpSample
from dgafvsr.evaluation.plots import Tile, save_sheet
from dgafvsr.sampling.ogwm import FLOW_SCALE, OGWM, Convention, warp

__all__ = ["draw_domains", "draw_warping", "flow_picture"]


def draw_warping(sample: WarpSample, convention: Convention, path: Path, *, overwrite: bool = False) -> None:
    """A feature before and after each way to warp (s = 4, nearest), with its edges below.

    Args:
        sample: a pair of features and the flow between them.
        convention: of the warps.
        path: a .png file; it appears complete or not at all.
        overwrite: whether an existing file may be replaced.

    Raises:
        UsageError: matplotlib is not installed.
        OutputError: the file exists or cannot be written.
    """
    ogwm = OGWM(convention=convention, scale=FLOW_SCALE)
    low_flow = OGWM(scale=1).rescale_flow(sample.flow)
    flow = ogwm.rescale_flow(sample.flow)
    high = warp(ogwm.enlarge(sample.neighbor), flow, convention)
    shown = {
        "neighbour": sample.neighbor,
        "current": sample.current,
        "direct warp": warp(sample.neighbor, low_flow, convention),
        f"warp at s = {FLOW_SCALE}": high,
        "up-warp-down": ogwm.reduce(high),
    }
    features = {name: _scalar(feature, like=sample.neighbor) for name, feature in shown.items()}
    edges = {name: edge_map(feature)[0, 0].numpy() for name, feature in shown.items() if not name.startswith("warp at")}
    error = {
        f"|{name} - current|": np.abs(features[name] - features["current"]) for name in ("direct warp", "up-warp-down")
    }
    rows = [
        [Tile(name=name, pixels=pixels, limits=(-2.5, 2.5)) for name, pixels in features.items()],
        [
            Tile(name="flow", pixels=flow_picture(sample.flow)),
            *_tiles({f"edges, {name}": each for name, each in edges.items()}),
        ],
        _tiles(error),
    ]
    save_sheet(rows, path, overwrite=overwrite)


def draw_domains(examples: Sequence[PairExample], path: Path, *, overwrite: bool = False) -> None:
    """Both domains of one pair at some steps, one row a step.

    Args:
        examples: in the order of sampling, never empty.
        path: a .png file; it appears complete or not at all.
        overwrite: whether an existing file may be replaced.

    Raises:
        UsageError: matplotlib is not installed.
        OutputError: the file exists or cannot be written.
    """
    rows = []
    for example in examples:
        current, aligned = (_scalar(latent, like=example.latent) for latent in (example.latent, example.aligned))
        picture, warped = (_pixels(each) for each in (example.picture, example.warped))
        step = f"step {example.step}, t = {example.timestep:g}: "
        rows.append(
            [
                Tile(name=f"{step}x0", pixels=current, limits=(-2.5, 2.5)),
                Tile(name="aligned neighbour", pixels=aligned, limits=(-2.5, 2.5)),
                Tile(name="difference", pixels=np.abs(aligned - current), limits=(0, 2)),
                Tile(name="decoded", pixels=picture),
                Tile(name="warped neighbour", pixels=warped),
                Tile(name="difference x4", pixels=(4 * np.abs(warped - picture)).clip(0, 1)),
                Tile(name="flow", pixels=flow_picture(example.flow)),
            ]
        )
    save_sheet(rows, path, overwrite=overwrite)


def flow_picture(flow: Tensor) -> NDArray[np.float32]:
    """A flow in colours.

    Args:
        flow: 1 2 H W, (dx, dy) in pixels; its longest vector is fully saturated.

    Returns:
        H W 3 in [0, 1].
    """
    from torchvision.utils import flow_to_image  # type: ignore[import-untyped]

    colors: Tensor = flow_to_image(flow.float().cpu())[0]
    return (colors.permute(1, 2, 0).numpy() / 255).astype(np.float32)


def _tiles(pictures: dict[str, NDArray[np.float32]]) -> list[Tile]:
    """In one scale of grey."""
    top = max(float(pixels.max()) for pixels in pictures.values())
    return [Tile(name=name, pixels=pixels, limits=(0.0, top)) for name, pixels in pictures.items()]


def _scalar(feature: Tensor, *, like: Tensor) -> NDArray[np.float32]:
    """H W of 1 C H W, with the means and deviations of `like`."""
    mean = like.mean(dim=(2, 3), keepdim=True)
    deviation = like.std(dim=(2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).eps)
    scalar: NDArray[np.float32] = ((feature - mean) / deviation).mean(1)[0].float().cpu().numpy()
    return scalar


def _pixels(picture: Tensor) -> NDArray[np.float32]:
    """H W 3 in [0, 1] of 1 3 H W in [-1, 1]."""
    return ((picture[0].permute(1, 2, 0) + 1) / 2).clamp(0, 1).float().cpu().numpy()
