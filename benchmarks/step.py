"""One guided visit (OGWM, G_U, D_U): what each part of how networks are run gains over the authors' path.

    python benchmarks/step.py [--layout tiny|sdx4] [--size 320x180] [--compiled] [--write]

Each row adds one thing to the row before it. `--compiled` adds torch.compile at the end (minutes on a CPU). The error
is that of the prediction against the first row, in dB of its range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from harness import HighResolutionOGWM, Report, options_of, parser, pipeline, random_tensors, seconds
from torch import Tensor

from dgafvsr.host_memory import keep_freed_memory
from dgafvsr.models.execution import Execution
from dgafvsr.sampling.ftcm import FTCM
from dgafvsr.sampling.ogwm import OGWM

PLAIN = {"channels_last": False, "fused_upsampling": False, "constant_prompt": False}


def visit(pipe: Any, ogwm: OGWM, tensors: tuple[Tensor, Tensor, Tensor]) -> Callable[[], Tensor]:
    """A call that makes one guided prediction."""
    latents, lr, flow = tensors
    ftcm, kept = FTCM(network=pipe.guidance, ogwm=ogwm), ogwm.keep(flow)
    labels = None if pipe.unet.config.num_class_embeds is None else torch.zeros(1, dtype=torch.long, device=lr.device)
    prompt = None if pipe.text_encoder is None else pipe.text_encoder(lr)[0].to(pipe.unet.dtype)
    sample = torch.cat([latents, lr], dim=1).to(pipe.unet.dtype)
    time = torch.tensor(500, device=lr.device)  # as the sampler has it: a number would be moved at each call

    def call() -> Tensor:
        aligned = ftcm.align(latents, lr, kept)
        residuals = ftcm.residuals(latents=latents, lr=lr, aligned=aligned, timestep=time, class_labels=labels)
        return pipe.unet(sample, time, prompt, labels, residuals=residuals, return_dict=False)[0].float()

    return call


@torch.no_grad()
def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    made = parser("step", __doc__)
    made.add_argument("--compiled", action="store_true")
    options = options_of(made, words)
    pipe, tensors = pipeline(options, reference=True), random_tensors(options)
    fused = OGWM(convention=pipe.config.warp)
    columns = ("run as", "ms", "ratio to the first", "error, dB")
    report = Report(title=f"One guided visit, {options.layout}, {options.size}", columns=columns, options=options)
    slow, expected = 0.0, torch.zeros(())

    def row(name: str, ogwm: OGWM, execution: Execution) -> None:
        nonlocal slow, expected
        execution.arrange(pipe.unet, pipe.guidance)
        call = visit(pipe, ogwm, tensors)
        found = call()
        taken = seconds(call, options)
        if not slow:
            slow, expected = taken, found
        noise = (found - expected).square().mean()
        error = f"{10 * (expected.square().max() / noise).log10():.0f}" if noise else "equal"
        report.add(name, f"{1e3 * taken:.1f}", f"{slow / taken:.2f}", error)

    row("the authors: float32, x4 warp", HighResolutionOGWM(convention=pipe.config.warp), Execution(**PLAIN))
    row("+ warp as one gather", fused, Execution(**PLAIN))
    keep_freed_memory()
    row("+ freed memory kept (CPU)", fused, Execution(**PLAIN))
    row("+ channels-last", fused, Execution(**PLAIN | {"channels_last": True}))
    row("+ fused upsampling", fused, Execution(**PLAIN | {"channels_last": True, "fused_upsampling": True}))
    row("+ constant prompt", fused, Execution())
    for network in (pipe.unet, pipe.guidance):
        network.to(getattr(torch, options.dtype))
    row(f"+ {options.dtype}", fused, Execution())
    if options.compiled:
        row("+ compiled", fused, Execution(compiled=True))
    report.finish()


if __name__ == "__main__":
    main()
