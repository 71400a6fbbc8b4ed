"""How much memory a window takes, and which window and tile fit into what there is.

    sampler = max(FM, G_U and D_U)
    peak = base + weights + frames held + max(sampler, decoder) + LEFT min(sampler, decoder)     in turns
    peak = base + weights + frames held + sampler + decoder                                      side by side

A job decodes the frames of a window beside the sampling of the next one where both fit; else they take turns. Either
way its encoder looks ahead meanwhile. A call of the pipeline decodes at its end, and holds all its frames then.

What networks hold follows from their configurations (memory_facts). The rest was fitted on peak resident sets of the
packaged model on the CPU, in a process that keeps what it frees (host_memory), as the command line does: of what the
sampler has freed, the decoder cannot have all again (benchmarks/memory_plan.py compares). Where the system gets it back
at once, a tenth less is held. For CUDA the same terms are used, but finished frames and encoders lie on the host, the
context takes the place of the process, and of offloaded networks only the weights count that are on the device at a
time; that form is untested.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch

from dgafvsr.errors import ResourceError
from dgafvsr.jobs.memory_facts import ModelFacts, model_facts
from dgafvsr.models.autoencoder import FACTOR
from dgafvsr.sampling.reuse import Reuse
from dgafvsr.sampling.tiles import MINIMUM_TILE, Tiling, plan_spans

__all__ = [
    "MemoryPlan",
    "available_bytes",
    "expected_bytes",
    "plan",
    "plan_pipeline",
    "standing_bytes",
]

WINDOWS = (24, 20, 16, 12, 8, 6)
"""Frames sampled together, best first; shorter ones would be mostly what neighbouring windows share."""
TILES = (None, 512, 384, 256, 192, 128, 96, 2 * MINIMUM_TILE)
"""Sides of tiles in LR pixels, best first; None is the whole frame."""
SHARE = 0.9
"""Of the free memory that may be planned with: allocators keep some of what they free."""

PROCESS_BYTES, CONTEXT_BYTES, WORKSPACE_BYTES = 1_020_000_000, 450_000_000, 150_000_000
"""Python with its libraries and thread pools on the CPU; CUDA's context; what its libraries take when networks run."""
FINISHING_VALUES = 5 * 3 * FACTOR**2
"""float32 values per LR pixel of a frame that is being finished and of the one before, whatever the tile."""
STRIDE = 8
"""LR pixels at whose multiples tiles start, in networks of four levels as in smaller ones, about."""
DECODER_MARGIN = 20
"""LR pixels that a decoded tile reads beyond its border."""
MOST_TOGETHER, BUSY_PIXELS = 4, 4 * 320 * 180
"""Windows in lockstep at most, and LR pixels that keep a GPU busy (an estimate: never measured on one)."""
HOST_VALUES = 19
"""float32 values per LR pixel of each frame on the host besides: of one that is still to be decoded its latent and its
LR frame; of one at work what was read and what became of it on the way to the networks."""
LEFT = 0.6
"""Of what the smaller of sampler and decoder takes, what the heap cannot give it of what the larger one had."""
ENCODER_VALUES, ENCODER_FRAME_VALUES, ENCODER_FRAMES = 240, 17, 44
"""float32 values per LR pixel that x264 holds of a film four times as wide and high: always, for each frame that it has
been given, and for how many of them. x265 and SVT-AV1 hold up to twice as much."""

Decoding = Literal["at the end", "in turns", "side by side"]
"""When frames are decoded: at the end of a call, which holds them all; one at a time between a job's calls; or beside
the next call."""


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
    stored: bool = False,
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
        stored: whether an encoder makes a film of them meanwhile, as in a job.
    """
    area = width * height
    seen = area if tile is None else min(width, tile) * min(height, tile)
    reach = None if tile is None else tile + 2 * DECODER_MARGIN
    decoded = area if reach is None else min(width, reach) * min(height, reach)
    on_host = device == "cpu"
    visit = facts.value_bytes * facts.network_values * seen * lockstep
    sampler = max(4 * facts.flow_values * area, visit)
    decoder = facts.decoder_value_bytes * facts.decoder_values * decoded + 4 * FINISHING_VALUES * area
    held = 4 * window * lockstep * area * (facts.held_values + (HOST_VALUES if on_host else 0))
    if decoding == "at the end" and on_host:
        held += window * 4 * 3 * FACTOR**2 * area
    if stored and on_host:
        held += 4 * area * (ENCODER_VALUES + ENCODER_FRAME_VALUES * min(window * lockstep, ENCODER_FRAMES))
    if facts.reused_values:
        held += 4 * window * lockstep * facts.reused_values * _covered(width, tile) * _covered(height, tile)
    base = standing_bytes(device) + (facts.weight_bytes if on_host else WORKSPACE_BYTES + facts.device_weight_bytes)
    left = 1 if decoding == "side by side" else LEFT if on_host else 0
    return int(base + held + max(sampler, decoder) + left * min(sampler, decoder))


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
    there = facts.weight_bytes if device == "cpu" or facts.offload == "none" else 0  # already, and not free any more
    memory = available_bytes(pipeline.device) + there + standing_bytes(device)
    return plan(
        width, height, facts, memory, device=device, overlap=overlap, window=window, tile=tile, lockstep=lockstep
    )


def standing_bytes(device: Literal["cpu", "cuda"]) -> int:
    """What a process holds that asks how much is free: Python with its libraries, or its context on the GPU.

    It counts as needed in every plan, so it has to be added to what is free.
    """
    return PROCESS_BYTES if device == "cpu" else CONTEXT_BYTES


def available_bytes(device: torch.device | str) -> int:
    """Free memory of a CUDA device, else of the machine, as far as the process may use it.

    What torch has freed but keeps for itself, such as that of the job before, is free as well.
    """
    place = torch.device(device)
    if place.type == "cuda":
        kept = torch.cuda.memory_reserved(place) - torch.cuda.memory_allocated(place)
        return int(torch.cuda.mem_get_info(place)[0]) + kept
    return min([_free_memory(), *_control_group_memory()])


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
    together = sorted({lockstep or _lockstep(width, height, device), 1}, reverse=True)
    decoding = (True, False) if facts.offload == "none" else (False,)  # offloaded networks are in one place at a time
    for side, frames, windows_together, beside in product(tiles, windows, together, decoding):
        needed = expected_bytes(
            width,
            height,
            facts,
            window=frames,
            tile=side,
            lockstep=windows_together,
            device=device,
            decoding="side by side" if beside else "in turns",
            stored=True,
        )
        yield MemoryPlan(
            window=frames,
            overlap=min(overlap, frames - 1),
            tile=side,
            lockstep=windows_together,
            side_by_side=beside,
            expected_bytes=needed,
        )


def _covered(size: int, tile: int | None) -> int:
    """Pixels of all tiles along an axis; those that neighbours share count for each, by the usual overlap."""
    if tile is None:
        return size
    return sum(span.stop - span.start for span in plan_spans(size, Tiling(tile=tile), STRIDE))


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
