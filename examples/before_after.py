"""Draws what upscaling did to one frame: bicubic beside ours, whole and in three details.

    python examples/before_after.py examples/bigbuckbunny_320x180.mp4 demo/result.mp4 demo/before_after.png

Above, the left half is bicubic and the right half ours; below, each detail is shown bicubic, then ours, twice as large.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dgafvsr.evaluation.baselines import interpolate_pixels
from dgafvsr.video.reader import open_source

SCALE = 4
ZOOM = 2
GAP = 6
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def read_frame(path: Path, index: int) -> NDArray[np.uint8]:
    """H W 3 uint8 of one frame of a video or a folder of pictures."""
    with open_source(path) as frames:
        for frame in islice(frames, index, index + 1):
            return frame.pixels
    raise SystemExit(f"{path} has no frame {index}")


def busiest_places(lr: NDArray[np.uint8], width: int, height: int, count: int) -> list[tuple[int, int]]:
    """Left and top, in LR pixels, of the `count` tiles of that size in which neighbouring pixels differ most."""
    luma = lr.astype(np.float32).mean(axis=2)
    detail = np.abs(np.diff(luma, axis=1))[:-1] + np.abs(np.diff(luma, axis=0))[:, :-1]
    places = [
        (float(detail[top : top + height, left : left + width].mean()), left, top)
        for top in range(0, lr.shape[0] - height + 1, height)
        for left in range(0, lr.shape[1] - width + 1, width)
    ]
    return [(left, top) for _, left, top in sorted(places, reverse=True)[:count]]


def labelled(picture: Image.Image, text: str, *, right: bool = False) -> Image.Image:
    """The picture with a word in one of its upper corners."""
    font = ImageFont.load_default(size=max(14, picture.height // 24))
    draw = ImageDraw.Draw(picture)
    box = draw.textbbox((0, 0), text, font=font)
    left = picture.width - box[2] - 10 if right else 10
    draw.text((left, 6), text, font=font, fill=WHITE, stroke_width=2, stroke_fill=BLACK)
    return picture


def halves(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Image.Image:
    """Left half of one picture, right half of the other."""
    middle = before.shape[1] // 2
    joined = np.concatenate([before[:, :middle], after[:, middle:]], axis=1)
    joined[:, middle - 1 : middle + 1] = 255
    return labelled(labelled(Image.fromarray(joined), "bicubic x4"), "DGAF-VSR x4", right=True)


def detail(before: NDArray[np.uint8], after: NDArray[np.uint8], box: tuple[int, int, int, int]) -> Image.Image:
    """The same part (left, top, right, bottom) of both pictures, side by side."""
    left, top, right, bottom = box
    parts = [Image.fromarray(picture[top:bottom, left:right]) for picture in (before, after)]
    width, height = ZOOM * (right - left), ZOOM * (bottom - top)
    row = Image.new("RGB", (2 * width + GAP // 2, height), WHITE)
    for index, (part, text) in enumerate(zip(parts, ("bicubic x4", "DGAF-VSR x4"), strict=True)):
        large = part.resize((width, height), Image.Resampling.NEAREST)
        row.paste(labelled(large, text), (index * (width + GAP // 2), 0))
    return row


def sheet(lr: NDArray[np.uint8], after: NDArray[np.uint8]) -> Image.Image:
    """The whole picture above three details."""
    before = interpolate_pixels(lr, "bicubic")
    if before.shape != after.shape:
        raise SystemExit(f"the result is {after.shape[1]}x{after.shape[0]}, not {SCALE} times the input")
    whole = halves(before, after)
    width, height = lr.shape[1] // 12, lr.shape[0] // 6
    details = []
    for left, top in busiest_places(lr, width, height, 3):
        details.append(
            detail(before, after, (SCALE * left, SCALE * top, SCALE * (left + width), SCALE * (top + height)))
        )
    below = Image.new("RGB", (sum(part.width for part in details) + 2 * GAP, details[0].height), WHITE)
    for index, part in enumerate(details):
        below.paste(part, (index * (part.width + GAP), 0))
    below = below.resize((whole.width, round(below.height * whole.width / below.width)), Image.Resampling.LANCZOS)
    result = Image.new("RGB", (whole.width, whole.height + GAP + below.height), WHITE)
    result.paste(whole, (0, 0))
    result.paste(below, (0, whole.height + GAP))
    return result


def main() -> None:
    """Read the command line and draw the picture."""
    parser = argparse.ArgumentParser(description="Bicubic beside ours, for one frame.")
    parser.add_argument("before", type=Path, help="the low-resolution video or pictures")
    parser.add_argument("after", type=Path, help="the result")
    parser.add_argument("picture", type=Path, help="the PNG file to write")
    parser.add_argument("--frame", type=int, default=12)
    options = parser.parse_args()
    picture = sheet(read_frame(options.before, options.frame), read_frame(options.after, options.frame))
    picture.save(options.picture)


if __name__ == "__main__":
    main()
