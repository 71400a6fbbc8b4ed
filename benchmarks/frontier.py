"""Quality against speed: seconds a frame and metrics of many ways to sample, with the ratio to the model's own way.

    python benchmarks/frontier.py --clips DATA/vid4 --output runs/frontier [--model MODEL] [--variants NAME ...]

`--clips` holds `gt` and `bix4`, one folder of pictures a clip: Vid4's layout, into which any film's frames and their x4
reductions can be brought. `--crop 160x120 --max-frames 6` looks at the middle of the first frames only. One run makes
all variants, so that their times compare: the first one, the model's own way, is the reference, and is run again at the
end, which shows how steady the machine was. Metrics are those of `dgafvsr evaluate` (protocol standard, RGB). `*` marks
the frontier: variants that no other one beats in both time and LPIPS.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import dgafvsr
from dgafvsr import DGAFVSRPipeline
from dgafvsr.evaluation.protocols import PROTOCOLS
from dgafvsr.evaluation.runner import EvaluationSettings, evaluate_folders
from dgafvsr.sampling.presets import FEW_STEPS
from dgafvsr.sampling.reuse import Reuse

SCALE = 4
METRICS = ("psnr", "lpips", "dists", "tlpips")
REFERENCE = "own"

COMMON: dict[str, dict[str, Any]] = {
    REFERENCE: {},
    "fast": {"quality": "fast"},
    "balanced": {"quality": "balanced"},
    "best": {"quality": "best"},
    "no guidance": {"guided": False},
    "turns unguided": {"turns": "unguided"},
    "turns guided": {"turns": "guided"},
    "flow x2": {"flow_scale": 2},
    "flow x1": {"flow_scale": 1},
    "independent noise": {"initial_noise": "independent"},
    "shared noise": {"initial_noise": "shared"},
    "transported noise": {"initial_noise": "transported"},
}
FEW: dict[str, dict[str, Any]] = {
    "1 step": {"num_inference_steps": 1},
    "4 steps": {"num_inference_steps": 4},
    "8 steps": {"num_inference_steps": 8},
    "dpm++ 2": {"solver": "dpm++", "num_inference_steps": 2},
    "dpm++ 4": {"solver": "dpm++", "num_inference_steps": 4},
    "unipc 4": {"solver": "unipc", "num_inference_steps": 4},
    "guided first": {"reuse": Reuse(guidance_every=(0,), guidance_between="skipped")},
    "guided last": {"reuse": Reuse(guidance_every=(-1,), guidance_between="skipped")},
    "guidance reused": {"reuse": Reuse(guidance_every=2)},
    "features reused": {"reuse": Reuse(features_every=2)},
    "1 step, flow x1": {"num_inference_steps": 1, "flow_scale": 1},
    "1 step, turns unguided": {"num_inference_steps": 1, "turns": "unguided"},
    "1 step, no guidance": {"num_inference_steps": 1, "guided": False},
    "guided last, flow x1": {"flow_scale": 1, "reuse": Reuse(guidance_every=(-1,), guidance_between="skipped")},
    "flow x1, turns unguided": {"flow_scale": 1, "turns": "unguided"},
}
MANY: dict[str, dict[str, Any]] = {
    **{
        f"{solver} {steps}": {"solver": solver, "num_inference_steps": steps}
        for solver in ("ddim", "dpm++", "unipc")
        for steps in (4, 8, 12, 20)
    },
    "dpm++ 20, guidance every 2": {"solver": "dpm++", "num_inference_steps": 20, "reuse": Reuse(guidance_every=2)},
    "dpm++ 20, features every 2": {"solver": "dpm++", "num_inference_steps": 20, "reuse": Reuse(features_every=2)},
    "dpm++ 20, features every 3": {"solver": "dpm++", "num_inference_steps": 20, "reuse": Reuse(features_every=3)},
}


def prepare(clips: Path, place: Path, count: int | None, crop: tuple[int, int] | None) -> tuple[Path, Path]:
    """Folders of ground truth and input, cut to the middle and to the first frames."""
    if place.exists():
        shutil.rmtree(place)
    for kind, scale in (("gt", SCALE), ("bix4", 1)):
        for clip in sorted(path for path in (clips / "bix4").iterdir() if path.is_dir()):
            (place / kind / clip.name).mkdir(parents=True)
            for file in sorted((clips / kind / clip.name).iterdir())[:count]:
                small = Image.open(sorted(clip.iterdir())[0]).size
                width, height = crop or small
                left, top = ((side - part) // 2 for side, part in zip(small, (width, height), strict=True))
                box = tuple(scale * value for value in (left, top, left + width, top + height))
                Image.open(file).convert("RGB").crop(box).save(place / kind / clip.name / f"{file.stem}.png")
    return place / "gt", place / "bix4"


def read(folder: Path) -> Tensor:
    """T 3 h w in [0, 1]."""
    pictures = np.stack([np.asarray(Image.open(file)) for file in sorted(folder.iterdir())])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def run(
    pipe: DGAFVSRPipeline, lr: Path, place: Path, settings: Mapping[str, Any], window: int, clock: Callable[[], float]
) -> float:
    """Seconds a frame of a variant, whose frames are in `place` afterwards; writing them is not counted."""
    seconds, frames = 0.0, 0
    for clip in sorted(lr.iterdir()):
        clip_lr = read(clip)
        cut = {"window": window, "overlap": 4} if len(clip_lr) > window else {}
        started = clock()
        pictures = pipe(clip_lr, output_type="np", **{**cut, **settings}).frames
        seconds += clock() - started
        frames += len(clip_lr)
        (place / clip.name).mkdir(parents=True, exist_ok=True)
        for file, picture in zip(sorted(clip.iterdir()), pictures, strict=True):
            Image.fromarray((picture * 255).round().astype(np.uint8)).save(place / clip.name / file.name)
    return seconds / frames


def table(times: dict[str, float], again: float, scores: dict[str, dict[str, float]], metrics: list[str]) -> str:
    """Markdown, from the slowest variant to the fastest."""
    names = sorted(times, key=lambda name: -times[name])
    lines = ["| variant | s/frame | speed | " + " | ".join(metrics) + " |", "|---" * (3 + len(metrics)) + "|"]
    for name in names:
        beaten = any(
            times[other] < times[name] and scores[other]["lpips"] < scores[name]["lpips"]
            for other in names
            if "lpips" in metrics
        )
        speed = f"{times[REFERENCE] / times[name]:.2f}x"
        cells = " | ".join(f"{scores[name][metric]:.4g}" for metric in metrics)
        lines.append(f"| {name}{'' if beaten else ' *'} | {times[name]:.3f} | {speed} | {cells} |")
    drift = again / times[REFERENCE]
    return "\n".join([*lines, "", f"The reference, run again at the end, took {drift:.2f} of its first time."])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--model", default=None)
    parser.add_argument("--variants", nargs="+", default=None, help="the reference is always among them")
    parser.add_argument("--max-frames", type=int, default=None)
    parser.add_argument("--crop", default=None, metavar="WxH", help="LR pixels")
    parser.add_argument("--window", type=int, default=24)
    parser.add_argument("--metrics", default=",".join(METRICS), help="tof and warping are measured with DIS")
    parser.add_argument("--processor-time", action="store_true", help="instead of wall time, for a busy machine")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32")
    return parser.parse_args()


def main() -> None:
    """Make every variant, score all of them, print and keep a Markdown table."""
    options = parse()
    crop = None if options.crop is None else tuple(int(side) for side in options.crop.split("x"))
    pipe = DGAFVSRPipeline.from_pretrained(options.model, torch_dtype=getattr(torch, options.dtype))
    pipe.to(options.device)
    variants = COMMON | (FEW if pipe.default_steps <= FEW_STEPS else MANY)
    names = [REFERENCE, *(name for name in options.variants or variants if name != REFERENCE)]
    truth, lr = prepare(options.clips, options.output / "clips", options.max_frames, crop)
    frames = options.output / "frames"
    pipe(read(sorted(lr.iterdir())[0])[:2])  # libraries and kernels load here
    clock = time.process_time if options.processor_time else time.perf_counter
    times: dict[str, float] = {}
    for name in names:
        times[name] = run(pipe, lr, frames / name, variants[name], options.window, clock)
        print(f"{name}: {times[name]:.3f} s/frame", flush=True)
    again = run(pipe, lr, frames / REFERENCE, variants[REFERENCE], options.window, clock)
    metrics = options.metrics.split(",")
    protocol = PROTOCOLS["standard"].with_flow("dis")
    settings = EvaluationSettings(metrics=tuple(metrics), device=options.device, protocol=protocol)
    result = evaluate_folders({name: frames / name for name in names}, truth, settings)
    scores = {each.name: {metric: each.mean(metric) for metric in metrics} for each in result.methods}
    clips = ", ".join(sorted(path.name for path in lr.iterdir()))
    head = f"dgafvsr {dgafvsr.__version__}, torch {torch.__version__}, {platform.machine()}, {options.device}, "
    head += f"{options.dtype}, {options.model or 'packaged model'}, {clips}, {options.max_frames or 'all'} frames"
    kind = "processor time" if options.processor_time else "wall time"
    text = f"{head}, {options.crop or 'whole'}, {kind}\n\n{table(times, again, scores, metrics)}\n"
    (options.output / "frontier.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
