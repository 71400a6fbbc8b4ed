"""FM: RAFT with on-demand correlation against torchvision's all-pairs block, and the estimators at lower scales.

    python benchmarks/flow.py [--size 320x180] [--raft large] [--updates 12] [--device cpu] [--write]

Rows of RAFT give peak memory above the loaded network and the largest difference of the flows; weights are random: both
do not depend on training. On CUDA the peak is torch's allocator's; on the CPU it is the growth of the process's largest
resident size, each block in a process of its own. The all-pairs block needs about 5.5 * (16 w h / 64)^2 bytes for LR
frames of w x h: `--no-raft` leaves both away. Rows of DIS give the time of one pair in one direction, enlarging
included, on frames enlarged 4 (the method), 2 and 1 times, and how far the flow is from the first.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from harness import Report, clip, options_of, parser, seconds
from torchvision.models.optical_flow import raft_large, raft_small

from dgafvsr.flow.dis import DISFlow
from dgafvsr.flow.fm import bidirectional_flows
from dgafvsr.flow.raft import RAFTFlow, RAFTMode, build_raft
from dgafvsr.jobs.peak_memory import peak_memory_bytes, reset_peak_memory
from dgafvsr.video.arrays import as_frames

MIB = 2**20


def raft(block: str, options: argparse.Namespace) -> RAFTFlow:
    """RAFT with random weights, the same for both blocks."""
    torch.manual_seed(0)
    theirs = raft_large() if options.raft == "large" else raft_small()
    if block == "all pairs":
        return RAFTFlow(theirs.to(options.device), mode=RAFTMode(updates=options.updates))
    ours = build_raft(options.raft)
    ours.load_state_dict(theirs.state_dict())
    return RAFTFlow(ours.to(options.device), mode=RAFTMode(updates=options.updates))


def measure(block: str, options: argparse.Namespace) -> tuple[float, float, npt.NDArray[np.float32]]:
    """Peak MiB above the loaded network, seconds a pair, the flow on the CPU."""
    torch.set_num_threads(options.threads or 1)
    flow_of = raft(block, options)
    generator = torch.Generator().manual_seed(1)
    frames = torch.rand(2, 1, 3, 4 * options.height, 4 * options.width, generator=generator).to(options.device)
    flow_of(*frames[..., :128, :128])  # libraries and kernels load here
    reset_peak_memory(options.device)
    before = peak_memory_bytes(options.device)
    start = time.perf_counter()
    flow = flow_of(*frames).cpu().numpy()
    taken = time.perf_counter() - start
    return (peak_memory_bytes(options.device) - before) / MIB, taken, flow


def compare_blocks(report: Report, options: argparse.Namespace) -> None:
    """The rows of RAFT."""
    results: dict[str, Any] = {}
    for block in ("all pairs", "on demand"):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            results[block] = pool.apply(measure, (block, options))
        memory, taken, flow = results[block]
        theirs = results["all pairs"]
        saved, difference = theirs[0] / max(memory, 1 / MIB), np.abs(flow - theirs[2]).max()
        cells = (f"{taken:.2f}", f"{theirs[1] / taken:.2f}", f"{memory:.0f}", f"{saved:.1f}", f"{difference:.1e}")
        report.add(f"RAFT {options.raft}, {block}", *cells)


def compare_scales(report: Report, options: argparse.Namespace) -> None:
    """The rows of DIS."""
    frames, estimator = as_frames(clip(options, 2)), DISFlow()
    slow, method = 0.0, torch.zeros(())
    for scale in (4, 2, 1):
        flow = bidirectional_flows(frames, estimator, scale=scale).forward
        taken = seconds(lambda scale=scale: bidirectional_flows(frames, estimator, scale=scale), options) / 2
        if not slow:
            slow, method = taken, flow
        difference = (flow - method).norm(dim=1).mean().item()
        cells = (f"{taken:.3f}", f"{slow / taken:.2f}", "", "", f"{difference:.2f} on average")
        report.add(f"DIS at scale {scale}", *cells)


def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    made = parser("flow", __doc__)
    made.add_argument("--raft", choices=["large", "small"], default="large")
    made.add_argument("--no-raft", action="store_true")
    made.add_argument("--updates", type=int, default=12)
    options = options_of(made, words)
    columns = ("estimator", "s a pair", "ratio", "peak, MiB", "ratio of memory", "difference, px")
    report = Report(title=f"Flow on frames of {options.size} x 4", columns=columns, options=options)
    if not options.no_raft:
        compare_blocks(report, options)
    compare_scales(report, options)
    report.finish()


if __name__ == "__main__":
    main()
