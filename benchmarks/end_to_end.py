"""A film to a film, as `dgafvsr upscale` does it, our way against the authors'.

python benchmarks/end_to_end.py [--layout tiny|sdx4] [--size 320x180] [--frames 6] [--steps N] [--write]

Both read, sample in one window, decode, encode and verify; loading the model is not counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from films import write_film
from harness import Report, options_of, parser, pipeline, seconds

from dgafvsr.jobs.settings import JobSettings, UpscaleSettings
from dgafvsr.jobs.upscale import upscale_file


def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    made = parser("end_to_end", __doc__)
    made.add_argument("--steps", type=int, default=None, help="the model's without")
    options = options_of(made, words)
    settings = UpscaleSettings(
        steps=options.steps, window=max(options.frames, 5), tile=None, overwrite=True, job=JobSettings(restart=True)
    )
    columns = ("run as", "s a frame", "ratio")
    title = f"A film of {options.frames} frames of {options.size}, {options.layout}, {options.steps or 'default'} steps"
    report = Report(title=title, columns=columns, options=options)
    slow = 0.0
    with tempfile.TemporaryDirectory() as folder:
        film, target = Path(folder, "film.mkv"), f"{folder}/large.mp4"
        write_film(film, options.frames, options.width, options.height)
        for name, reference in (("the authors' way, float32", True), (f"our way, {options.dtype}", False)):
            pipe: Any = pipeline(options, reference=reference)
            taken = seconds(lambda pipe=pipe: upscale_file(film, target, pipe, settings), options) / options.frames
            slow = slow or taken
            report.add(name, f"{taken:.3f}", f"{slow / taken:.2f}")
            del pipe
    report.finish()


if __name__ == "__main__":
    main()
