"""The stages of a U-Net, in the order they run: where G_U is tapped and where D_U is injected.

    down: conv_in output, then every resnet (after its attention, if it has one), then every downsampler
    mid:  after the whole mid block
    up:   every resnet (after its attention, if it has one), then every upsampler

Both networks of the method are walked by these functions, so the k-th tap of one is the k-th injection of the other. A
`Stage` is called with the feature of each stage and returns the feature that goes on: the denoiser's adds a residual,
the guidance network's takes a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from dgafvsr.models.upsampling import can_fuse, double_and_convolve

__all__ = ["Stage", "embed_condition", "walk_down", "walk_mid", "walk_up"]

Stage = Callable[[Tensor], Tensor]


def walk_down(
    blocks: Iterable[nn.Module], hidden: Tensor, emb: Tensor, context: dict[str, Any], stage: Stage
) -> tuple[Tensor, list[Tensor]]:
    """Feature after the down blocks and the skip connections, N C_k h_k w_k each, first one first.

    The skip of the input (conv_in's output) is stored before its stage, every other one after: as the authors do.

    Args:
        blocks: diffusers' down blocks.
        hidden: conv_in's output, N C h w.
        emb: time embedding, N E.
        context: keyword arguments of attentions (the prompt embedding).
        stage: called once a stage.
    """
    skips = [hidden]
    hidden = stage(hidden)
    for block in blocks:
        for resnet, attention in _layers(block):
            hidden = stage(_layer(block, resnet, attention, hidden, emb, context))
            skips.append(hidden)
        for downsampler in block.downsamplers or ():  # type: ignore[operator, union-attr]
            hidden = stage(downsampler(hidden))
            skips.append(hidden)
    return hidden, skips


def walk_mid(block: nn.Module | None, hidden: Tensor, emb: Tensor, context: dict[str, Any]) -> Tensor:
    """Feature after the mid block, N C h w; unchanged for a network without one."""
    if block is None:
        return hidden
    if getattr(block, "has_cross_attention", False):
        return block(hidden, emb, **context)
    return block(hidden, emb)


def walk_up(
    blocks: Iterable[nn.Module],
    hidden: Tensor,
    skips: list[Tensor],
    emb: Tensor,
    context: dict[str, Any],
    stage: Stage,
    *,
    fused: bool = False,
) -> Tensor:
    """Feature after the up blocks, N C h w.

    Upsamplers aim at the size of the skip that follows, so no side has to be a multiple of anything. (Where every side
    can be halved as often as needed this is plain doubling, and then it is also asked for that way: the same kernel as
    upstream.) With `fused` the doubling and its convolution are one (`upsampling.py`).
    """
    skips = list(skips)
    for block in blocks:
        for resnet, attention in _layers(block):
            merged = torch.cat([hidden, skips.pop()], dim=1)
            hidden = stage(_layer(block, resnet, attention, merged, emb, context))
        for upsampler in block.upsamplers or ():  # type: ignore[operator, union-attr]
            target = skips[-1].shape[2:]
            doubled = target == torch.Size(2 * side for side in hidden.shape[2:])
            if fused and doubled and can_fuse(upsampler):
                hidden = stage(double_and_convolve(upsampler, hidden))
            else:
                hidden = stage(upsampler(hidden, None if doubled else target))
    return hidden


def embed_condition(network: Any, sample: Tensor, timestep: Tensor | float, class_labels: Tensor | None) -> Tensor:
    """Time embedding plus, where the network has one, the class (noise level) embedding: N E."""
    emb = network.time_embedding(network.get_time_embed(sample=sample, timestep=timestep))
    class_emb = network.get_class_embed(sample=sample, class_labels=class_labels)
    return emb if class_emb is None else emb + class_emb


def _layers(block: Any) -> Iterable[tuple[nn.Module, nn.Module | None]]:
    resnets = list(block.resnets)
    attentions = list(block.attentions) if getattr(block, "has_cross_attention", False) else [None] * len(resnets)
    return zip(resnets, attentions, strict=True)


def _layer(
    block: Any, resnet: nn.Module, attention: nn.Module | None, hidden: Tensor, emb: Tensor, context: dict[str, Any]
) -> Tensor:
    if torch.is_grad_enabled() and getattr(block, "gradient_checkpointing", False):
        hidden = block._gradient_checkpointing_func(resnet, hidden, emb)
    else:
        hidden = resnet(hidden, emb)
    return hidden if attention is None else attention(hidden, **context, return_dict=False)[0]
