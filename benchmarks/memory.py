"""Peak memory of an upscale job at two lengths of a film, each in a process of its own: it must not grow.

    python benchmarks/memory.py [--frames 50 500] [--size 320x180] [--output large.mp4 | pictures/] [--model identity]

`identity` (the default) enlarges by repeating pixels, so that the stream itself is measured; `tiny` is the packaged
model. The films are noise over a moving gradient, stored losslessly, with a cut every 120 frames.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

SHOT = 120


class Identity:
    """Repeats every pixel 4 x 4 times and hands its state on."""

    device, default_steps = "cpu", 1

    def __init__(self) -> None:
        self.components: dict[str, Any] = {}
        self.config = {"name": "identity"}

    def __call__(self, frames: NDArray[np.float32], *, tail: int, **options: Any) -> SimpleNamespace:
        """The frames but the tail at four times the size, and the tail as the state."""
        import torch

        kept = frames[: len(frames) - tail]
        state = {"latents": torch.from_numpy(frames[len(kept) :].copy())} if tail else None
        return SimpleNamespace(frames=kept.repeat(4, axis=1).repeat(4, axis=2), state=state)


def pictures(count: int, width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    for index in range(count):
        shot = index // SHOT
        ramp = (x * (1 + shot % 3) + y * (1 + shot % 2) + 3 * index + 97 * shot) % 256
        noise = rng.integers(0, 24, (height, width, 3))
        yield np.clip(ramp[..., None] + noise, 0, 255).astype(np.uint8)


def write_film(path: Path, count: int, width: int, height: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        for picture in pictures(count, width, height):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def measure(source: str, target: str, model: str) -> None:
    """Print the summary of one job, as JSON: what the subprocess does."""
    from dgafvsr.jobs.settings import UpscaleSettings
    from dgafvsr.jobs.upscale import upscale_file
    from dgafvsr.pipeline import DGAFVSRPipeline

    pipeline: Any = Identity() if model == "identity" else DGAFVSRPipeline.from_pretrained()
    summary = upscale_file(source, target, pipeline, UpscaleSettings(window=24, tile=None))
    print(json.dumps({"peak": summary.peak_memory_bytes, "seconds": summary.seconds, "frames": summary.frames}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs=2, default=[50, 500])
    parser.add_argument("--size", default="320x180")
    parser.add_argument("--output", default="large.mp4")
    parser.add_argument("--model", choices=["identity", "tiny"], default="identity")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure, options.model)
        return
    width, height = map(int, options.size.split("x"))
    peaks = []
    print("| frames | peak memory | time |\n|---:|---:|---:|")
    for count in options.frames:
        with tempfile.TemporaryDirectory() as folder:
            film, target = Path(folder, "film.mkv"), f"{folder}/{options.output}"
            write_film(film, count, width, height)
            words = [sys.executable, __file__, "--model", options.model, "--measure", str(film), target]
            facts = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        assert facts["frames"] == count
        peaks.append(facts["peak"])
        print(f"| {count} | {facts['peak'] / 2**20:.0f} MiB | {facts['seconds']:.1f} s |", flush=True)
    print(f"\nratio {peaks[1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
