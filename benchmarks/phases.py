"""Where the time of an upscaled frame goes: flow, OGWM, G_U, D_U, scheduler, decoder, reading and writing.

    python benchmarks/phases.py [--layout tiny|sdx4] [--size 320x180] [--frames 6] [--steps N] [--write]

Each part of one call of the pipeline is timed where it is entered, one after the other; what is left of the call is
`the rest`. Reading and writing (with cuts, encoding and verifying) are a job of their own without a model. A job runs
decoding, reading and writing beside the networks, so that a film takes less than the sum where cores are free:
benchmarks/end_to_end.py. The means of all runs count; on a GPU every part waits for the device, which costs a little.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from films import Identity, write_film
from harness import Report, clip, options_of, parser, pipeline, seconds
from torch.profiler import profile

from dgafvsr.jobs.settings import JobSettings, UpscaleSettings
from dgafvsr.jobs.upscale import upscale_file
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.sampling import inputs
from dgafvsr.sampling.ftcm import FTCM
from dgafvsr.sampling.solvers import Stepper

CALL = "the call"


class Stopwatch:
    """Seconds and entries by part."""

    def __init__(self, options: Any) -> None:
        self._clock = time.process_time if options.processor_time else time.perf_counter
        self._cuda = str(options.device).startswith("cuda")
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.entries: defaultdict[str, int] = defaultdict(int)

    def now(self) -> float:
        """The time when everything that was asked for is done."""
        if self._cuda:
            torch.cuda.synchronize()
        return self._clock()

    def watched(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, timed."""

        def timed(*args: Any, **options: Any) -> Any:
            begun = self.now()
            try:
                return call(*args, **options)
            finally:
                self.seconds[part] += self.now() - begun
                self.entries[part] += 1

        return timed


def run_watched(pipe: Any, frames: Any, options: Any) -> Stopwatch:
    """`options.repeats` calls of the pipeline, after one to warm up."""
    pipe(frames, num_inference_steps=options.steps)
    watch = Stopwatch(options)
    places = (
        ("flow", inputs, "bidirectional_flows"),
        ("OGWM", FTCM, "align"),
        ("G_U", FTCM, "residuals"),
        ("D_U", type(pipe.unet), "forward"),
        ("scheduler", Stepper, "step"),
        ("decoder", LatentCodec, "decode_pixels"),
    )
    patches = [patch.object(owner, name, watch.watched(part, getattr(owner, name))) for part, owner, name in places]
    for each in patches:
        each.start()
    try:
        for _ in range(options.repeats):
            watch.watched(CALL, pipe)(frames, num_inference_steps=options.steps)
    finally:
        for each in patches:
            each.stop()
    return watch


def operators(pipe: Any, frames: Any, options: Any, most: int = 6) -> str:
    """The operators that take most of a call's own time, each with its share."""
    on_gpu = str(options.device).startswith("cuda")
    with profile() as profiler:
        pipe(frames, num_inference_steps=options.steps)
    found = profiler.key_averages()
    own = {each.key: each.self_device_time_total if on_gpu else each.self_cpu_time_total for each in found}
    largest = sorted(own, key=lambda name: -own[name])[:most]
    return ", ".join(f"{name.removeprefix('aten::')} {own[name] / sum(own.values()):.1%}" for name in largest)


def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    made = parser("phases", __doc__)
    made.add_argument("--steps", type=int, default=None, help="the model's without")
    options = options_of(made, words)
    pipe = pipeline(options)
    watch = run_watched(pipe, clip(options), options)
    films = options.repeats * options.frames
    parts = {part: taken / films for part, taken in watch.seconds.items() if part != CALL}
    parts["the rest"] = watch.seconds[CALL] / films - sum(parts.values())
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder, "film.mkv")
        write_film(film, options.frames, options.width, options.height)
        settings = UpscaleSettings(window=24, overwrite=True, job=JobSettings(restart=True))

        def job() -> None:
            upscale_file(film, f"{folder}/large.mp4", Identity(), settings)

        parts["reading and writing"] = seconds(job, options) / options.frames
    whole = sum(parts.values())
    columns = ("part", "ms a frame", "entries a frame", "ratio to the whole")
    title = f"Where the time of a frame goes: {options.frames} frames of {options.size}, {options.layout}, "
    report = Report(title=f"{title}{options.dtype}", columns=columns, options=options)
    for part, taken in sorted(parts.items(), key=lambda each: -each[1]):
        entries = f"{watch.entries[part] / films:.2f}" if part in watch.entries else ""
        report.add(part, f"{1e3 * taken:.1f}", entries, f"{taken / whole:.3f}")
    report.add("the whole", f"{1e3 * whole:.1f}", "", "1.000")
    report.notes.append(f"Of the call by operator: {operators(pipe, clip(options), options)}.")
    report.finish()


if __name__ == "__main__":
    main()
