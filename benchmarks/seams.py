"""How visible are the seams between windows: neighbouring frames at seams against those at all other places.

    python benchmarks/seams.py --lr DATA/vid4/bix4/city --truth DATA/vid4/gt/city [--window 10 --overlap 4 --crop 64]

Three ways to make one clip of the same windows: no windows at all, a hard cut in the middle of what two windows share,
and the cross-fade of latents that the pipeline does. For each, the warping error and the LPIPS between neighbouring
frames are taken at seams and elsewhere; their ratio is divided by the ratio of the clip without windows, which is what
the content itself does at those places. 1 means that a seam is no seam. PSNR to the truth tells whether mixing blurs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dgafvsr import DGAFVSRPipeline
from dgafvsr.evaluation.perceptual import PerceptualDistance
from dgafvsr.evaluation.temporal import TruthMotion, warping_error
from dgafvsr.flow.dis import DISFlow
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.sampling.seams import cross_fade, hold_back
from dgafvsr.sampling.windows import Window, plan_windows


def read(folder: Path, crop: int, count: int, *, grid: int = 1) -> Tensor:
    """The middle of the first pictures of a folder, from a multiple of `grid` on: T 3 crop crop in [0, 1]."""
    files = sorted(folder.iterdir())[:count]
    clip = torch.from_numpy(np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files]))
    top, left = ((side - crop) // 2 // grid * grid for side in clip.shape[1:3])
    return clip[:, top : top + crop, left : left + crop].permute(0, 3, 1, 2).float() / 255


def assemble(parts: list[Tensor], plan: list[Window], policy: str) -> Tensor:
    """Latents of the clip from those of its windows: T 4 h w."""
    clip = torch.zeros(plan[-1].stop, *parts[0].shape[1:])
    held = None
    for window, part in zip(plan, parts, strict=True):
        if policy == "cut":
            skipped = window.head // 2
            clip[window.start + skipped : window.stop] = part[skipped:]
        else:
            joined = cross_fade(part, held)
            clip[window.start : window.stop] = joined
            held = hold_back(joined, window.tail)
    return clip


def seam_pairs(plan: list[Window], policy: str) -> set[int]:
    """Frames t whose step from t - 1 leads from one window into (or further into) another."""
    inner = [window for window in plan if window.head]
    if policy == "cut":
        return {window.start + window.head // 2 for window in inner}
    return {window.start + k for window in inner for k in range(window.head + 1)}


def changes(clip: Tensor, motions: list[TruthMotion], lpips: PerceptualDistance) -> dict[str, Tensor]:
    """What changes from each frame to the next, T - 1 values a measure."""
    pairs = list(zip(clip[1:, None], clip[:-1, None], strict=True))
    return {
        "warping": torch.cat([warping_error(*pair, motion=m) for pair, m in zip(pairs, motions, strict=True)]).double(),
        "lpips": torch.cat([lpips(*pair) for pair in pairs]).double(),
    }


def psnr(clip: Tensor, truth: Tensor, frames: Tensor) -> float:
    return float(-10 * (clip - truth)[frames].square().mean().log10())


@torch.inference_mode()
def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lr", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--model", default=None)
    parser.add_argument("--window", type=int, default=10)
    parser.add_argument("--overlap", type=int, default=4)
    parser.add_argument("--frames", type=int, default=34)
    parser.add_argument("--crop", type=int, default=64, help="side in LR pixels")
    options = parser.parse_args()
    lr, truth = (
        read(options.lr, options.crop, options.frames),
        read(options.truth, 4 * options.crop, options.frames, grid=4),
    )
    pipe, flow, lpips = DGAFVSRPipeline.from_pretrained(options.model), DISFlow(), PerceptualDistance("lpips")
    plan = plan_windows(len(lr), options.window, options.overlap)
    parts = [pipe(lr[w.start : w.stop], first_frame=w.start, output_type="latent").frames for w in plan]
    latents = {policy: assemble(parts, plan, policy) for policy in ("cut", "cross-fade")}
    latents["no windows"] = pipe(lr, output_type="latent").frames
    codec, signed = LatentCodec(pipe.vae), 2 * lr - 1
    motions = [TruthMotion.between(truth[t : t + 1], truth[t - 1 : t], flow) for t in range(1, len(truth))]
    clips = {
        name: torch.cat([codec.decode_pixels(z[t : t + 1], signed[t : t + 1]) for t in range(len(z))])
        for name, z in latents.items()
    }
    changed = {name: changes(clip, motions, lpips) for name, clip in clips.items()}
    print(f"torch {torch.__version__}, {options.lr.name}, {len(lr)} frames, {options.crop} px, {len(plan)} windows\n")
    print("| policy | warping ratio | LPIPS ratio | PSNR at seams | PSNR elsewhere |\n|---|---|---|---|---|")
    for policy in ("cut", "cross-fade"):
        at = torch.tensor([t in seam_pairs(plan, policy) for t in range(1, len(lr))])
        ratios = []
        for measure in ("warping", "lpips"):
            own, content = (changed[name][measure] for name in (policy, "no windows"))
            ratios.append(float(own[at].mean() / own[~at].mean() / (content[at].mean() / content[~at].mean())))
        shared = torch.tensor([any(w.start <= t < w.start + w.head for w in plan) for t in range(len(lr))])
        quality = [psnr(clips[policy], truth, frames) for frames in (shared, ~shared)]
        print(f"| {policy} | {ratios[0]:.3f} | {ratios[1]:.3f} | {quality[0]:.2f} | {quality[1]:.2f} |")


if __name__ == "__main__":
    main()
