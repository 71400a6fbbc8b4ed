"""The README's quality table: bicubic and the packaged model, guidance off and on, on Vid4's calendar and city.

    python benchmarks/quality.py --vid4 DATA/vid4 --output runs/quality [further options of `dgafvsr evaluate`]

`DATA/vid4` holds `gt` and `bix4`, one folder of pictures a clip. This is one call of `dgafvsr evaluate`, which it
prints; frames and reports are kept in `--output`, and what is there already is not made again. tOF is measured with
DIS, because RAFT's weights may not be at hand: add `--flow raft_large` where they are.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from dgafvsr.apps.cli.main import run

METRICS = "psnr,ssim,lpips,dists,tlpips,tof,warping"


def main() -> int:
    """Print the command and run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vid4", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options, further = parser.parse_known_args()
    options.output.mkdir(parents=True, exist_ok=True)
    words = ["evaluate", "--truth", str(options.vid4 / "gt"), "--lr", str(options.vid4 / "bix4")]
    words += ["--clips", "calendar,city", "--max-frames", "12", "--flow", "dis", "--metrics", METRICS]
    words += ["--baseline", "bicubic", "--model", "packaged", "--guidance", "--no-guidance"]
    words += ["--keep-frames", str(options.output / "frames"), "--cache", str(options.output / "scores"), "--overwrite"]
    reports = {"json": "quality.json", "csv": "quality.csv", "markdown": "quality.md"}
    words += [f"--{kind}={options.output / name}" for kind, name in reports.items()]
    words += further
    print(shlex.join(["dgafvsr", *words]), flush=True)
    return run(words)


if __name__ == "__main__":
    sys.exit(main())
