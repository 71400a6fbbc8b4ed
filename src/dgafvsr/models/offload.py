"""Networks whose weights are elsewhere until they run: accelerate's hooks, as diffusers' offload sets them.

`enable_model_cpu_offload` moves a whole network to its device when it is called, `enable_sequential_cpu_offload` every
layer alone; in between weights lie on the CPU or are placeholders on torch's meta device. A network's own `device` then
says where its weights wait, not where it runs.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["is_offloaded", "runs_on"]


def is_offloaded(network: nn.Module) -> bool:
    """Whether its weights come and go by hooks."""
    return any(_hooked_device(module) is not None for module in network.modules())


def runs_on(network: nn.Module) -> torch.device:
    """The device on which it computes."""
    for module in network.modules():
        device = _hooked_device(module)
        if device is not None:
            return device
    return next(network.parameters()).device


def _hooked_device(module: nn.Module) -> torch.device | None:
    device = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
    return None if device is None else torch.device(device)
