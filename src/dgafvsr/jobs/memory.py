"""How much memory a window takes, and which window and tile fit into what there is.

    peak = base + weights + frames held + max(max(FM, G_U and D_U), decoder)       in turns
    peak = base + weights + frames held + max(FM, G_U and D_U) + decoder           side by side

A job decodes the frames of a window beside the sampling of the next one where both fit; else they take turns. A call
of the pipeline decodes at its end, and holds all its frames then.

What a network holds grows with its pixels (of a tile, or of the frame) by a number that follows from its configuration:
at its peak a guided visit holds G_U's taps and residuals and D_U's skips. What PyTorch's kernels need on top was fitted
on peak resident sets of the packaged model on the CPU (benchmarks/memory_plan.py compares). For CUDA the same terms are
used, but finished frames lie on the host and the context takes the place of the process; that form is untested.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch

from dgafvsr.errors import ResourceError
from dgafvsr.models.autoencoder import FACTOR, ResidualAutoencoder
from dgafvsr.models.checkpoints import parameter_count
from dgafvsr.sampling.reuse import Reuse
from dgafvsr.sampling.tiles import MINIMUM_TILE

__all__ = [
    "MemoryPlan",
    "ModelFacts",
    "available_bytes",
    "expected_bytes",
    "model_facts",
    "plan",
    "plan_pipeline",
    "return_freed_memory",
]

WINDOWS = (24, 20, 16, 12, 8, 6)
"""Frames sampled together, best first; shorter ones would be mostly what neighbouring windows share."""
TILES = (None, 512, 384, 256, 192, 128, 96, 2 * MINIMUM_TILE)
"""Sides of tiles in LR pixels, best first; None is the whole frame."""
SHARE = 0.9
"""Of the free memory that may be planned with: allocators keep some of what they free."""

PROCESS_BYTES, CONTEXT_BYTES = 925_000_000, 600_000_000
"""Python with its libraries and thread pools on the CPU; the context and the workspaces of CUDA."""
NETWORK_FACTOR = 1.85
"""What guided visits hold over their taps, residuals and skips: inputs and outputs of the kernels, their workspaces."""
DECODER_FACTOR, KL_FACTOR = 6.5, 2.0
"""What decoders hold over their widest stage: the packaged one, and diffusers' AutoencoderKL (untested)."""
FINE_FACTOR = 2.0
"""What a correction at full size holds over its widest stage, on top (measured: 1.4 in float32, 2.0 in bfloat16)."""
FLOW_VALUES = {"dis": 1200, "raft_small": 1500, "raft_large": 3000}
"""float32 values per LR pixel that FM holds; RAFT's with on-demand correlation (untested)."""
FINISHING_VALUES = 6 * 3 * FACTOR**2
"""float32 values per LR pixel of a frame that is being finished, whatever the tile."""
DECODER_MARGIN = 20
"""LR pixels that a decoded tile reads beyond its border."""
MOST_TOGETHER, BUSY_PIXELS = 4, 4 * 320 * 180
"""Windows in lockstep at most, and LR pixels that keep a GPU busy (an estimate: never measured on one)."""
LAZY_VALUES = 7
"""float32 values per LR pixel of a frame that is still to be decoded: its latent and its LR frame."""

Decoding = Literal["at the end", "in turns", "side by side"]
"""When frames are decoded: at the end of a call, which holds them all; one at a time between a job's calls; or beside
the next call."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What the planner needs to know of a model."""

    weight_bytes: int
    """Of all its networks, as they are loaded."""
    value_bytes: int
    """Of one number in D_U: 4 for float32, 2 for half precision."""
    network_values: float
    """Per LR pixel, of a guided visit."""
    decoder_values: float
    """Per LR pixel, of the VAE's decoder."""
    decoder_value_bytes: int
    """Of one number in the VAE."""
    flow_values: float
    """float32 values per LR pixel, of FM."""
    held_values: float
    """float32 values per LR pixel that every frame of a window keeps: LR frame, latents, kept flows, what is reused."""


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """A setting that fits."""

    window: int
    """Frames sampled together."""
    overlap: int
    """Frames that neighbouring windows share."""
    tile: int | None
    """Side of the tiles in LR pixels, None for whole frames."""
    lockstep: int
    """Windows sampled together."""
    side_by_side: bool
    """Whether frames of a window are decoded while the next one is sampled."""
    expected_bytes: int
    """Peak memory."""


def model_facts(pipeline: Any, reuse: Reuse | None = None) -> ModelFacts:
    """The facts of a `DGAFVSRPipeline`, run with that reuse across steps."""
    parts, config = pipeline.components, pipeline.config
    unet, vae = parts["unet"], parts["vae"]
    networks: list[Any] = [part for part in parts.values() if isinstance(part, torch.nn.Module)]
    skips, rising = _stage_values(tuple(unet.config.block_out_channels), unet.config.layers_per_block)
    guided = parts.get("guidance") is not None
    kept = 2 * (FACTOR**2 if config["warp"] == "centered" else 1)
    return ModelFacts(
        weight_bytes=sum(parameter_count(network) * network.dtype.itemsize for network in networks),
        value_bytes=unet.dtype.itemsize,
        network_values=NETWORK_FACTOR * (2 * (skips + rising) if guided else skips + rising),
        decoder_values=_decoder_values(vae),
        decoder_value_bytes=vae.dtype.itemsize,
        flow_values=FLOW_VALUES.get(config["flow"], FLOW_VALUES["raft_large"]) if guided else 0,
        held_values=14 + (2 * kept if guided else 0) + _reused_values(unet, guided, reuse),
    )


def expected_bytes(
    width: int,
    height: int,
    facts: ModelFacts,
    *,
    window: int,
    tile: int | None = None,
    lockstep: int = 1,
    device: Literal["cpu", "cuda"] = "cpu",
    decoding: Decoding = "at the end",
) -> int:
    """Peak memory of a call for `window` frames, or of a job of such calls.

    Args:
        width: of an LR frame.
        height: of an LR frame.
        facts: of the model.
        window: frames sampled together.
        tile: side of the tiles in LR pixels; None for whole frames.
        lockstep: windows sampled together.
        device: `cuda` counts the GPU's memory alone.
        decoding: when frames are decoded.
    """
    area = width * height
    seen = area if tile is None else min(width, tile) * min(height, tile)
    reach = None if tile is None else tile + 2 * DECODER_MARGIN
    decoded = area if reach is None else min(width, reach) * min(height, reach)
    on_host = device == "cpu"
    visit = facts.value_bytes * facts.network_values * seen * lockstep
    sampler = max(4 * facts.flow_values * area, visit)
    decoder = facts.decoder_value_bytes * facts.decoder_values * decoded + 4 * FINISHING_VALUES * area
    if decoding == "at the end" and on_host:
        decoder += window * 4 * 3 * FACTOR**2 * area
    held = 4 * window * lockstep * area * (facts.held_values + (LAZY_VALUES if on_host else 0))
    base = PROCESS_BYTES if on_host else CONTEXT_BYTES
    work = sampler + decoder if decoding == "side by side" else max(sampler, decoder)
    return int(base + facts.weight_bytes + held + work)


def plan(
    width: int,
    height: int,
    facts: ModelFacts,
    memory_bytes: int,
    *,
    device: Literal["cpu", "cuda"] = "cpu",
    overlap: int = 4,
    window: int | None = None,
    tile: int | Literal["auto"] | None = "auto",
    lockstep: int | None = None,
) -> MemoryPlan:
    """The best setting of a job that fits.

    Whole frames before tiles, large tiles before small ones, then long windows, then windows in lockstep, then decoding
    beside the sampling.

    Args:
        width: of an LR frame.
        height: of an LR frame.
        facts: of the model.
        memory_bytes: what there is for the whole process, of which `SHARE` is planned with.
        device: whose memory that is.
        overlap: frames that neighbouring windows share; shorter windows share less.
        window: a length that must be kept; None chooses.
        tile: a side that must be kept, None among them; "auto" chooses.
        lockstep: windows sampled together where they fit; None chooses.

    Raises:
        ResourceError: nothing fits, or what must be kept does not; it says what would be needed and what would fit.
    """
    least: MemoryPlan | None = None
    for candidate in _candidates(width, height, facts, device, overlap, window, tile, lockstep):
        if candidate.expected_bytes <= SHARE * memory_bytes:
            return candidate
        if least is None or candidate.expected_bytes < least.expected_bytes:
            least = candidate
    assert least is not None
    raise ResourceError(
        f"The memory is too small for frames of {width}x{height} with {_describe(least)}",
        got=f"{memory_bytes / 1e9:.1f} GB that can be used",
        expected=f"{least.expected_bytes / SHARE / 1e9:.1f} GB",
        remedy=_what_fits(
            width, height, facts, memory_bytes, device, overlap, chosen=window is None and tile == "auto"
        ),
    )


def plan_pipeline(
    pipeline: Any,
    width: int,
    height: int,
    *,
    overlap: int = 4,
    window: int | None = None,
    tile: int | Literal["auto"] | None = "auto",
    lockstep: int | None = None,
    reuse: Reuse | None = None,
) -> MemoryPlan:
    """`plan` for a pipeline on the device where it is, with the memory that is free there now."""
    device: Literal["cpu", "cuda"] = "cuda" if torch.device(pipeline.device).type == "cuda" else "cpu"
    facts = model_facts(pipeline, reuse)
    used = facts.weight_bytes + (PROCESS_BYTES if device == "cpu" else 0)  # is there already, and not free any more
    memory = available_bytes(pipeline.device) + used
    return plan(
        width, height, facts, memory, device=device, overlap=overlap, window=window, tile=tile, lockstep=lockstep
    )


def available_bytes(device: torch.device | str) -> int:
    """Free memory of a CUDA device, else of the machine, as far as the process may use it."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    return min([_free_memory(), *_control_group_memory()])


def return_freed_memory() -> None:
    """Give the system back what is free but kept by the allocator; does nothing where that is not glibc's.

    glibc keeps up to 64 MiB of freed pictures for each thread that once held some (reader, writer, encoder), so a long
    film would end with more memory than a short one.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _candidates(
    width: int,
    height: int,
    facts: ModelFacts,
    device: Literal["cpu", "cuda"],
    overlap: int,
    window: int | None,
    tile: int | Literal["auto"] | None,
    lockstep: int | None,
) -> Iterator[MemoryPlan]:
    tiles = [side for side in TILES if side is None or side < max(width, height)] if tile == "auto" else [tile]
    windows = WINDOWS if window is None else (window,)
    wished = lockstep or _lockstep(width, height, device)
    for side, frames, together, beside in product(tiles, windows, sorted({wished, 1}, reverse=True), (True, False)):
        needed = expected_bytes(
            width,
            height,
            facts,
            window=frames,
            tile=side,
            lockstep=together,
            device=device,
            decoding="side by side" if beside else "in turns",
        )
        yield MemoryPlan(
            window=frames,
            overlap=min(overlap, frames - 1),
            tile=side,
            lockstep=together,
            side_by_side=beside,
            expected_bytes=needed,
        )


def _lockstep(width: int, height: int, device: Literal["cpu", "cuda"]) -> int:
    """Windows in lockstep: on a GPU as many as make a batch that keeps it busy; processors gain nothing by it."""
    return 1 if device == "cpu" else max(1, min(MOST_TOGETHER, BUSY_PIXELS // (width * height)))


def _what_fits(
    width: int,
    height: int,
    facts: ModelFacts,
    memory_bytes: int,
    device: Literal["cpu", "cuda"],
    overlap: int,
    *,
    chosen: bool,
) -> str:
    """The remedy: another setting for these frames, or the largest frames of their shape that fit."""
    for percent in (*((100,) if not chosen else ()), *range(95, 0, -5)):
        columns, rows = width * percent // 100, height * percent // 100
        for candidate in _candidates(columns, rows, facts, device, overlap, None, "auto", 1):
            if candidate.expected_bytes <= SHARE * memory_bytes:
                setting = _describe(candidate)
                return f"use {setting}" if percent == 100 else f"reduce the frames to {columns}x{rows}, with {setting}"
    return "use a machine with more memory"


def _describe(candidate: MemoryPlan) -> str:
    frames = f"a window of {candidate.window} frames"
    return f"{frames} and whole frames" if candidate.tile is None else f"{frames} and tiles of {candidate.tile} pixels"


def _stage_values(widths: tuple[int, ...], layers: int) -> tuple[float, float]:
    """Values per latent pixel of a U-Net's down and up stages, one for each tap."""
    levels = range(len(widths))
    down = widths[0] + sum(layers * widths[level] / 4**level for level in levels)
    down += sum(widths[level] / 4 ** (level + 1) for level in levels[:-1])
    up = sum((layers + 1) * widths[level] / 4**level for level in levels)
    up += sum(widths[level] / 4 ** (level - 1) for level in levels[1:])
    return down, up


def _reused_values(unet: Any, guided: bool, reuse: Reuse | None) -> float:
    """What is kept of a frame from step to step, in float32 values per LR pixel."""
    if reuse is None:
        return 0
    widths, values = tuple(unet.config.block_out_channels), 0.0
    if guided and reuse.guidance_every != 1 and reuse.guidance_between == "reused":
        values += sum(_stage_values(widths, unet.config.layers_per_block)) + widths[-1] / 4 ** (len(widths) - 1)
    if reuse.features_every > 1:
        values += (2 if guided else 1) * widths[min(1, len(widths) - 1)]
    return values * unet.dtype.itemsize / 4


def _decoder_values(vae: Any) -> float:
    if isinstance(vae, ResidualAutoencoder):
        return DECODER_FACTOR * 4 * vae.config.detail_width + FINE_FACTOR * FACTOR**2 * vae.config.fine_width
    first, second = vae.config.block_out_channels[:2]
    return KL_FACTOR * FACTOR**2 * (first + second)


def _free_memory() -> int:
    """Bytes that new work can have without swapping, where the system tells; else half of all there is."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return 1024 * int(value.split()[0])
    except OSError:
        pass  # not Linux
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):  # not a POSIX system either
        return 4 * 10**9


def _control_group_memory() -> Iterator[int]:
    """What is left of a container's limit, if it has one."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = (folder / "memory.current").read_text(encoding="ascii").strip()
    except OSError:
        return
    if limit.isdigit():
        yield max(int(limit) - int(used), 0)
