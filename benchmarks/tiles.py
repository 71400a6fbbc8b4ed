"""What tiles change: the tiled result against the untiled one, near the tiles' borders and in their interior.

    python benchmarks/tiles.py --lr DATA/vid4/bix4/city --truth DATA/vid4/gt/city [--tile 64 96] [--frames 3]

A grid would show as a lower PSNR near borders. `tiled - untiled` is PSNR against the ground truth: what tiling costs.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dgafvsr import DGAFVSRPipeline
from dgafvsr.sampling.tiles import Tiling, plan_spans

SCALE = 4


def read(folder: Path, count: int) -> Tensor:
    """The first pictures of a folder: T 3 H W in [0, 1]."""
    files = sorted(folder.iterdir())[:count]
    clip = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    return torch.from_numpy(clip).permute(0, 3, 1, 2).float() / 255


def near_borders(height: int, width: int, tiling: Tiling, stride: int, distance: int) -> Tensor:
    """4h x 4w bool: pixels less than `distance` LR pixels away from a tile's inner border."""
    masks = []
    for side in (height, width):
        spans = plan_spans(side, tiling, stride)
        borders = [span.start for span in spans if span.start] + [span.stop for span in spans if span.stop < side]
        pixels = torch.arange(SCALE * side) / SCALE
        masks.append(torch.stack([(pixels - border).abs() < distance for border in borders] or [pixels < 0]).any(0))
    return masks[0][:, None] | masks[1]


def psnr(first: Tensor, second: Tensor, where: Tensor) -> float:
    return float(-10 * (first - second).square()[..., where].mean().log10())


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lr", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--model", default=None)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--tile", type=int, nargs="+", default=[96, 64])
    parser.add_argument("--overlap", type=int, default=16)
    parser.add_argument("--distance", type=int, default=4, help="LR pixels that count as near a border")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    lr, truth = read(options.lr, options.frames), read(options.truth, options.frames)
    height, width = lr.shape[-2:]
    truth = truth[..., : SCALE * height, : SCALE * width]
    pipe = DGAFVSRPipeline.from_pretrained(options.model).to(options.device)
    stride = 2 ** (len(pipe.unet.config.block_out_channels) - 1)
    with torch.inference_mode():
        whole = pipe(lr, output_type="pt").frames
        print(
            f"torch {torch.__version__}, {platform.machine()}, {options.device}, {width}x{height}, {len(lr)} frames\n"
        )
        print("| tile | borders, dB | interior, dB | difference | tiled - untiled at borders | in the interior |")
        print("|---|---|---|---|---|---|")
        for tile in options.tile:
            near = near_borders(height, width, Tiling(tile=tile, overlap=options.overlap), stride, options.distance)
            tiled = pipe(lr, output_type="pt", tile=tile, tile_overlap=options.overlap).frames
            same = [psnr(tiled, whole, where) for where in (near, ~near)]
            cost = [psnr(tiled, truth, where) - psnr(whole, truth, where) for where in (near, ~near)]
            cells = [f"{same[0]:.2f}", f"{same[1]:.2f}", f"{same[0] - same[1]:+.2f}", *(f"{db:+.3f}" for db in cost)]
            print(f"| {tile} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
