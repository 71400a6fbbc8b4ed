"""`dgafvsr info --plan`: which window and tile fit for frames of a size, here or on another machine."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from dgafvsr.errors import ResourceError, UsageError

if TYPE_CHECKING:
    import torch

    from dgafvsr.models.offload import Offload
    from dgafvsr.pipeline import DGAFVSRPipeline

__all__ = ["PlanRequest", "plan_facts", "plan_lines"]

UNITS = {"MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What is to be planned.

    Raises:
        UsageError: a text that says no size, or no amount of memory.
    """

    size: str
    """WIDTHxHEIGHT of the frames that go in."""
    model: str | None = None
    """A folder or hub id; None is the packaged model."""
    device: str = "auto"
    """As `dgafvsr upscale --device`; with `memory`, also `cuda` where there is none."""
    memory: str | None = None
    """Plan with so much, such as 8GB; None with what is free here."""

    offload: str = "none"
    """As `dgafvsr upscale --offload`."""

    def __post_init__(self) -> None:
        _ = self.sides, self.memory_bytes

    @property
    def sides(self) -> tuple[int, int]:
        """Width and height, in pixels."""
        match = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", self.size)
        if match is None:
            raise UsageError(
                "--plan names no size", got=self.size, expected="WIDTHxHEIGHT in pixels, such as 1920x1080"
            )
        return int(match[1]), int(match[2])

    @property
    def memory_bytes(self) -> int | None:
        """The memory to plan with, None for what is free."""
        if self.memory is None:
            return None
        match = re.fullmatch(rf"(\d+(?:\.\d+)?) ?({'|'.join(UNITS)})", self.memory)
        if match is None or float(match[1]) == 0:
            expected = f"a number and one of {', '.join(UNITS)}, such as 8GB"
            raise UsageError("--memory names no amount of memory", got=self.memory, expected=expected)
        return int(float(match[1]) * UNITS[match[2]])


def plan_facts(request: PlanRequest) -> dict[str, Any]:
    """The plan of the dtype that `dgafvsr upscale` takes there, and beside it those of all others.

    Returns:
        `width`, `height`, `model`, `device`, `offload`, `dtype`, `memory` (`free` or `given`), `available_bytes`, the
        fields of `MemoryPlan`, and `dtypes`: name -> the fields of its plan, or `{"problem": what it needs and what
        would fit}`.

    Raises:
        ResourceError: nothing fits; it says what would be needed and what would fit.
        UsageError: there is no such device.
        ModelError: the model cannot be read.
    """
    from dgafvsr.apps.cli.devices import DTYPES, choose_dtype, choose_offload
    from dgafvsr.jobs.memory import available_bytes
    from dgafvsr.pipeline import DGAFVSRPipeline

    device, elsewhere = _device(request)
    offload = choose_offload(request.offload, device)
    chosen = "bfloat16" if elsewhere else str(choose_dtype("auto", device)).removeprefix("torch.")
    pipe = DGAFVSRPipeline.from_pretrained(request.model, torch_dtype=DTYPES[chosen])
    if request.memory is None and offload == "none":
        pipe.to(device)  # what is free is asked there
    best = _fitting(pipe, request, device, offload)
    plans: dict[str, Any] = {}
    for name, dtype in DTYPES.items():
        for network in pipe.components.values():
            if hasattr(network, "parameters"):
                network.to(dtype=dtype)
        try:
            plans[name] = asdict(_fitting(pipe, request, device, offload))
        except ResourceError as error:
            plans[name] = {"problem": str(error)}
    width, height = request.sides
    return {
        "width": width,
        "height": height,
        "model": request.model or "packaged",
        "device": str(device),
        "offload": offload,
        "dtype": chosen,
        "memory": "free" if request.memory is None else "given",
        "available_bytes": request.memory_bytes or available_bytes(device),
        **asdict(best),
        "dtypes": plans,
    }


def plan_lines(facts: dict[str, Any]) -> list[str]:
    """The same for people."""
    memory = f"{facts['available_bytes'] / 1e9:.1f} GB are {facts['memory']}"
    waiting = "" if facts["offload"] == "none" else f" with {facts['offload']} offload"
    lines = [f"{facts['model']} model on {facts['device']}{waiting}, {memory}"]
    width = max(map(len, facts["dtypes"]))
    for name, plan in facts["dtypes"].items():
        mark = "   <- auto" if name == facts["dtype"] else ""
        lines.append(f"{name:<{width}}  {plan.get('problem') or _described(plan)}{mark}")
    return lines


def _described(plan: dict[str, Any]) -> str:
    together = "one at a time" if plan["lockstep"] == 1 else f"{plan['lockstep']} of them in lockstep"
    tile = "whole frames" if plan["tile"] is None else f"tiles of {plan['tile']} pixels"
    decoding = "decoded beside the next window" if plan["side_by_side"] else "decoded between windows"
    needed = f"about {plan['expected_bytes'] / 1e9:.1f} GB in all"
    return f"windows of {plan['window']} that share {plan['overlap']}, {together}, {tile}, {decoding}: {needed}"


def _device(request: PlanRequest) -> tuple[Any, bool]:
    """The device, and whether it is one that this machine need not have."""
    import torch

    from dgafvsr.apps.cli.devices import choose_device

    if request.memory is not None and request.device == "cuda" and not torch.cuda.is_available():
        return torch.device("cuda"), True
    return choose_device(request.device), False


def _fitting(pipe: DGAFVSRPipeline, request: PlanRequest, device: torch.device, offload: Offload) -> Any:
    from dgafvsr.jobs.memory import available_bytes, plan, plan_pipeline, standing_bytes
    from dgafvsr.jobs.memory_facts import model_facts

    width, height = request.sides
    place: Literal["cpu", "cuda"] = "cuda" if device.type == "cuda" else "cpu"
    if request.memory_bytes is None and offload == "none":
        return plan_pipeline(pipe, width, height)
    memory = request.memory_bytes or available_bytes(device) + standing_bytes(place)
    return plan(width, height, model_facts(pipe, offload=offload), memory, device=place)
