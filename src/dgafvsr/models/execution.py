"""How networks are run: the same weights and the same mathematics, arranged for the speed of the hardware.

    channels-last      The channels of a pixel lie side by side, as the convolutions of oneDNN and cuDNN want them. The
                       result differs from the usual order by rounding only.
    fused upsampling   Doubling by repetition and the 3x3 convolution behind it are one transposed convolution
                       (`upsampling.py`): 4 / 9 of the multiplications, rounding apart the same. On the CPU only.
    constant prompt    The method's prompt never changes, so keys and values of cross-attentions are computed once
                       (`prompt_attention.py`). The same numbers.
    compiled           torch.compile; on CUDA with graphs. It needs a compiler, and minutes for each new size of frame.
                       Networks that are offloaded run uncompiled: a graph reads its weights where it found them.

Attention itself is `scaled_dot_product_attention` everywhere, which is diffusers' own default. Latents, the scheduler,
OGWM and the sum of picture and detail in the packaged autoencoder are float32 whatever the networks' type.
benchmarks/step.py measures each line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dgafvsr.models.compiling import Compilable, compile_networks, run_uncompiled
from dgafvsr.models.offload import runs_on
from dgafvsr.models.prompt_attention import attend_to_constant_prompt

__all__ = ["REFERENCE", "Execution"]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What of the above is done.

    Example:
        >>> pipe = DGAFVSRPipeline.from_pretrained()
        >>> pipe.execution = Execution(compiled=True)
    """

    channels_last: bool = True
    """Whether weights, and with them everything that flows through a network, are stored channels-last."""
    fused_upsampling: bool = True
    """Whether D_U and G_U double and convolve in one step, where they run on the CPU."""
    constant_prompt: bool = True
    """Whether keys and values of a prompt are computed once."""
    compiled: bool = False
    """Whether D_U and G_U are compiled."""

    def arrange(self, *networks: nn.Module | None) -> None:
        """Have the networks run so, from now on. Values, types, devices and what is saved of them do not change.

        Costs next to nothing where it has been done before.
        """
        given: list[Any] = [network for network in networks if network is not None]
        for network in given:
            _store(network, torch.channels_last if self.channels_last else torch.contiguous_format)
            if hasattr(network, "fused_upsampling"):
                network.fused_upsampling = self.fused_upsampling and _can_fuse(network)
            if hasattr(network, "set_attn_processor"):
                attend_to_constant_prompt(network, wanted=self.constant_prompt)
        compilable = [network for network in given if isinstance(network, Compilable)]
        (compile_networks if self.compiled else run_uncompiled)(compilable)


REFERENCE = Execution(channels_last=False, fused_upsampling=False, constant_prompt=False)
"""As the authors run them: what benchmarks compare with."""


def _store(network: nn.Module, memory_format: torch.memory_format) -> None:
    if _has_placeholders(network):
        return  # offloaded by accelerate, which puts the weights in place as it has kept them
    with torch.inference_mode(False), torch.no_grad():  # weights must stay ordinary tensors
        _make_ordinary(network)
        network.to(memory_format=memory_format)  # type: ignore[call-overload]


def _make_ordinary(network: nn.Module) -> None:
    """Copy weights that were loaded in inference mode: oneDNN asks weights for a version, which those do not have."""
    for module in network.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight.is_inference():
                setattr(module, name, nn.Parameter(weight.clone(), requires_grad=weight.requires_grad))


def _can_fuse(network: nn.Module) -> bool:
    """On the CPU, where weights can be read outside of the layer that they belong to."""
    return runs_on(network).type == "cpu" and not _has_placeholders(network)


def _has_placeholders(network: nn.Module) -> bool:
    return any(weight.is_meta for weight in network.parameters())
