"""Measure the packaged model on Vid4's calendar and city, and write the quality tables of README and model card.

    python benchmarks/quality.py --vid4 DATA/vid4 --output runs/quality [further options of `dgafvsr evaluate`]

`DATA/vid4` holds `gt` and `bix4`, one folder of pictures a clip. This is one call of `dgafvsr evaluate`, which it
prints: bicubic and the model, guidance off and on; with `--baseline real-esrgan` that too (`pip install
".[baselines]"`). Frames, scores and reports are kept in `--output`, and what is there already is not made again. The
means go to `benchmarks/results/quality.json`, with the command and the weights' hashes, and from there into the tables
between the markers (`quality_tables.py`). tOF is measured with DIS, because RAFT's weights may not be at hand.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from quality_tables import RESULTS, write_tables

from dgafvsr.apps.cli.main import run
from dgafvsr.evaluation.cache import hash_file
from dgafvsr.models.checkpoints import packaged_model

METRICS = "psnr,ssim,lpips,dists,tlpips,tof,warping"


def main() -> int:
    """Print the command, run it, keep the means and rewrite the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vid4", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options, further = parser.parse_known_args()
    options.output.mkdir(parents=True, exist_ok=True)
    words = ["--clips", "calendar,city", "--max-frames", "12", "--flow", "dis", "--metrics", METRICS]
    words += ["--baseline", "bicubic", "--model", "packaged", "--guidance", "--no-guidance", *further]
    inputs = ["evaluate", "--truth", str(options.vid4 / "gt"), "--lr", str(options.vid4 / "bix4")]
    kept = ["--keep-frames", str(options.output / "frames"), "--cache", str(options.output / "scores"), "--overwrite"]
    reports = {"json": "quality.json", "csv": "quality.csv", "markdown": "quality.md"}
    kept += [f"--{kind}={options.output / name}" for kind, name in reports.items()]
    print(shlex.join(["dgafvsr", *inputs, *words, *kept]), flush=True)
    failed = run([*inputs, *words, *kept])
    if failed:
        return failed
    found = json.loads((options.output / reports["json"]).read_text(encoding="utf-8"))
    command = shlex.join(["dgafvsr", "evaluate", "--truth", "vid4/gt", "--lr", "vid4/bix4", *words])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(summary(found, command), indent=1) + "\n", encoding="utf-8")
    write_tables()
    return 0


def summary(found: dict[str, Any], command: str) -> dict[str, Any]:
    """What stays in the repository of a report of `dgafvsr evaluate`: the means and what made them, no places."""
    methods = {
        name: {"mean": method["mean"], "clips": {clip: held["mean"] for clip, held in method["clips"].items()}}
        for name, method in found["methods"].items()
    }
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "clips": list(next(iter(methods.values()))["clips"]),
        "max_frames": found["max_frames"],
        "protocol": found["protocol"],
        "versions": found["versions"],
        "weights": weights_of(packaged_model()),
        "methods": methods,
    }


def weights_of(folder: Path) -> dict[str, str]:
    """File -> SHA-256 of a model folder's weights and configurations."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors"))
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in files}


if __name__ == "__main__":
    sys.exit(main())
