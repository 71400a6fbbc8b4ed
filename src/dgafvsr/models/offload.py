"""Networks whose weights are elsewhere until they run: accelerate's hooks, as diffusers' offload sets them.

    model       A whole network comes to its device when it is called. D_U makes room for the VAE; G_U, which takes
                turns with D_U at every visit, stays beside them until the end of the call.
    sequential  Every layer comes alone, and goes when it has run.

In between weights lie on the CPU or are placeholders on torch's meta device. A network's own `device` then says where
its weights wait, not where it runs. The numbers are the same as without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

__all__ = [
    "Offload",
    "Offloadable",
    "device_weight_bytes",
    "is_offloaded",
    "offload_of",
    "placed",
    "runs_on",
    "weights_of",
]

Offload = Literal["none", "model", "sequential"]
P = TypeVar("P")


class Offloadable:
    """What a pipeline with a `unet` adds to diffusers' offload; mixed in before its class."""

    # G_U is not in it: diffusers would have it make room for D_U, and move it to the device anew at every visit.
    model_cpu_offload_seq = "text_encoder->unet->vae"

    @property
    def device(self) -> torch.device:
        """Where the networks compute, wherever their weights wait."""
        given: Any = self
        return runs_on(given.unet)

    def enable_sequential_cpu_offload(self, *args: Any, **options: Any) -> None:
        """As diffusers'; the weights are stored as they will be run while they are at hand."""
        given: Any = self
        replace(given.execution, compiled=False).arrange(given.unet, given.guidance, given.vae)
        parent: Any = super()
        parent.enable_sequential_cpu_offload(*args, **options)


def placed(pipeline: P, device: torch.device | str, offload: Offload = "none") -> P:
    """The pipeline, ready to compute on the device, with its weights there or waiting on the CPU.

    Args:
        pipeline: diffusers', or anything with `to` that is not offloaded.
        device: where the networks run.
        offload: whether weights come and go; needs accelerate.

    Raises:
        ModuleNotFoundError: accelerate is not installed.
    """
    given: Any = pipeline
    if offload == "none":
        return given.to(device)
    import accelerate  # noqa: F401  diffusers would say that a version of it is missing

    enable = given.enable_model_cpu_offload if offload == "model" else given.enable_sequential_cpu_offload
    enable(device=device)
    return given


def is_offloaded(network: nn.Module) -> bool:
    """Whether its weights come and go by hooks."""
    return any(_hooked_device(module) is not None for module in network.modules())


def offload_of(networks: Iterable[nn.Module]) -> Offload:
    """How the weights of networks come and go."""
    hooked = [network for network in networks if is_offloaded(network)]
    if any(weight.is_meta for network in hooked for weight in network.parameters()):
        return "sequential"
    return "model" if hooked else "none"


def runs_on(network: nn.Module) -> torch.device:
    """The device on which it computes."""
    for module in network.modules():
        device = _hooked_device(module)
        if device is not None:
            return device
    return next(network.parameters()).device


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Its state dict, with the weights that wait elsewhere in the place of their placeholders."""
    state = dict(network.state_dict())
    for prefix, module in network.named_modules(remove_duplicate=False):
        kept = next((hook.weights_map for hook in _hooks(module) if getattr(hook, "weights_map", None)), None)
        for name in (*module._parameters, *module._buffers):
            key = f"{prefix}.{name}" if prefix else name
            if kept is not None and key in state and state[key].is_meta:
                state[key] = kept[name]
    return state


def device_weight_bytes(networks: Mapping[str, nn.Module], offload: Offload, *, decodes_at_visits: bool) -> int:
    """Of the weights that are on the device at the same time, the most.

    Args:
        networks: of a pipeline, by the names of its components.
        offload: how they come and go.
        decodes_at_visits: whether the guidance decodes at every visit, so that the VAE stays as well.
    """
    if offload == "sequential":
        layers = (module for network in networks.values() for module in network.modules())
        return max(sum(map(_bytes, module.parameters(recurse=False))) for module in layers)
    sizes = {name: sum(map(_bytes, network.parameters())) for name, network in networks.items()}
    if offload == "none" or decodes_at_visits:
        return sum(sizes.values())
    staying = sizes.pop("guidance", 0)
    return staying + max(sizes.values())


def _bytes(weight: Tensor) -> int:
    return weight.numel() * weight.element_size()


def _hooks(module: nn.Module) -> Iterator[Any]:
    """Hooks of accelerate on a module, those inside of a chain alone."""
    hook = getattr(module, "_hf_hook", None)
    if hook is not None:
        yield from getattr(hook, "hooks", (hook,))


def _hooked_device(module: nn.Module) -> torch.device | None:
    device = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
    return None if device is None else torch.device(device)
