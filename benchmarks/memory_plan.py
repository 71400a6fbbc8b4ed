"""Peak memory as the planner expects it and as it is, for some sizes, windows and tiles (Linux).

    python benchmarks/memory_plan.py [--setting 320x180:2 320x180:8 480x270:2:128] [--layout tiny|sdx4]

A setting is WIDTHxHEIGHT:WINDOW[:TILE][:beside]. With `beside`, a first window's frames are decoded on another thread
while a second one is sampled, as jobs do, in two steps so that the two meet; else it is one call of one step. Each runs
in a process of its own; its peak resident set (on CUDA the allocator's peak) is compared with
`dgafvsr.jobs.memory.expected_bytes`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from harness import Report, clip, options_of, parser, pipeline

DEFAULTS = (
    *("160x90:4", "320x180:2", "320x180:8", "320x180:2:96", "480x270:2", "320x180:8:beside", "480x270:2:beside"),
    *("240x136:12", "640x360:3:beside"),
)


def measure(setting: str, options: Any) -> None:
    """Print the expected and the measured bytes of one setting, in this process."""
    from concurrent.futures import ThreadPoolExecutor

    from dgafvsr.jobs.fallback import FallbackUpscaler
    from dgafvsr.jobs.memory import expected_bytes
    from dgafvsr.jobs.memory_facts import model_facts
    from dgafvsr.jobs.peak_memory import peak_memory_bytes

    options.width, options.height, window, side, beside = parsed(setting)
    kind = options.device.partition(":")[0]
    pipe, frames = pipeline(options), clip(options, window)
    if beside:
        upscaler = FallbackUpscaler(pipe)
        call = {"num_inference_steps": 1, "tile": side, "output_type": "lazy"}
        with ThreadPoolExecutor(1) as thread:
            decoded = thread.submit(lambda pictures: sum(map(len, pictures)), upscaler(frames, **call).frames)
            upscaler(frames, **call | {"num_inference_steps": 2})
            decoded.result()
    else:
        pipe(frames, num_inference_steps=1, tile=side)
    expected = expected_bytes(
        options.width,
        options.height,
        model_facts(pipe),
        window=window,
        tile=side,
        device=kind,
        decoding="side by side" if beside else "at the end",
    )
    print(expected, peak_memory_bytes(options.device))


def parsed(setting: str) -> tuple[int, int, int, int | None, bool]:
    """Width, height, window, tile, and whether frames are decoded beside the next window."""
    size, window, *rest = setting.split(":")
    width, height = map(int, size.split("x"))
    beside = rest[-1:] == ["beside"]
    return width, height, int(window), int(rest[0]) if len(rest) > beside else None, beside


def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    made = parser("memory_plan", __doc__)
    made.add_argument("--setting", nargs="+", default=DEFAULTS)
    made.add_argument("--here", action="store_true", help="measure the one setting in this process")
    options = options_of(made, words)
    if options.here:
        measure(options.setting[0], options)
        return
    columns = ("frames", "window", "tile", "decoding", "expected, MB", "measured, MB", "ratio")
    title = f"Memory: the plan and the peak, {options.layout}, {options.dtype}"
    report = Report(title=title, columns=columns, options=options)
    for setting in options.setting:
        command = [sys.executable, __file__, "--here", "--setting", setting, "--dtype", options.dtype]
        command += ["--layout", options.layout, "--device", options.device]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        expected, measured = map(int, run.stdout.split())
        width, height, window, tile, beside = parsed(setting)
        cells = (f"{expected / 1e6:.0f}", f"{measured / 1e6:.0f}", f"{expected / measured:.3f}")
        report.add(f"{width}x{height}", str(window), str(tile or "none"), "beside" if beside else "at the end", *cells)
    report.finish()


if __name__ == "__main__":
    main()
