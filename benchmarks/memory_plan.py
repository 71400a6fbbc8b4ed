"""Peak memory as the planner expects it and as it is, for some sizes, windows and tiles (Linux).

    python benchmarks/memory_plan.py [--setting 320x180:2 320x180:8 480x270:2:128] [--layout tiny|sdx4]

A setting is WIDTHxHEIGHT:WINDOW[:TILE][:beside|:job]. With `beside`, a first window's frames are decoded on another
thread while a second one is sampled, in two steps so that the two meet; a `job` makes a film of three windows; else it
is one call of one step. Each runs in a process of its own; its peak resident set is compared with
`dgafvsr.jobs.memory.expected_bytes`. On CUDA it is the allocator's peak, which knows nothing of the context, so that is
left out of the plan.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from films import write_film
from harness import Report, clip, options_of, parser, pipeline

DEFAULTS = (
    *("160x90:4", "320x180:2", "320x180:8", "320x180:24", "320x180:2:96", "240x136:12", "480x270:2", "640x360:12:256"),
    *("320x180:8:beside", "480x270:2:beside", "640x360:3:beside", "320x180:8:job", "320x180:24:job"),
)
OVERLAP = 4


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is measured at a time."""

    width: int
    height: int
    window: int
    tile: int | None
    way: str
    """`at the end`, `beside` or `job`."""

    @classmethod
    def of(cls, text: str) -> Self:
        """The setting of those words."""
        size, window, *rest = text.split(":")
        width, height = map(int, size.split("x"))
        way = rest.pop() if rest[-1:] in (["beside"], ["job"]) else "at the end"
        return cls(width=width, height=height, window=int(window), tile=int(rest[0]) if rest else None, way=way)


def measure(setting: Setting, options: Any) -> None:
    """Print the expected and the measured bytes of one setting, in this process."""
    from dgafvsr.jobs.memory import expected_bytes, standing_bytes
    from dgafvsr.jobs.memory_facts import model_facts
    from dgafvsr.jobs.peak_memory import peak_memory_bytes

    options.width, options.height = setting.width, setting.height
    kind = options.device.partition(":")[0]
    pipe = pipeline(options)
    run = {"at the end": call, "beside": two_windows, "job": job}[setting.way]
    run(pipe, setting, options)
    expected = expected_bytes(
        setting.width,
        setting.height,
        model_facts(pipe),
        window=setting.window,
        tile=setting.tile,
        device=kind,
        decoding="at the end" if setting.way == "at the end" else "side by side",
        stored=setting.way == "job",
    )
    unseen = standing_bytes("cuda") if kind == "cuda" else 0
    print(expected - unseen, peak_memory_bytes(options.device))


def call(pipe: Any, setting: Setting, options: Any) -> None:
    """One call for one window."""
    pipe(clip(options, setting.window), num_inference_steps=1, tile=setting.tile)


def two_windows(pipe: Any, setting: Setting, options: Any) -> None:
    """One window decoded while the next is sampled."""
    from dgafvsr.jobs.fallback import FallbackUpscaler

    upscaler, frames = FallbackUpscaler(pipe), clip(options, setting.window)
    asked = {"num_inference_steps": 1, "tile": setting.tile, "output_type": "lazy"}
    with ThreadPoolExecutor(1) as thread:
        decoded = thread.submit(lambda pictures: sum(map(len, pictures)), upscaler(frames, **asked).frames)
        upscaler(frames, **asked | {"num_inference_steps": 2})
        decoded.result()


def job(pipe: Any, setting: Setting, options: Any) -> None:
    """A film of three windows, from file to file."""
    from dgafvsr.jobs.settings import UpscaleSettings
    from dgafvsr.jobs.upscale import upscale_file

    settings = UpscaleSettings(window=setting.window, overlap=OVERLAP, tile=setting.tile, steps=1, detect_shots=False)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder, "film.mkv")
        write_film(film, 3 * setting.window - 2 * OVERLAP, setting.width, setting.height)
        upscale_file(film, Path(folder, "large.mp4"), pipe, settings)


def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    made = parser("memory_plan", __doc__)
    made.add_argument("--setting", nargs="+", default=DEFAULTS)
    made.add_argument("--here", action="store_true", help="measure the one setting in this process")
    options = options_of(made, words)
    if options.here:
        measure(Setting.of(options.setting[0]), options)
        return
    columns = ("frames", "window", "tile", "decoding", "expected, MB", "measured, MB", "ratio")
    title = f"Memory: the plan and the peak, {options.layout}, {options.dtype}"
    report = Report(title=title, columns=columns, options=options)
    for text in options.setting:
        command = [sys.executable, __file__, "--here", "--setting", text, "--dtype", options.dtype]
        command += ["--layout", options.layout, "--device", options.device]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        expected, measured = map(int, run.stdout.split())
        found = Setting.of(text)
        cells = (f"{expected / 1e6:.0f}", f"{measured / 1e6:.0f}", f"{expected / measured:.3f}")
        report.add(f"{found.width}x{found.height}", str(found.window), str(found.tile or "none"), found.way, *cells)
    report.finish()


if __name__ == "__main__":
    main()
