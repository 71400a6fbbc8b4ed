"""Reading a film, and reading and writing one in a whole job, without a model: frames a second.

python benchmarks/video_io.py [--size 320x180] [--frames 48] [--output large.mp4 | pictures/] [--write]

The ratio is to real time, 24 frames/s of the enlarged film: above 1, nothing here holds a model up.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from films import Identity, write_film
from harness import Report, options_of, parser, seconds

from dgafvsr.jobs.settings import JobSettings, UpscaleSettings
from dgafvsr.jobs.upscale import upscale_file
from dgafvsr.video.reader import open_source

REAL_TIME = 24


def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    made = parser("video_io", __doc__, frames=48)
    made.add_argument("--output", default="large.mp4", help="name of the result: a film, or a folder of pictures")
    options = options_of(made, words)
    columns = ("what", "frames/s", "ratio to real time")
    title = f"Reading {options.size} and writing four times that, {options.frames} frames, {options.output}"
    report = Report(title=title, columns=columns, options=options)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder, "film.mkv")
        write_film(film, options.frames, options.width, options.height)

        def read() -> None:
            with open_source(film) as source:
                assert sum(1 for _ in source) == options.frames

        def job() -> None:
            settings = UpscaleSettings(window=24, overwrite=True, job=JobSettings(restart=True))
            upscale_file(film, f"{folder}/{options.output}", Identity(), settings)

        for name, call in (("reading", read), ("reading, looking for cuts, writing, verifying", job)):
            speed = options.frames / seconds(call, options)
            report.add(name, f"{speed:.1f}", f"{speed / REAL_TIME:.2f}")
    report.finish()


if __name__ == "__main__":
    main()
