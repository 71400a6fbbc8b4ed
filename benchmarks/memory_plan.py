"""Peak memory as the planner expects it and as it is, for some sizes, windows and tiles (Linux).

    python benchmarks/memory_plan.py [--setting 320x180:2 320x180:8 480x270:2:128] [--layout tiny|sdx4]

A setting is WIDTHxHEIGHT:WINDOW or WIDTHxHEIGHT:WINDOW:TILE. Each runs in a process of its own for one step, which
holds as much as many; its peak resident set (on CUDA the allocator's peak) is compared with
`dgafvsr.jobs.memory.expected_bytes`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from harness import Report, clip, options_of, parser, pipeline

DEFAULTS = ("160x90:4", "320x180:2", "320x180:8", "320x180:2:96", "480x270:2")


def measure(setting: str, options: Any) -> None:
    """Print the expected and the measured bytes of one setting, in this process."""
    from dgafvsr.jobs.memory import expected_bytes, model_facts
    from dgafvsr.jobs.peak_memory import peak_memory_bytes

    size, window, tile = (*setting.split(":"), "")[:3]
    options.width, options.height = map(int, size.split("x"))
    side, kind = int(tile) if tile else None, options.device.partition(":")[0]
    pipe = pipeline(options)
    pipe(clip(options, int(window)), num_inference_steps=1, tile=side)
    facts = model_facts(pipe)
    expected = expected_bytes(options.width, options.height, facts, window=int(window), tile=side, device=kind)
    print(expected, peak_memory_bytes(options.device))


def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    made = parser("memory_plan", __doc__)
    made.add_argument("--setting", nargs="+", default=DEFAULTS)
    made.add_argument("--here", action="store_true", help="measure the one setting in this process")
    options = options_of(made, words)
    if options.here:
        measure(options.setting[0], options)
        return
    columns = ("frames", "window", "tile", "expected, MB", "measured, MB", "ratio")
    title = f"Memory: the plan and the peak, {options.layout}, {options.dtype}"
    report = Report(title=title, columns=columns, options=options)
    for setting in options.setting:
        command = [sys.executable, __file__, "--here", "--setting", setting, "--dtype", options.dtype]
        command += ["--layout", options.layout, "--device", options.device]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        expected, measured = map(int, run.stdout.split())
        size, window, tile = (*setting.split(":"), "none")[:3]
        cells = (f"{expected / 1e6:.0f}", f"{measured / 1e6:.0f}", f"{expected / measured:.3f}")
        report.add(size, window, tile, *cells)
    report.finish()


if __name__ == "__main__":
    main()
