"""Where the networks run, with how many bits and with which flow, from what the user asked for and the machine has."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
import typer

from dgafvsr.errors import UsageError
from dgafvsr.flow.estimator import FlowEstimatorName
from dgafvsr.models.compiling import compiler_fault
from dgafvsr.models.execution import Execution
from dgafvsr.models.offload import Offload

__all__ = [
    "DTYPES",
    "Device",
    "available_devices",
    "check_flow",
    "check_threads",
    "choose_device",
    "choose_dtype",
    "choose_offload",
    "compiled_where_possible",
    "use_threads",
]

DTYPES: Mapping[str, torch.dtype] = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
}


MOST_THREADS = 1024
"""More than any processor has; far more, and the system refuses to start them, which ends the process."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device that torch can use here."""

    name: str
    """torch's name of it: `cuda:0`, `mps`, `cpu`."""
    model: str
    """What it is, in its maker's words."""
    memory_bytes: int | None
    """Memory in all, None where unknown."""


def available_devices() -> tuple[Device, ...]:
    """The devices of this machine, the one that `auto` takes first."""
    devices = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            devices.append(
                Device(name=f"cuda:{index}", model=properties.name, memory_bytes=int(properties.total_memory))
            )
    if torch.backends.mps.is_available():
        devices.append(Device(name="mps", model="Apple GPU", memory_bytes=_machine_memory_bytes()))
    processor = f"{_processor_name()}, {torch.get_num_threads()} threads"
    return (*devices, Device(name="cpu", model=processor, memory_bytes=_machine_memory_bytes()))


def choose_device(name: str) -> torch.device:
    """The device of that name.

    Args:
        name: `auto` (the first of CUDA, MPS and CPU that is there), `cuda`, `cuda:1`, `mps` or `cpu`.

    Raises:
        UsageError: unknown, or not on this machine.
    """
    names = [device.name for device in available_devices()]
    if name == "auto":
        return torch.device(names[0])
    if name == "cuda" and "cuda:0" in names:
        return torch.device("cuda:0")
    if name not in names:
        raise UsageError(
            f"There is no device {name} on this machine",
            expected=f"auto or one of {', '.join(names)}",
            remedy="leave --device out, or see `dgafvsr info`",
        )
    return torch.device(name)


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The type of the weights.

    Args:
        name: `auto` (bfloat16 on GPUs and processors that compute in it, float16 on older NVIDIA GPUs, float32
            elsewhere), or one of `DTYPES`.
        device: where the networks run.

    Raises:
        UsageError: unknown.
    """
    if name == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        return torch.bfloat16 if device.type == "cpu" and _processor_computes_bfloat16() else torch.float32
    if name not in DTYPES:
        raise UsageError("The dtype is unknown", got=name, expected=f"auto or one of {', '.join(sorted(DTYPES))}")
    return DTYPES[name]


def check_flow(name: str | None) -> None:
    """Raise UsageError unless an optical flow estimator has that name, or None is given."""
    names = get_args(FlowEstimatorName)
    if name is not None and name not in names:
        raise UsageError("The optical flow is unknown", got=name, expected=f"one of {', '.join(names)}")


def choose_offload(name: str, device: torch.device) -> Offload:
    """How weights come and go; says in one line where there is nothing to be saved by it, and leaves it out.

    Args:
        name: `none`, `model` or `sequential`.
        device: where the networks run.

    Raises:
        UsageError: unknown, or accelerate is not installed.
    """
    found: Offload | None = next((each for each in get_args(Offload) if each == name), None)
    if found is None:
        names = ", ".join(get_args(Offload))
        raise UsageError("The offload is unknown", got=name, expected=f"one of {names}")
    if found == "none":
        return found
    if device.type != "cuda":
        typer.echo(f"note: nothing is offloaded from {device.type}, which has no memory of its own", err=True)
        return "none"
    if importlib.util.find_spec("accelerate") is None:
        raise UsageError("--offload needs accelerate", remedy='pip install "dgafvsr[offload]"')
    return found


def compiled_where_possible(device: torch.device, offload: Offload = "none") -> Execution:
    """How to run compiled networks there; says in one line where nothing can be compiled, and leaves it out."""
    fault = compiler_fault(device.type) if offload == "none" else "the weights are offloaded"
    if fault is not None:
        typer.echo(f"note: nothing can be compiled for {device.type} here ({fault}); going on without", err=True)
    return Execution(compiled=fault is None)


def check_threads(count: int | None) -> None:
    """Raise UsageError unless a process can compute with so many threads, or None is given."""
    if count is not None and not 1 <= count <= MOST_THREADS:
        raise UsageError(
            "The number of threads is impossible",
            got=count,
            expected=f"1 to {MOST_THREADS}",
            remedy="leave --threads out to use every core",
        )


def use_threads(count: int | None) -> None:
    """Have this process compute with so many threads of the processor: torch, and OpenCV, which estimates flow.

    Decoding beside the sampling has as many again; reading and encoding films have threads of their own. Flow does not
    depend on the number, sums of the networks may by their rounding, as on the machine's number of cores.

    Args:
        count: at least 1; None leaves torch and OpenCV their own choice, one for each core.

    Raises:
        UsageError: out of its range.
    """
    check_threads(count)
    if count is not None:
        import cv2

        torch.set_num_threads(count)
        cv2.setNumThreads(count)


def _machine_memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not a POSIX system
        return None


def _processor_name() -> str:
    return _processor_facts().get("model name", "processor")


def _processor_computes_bfloat16() -> bool:
    """Whether bfloat16 is faster than float32 here: on the packaged model about twice, at 60 dB of its result."""
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(_processor_facts().get("flags", "").split())


def _processor_facts() -> dict[str, str]:
    """What Linux says about the first processor; empty elsewhere."""
    listing = Path("/proc/cpuinfo")
    if not listing.is_file():
        return {}
    first = listing.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
