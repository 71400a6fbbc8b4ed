"""Makes a short low-resolution clip with sound from a longer video: a quarter of the width and of the height.

    python examples/make_clip.py bigbuckbunny.mp4 examples/bigbuckbunny_320x180.mp4 --first 32 --frames 24

The pictures are reduced with torch's antialiased bicubic filter, the field's usual degradation, and stored as nearly
lossless H.264. The sound of the same time is copied, not encoded again. `--scale 1` keeps the full size, to compare.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from dgafvsr.video.reader import VideoReader
from dgafvsr.video.writer import EncoderSettings, VideoWriter


def reduced(pixels: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """H/scale W/scale 3 uint8 of H W 3 uint8."""
    if scale == 1:
        return pixels
    large = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    small = interpolate(large, scale_factor=1 / scale, mode="bicubic", antialias=True)[0]
    return np.ascontiguousarray(small.permute(1, 2, 0).round().clamp(0, 255).byte().numpy())


def cut_sound(source: Path, target: Path, start: Fraction, stop: Fraction) -> bool:
    """Copy what is heard from `start` to `stop` (seconds) into a file of its own that begins at 0; False if silent."""
    with av.open(str(source)) as original:
        if not original.streams.audio:
            return False
        with av.open(str(target), "w") as copy:
            stream = copy.add_stream_from_template(original.streams.audio[0])
            for packet in original.demux(audio=0):
                if packet.pts is not None and start <= packet.pts * packet.time_base < stop:
                    packet.pts = packet.dts = packet.pts - round(start / packet.time_base)
                    packet.stream = stream
                    copy.mux(packet)
    return True


def make_clip(source: Path, target: Path, *, first: int, count: int, scale: int, crf: int) -> None:
    """Write `count` frames of the source from frame `first` on, reduced, with their sound, as a film from time 0 on."""
    with VideoReader(source) as reader, tempfile.TemporaryDirectory() as folder:
        frames = list(islice(reader, first, first + count))
        if len(frames) < count:
            raise SystemExit(f"{source} ends before frame {first + count}")
        sound = Path(folder) / "sound.mp4"
        stop = frames[-1].pts_seconds + frames[-1].duration * frames[-1].time_base
        audible = cut_sound(source, sound, frames[0].pts_seconds, stop)
        info = replace(
            reader.info.resized(width=reader.info.width // scale, height=reader.info.height // scale),
            path=sound,
            color=reader.info.color.resolved(width=reader.info.width, height=reader.info.height),
            audio_codecs=reader.info.audio_codecs if audible else (),
        )
        with VideoWriter(
            target, info, EncoderSettings(quality=crf, options={"preset": "veryslow"}), overwrite=True
        ) as writer:
            for frame in frames:
                small = frame.with_pixels(reduced(frame.pixels, scale))
                writer.write(replace(small, pts=frame.pts - frames[0].pts))


def main() -> None:
    """Read the command line and make the clip."""
    parser = argparse.ArgumentParser(description="Cut and reduce a short clip.")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--first", type=int, default=0, help="index of the first frame")
    parser.add_argument("--frames", type=int, default=24, help="how many")
    parser.add_argument("--scale", type=int, default=4, help="by how much width and height are divided")
    parser.add_argument("--crf", type=int, default=10, help="of the encoder")
    options = parser.parse_args()
    make_clip(
        options.source,
        options.target,
        first=options.first,
        count=options.frames,
        scale=options.scale,
        crf=options.crf,
    )


if __name__ == "__main__":
    main()
