"""What the speed and memory benchmarks share: models to measure, the authors' path to compare with, reports.

Every benchmark prints a Markdown table with a ratio against the reference path in the same run, under a line that says
on what machine and with which versions, and with `--write` keeps it as benchmarks/results/DATE-NAME.md. The reference
path is the authors': frame by frame in float32, batch 1, networks as written, OGWM with its x4 tensors, all flows kept
at full size.

`--layout tiny` is the packaged model; `--layout sdx4` has the configuration of the SD x4 upscaler with random weights,
since time and memory do not depend on what was learnt.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from numpy.typing import NDArray
from torch import Tensor

from dgafvsr import DGAFVSRPipeline
from dgafvsr.host_memory import keep_freed_memory, return_freed_memory
from dgafvsr.models.execution import REFERENCE
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.guided_unet import GuidedUNet
from dgafvsr.sampling.ogwm import OGWM

RESULTS = Path(__file__).parent / "results"


class HighResolutionOGWM(OGWM):
    """OGWM as the authors compute it: enlarged four times, warped, reduced; the whole flow is kept."""

    @property
    def fused(self) -> bool:
        """Never."""
        return False


class ConstantPrompt:
    """Stands in for SD-x4's text encoder and tokenizer, which run once a call and are not what is measured."""

    model_max_length, device = 77, torch.device("cpu")

    def __init__(self) -> None:
        self.embedding = torch.randn(1, 77, 1024, generator=torch.Generator().manual_seed(0))

    def modules(self) -> Iterator[Any]:
        """None, as it is no network."""
        return iter(())

    def parameters(self) -> Iterator[Tensor]:
        """What says where it is."""
        return iter([self.embedding])

    def buffers(self) -> Iterator[Tensor]:
        """None."""
        return iter(())

    def __call__(self, prompt: Any, **options: Any) -> Any:
        """Tokens of a text, or the embedding of tokens."""
        if isinstance(prompt, str):
            return SimpleNamespace(input_ids=torch.zeros(1, 77, dtype=torch.long))
        return (self.embedding.to(prompt.device),)


def parser(name: str, description: str, *, size: str = "320x180", frames: int = 6) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    raw = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(prog=f"{name}.py", description=description, formatter_class=raw)
    made.add_argument("--layout", choices=["tiny", "sdx4"], default="tiny")
    made.add_argument("--size", default=size, help="of LR frames")
    made.add_argument("--frames", type=int, default=frames)
    made.add_argument("--repeats", type=int, default=3, help="runs of which the median counts, after one to warm up")
    made.add_argument("--threads", type=int, default=None, help="of torch; its own choice without")
    made.add_argument("--device", default="cpu")
    made.add_argument("--dtype", default="bfloat16", help="of our path; the reference is float32")
    made.add_argument("--processor-time", action="store_true", help="for busy machines: CPU seconds of this process")
    made.add_argument("--write", action="store_true", help=f"keep the report in {RESULTS.name}/")
    return made


def options_of(made: argparse.ArgumentParser, words: Sequence[str] | None) -> argparse.Namespace:
    """The parsed options, with width, height and the command line itself; sets the number of threads."""
    options = settle(made, words)
    options.width, options.height = map(int, options.size.split("x"))
    return options


def settle(made: argparse.ArgumentParser, words: Sequence[str] | None, **further: Any) -> argparse.Namespace:
    """The parsed options with what a `Report` needs of them, for benchmarks with options of their own too."""
    options = made.parse_args(words)
    for name, value in further.items():
        setattr(options, name, value)
    options.name = made.prog.removesuffix(".py")
    options.command = shlex.join(["python", f"benchmarks/{made.prog}", *(sys.argv[1:] if words is None else words)])
    if options.threads:
        torch.set_num_threads(options.threads)
    return options


def pipeline(
    options: argparse.Namespace, *, reference: bool = False, keep_memory: bool | None = None
) -> DGAFVSRPipeline:
    """The model of the layout, run our way or the reference's.

    Our way keeps freed memory unless told otherwise; where it is made before the reference is measured, the reference
    gains from that too.
    """
    if not reference if keep_memory is None else keep_memory:
        keep_freed_memory()
    dtype = torch.float32 if reference else getattr(torch, options.dtype)
    pipe = DGAFVSRPipeline.from_pretrained(torch_dtype=dtype) if options.layout == "tiny" else _sdx4().to(dtype)
    pipe.set_progress_bar_config(disable=True)
    if reference:
        pipe.execution = REFERENCE
        pipe.ogwm = HighResolutionOGWM(convention=pipe.config.warp)
    pipe.to(options.device)
    pipe.execution.arrange(pipe.unet, pipe.guidance, pipe.vae)
    return_freed_memory()  # as a job does before its first window
    return pipe


def _sdx4() -> DGAFVSRPipeline:
    torch.manual_seed(0)
    unet = GuidedUNet(
        in_channels=7,
        out_channels=4,
        block_out_channels=(256, 512, 512, 1024),
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
        up_block_types=(*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
        only_cross_attention=(True, True, True, False),
        attention_head_dim=8,
        cross_attention_dim=1024,
        num_class_embeds=1000,
        use_linear_projection=True,
    ).eval()
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(128, 256, 512),
        layers_per_block=2,
        latent_channels=4,
        scaling_factor=0.08333,
    ).eval()
    prompt, scheduler = ConstantPrompt(), DDIMScheduler(beta_schedule="scaled_linear", prediction_type="v_prediction")
    guidance = GuidanceUNet.from_denoiser(unet).eval()
    pipe = DGAFVSRPipeline(unet, vae, scheduler, guidance, prompt, prompt, default_steps=50, flow="dis")
    for part in (unet, guidance, vae):
        part.requires_grad_(False)
    return pipe


def clip(options: argparse.Namespace, frames: int | None = None) -> NDArray[np.uint8]:
    """A texture that moves by two pixels a frame, so that flow has something to find: T H W 3 uint8."""
    count, rng = frames or options.frames, np.random.default_rng(0)
    shape = (options.height + 2 * count, options.width + 2 * count)
    coarse = rng.integers(0, 256, (shape[0] // 4 + 1, shape[1] // 4 + 1, 3), dtype=np.uint8)
    texture = coarse.repeat(4, axis=0).repeat(4, axis=1)
    return np.stack([texture[2 * t : 2 * t + options.height, 2 * t : 2 * t + options.width] for t in range(count)])


def random_tensors(options: argparse.Namespace, batch: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Latents B 4 h w, LR frames B 3 h w in [-1, 1] and flows B 2 4h 4w of about 8 pixels."""
    generator = torch.Generator().manual_seed(1)
    height, width = options.height, options.width
    latents = torch.randn(batch, 4, height, width, generator=generator)
    lr = torch.rand(batch, 3, height, width, generator=generator) * 2 - 1
    flow = 8 * torch.randn(batch, 2, 4 * height, 4 * width, generator=generator)
    return latents.to(options.device), lr.to(options.device), flow.to(options.device)


def seconds(call: Callable[[], Any], options: argparse.Namespace) -> float:
    """Median time of a call, after one to warm up."""
    clock = time.process_time if options.processor_time else time.perf_counter
    times = []
    for _ in range(options.repeats + 1):
        start = clock()
        call()
        if str(options.device).startswith("cuda"):
            torch.cuda.synchronize()
        times.append(clock() - start)
    return statistics.median(times[1:])


@dataclass(kw_only=True)
class Report:
    """A table with what a reader needs to trust it."""

    title: str
    """What was asked, in a line."""
    columns: Sequence[str]
    """Heads of the columns."""
    options: argparse.Namespace
    """Of the run."""
    rows: list[Sequence[str]] = field(default_factory=list)
    """Cells as text."""
    notes: list[str] = field(default_factory=list)
    """Lines below the table."""

    def add(self, *cells: str) -> None:
        """A row, printed at once."""
        assert len(cells) == len(self.columns), "one cell a column"
        if not self.rows:
            print(self._head(), flush=True)
        self.rows.append(cells)
        print(_line(cells), flush=True)

    def finish(self) -> None:
        """Print the notes; keep the whole where that was asked for."""
        below = "".join(f"\n{note}\n" for note in self.notes)
        print(below)
        if self.options.write:
            RESULTS.mkdir(exist_ok=True)
            layout = "" if self.options.layout == "tiny" else f"-{self.options.layout}"
            file = RESULTS / f"{datetime.date.today().isoformat()}-{self.options.name}{layout}.md"
            text = "\n".join([self._head(), *map(_line, self.rows)]) + "\n" + below
            file.write_text(text, encoding="utf-8")

    def _head(self) -> str:
        clock = "CPU seconds of the process" if self.options.processor_time else "wall time"
        facts = [
            f"# {self.title}",
            f"`{self.options.command}`",
            f"{datetime.date.today().isoformat()}, {_machine(self.options)}; {_versions()}; times are {clock}",
        ]
        rule = "|" + "---|" * len(self.columns)
        return "\n\n".join([*facts, _line(self.columns) + "\n" + rule])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _machine(options: argparse.Namespace) -> str:
    from dgafvsr.apps.cli.devices import available_devices

    wanted = str(options.device) if ":" in str(options.device) or options.device == "cpu" else f"{options.device}:0"
    found = next((device.model for device in available_devices() if device.name == wanted), platform.machine())
    load = f", load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores" if hasattr(os, "getloadavg") else ""
    return f"{wanted}: {found}{load}"


def _versions() -> str:
    import diffusers

    here = Path(__file__).parent
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True)
    commit = f"commit {asked.stdout.strip()}, " if asked.returncode == 0 else ""
    return f"{commit}torch {torch.__version__}, diffusers {diffusers.__version__}, Python {platform.python_version()}"
