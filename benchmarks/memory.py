"""Peak memory of an upscale job at two lengths of a film, each in a process of its own: it must not grow.

    python benchmarks/memory.py [--lengths 50 500] [--size 320x180] [--output large.mp4 | pictures/] [--model identity]

`identity` (the default) enlarges by repeating pixels, so that the stream itself is measured; `tiny` is the packaged
model. `--reference` adds the authors' path at the first length: one window of all frames, with all their flows.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from films import Identity, write_film
from harness import Report, options_of, parser, pipeline

from dgafvsr.host_memory import keep_freed_memory


def measure(source: str, target: str, options: Any) -> None:
    """Print the summary of one job, as JSON: what the subprocess does."""
    from dgafvsr.jobs.settings import UpscaleSettings
    from dgafvsr.jobs.upscale import upscale_file

    whole = options.model == "reference"
    if not whole:
        keep_freed_memory()  # as the command line does
    model: Any = Identity() if options.model == "identity" else pipeline(options, reference=whole)
    summary = upscale_file(source, target, model, UpscaleSettings(window=10**6 if whole else 24, tile=None))
    print(json.dumps({"peak": summary.peak_memory_bytes, "seconds": summary.seconds, "frames": summary.frames}))


def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    made = parser("memory", __doc__)
    made.add_argument("--lengths", type=int, nargs=2, default=[50, 500])
    made.add_argument("--output", default="large.mp4")
    made.add_argument("--model", choices=["identity", "tiny", "reference"], default="identity")
    made.add_argument("--reference", action="store_true")
    made.add_argument("--measure", nargs=2, help="only this job, source and target: used by this file")
    options = options_of(made, words)
    if options.measure:
        measure(*options.measure, options)
        return
    columns = ("model", "frames", "peak memory, MiB", "time, s", "ratio to the first")
    report = Report(title=f"Peak memory of a job, {options.size}", columns=columns, options=options)
    jobs = [(options.model, length) for length in options.lengths]
    jobs += [("reference", options.lengths[0])] if options.reference else []
    first = 0
    for model, length in jobs:
        with tempfile.TemporaryDirectory() as folder:
            film, target = Path(folder, "film.mkv"), f"{folder}/{options.output}"
            write_film(film, length, options.width, options.height)
            command = [sys.executable, __file__, "--model", model, "--dtype", options.dtype, "--device", options.device]
            command += ["--size", options.size, "--measure", str(film), target]
            facts = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        assert facts["frames"] == length
        first = first or facts["peak"]
        cells = (f"{facts['peak'] / 2**20:.0f}", f"{facts['seconds']:.1f}", f"{facts['peak'] / first:.3f}")
        report.add(model, f"{length}", *cells)
    report.finish()


if __name__ == "__main__":
    main()
