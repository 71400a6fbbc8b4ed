"""RAFT's flow with on-demand correlation against torchvision's all-pairs block: same weights, same frames, one run.

Usage: python benchmarks/flow.py [--size large] [--height 720 --width 1280] [--updates 12] [--device cpu]

Prints one JSON object: peak memory above the loaded network (MiB) and seconds per pair of each block, their ratios and
the largest difference of the flows in pixels. On CUDA the peak is torch's allocator's; on the CPU it is the growth of
the process's largest resident size, each block in a process of its own. Weights are random: both the memory and the
difference of the blocks do not depend on training. The all-pairs block needs about 5.5 * (H * W / 64)^2 bytes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torchvision.models.optical_flow import raft_large, raft_small

from dgafvsr.flow.raft import RAFTFlow, RAFTMode, build_raft

MIB = 2**20


def estimator(block: str, options: argparse.Namespace) -> RAFTFlow:
    torch.manual_seed(0)
    theirs = raft_large() if options.size == "large" else raft_small()
    if block == "all_pairs":
        return RAFTFlow(theirs.to(options.device), mode=RAFTMode(updates=options.updates))
    ours = build_raft(options.size)
    ours.load_state_dict(theirs.state_dict())
    return RAFTFlow(ours.to(options.device), mode=RAFTMode(updates=options.updates))


def peak_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(block: str, options: argparse.Namespace) -> tuple[float, float, npt.NDArray[np.float32]]:
    """Peak MiB above the loaded network, seconds per pair, the flow on the CPU."""
    torch.set_num_threads(options.threads)
    flow_of = estimator(block, options)
    generator = torch.Generator().manual_seed(1)
    frames = torch.rand(2, 1, 3, options.height, options.width, generator=generator).to(options.device)
    flow_of(*frames[..., :128, :128])  # libraries and kernels load here
    if options.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    before = peak_bytes(options.device)
    start = time.perf_counter()
    flow = flow_of(*frames).cpu().numpy()
    seconds = time.perf_counter() - start
    return (peak_bytes(options.device) - before) / MIB, seconds, flow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=["large", "small"], default="large")
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--updates", type=int, default=12)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        results = {block: pool.apply(measure, (block, options)) for block in ("on_demand", "all_pairs")}
    report: dict[str, Any] = {**vars(options), "torch": torch.__version__}
    for block, (mebibytes, seconds, _) in results.items():
        report[block] = {"peak_mib": round(mebibytes, 1), "seconds": round(seconds, 2)}
    ours, theirs = results["on_demand"], results["all_pairs"]
    report["memory_ratio"] = round(theirs[0] / ours[0], 2)
    report["time_ratio"] = round(theirs[1] / ours[1], 2)
    report["largest_difference_px"] = float(np.abs(ours[2] - theirs[2]).max())
    report["mean_flow_px"] = float(np.abs(theirs[2]).mean())
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
