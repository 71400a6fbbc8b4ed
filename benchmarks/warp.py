"""OGWM as one gather against OGWM with its x4 tensors (the authors' path), same input, same run.

python benchmarks/warp.py [--height 180] [--width 320] [--device cpu]
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import torch
from torch import Tensor

from dgafvsr.sampling.ogwm import OGWM, _rescale_warp_rescale


def median_seconds(call: Callable[[], Tensor], device: str, repeats: int = 15) -> float:
    """Median wall time of a call, after a warm-up."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        call()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[2:])[repeats // 2]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--height", type=int, default=180)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    feature = torch.randn(1, 4, options.height, options.width, device=options.device)
    flow = torch.randn(1, 2, 4 * options.height, 4 * options.width, device=options.device) * 8
    print(
        f"torch {torch.__version__}, {platform.machine()}, {options.device}, {options.width}x{options.height} latent\n"
    )
    print("| convention | x4 tensors, ms | gather, ms | ratio | largest difference |\n|---|---|---|---|---|")
    for convention in ("released", "centered"):
        ogwm = OGWM(convention=convention)
        kept = ogwm.keep(flow)
        slow = median_seconds(lambda ogwm=ogwm: _rescale_warp_rescale(feature, flow, ogwm), options.device)
        fast = median_seconds(lambda ogwm=ogwm, kept=kept: ogwm(feature, kept), options.device)
        error = (_rescale_warp_rescale(feature, flow, ogwm) - ogwm(feature, kept)).abs().max().item()
        print(f"| {convention} | {1e3 * slow:.2f} | {1e3 * fast:.2f} | {slow / fast:.1f} | {error:.1e} |")


if __name__ == "__main__":
    main()
