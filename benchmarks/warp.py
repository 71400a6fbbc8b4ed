"""OGWM as one gather against OGWM with its x4 tensors (the authors' path): time, and how far the two are apart.

python benchmarks/warp.py [--size 320x180] [--device cpu] [--write]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from harness import HighResolutionOGWM, Report, options_of, parser, random_tensors, seconds

from dgafvsr.sampling.ogwm import OGWM


@torch.inference_mode()
def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    options = options_of(parser("warp", __doc__), words)
    feature, _, flow = random_tensors(options)
    columns = ("convention", "x4 tensors, ms", "gather, ms", "ratio", "flow kept", "largest difference")
    report = Report(title=f"OGWM on a {options.size} latent", columns=columns, options=options)
    for convention in ("released", "centered"):
        theirs, ours = HighResolutionOGWM(convention=convention), OGWM(convention=convention)
        wide, kept = theirs.keep(flow), ours.keep(flow)
        slow = seconds(lambda theirs=theirs, wide=wide: theirs(feature, wide), options)
        fast = seconds(lambda ours=ours, kept=kept: ours(feature, kept), options)
        error = (theirs(feature, wide) - ours(feature, kept)).abs().max().item()
        share = f"1/{wide.numel() // kept.numel()}"
        report.add(convention, f"{1e3 * slow:.2f}", f"{1e3 * fast:.2f}", f"{slow / fast:.1f}", share, f"{error:.1e}")
    report.finish()


if __name__ == "__main__":
    main()
