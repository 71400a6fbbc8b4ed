"""Time a frame against the number of frames, their size, and the windows that are sampled in lockstep.

python benchmarks/scaling.py [--layout tiny|sdx4] [--size 160x90] [--frames 4] [--lockstep 1 2 4] [--write]

Every row is one call of the pipeline, flow and decoding included. The first is the authors' way; `linear` is the time a
frame (for sizes: a pixel) over that of our first row, so that 1.00 says that nothing grows faster than the work does.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from harness import Report, clip, options_of, parser, pipeline, seconds


def resized(options: argparse.Namespace, factor: int) -> argparse.Namespace:
    """The options for frames whose sides are that many times as long."""
    return argparse.Namespace(**vars(options) | {side: factor * getattr(options, side) for side in ("width", "height")})


@torch.no_grad()
def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    made = parser("scaling", __doc__, size="160x90", frames=4)
    made.add_argument("--steps", type=int, default=2)
    made.add_argument("--lockstep", type=int, nargs="+", default=[1, 2, 4], help="windows")
    options = options_of(made, words)
    columns = ("run as", "frames", "size", "windows in lockstep", "s a frame", "ratio", "linear")
    title = f"Scaling, {options.layout}, {options.steps} steps"
    report = Report(title=title, columns=columns, options=options)
    slow, first = 0.0, 0.0

    def row(name: str, pipe: Any, frames: int, factor: int = 1, lockstep: int = 1) -> None:
        nonlocal slow, first
        pictures = clip(resized(options, factor), frames)
        plan = {} if lockstep == 1 else {"window": frames // lockstep, "window_batch": lockstep}

        def call() -> None:
            pipe(pictures, num_inference_steps=options.steps, output_type="pt", **plan)

        taken = seconds(call, options) / frames
        slow = slow or taken
        linear = ""
        if name != "the authors' way":
            first = first or taken
            linear = f"{taken / factor**2 / first:.2f}"
        size = f"{factor * options.width}x{factor * options.height}"
        report.add(name, f"{frames}", size, f"{lockstep}", f"{taken:.3f}", f"{slow * factor**2 / taken:.2f}", linear)

    row("the authors' way", pipeline(options, reference=True), options.frames)
    ours = pipeline(options)
    for times in (1, 2, 4):
        row("our way", ours, times * options.frames)
    row("our way", ours, options.frames, factor=2)
    for windows in options.lockstep:
        if windows > 1:
            row("our way", ours, windows * options.frames, lockstep=windows)
    report.finish()


if __name__ == "__main__":
    main()
