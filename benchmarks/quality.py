"""Quality of a model against bicubic, with guidance off and on, as a Markdown table.

    python benchmarks/quality.py --lr DATA/vid4/bix4 --truth DATA/vid4/gt --output runs/quality [--max-frames 12]

`--lr` and `--truth` hold one folder of pictures a clip, by the same names. Frames and reports are kept in `--output`;
clips that are there already are not made again. The metrics are `dgafvsr evaluate`'s, protocol `standard`, with DIS for
tOF because RAFT's weights may not be at hand (`--flow raft_large` where they are).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dgafvsr import DGAFVSRPipeline
from dgafvsr.evaluation.baselines import interpolate_pixels
from dgafvsr.evaluation.metrics import parse_metrics
from dgafvsr.evaluation.protocols import get_protocol
from dgafvsr.evaluation.report import save_report, to_markdown
from dgafvsr.evaluation.runner import EvaluationSettings, evaluate_folders

METHODS = ("bicubic", "guidance off", "guidance on")


def upscale(method: str, frames: np.ndarray, pipe: DGAFVSRPipeline, seed: int) -> list[Image.Image]:
    """T H W 3 uint8 -> T pictures of four times the size."""
    if method == "bicubic":
        return [Image.fromarray(interpolate_pixels(frame, "bicubic")) for frame in frames]
    return pipe(frames, seed=seed, guided=method == "guidance on", output_type="pil").frames


def make_frames(options: argparse.Namespace, pipe: DGAFVSRPipeline) -> None:
    """Every method's pictures of every clip."""
    for clip in sorted(path for path in options.lr.iterdir() if path.is_dir()):
        files = sorted(clip.iterdir())[: options.max_frames]
        frames = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
        for method in METHODS:
            folder = options.output / method / clip.name
            if folder.is_dir():
                continue
            start = time.perf_counter()
            pictures = upscale(method, frames, pipe, options.seed)
            print(f"{clip.name}, {method}: {(time.perf_counter() - start) / len(files):.2f} s/frame", flush=True)
            folder.mkdir(parents=True)
            for file, picture in zip(files, pictures, strict=True):
                picture.save(folder / f"{file.stem}.png")


def main() -> None:
    """Make the frames, score them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lr", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--model", default=None)
    parser.add_argument("--max-frames", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--flow", default="dis")
    parser.add_argument("--metrics", default="psnr,ssim,lpips,dists,tlpips,tof,warping")
    options = parser.parse_args()
    with torch.inference_mode():
        make_frames(options, DGAFVSRPipeline.from_pretrained(options.model).to(options.device))
    result = evaluate_folders(
        {method: options.output / method for method in METHODS},
        options.truth,
        EvaluationSettings(
            protocol=get_protocol("standard").with_flow(options.flow),
            metrics=parse_metrics(options.metrics),
            max_frames=options.max_frames,
            device=options.device,
        ),
    )
    for name in ("quality.json", "quality.md"):
        save_report(result, options.output / name, overwrite=True)
    print(to_markdown(result))


if __name__ == "__main__":
    main()
