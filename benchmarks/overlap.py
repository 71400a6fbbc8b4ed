"""Decoding beside sampling: two windows as a job takes them, in turns and side by side.

python benchmarks/overlap.py [--layout tiny|sdx4] [--size 320x180] [--frames 6] [--write]
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness import Report, clip, options_of, parser, pipeline, seconds

from dgafvsr.jobs.background import own_stream
from dgafvsr.jobs.fallback import FallbackUpscaler, FrugalFrames


def take(pictures: FrugalFrames, device: Any) -> None:
    """Decode all of them, as the thread that stores them does."""
    with own_stream(device):
        for _ in pictures:
            pass


def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    made = parser("overlap", __doc__)
    made.add_argument("--steps", type=int, default=2)
    options = options_of(made, words)
    pipe, frames = pipeline(options), clip(options)

    def windows(count: int, *, side_by_side: bool) -> None:
        upscaler = FallbackUpscaler(pipe, side_by_side=side_by_side)
        with ThreadPoolExecutor(1) as thread:
            for _ in range(count):
                made = upscaler(frames, num_inference_steps=options.steps, output_type="lazy")
                thread.submit(take, made.frames, pipe.device)

    title = f"Two windows of {options.frames} frames, {options.layout}, {options.size}, {options.dtype}"
    report = Report(title=title, columns=("decoded", "s", "ratio"), options=options)
    slow = 0.0
    for name, side_by_side in (("in turns", False), ("side by side", True)):
        taken = seconds(lambda beside=side_by_side: windows(2, side_by_side=beside), options)
        slow = slow or taken
        report.add(name, f"{taken:.2f}", f"{slow / taken:.2f}")
    report.finish()


if __name__ == "__main__":
    main()
