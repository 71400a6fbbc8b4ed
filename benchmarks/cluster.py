"""How much faster a film is on two workers than on one, on this machine with one core each (extra `batch`).

    python benchmarks/cluster.py [--workers 1 2] [--shots 8] [--frames 6] [--size 160x90] [--repeats 3]

The film is cut from the example clip into shots of equal length, so that there is work for all to the end. Each number
is the best of some runs after one that loads the model. The last column is the speed-up over the first row, divided by
the number of workers; the row `alone` is `upscale_file` in this process, without Ray. Run it on a machine that has
nothing else to do, with at least as many cores as workers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import torch

from dgafvsr import DGAFVSRPipeline
from dgafvsr.jobs.cluster import open_cluster
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.upscale import upscale_file

CLIP = Path(__file__).parents[1] / "examples" / "bigbuckbunny_320x180.mp4"


def place() -> tuple[str, str]:
    """Device and dtype of a worker."""
    return "cpu", "float32"


def cut_film(folder: Path, shots: int, frames: int, size: tuple[int, int]) -> UpscaleSettings:
    """A film of the example's first frames, again and again, in `folder`/film.mkv; settings with its shots."""
    with av.open(str(CLIP)) as source, av.open(str(folder / "film.mkv"), "w") as film:
        stream = film.add_stream("ffv1", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        pictures = [frame.reformat(*size, "yuv420p") for frame in itertools.islice(source.decode(video=0), frames)]
        for picture in pictures * shots:
            picture.pts = None
            film.mux(stream.encode(picture))
        film.mux(stream.encode(None))
    starts = [{"start_frame": frames * index} for index in range(shots)]
    (folder / "shots.json").write_text(json.dumps({"shots": starts}), encoding="utf-8")
    return UpscaleSettings(window=frames, overlap=0, shots=folder / "shots.json", overwrite=True)


def best(run: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of some runs, after one that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--frames", type=int, default=6, help="in a shot")
    parser.add_argument("--size", default="160x90")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    width, height = map(int, options.size.split("x"))
    model = DGAFVSRPipeline.from_pretrained()
    with tempfile.TemporaryDirectory() as name:
        film, target = Path(name) / "film.mkv", Path(name) / "large.mkv"
        settings = cut_film(Path(name), options.shots, options.frames, (width, height))
        total = options.shots * options.frames
        print(f"{platform.machine()}, {total} frames of {options.size} in {options.shots} shots, one core each\n")
        print("| workers | seconds | frames/s | speed-up | efficiency |\n|---|---|---|---|---|")
        alone = best(lambda: upscale_file(film, target, model, settings), options.repeats)
        print(f"| alone | {alone:.2f} | {total / alone:.3f} | | |", flush=True)
        first: float | None = None
        for workers in options.workers:
            with open_cluster("local", place, workers=workers, device="cpu", cores=1) as cluster:
                shared = cluster.share(model)
                seconds = best(
                    lambda cluster=cluster, shared=shared: cluster.upscale(film, target, shared, settings),
                    options.repeats,
                )
            first = seconds * workers if first is None else first
            speedup = first / seconds
            row = (workers, f"{seconds:.2f}", f"{total / seconds:.3f}", f"{speedup:.2f}", f"{speedup / workers:.1%}")
            print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
