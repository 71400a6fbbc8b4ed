"""Peak memory as the planner expects it and as it is, for some sizes, windows and tiles (Linux, CPU).

    python benchmarks/memory_plan.py [--setting 320x180:2 320x180:8 480x270:2:128]

A setting is WIDTHxHEIGHT:WINDOW or WIDTHxHEIGHT:WINDOW:TILE. Each runs in a process of its own for one step, which
holds as much as many; its peak resident set is compared with `dgafvsr.jobs.memory.expected_bytes`.
"""

from __future__ import annotations

import argparse
import platform
import resource
import subprocess
import sys

import numpy as np

DEFAULTS = ("160x90:4", "320x180:2", "320x180:8", "320x180:2:96", "480x270:2")


def measure(setting: str, model: str | None, dtype: str) -> None:
    """Print the expected and the measured bytes of one setting, in this process."""
    import torch

    from dgafvsr import DGAFVSRPipeline
    from dgafvsr.jobs.memory import expected_bytes, model_facts

    size, window, tile = (*setting.split(":"), "")[:3]
    width, height = map(int, size.split("x"))
    side = int(tile) if tile else None
    pipe = DGAFVSRPipeline.from_pretrained(model, torch_dtype=getattr(torch, dtype))
    frames = np.random.default_rng(0).integers(0, 256, (int(window), height, width, 3), dtype=np.uint8)
    pipe(frames, num_inference_steps=1, tile=side)
    expected = expected_bytes(width, height, model_facts(pipe), window=int(window), tile=side)
    print(expected, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", nargs="+", default=DEFAULTS)
    parser.add_argument("--model", default=None)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--here", action="store_true", help="measure the one setting in this process")
    options = parser.parse_args()
    if options.here:
        measure(options.setting[0], options.model, options.dtype)
        return
    print(f"{platform.machine()}, cpu, {options.dtype}\n")
    print("| frames | window | tile | expected, MB | measured, MB | error |\n|---|---|---|---|---|---|")
    for setting in options.setting:
        command = [sys.executable, __file__, "--here", "--setting", setting, "--dtype", options.dtype]
        command += ["--model", options.model] if options.model else []
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        expected, measured = map(int, run.stdout.split())
        size, window, tile = (*setting.split(":"), "none")[:3]
        cells = (
            size,
            window,
            tile,
            f"{expected / 1e6:.0f}",
            f"{measured / 1e6:.0f}",
            f"{expected / measured - 1:+.1%}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
