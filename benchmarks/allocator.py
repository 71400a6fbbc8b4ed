"""A job whose process keeps the memory that it frees, as `dgafvsr` does, beside one that leaves it to the C library.

    python benchmarks/allocator.py [--size 640x360] [--frames 12] [--window 24] [--write]

Each runs in a process of its own, since what a process was told of its allocator holds for good.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from films import write_film
from harness import Report, options_of, parser, pipeline

from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.upscale import upscale_file

HABITS = {"usual": "given back at once (the reference)", "kept": "kept (`keep_freed_memory`)"}


def measure(habit: str, source: str, target: str, options: Any) -> None:
    """Print the summary of one job, as JSON: what the subprocess does."""
    pipe: Any = pipeline(options, keep_memory=habit == "kept")
    summary = upscale_file(source, target, pipe, UpscaleSettings(window=options.window, tile=None))
    print(json.dumps({"peak": summary.peak_memory_bytes, "seconds": summary.seconds}))


def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    made = parser("allocator", __doc__, size="640x360", frames=12)
    made.add_argument("--window", type=int, default=24)
    made.add_argument("--measure", nargs=3, help="only this job, habit, source and target: used by this file")
    options = options_of(made, words)
    if options.measure:
        measure(*options.measure, options)
        return
    columns = ("freed memory is", "s a frame", "ratio", "peak memory, MiB", "ratio of memory")
    title = f"A film of {options.frames} frames of {options.size}, {options.layout}, {options.dtype}"
    report = Report(title=title, columns=columns, options=options)
    usual: dict[str, float] = {}
    for habit, told in HABITS.items():
        with tempfile.TemporaryDirectory() as folder:
            film = Path(folder, "film.mkv")
            write_film(film, options.frames, options.width, options.height)
            command = [sys.executable, __file__, "--layout", options.layout, "--dtype", options.dtype]
            command += ["--size", options.size, "--window", str(options.window)]
            command += ["--measure", habit, str(film), f"{folder}/large.mp4"]
            facts = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        usual = usual or facts
        report.add(
            told,
            f"{facts['seconds'] / options.frames:.2f}",
            f"{usual['seconds'] / facts['seconds']:.2f}",
            f"{facts['peak'] / 2**20:.0f}",
            f"{facts['peak'] / usual['peak']:.3f}",
        )
    report.finish()


if __name__ == "__main__":
    main()
