"""One sweep over a clip, as the sampler does it: FM's part apart, our way against the authors'.

python benchmarks/sweep.py [--layout tiny|sdx4] [--size 320x180] [--frames 6] [--steps 1] [--write]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from harness import Report, clip, options_of, parser, pipeline, seconds

from dgafvsr.flow.fm import bidirectional_flows
from dgafvsr.video.arrays import as_frames


def no_flow(current: torch.Tensor, neighbor: torch.Tensor) -> torch.Tensor:
    """Stands in for an estimator: what FM costs is benchmarks/flow.py's question."""
    del neighbor
    return current[:, :2] * 4


@torch.no_grad()
def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    made = parser("sweep", __doc__)
    made.add_argument("--steps", type=int, default=1, help="sweeps")
    options = options_of(made, words)
    frames = clip(options)
    flows = bidirectional_flows(as_frames(frames), no_flow)
    columns = ("run as", "s a frame and step", "ratio")
    title = f"{options.steps} sweep(s) over {options.frames} frames, {options.layout}, {options.size}"
    report = Report(title=title, columns=columns, options=options)
    slow = 0.0
    for name, reference in (("the authors' way, float32", True), (f"our way, {options.dtype}", False)):
        pipe: Any = pipeline(options, reference=reference)

        def call(pipe: Any = pipe) -> None:
            both = (flows.forward, flows.backward)
            pipe(frames, num_inference_steps=options.steps, flows=both, output_type="latent")

        taken = seconds(call, options) / options.frames / options.steps
        slow = slow or taken
        report.add(name, f"{taken:.3f}", f"{slow / taken:.2f}")
    report.finish()


if __name__ == "__main__":
    main()
