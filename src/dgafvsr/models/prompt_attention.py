"""Cross-attention to a prompt that does not change: its keys and values are computed once.

The method gives every frame and step the same prompt (`prompt.py`), so to_k(prompt) and to_v(prompt) are constants. An
attention processor, which is diffusers' own place for such things, keeps them for as long as prompt and weights stay
the very same tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor
from torch.nn import functional as F

__all__ = ["ConstantPromptAttention", "attend_to_constant_prompt"]


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """Keys and values, and what they were made of: the prompt is held so that nothing else can take its place."""

    prompt: Tensor
    state: tuple[Any, ...]
    key: Tensor
    value: Tensor


class ConstantPromptAttention(AttnProcessor2_0):
    """diffusers' scaled dot-product attention, for one attention, with the keys and values of its prompt kept.

    Whatever is no plain cross-attention to one prompt for the whole batch without gradients (self-attention, masks,
    unusual norms) goes to diffusers' own code.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: _Kept | None = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        *args: Any,
        **options: Any,
    ) -> Tensor:
        """Arguments and result as diffusers': hidden states N S C and a prompt N L D -> N S C.

        `temb`, which only spatial norms read, has its name here because diffusers says of others that they are ignored.
        """
        prompt = encoder_hidden_states
        if prompt is None or attention_mask is not None or not _is_constant(prompt) or not _is_plain(attn):
            return super().__call__(attn, hidden_states, prompt, attention_mask, temb, *args, **options)
        batch = len(hidden_states)
        query = _heads(attn.to_q(hidden_states), attn.heads)
        key, value = (kept.expand(batch, -1, -1, -1) for kept in self._keys_and_values(attn, prompt))
        attended = F.scaled_dot_product_attention(query, key, value)
        attended = attended.transpose(1, 2).flatten(2).to(query.dtype)
        return attn.to_out[1](attn.to_out[0](attended))

    def _keys_and_values(self, attn: Any, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """Of one prompt, each 1 heads L C / heads."""
        state = tuple(_identity(tensor) for tensor in (prompt, attn.to_k.weight, attn.to_v.weight))
        kept = self._kept
        if kept is None or kept.state != state:
            one = prompt[:1]
            key, value = (_heads(linear(one), attn.heads) for linear in (attn.to_k, attn.to_v))
            kept = self._kept = _Kept(prompt=prompt, state=state, key=key, value=value)
        return kept.key, kept.value


def attend_to_constant_prompt(network: Any, *, wanted: bool) -> None:
    """Give every attention of a diffusers network this processor, or diffusers' own; other processors stay."""
    ours, theirs = ConstantPromptAttention, AttnProcessor2_0
    make, replaced = (ours, theirs) if wanted else (theirs, ours)
    processors = network.attn_processors
    if any(type(processor) is replaced for processor in processors.values()):
        network.set_attn_processor(
            {name: make() if type(each) is replaced else each for name, each in processors.items()}
        )


def _is_constant(prompt: Tensor) -> bool:
    """Whether it is one prompt for the whole batch, whose changes would be noticed."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or prompt.is_inference():
        return False
    return prompt.ndim == 3 and (len(prompt) == 1 or prompt.stride(0) == 0)


def _is_plain(attn: Any) -> bool:
    norms = (attn.spatial_norm, attn.group_norm, attn.norm_q, attn.norm_k, attn.norm_cross)
    return all(norm is None for norm in norms) and not attn.residual_connection and attn.rescale_output_factor == 1


def _identity(tensor: Tensor) -> tuple[Any, ...]:
    """Changes when the tensor becomes another one or is written to."""
    version = None if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), tensor.shape, tensor.dtype, tensor.device, version


def _heads(projected: Tensor, heads: int) -> Tensor:
    """N L C -> N heads L C / heads."""
    return projected.unflatten(2, (heads, -1)).transpose(1, 2)
