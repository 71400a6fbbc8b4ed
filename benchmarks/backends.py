"""D_U by other engines than ours: torch.compile, and OpenVINO where it is installed (it is not among our dependencies).

    pip install openvino
    python benchmarks/backends.py [--size 320x180] [--compiled] [--write]

Each engine runs the same weights in the same precision; a backend is worth its place from 1.5 times our speed on. The
error is that of the prediction against float32, in dB of its range.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import torch
from harness import Report, options_of, parser, pipeline, random_tensors, seconds
from torch import Tensor, nn

from dgafvsr.models.execution import Execution

PRECISIONS = {"bfloat16": "bf16", "float16": "f16", "float32": "f32"}


class Prediction(nn.Module):
    """D_U as a graph that engines can read: sample and timestep in, prediction out."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: Tensor, time: Tensor) -> Tensor:
        """B C h w and one timestep -> B 4 h w."""
        return self.unet(sample, time, encoder_hidden_states=None, return_dict=False)[0]  # type: ignore[no-any-return]


def openvino_call(unet: nn.Module, sample: Tensor, time: Tensor, precision: str) -> Callable[[], Tensor]:
    """A call of D_U by OpenVINO on the CPU."""
    openvino: Any = importlib.import_module("openvino")
    graph = openvino.convert_model(Prediction(unet), example_input=(sample, time))
    hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(graph, "CPU", hints)
    arrays = [sample.numpy(), time.numpy()]
    return lambda: torch.from_numpy(compiled(arrays)[0])


@torch.no_grad()
def main(words: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    made = parser("backends", __doc__)
    made.add_argument("--compiled", action="store_true", help="torch.compile too, which takes minutes")
    options = options_of(made, words)
    dtype = getattr(torch, options.dtype)
    latents, lr, _ = random_tensors(options)
    sample, time = torch.cat([latents, lr], dim=1), torch.tensor([500], device=options.device)
    plain: Any = pipeline(options, reference=True).unet
    expected = Prediction(plain)(sample, time)
    pipe: Any = pipeline(options)
    columns = ("engine", "ms", "ratio to ours", "error, dB")
    report = Report(title=f"D_U, {options.layout}, {options.size}, {options.dtype}", columns=columns, options=options)
    own = 0.0

    def row(name: str, call: Callable[[], Tensor]) -> None:
        nonlocal own
        noise = (call().float() - expected).square().mean()
        taken = seconds(call, options)
        own = own or taken
        error = f"{10 * (expected.square().max() / noise).log10():.0f}" if noise else "equal"
        report.add(name, f"{1e3 * taken:.1f}", f"{own / taken:.2f}", error)

    row("ours", lambda: Prediction(pipe.unet)(sample.to(dtype), time))
    row("the authors' way, float32", lambda: Prediction(plain)(sample, time))
    if options.compiled:
        Execution(compiled=True).arrange(pipe.unet)
        row("torch.compile", lambda: Prediction(pipe.unet)(sample.to(dtype), time))
    if importlib.util.find_spec("openvino") is None:
        report.notes.append("OpenVINO is not installed.")
    elif str(options.device) == "cpu":
        row("OpenVINO", openvino_call(plain, sample, time, PRECISIONS[options.dtype]))
    report.finish()


if __name__ == "__main__":
    main()
