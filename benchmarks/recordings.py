"""Real recordings joined into a film with cuts and sound, and upscaled by `dgafvsr upscale` in a process of its own.

    python benchmarks/recordings.py CLIP ... [--seconds 20] [--quality fast] [--window 48] [--output FOLDER] [--write]

Every other frame of each clip is halved (1280x720 at 29.97 frames/s becomes 640x360 at 14.985), for an equal share of
the seconds, and stored as H.264 with the clip's sound as AAC: what a phone or an old camera would have made. With
`--output` the film and the result stay there to be looked at.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from harness import RESULTS, Report, settle

SOUND_RATE = 48_000


class Film:
    """A film that clips are added to: H.264 at half the clips' size and rate, AAC."""

    def __init__(self, path: Path, model: av.VideoStream) -> None:
        self.container = av.open(str(path), "w")
        self.rate = Fraction(model.average_rate or 30) / 2
        self.video: Any = self.container.add_stream("libx264", rate=self.rate, options={"crf": "23"})
        self.video.width, self.video.height = model.width // 2, model.height // 2
        self.video.pix_fmt = "yuv420p"
        self.audio: Any = self.container.add_stream("aac", rate=SOUND_RATE, layout="stereo")
        self.frames = self.samples = 0

    def add(self, clip: Path, count: int) -> None:
        """The first `count` frames at half the rate, and the sound that goes with them."""
        before = self.frames
        with av.open(str(clip)) as source:
            for index, picture in enumerate(source.decode(video=0)):
                if self.frames == before + count:
                    break
                if index % 2 == 0:
                    self._frame(picture)
        with av.open(str(clip)) as source:
            resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SOUND_RATE, frame_size=1024)
            for heard in source.decode(audio=0):
                for sound in resampler.resample(heard):
                    if self.samples / SOUND_RATE < self.frames / self.rate:
                        self._sound(sound)

    def _frame(self, picture: av.VideoFrame) -> None:
        half = picture.reformat(self.video.width, self.video.height, "yuv420p", interpolation="AREA")
        half.pts, half.time_base = self.frames, 1 / self.rate
        self.container.mux(self.video.encode(half))
        self.frames += 1

    def _sound(self, sound: av.AudioFrame) -> None:
        sound.pts, sound.time_base = self.samples, Fraction(1, SOUND_RATE)
        self.container.mux(self.audio.encode(sound))
        self.samples += sound.samples

    def close(self) -> None:
        """Write what the encoders still hold."""
        for stream in (self.video, self.audio):
            self.container.mux(stream.encode(None))
        self.container.close()


def join(clips: Sequence[Path], path: Path, seconds: float) -> Film:
    """The film of those clips at `path`, closed."""
    with av.open(str(clips[0])) as first:
        film = Film(path, first.streams.video[0])
    for index in range(len(clips)):
        share = round(seconds * float(film.rate) * (index + 1) / len(clips)) - film.frames
        film.add(clips[index], share)
    film.close()
    return film


def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    raw = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(prog="recordings.py", description=__doc__, formatter_class=raw)
    made.add_argument("clips", nargs="+", type=Path)
    made.add_argument("--seconds", type=float, default=20, help="of the film")
    made.add_argument("--quality", default="fast")
    made.add_argument("--window", type=int, default=48)
    made.add_argument("--device", default="cpu")
    made.add_argument("--output", type=Path, default=None, help="a folder that the film and the result stay in")
    made.add_argument("--write", action="store_true", help=f"keep the report in {RESULTS.name}/")
    options = settle(made, words, layout="tiny", threads=None, processor_time=False)
    with tempfile.TemporaryDirectory() as private:
        folder = options.output or Path(private)
        folder.mkdir(parents=True, exist_ok=True)
        source, target = folder / "film.mp4", folder / "large.mp4"
        film = join(options.clips, source, options.seconds)
        length = float(film.frames / film.rate)
        wanted = ["--quality", options.quality, "--window", str(options.window), "--device", options.device]
        command = [sys.executable, "-m", "dgafvsr", "upscale", str(source), str(target), *wanted, "--json"]
        result: Any = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        told = shlex.join(["dgafvsr", "upscale", source.name, target.name, *wanted])
        columns = (
            "film",
            "frames",
            "shots",
            "result",
            "time, s",
            "s a frame",
            "peak, GiB",
            "ratio to the film's length",
        )
        report = Report(title=f"{length:.1f} seconds of recordings: `{told}`", columns=columns, options=options)
        report.add(
            f"{film.video.width}x{film.video.height}, {source.stat().st_size / 1e6:.1f} MB",
            f"{result['frames']}",
            f"{result['shots']}",
            f"{result['width']}x{result['height']}, {target.stat().st_size / 1e6:.1f} MB",
            f"{result['seconds']:.0f}",
            f"{result['seconds'] / result['frames']:.2f}",
            f"{result['peak_memory_bytes'] / 2**30:.2f}",
            f"{result['seconds'] / length:.1f}",
        )
        report.finish()


if __name__ == "__main__":
    main()
