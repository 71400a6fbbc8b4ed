"""Reading one network strictly: its configuration, its safetensors, and nothing else.

diffusers' own loader fills what a file lacks with random numbers and says so in a log; here every name, shape and value
has to fit, and the error names the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from dgafvsr.errors import ModelError

__all__ = ["load_network", "load_weights", "read_json"]

Network = TypeVar("Network", bound=nn.Module)

WEIGHTS = "diffusion_pytorch_model.safetensors"


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a model folder; ModelError names the file if it is missing or is not one."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"The model folder {file.parent} lacks the file {file.name}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read", got=error, expected="a JSON object") from error
    if not isinstance(value, dict):
        raise ModelError(f"{file} is not a model's configuration", got=type(value).__name__, expected="a JSON object")
    return value


def load_network(
    folder: Path,
    network_class: type[Network],
    dtype: torch.dtype,
    *,
    config: Callable[[dict[str, Any], set[str]], dict[str, Any]] | None = None,
    rename: Callable[[str], str] | None = None,
) -> Network:
    """A network in eval mode, from a folder with config.json and safetensors.

    Args:
        folder: the part's folder.
        network_class: a diffusers ModelMixin that is also a ConfigMixin.
        dtype: type of the weights in memory.
        config: turns the file's configuration (and the weights' names) into the constructor's arguments.
        rename: turns a weight's name in the file into its name in the network.

    Raises:
        ModelError: the configuration or the weights are missing, damaged or do not fit; the message names the file.
    """
    settings = read_json(folder / "config.json")
    weights = load_weights(folder)
    if rename is not None:
        weights = {rename(key): value for key, value in weights.items()}
    if config is not None:
        settings = config(settings, set(weights))
    try:
        with torch.device("meta"):
            network = network_class.from_config(settings)  # type: ignore[attr-defined]
    except (TypeError, ValueError, NotImplementedError, ZeroDivisionError, IndexError) as error:
        raise ModelError(f"{folder / 'config.json'} describes no {network_class.__name__}", got=error) from error
    _check_fit(weights, network, folder)
    # A copy, because a tensor that stays in the mapped file is aligned as the file happens to be, and the CPU's kernels
    # round differently for it: the same weights would give other frames after being saved again.
    network.load_state_dict({key: value.to(dtype, copy=True) for key, value in weights.items()}, assign=True)
    return network.eval().requires_grad_(False)


def load_weights(folder: Path, name: str = WEIGHTS) -> dict[str, Tensor]:
    """Every tensor of a part, from one file or from the shards that its index lists.

    Raises:
        ModelError: a file is missing, cut off or not safetensors, or holds values that are not finite.
    """
    index = folder / f"{name}.index.json"
    files = sorted(set(read_json(index)["weight_map"].values())) if index.is_file() else [name]
    weights: dict[str, Tensor] = {}
    for file in files:
        weights |= _read_file(folder / file)
    return weights


def _read_file(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        pickled = sorted(p.name for p in file.parent.glob("*") if p.suffix in (".bin", ".pt", ".ckpt", ".pth"))
        raise ModelError(
            f"The model folder {file.parent} lacks its weights {file.name}",
            got=f"only {', '.join(pickled)}, which is never unpickled" if pickled else None,
            remedy="get the safetensors version of this model" if pickled else "download the model again",
        )
    weights: dict[str, Tensor] = {}
    try:
        with safe_open(file, framework="pt") as stored:
            for key in stored.keys():  # noqa: SIM118  safe_open has no iterator
                weights[key] = stored.get_tensor(key)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{file} is damaged or cut off", got=error, expected="a safetensors file", remedy="download the model again"
        ) from error
    for key, value in weights.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ModelError(f"{file} holds values that are not numbers", got=f"NaN or infinity in {key}")
    return weights


def _check_fit(weights: dict[str, Tensor], network: nn.Module, folder: Path) -> None:
    expected = network.state_dict()
    missing = sorted(expected.keys() - weights.keys())
    unknown = sorted(weights.keys() - expected.keys())
    if missing or unknown:
        raise ModelError(
            f"The weights in {folder} do not fit their configuration",
            got=f"{len(missing)} missing ({_some(missing)}), {len(unknown)} unknown ({_some(unknown)})",
            expected=f"the {len(expected)} tensors of {type(network).__name__}",
        )
    for key, value in expected.items():
        if weights[key].shape != value.shape:
            raise ModelError(
                f"The weights in {folder} do not fit their configuration",
                got=f"{key} of shape {tuple(weights[key].shape)}",
                expected=f"shape {tuple(value.shape)}",
            )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"
