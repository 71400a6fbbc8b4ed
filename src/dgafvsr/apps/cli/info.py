"""`dgafvsr info`: versions, devices, the packaged model, and what can be used here."""

from __future__ import annotations

import importlib.util
import json
import math
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dgafvsr.apps.cli.border import EXTRAS
from dgafvsr.apps.cli.info_plan import PlanRequest, plan_facts, plan_lines
from dgafvsr.errors import ModelError, UsageError

if TYPE_CHECKING:
    from dgafvsr.apps.cli.devices import Device

__all__ = ["gather", "info"]

PACKAGES = ("dgafvsr", "torch", "torchvision", "diffusers")
NETWORKS = ("unet", "guidance", "vae")


def info(
    plan: Annotated[
        str | None,
        typer.Option(
            "--plan", metavar="WIDTHxHEIGHT", help="Also show which window and tile fit for frames of this size."
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Plan with so much, such as 8GB.", show_default="what is free here"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="FOLDER|HUB_ID", help="Plan for this model.", show_default="the packaged one"),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="Plan for this device; with --memory, also for cuda elsewhere.")
    ] = "auto",
    offload: Annotated[
        str, typer.Option(metavar="none|model|sequential", help="Plan with weights that wait on the CPU.")
    ] = "none",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and library warnings.")] = False,
) -> None:
    """Show versions, devices, the packaged model, and what can be used here."""
    request = _request(plan, model=model, device=device, memory=memory, offload=offload)
    facts = gather()
    if request is not None:
        facts["plan"] = plan_facts(request)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        _show(facts)


def gather() -> dict[str, Any]:
    """The facts, as JSON can hold them.

    Returns:
        `versions`, `devices` (the one that `auto` takes first), `auto` (device and dtype), `model` (None where this
        installation carries none), `extras` (name -> usable) and `encoders` (codec -> usable).
    """
    from dgafvsr.apps.cli.devices import available_devices, choose_device, choose_dtype

    device = choose_device("auto")
    return {
        "versions": _versions(),
        "devices": [_describe(found) for found in available_devices()],
        "auto": {"device": str(device), "dtype": str(choose_dtype("auto", device)).removeprefix("torch.")},
        "model": _packaged_model(),
        "extras": {name: all(map(_installed, modules)) for name, modules in EXTRAS.items()},
        "encoders": _encoders(),
    }


def _request(
    plan: str | None, *, model: str | None, device: str, memory: str | None, offload: str
) -> PlanRequest | None:
    if plan is not None:
        return PlanRequest(size=plan, model=model, device=device, memory=memory, offload=offload)
    if model is not None or memory is not None or device != "auto" or offload != "none":
        raise UsageError(
            "--model, --device, --memory and --offload say what is planned for",
            remedy="add --plan WIDTHxHEIGHT, or leave them out",
        )
    return None


def _versions() -> dict[str, str]:
    import av
    import cv2

    return {
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "PyAV": av.__version__,
        "FFmpeg": str(av.ffmpeg_version_info),
        "OpenCV": cv2.__version__,
    }


def _describe(device: Device) -> dict[str, Any]:
    return {"name": device.name, "model": device.model, "memory_bytes": device.memory_bytes}


def _packaged_model() -> dict[str, Any] | None:
    from dgafvsr.models.checkpoints import packaged_model

    try:
        folder = packaged_model()
    except ModelError:
        return None
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    return {
        "path": str(folder),
        "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        "parameters": {name: _parameters(folder / name) for name in NETWORKS if (folder / name).is_dir()},
        "default_steps": index.get("default_steps"),
        "flow": index.get("flow"),
        "warp": index.get("warp"),
    }


def _parameters(folder: Path) -> int:
    """Numbers in the weight files, read from their headers alone."""
    from safetensors import safe_open

    count = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="np") as tensors:
            count += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    return count


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _encoders() -> dict[str, bool]:
    import av

    from dgafvsr.video.writer import ENCODERS

    return {codec: encoder in av.codecs_available for codec, encoder in ENCODERS.items()}


def _show(facts: dict[str, Any]) -> None:
    width = max(map(len, facts["versions"]))
    _section("versions", [f"{name:<{width}}  {number}" for name, number in facts["versions"].items()])
    _section("devices", [_device_line(device) for device in facts["devices"]])
    _section("auto", [f"device {facts['auto']['device']}, dtype {facts['auto']['dtype']}"])
    _section("packaged model", _model_lines(facts["model"]))
    if "plan" in facts:
        _section(f"plan for {facts['plan']['width']}x{facts['plan']['height']}", plan_lines(facts["plan"]))
    _section(
        "extras",
        [_usable_line(name, usable, f'pip install "dgafvsr[{name}]"') for name, usable in facts["extras"].items()],
    )
    _section(
        "encoders", [_usable_line(name, usable, "not in this FFmpeg") for name, usable in facts["encoders"].items()]
    )


def _section(title: str, lines: list[str]) -> None:
    typer.echo(title)
    for line in lines:
        typer.echo(f"  {line}")


def _device_line(device: dict[str, Any]) -> str:
    memory = device["memory_bytes"]
    return f"{device['name']}  {device['model']}" + (f", {memory / 2**30:.1f} GiB" if memory else "")


def _model_lines(model: dict[str, Any] | None) -> list[str]:
    if model is None:
        return ["none in this installation"]
    parameters = ", ".join(f"{name} {count / 1e6:.2f} M" for name, count in model["parameters"].items())
    return [
        model["path"],
        f"{model['bytes'] / 1e6:.1f} MB, parameters: {parameters}",
        f"{model['default_steps']} steps, flow {model['flow']}, warp {model['warp']}",
    ]


def _usable_line(name: str, usable: bool, remedy: str) -> str:
    return f"{name}  {'usable' if usable else f'missing ({remedy})'}"
