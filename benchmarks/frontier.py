"""Quality against speed: seconds a frame and metrics of many ways to sample, with the ratio to the model's own way.

    python benchmarks/frontier.py --clips DATA/vid4 --output runs/frontier [--variants NAME ...] [--write]

`--clips` holds `gt` and `bix4`, one folder of pictures a clip: Vid4's layout, into which any film's frames and their x4
reductions can be brought. `--crop 160x120 --max-frames 6` looks at the middle of the first frames only. One run makes
all variants, so that their times compare: the first one, the model's own way, is the reference, and is run again at the
end, which shows how steady the machine was. Metrics are those of `dgafvsr evaluate` (protocol standard, RGB; tOF with
DIS). The last column names the metrics by which a variant is on the frontier: no other one that is as fast is better,
and no other one that is as good is faster. Times and scores within `--tie` of each other count as equal.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dgafvsr import DGAFVSRPipeline
from dgafvsr.evaluation.metrics import METRICS, MetricName
from dgafvsr.evaluation.protocols import PROTOCOLS
from dgafvsr.evaluation.runner import EvaluationSettings, evaluate_folders
from dgafvsr.sampling.presets import FEW_STEPS, LAST_STEP
from dgafvsr.sampling.reuse import Reuse

SCALE = 4
MEASURED = "psnr,lpips,dists,tlpips,tof"
REFERENCE, AGAIN = "own", "own, again"
FIRST_STEP = Reuse(guidance_every=(0,), guidance_between="skipped")

Scores = dict[MetricName, float]

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
    "dpm++ 2": {"solver": "dpm++", "num_inference_steps": 2},
    "unipc 2": {"solver": "unipc", "num_inference_steps": 2},
    "ddim 4": {"solver": "ddim", "num_inference_steps": 4},
    "dpm++ 4": {"solver": "dpm++", "num_inference_steps": 4},
    "unipc 4": {"solver": "unipc", "num_inference_steps": 4},
    "guided first": {"reuse": FIRST_STEP},
    "guided last": {"reuse": LAST_STEP},
    "guidance reused": {"reuse": Reuse(guidance_every=2)},
    "features reused": {"reuse": Reuse(features_every=2)},
    "features reused, flow x2": {"reuse": Reuse(features_every=2), "flow_scale": 2},
    "features reused, flow x1, turns unguided": {
        "reuse": Reuse(features_every=2),
        "flow_scale": 1,
        "turns": "unguided",
    },
    "guided last, flow x2": {"reuse": LAST_STEP, "flow_scale": 2},
    "guided last, flow x1": {"reuse": LAST_STEP, "flow_scale": 1},
    "guided last, turns unguided": {"reuse": LAST_STEP, "turns": "unguided"},
    "guided last, transported": {"reuse": LAST_STEP, "initial_noise": "transported"},
    "guided last, transported, flow x1": {"reuse": LAST_STEP, "initial_noise": "transported", "flow_scale": 1},
    "no guidance, transported, flow x1": {"guided": False, "initial_noise": "transported", "flow_scale": 1},
    "1 step, no guidance": {"num_inference_steps": 1, "guided": False},
    "1 step, flow x1": {"num_inference_steps": 1, "flow_scale": 1},
    "1 step, transported, flow x1": {"num_inference_steps": 1, "initial_noise": "transported", "flow_scale": 1},
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


def on_frontier(name: str, metric: MetricName, times: dict[str, float], scores: dict[str, Scores], tie: float) -> bool:
    """Whether no other variant is faster and as good, or better and as fast; a share of `tie` is no difference."""

    def cost(variant: str) -> float:
        score = scores[variant][metric]
        if metric == "psnr":
            return 10 ** (-score / 20)  # the error itself, of which a share means something
        return -score if METRICS[metric].higher_is_better else score

    slack, size = tie * times[name], tie * abs(cost(name))
    return not any(
        (times[other] < times[name] - slack and cost(other) <= cost(name) + size)
        or (times[other] <= times[name] + slack and cost(other) < cost(name) - size)
        for other in times
    )


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="frontier.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--model", default=None)
    parser.add_argument("--variants", nargs="+", default=None, help="the reference is always among them")
    parser.add_argument("--max-frames", type=int, default=None)
    parser.add_argument("--crop", default=None, metavar="WxH", help="LR pixels")
    parser.add_argument("--window", type=int, default=24)
    parser.add_argument("--metrics", default=MEASURED)
    parser.add_argument("--rescore", action="store_true", help="score what an earlier run left in --output")
    parser.add_argument("--tie", type=float, default=0.01, help="share of a time or score that is no difference")
    parser.add_argument("--threads", type=int, default=None, help="of torch; its own choice without")
    parser.add_argument("--processor-time", action="store_true", help="instead of wall time, for a busy machine")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--write", action="store_true", help=f"keep the report in {harness.RESULTS.name}/")
    return harness.settle(parser, words, layout="tiny")


def report_of(options: argparse.Namespace, lr: Path, metrics: Sequence[MetricName]) -> harness.Report:
    clips = ", ".join(f"{path.name} ({len(list(path.iterdir()))} frames)" for path in sorted(lr.iterdir()))
    place = f"the middle {options.crop} LR pixels" if options.crop else "whole frames"
    title = f"Quality against speed: {options.model or 'the packaged model'}, {options.dtype}, {clips}, {place}"
    heads = [METRICS[metric].heading for metric in metrics]
    return harness.Report(title=title, columns=("variant", "s a frame", "ratio", *heads, "frontier"), options=options)


def sample_all(options: argparse.Namespace, lr: Path, frames: Path) -> dict[str, float]:
    """Seconds a frame of every variant, and under `AGAIN` of the reference, run again at the end."""
    pipe = DGAFVSRPipeline.from_pretrained(options.model, torch_dtype=getattr(torch, options.dtype))
    pipe.to(options.device)
    variants = COMMON | (FEW if pipe.default_steps <= FEW_STEPS else MANY)
    names = [REFERENCE, *(name for name in options.variants or variants if name != REFERENCE)]
    pipe(read(sorted(lr.iterdir())[0])[:2])  # libraries and kernels load here
    clock = time.process_time if options.processor_time else time.perf_counter
    times: dict[str, float] = {}
    for name in (*names, AGAIN):
        settings = variants.get(name, {})
        times[name] = run(pipe, lr, frames / name, settings, options.window, clock)
        print(f"{name}: {times[name]:.3f} s/frame", flush=True)
    return times


@torch.no_grad()
def main(words: Sequence[str] | None = None) -> None:
    """Make every variant, score all of them, print and keep a Markdown table, slowest first."""
    options = parse(words)
    crop = None if options.crop is None else tuple(int(side) for side in options.crop.split("x"))
    frames, kept = options.output / "frames", options.output / "times.json"
    if options.rescore:
        truth, lr = options.output / "clips" / "gt", options.output / "clips" / "bix4"
        times = json.loads(kept.read_text(encoding="utf-8"))
    else:
        truth, lr = prepare(options.clips, options.output / "clips", options.max_frames, crop)
        times = sample_all(options, lr, frames)
        kept.write_text(json.dumps(times, indent=1) + "\n", encoding="utf-8")
    again = times.pop(AGAIN)
    times = {name: taken for name, taken in times.items() if name in (REFERENCE, *(options.variants or times))}
    metrics = options.metrics.split(",")
    settings = EvaluationSettings(
        metrics=tuple(metrics),
        device=options.device,
        protocol=PROTOCOLS["standard"].with_flow("dis"),
        cache=options.output / "scores",
    )
    result = evaluate_folders({name: frames / name for name in times}, truth, settings)
    scores = {method.name: {metric: method.mean(metric) for metric in metrics} for method in result.methods}
    report = report_of(options, lr, metrics)
    for name in sorted(times, key=lambda name: -times[name]):
        cells = [f"{scores[name][metric]:.{METRICS[metric].decimals}f}" for metric in metrics]
        best = [metric for metric in metrics if on_frontier(name, metric, times, scores, options.tie)]
        report.add(name, f"{times[name]:.3f}", f"{times[REFERENCE] / times[name]:.2f}", *cells, ", ".join(best))
    report.notes.append(f"The reference, run again at the end, took {again / times[REFERENCE]:.2f} of its first time.")
    report.finish()


if __name__ == "__main__":
    main()
