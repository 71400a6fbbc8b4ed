"""The pictures of docs/method.md: flow, an aligned neighbour, the estimate over the steps, guidance on and off.

    python examples/method_pictures.py examples/bigbuckbunny_320x180.mp4 docs/images

What is shown comes from the code that samples: its flow, its warp, its x0 estimates, its frames.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dgafvsr import DGAFVSRPipeline
from dgafvsr.analysis.pictures import flow_picture
from dgafvsr.flow.fields import backward_warp
from dgafvsr.flow.fm import upsample_frames
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.sampling.ogwm import OGWM
from dgafvsr.sampling.sampler import StepEvent
from dgafvsr.video.reader import open_source

BOX = (48, 0, 176, 72)
"""Left, top, right and bottom of the part of the frames that is shown, in LR pixels."""

FIRST, FRAMES = 8, 8
"""Frames of the film that are sampled."""

SHOWN = 5
"""The one of them that is shown."""

STEPS = 4
WIDTH, GAP, BAR = 1152, 6, 24
GREY_RANGE = 2.5
"""Deviations from the mean, up and down, that the grey of a feature spans."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Panel:
    """One picture of a sheet and the words above it."""

    text: str
    pixels: Picture


def read_part(path: Path) -> Picture:
    """T h w 3: the part `BOX` of the frames that are sampled."""
    left, top, right, bottom = BOX
    with open_source(path) as frames:
        wanted = islice(frames, FIRST, FIRST + FRAMES)
        return np.stack([np.asarray(frame.pixels[top:bottom, left:right], np.uint8) for frame in wanted])


def sample(pipe: DGAFVSRPipeline, clip: Picture, *, steps: int | None, guided: bool) -> tuple[Picture, list[StepEvent]]:
    """T 4h 4w 3, and the sampler's visits in order."""
    events: list[StepEvent] = []
    out = pipe(clip, steps, seed=0, guided=guided, on_event=events.append)
    return as_picture(np.asarray(out.frames)), events


def as_picture(unit: NDArray[np.float32]) -> Picture:
    """uint8 of floats in [0, 1]."""
    return np.round(255 * unit.clip(0, 1)).astype(np.uint8)


def grey(feature: torch.Tensor, like: torch.Tensor) -> Picture:
    """H w 3 of a latent 1 C h w: the mean of its channels, each in deviations of the same channel of `like`."""
    mean, deviation = like.mean(dim=(2, 3), keepdim=True), like.std(dim=(2, 3), keepdim=True)
    values = ((feature - mean) / deviation).mean(dim=1)[0].numpy()
    return as_picture(np.repeat((values / GREY_RANGE / 2 + 0.5)[..., None], 3, axis=2))


def rgb(pixels: torch.Tensor) -> Picture:
    """H W 3 of 1 3 H W in [0, 1]."""
    return as_picture(pixels[0].permute(1, 2, 0).numpy())


def draw_motion(clip: Picture, pipe: DGAFVSRPipeline) -> dict[str, list[list[Panel]]]:
    """Two neighbours and the flow between them; the first brought to the second, which is all that OGWM does.

    Shown on the frames themselves, because features say little to the eye, and with the unbiased convention.
    """
    pair = torch.from_numpy(clip[SHOWN - 1 : SHOWN + 1]).permute(0, 3, 1, 2).float() / 255
    before, here = upsample_frames(pair).split(1)
    assert pipe.flow_estimator is not None, "the pipeline has sampled with guidance"
    flow = pipe.flow_estimator(here, before)
    ogwm = OGWM(convention="centered")
    aligned = ogwm(pair[:1], ogwm.keep(flow))
    longest = float(flow.norm(dim=1).max())
    names = (f"frame {FIRST + SHOWN - 1}", f"frame {FIRST + SHOWN}")
    colors = Panel(f"flow, up to {longest:.0f} px of the large frame", as_picture(flow_picture(flow)))
    return {
        "method_flow": [[*map(Panel, names, map(rgb, (before, here))), colors]],
        "method_alignment": [
            [
                Panel(names[0], rgb(pair[:1])),
                Panel(f"{names[0]}, aligned", rgb(aligned)),
                Panel(names[1], rgb(pair[1:])),
            ],
            [
                Panel("difference without alignment, x3", rgb(3 * (pair[:1] - pair[1:]).abs())),
                Panel("difference with alignment, x3", rgb(3 * (aligned - pair[1:]).abs())),
            ],
        ],
    }


def draw_steps(clip: Picture, events: list[StepEvent], pipe: DGAFVSRPipeline) -> list[list[Panel]]:
    """The estimate x0 of one frame after each step, as feature and decoded."""
    lr = torch.from_numpy(clip[SHOWN : SHOWN + 1]).permute(0, 3, 1, 2).float() / 127.5 - 1
    visits = [event for event in events if event.frame == SHOWN]
    last, codec = visits[-1].x0, LatentCodec(pipe.vae)
    features = [Panel(f"t = {visit.timestep:.0f}: x0", grey(visit.x0, last)) for visit in visits]
    with torch.no_grad():
        decoded = [codec.decode_pixels(visit.x0, lr)[0].permute(1, 2, 0).numpy() for visit in visits]
    return [features, [Panel("decoded", as_picture(each)) for each in decoded]]


def draw_guidance(clip: Picture, on: Picture, off: Picture, pipe: DGAFVSRPipeline) -> list[list[Panel]]:
    """How much each place of the result changes from frame to frame, apart from what moves: flicker."""
    assert pipe.flow_estimator is not None, "the pipeline has sampled with guidance"
    lr = torch.from_numpy(clip).permute(0, 3, 1, 2).float() / 255
    large = upsample_frames(lr).split(1)
    flows = [pipe.flow_estimator(here, before) for before, here in pairwise(large)]
    pictures, flickers = [], []
    for text, frames in (("guidance off", off), ("guidance on", on)):
        tensors = (torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255).split(1)
        moved = [backward_warp(before, flow, outside="border") for before, flow in zip(tensors, flows, strict=False)]
        flicker = torch.cat([(here - each).abs() for here, each in zip(tensors[1:], moved, strict=True)]).mean(dim=0)
        pictures.append(Panel(f"{text}: frame {FIRST + SHOWN}", frames[SHOWN]))
        level = 255 * float(flicker.mean())
        flickers.append(Panel(f"{text}: flicker x8, {level:.1f} of 255 on average", rgb(8 * flicker[None])))
    return [pictures, flickers]


def sheet(rows: list[list[Panel]], width: int) -> Image.Image:
    """The panels in rows, each `width` wide, words above; small features are enlarged without smoothing."""
    font = ImageFont.load_default(size=15)
    height = round(width * (BOX[3] - BOX[1]) / (BOX[2] - BOX[0]))
    columns = max(len(row) for row in rows)
    whole = Image.new("RGB", (columns * (width + GAP) - GAP, len(rows) * (height + BAR + GAP) - GAP), "white")
    draw = ImageDraw.Draw(whole)
    for y, row in enumerate(rows):
        for x, panel in enumerate(row):
            left, top = x * (width + GAP), y * (height + BAR + GAP)
            large = panel.pixels.shape[1] > width
            kind = Image.Resampling.LANCZOS if large else Image.Resampling.NEAREST
            draw.text((left + 2, top + 3), panel.text, font=font, fill="black")
            whole.paste(Image.fromarray(panel.pixels).resize((width, height), kind), (left, top + BAR))
    return whole


def main() -> None:
    """Read the command line and draw the pictures."""
    parser = argparse.ArgumentParser(description="The method's inner pictures, as WebP files.")
    parser.add_argument("film", type=Path, help="the example clip, or another film of at least 176x72")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    options = parser.parse_args()
    clip = read_part(options.film)
    if len(clip) < FRAMES:
        raise SystemExit(f"{options.film} has fewer than {FIRST + FRAMES} frames")
    pipe = DGAFVSRPipeline.from_pretrained()
    pipe.set_progress_bar_config(disable=True)
    on, _ = sample(pipe, clip, steps=None, guided=True)
    off, _ = sample(pipe, clip, steps=None, guided=False)
    _, slow = sample(pipe, clip[: SHOWN + 1], steps=STEPS, guided=True)
    sheets = draw_motion(clip, pipe)
    sheets |= {"method_steps": draw_steps(clip, slow, pipe), "method_guidance": draw_guidance(clip, on, off, pipe)}
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, rows in sheets.items():
        sheet(rows, WIDTH // len(rows[0])).save(options.folder / f"{name}.webp", quality=82, method=6)


if __name__ == "__main__":
    main()
