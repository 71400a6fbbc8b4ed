"""Whether the weights are spread over the processes, as accelerate's configuration asks."""

from __future__ import annotations

import os
from typing import Any

from torch import nn
from torch.distributed.tensor import DTensor

from dgafvsr.errors import UsageError
from dgafvsr.training.settings import Precision

__all__ = ["is_sharded"]


def is_sharded(accelerator: Any, stage: nn.Module, precision: Precision) -> bool:
    """Whether FSDP spreads the weights over the processes; without it every process has all of them.

    Args:
        accelerator: accelerate's.
        stage: what it is going to prepare.
        precision: of the phase.

    Raises:
        UsageError: sharding was asked for in a way that cannot be.
    """
    kind = str(accelerator.distributed_type.value)
    if kind != "FSDP":
        asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
        if asked and accelerator.num_processes > 1:  # accelerate would go on with DDP, and say nothing
            raise UsageError(
                "FSDP was asked for, but accelerate shards weights on GPUs only",
                got=f"{accelerator.num_processes} processes on {accelerator.device.type} ({kind})",
                expected="a GPU for each process",
                remedy="leave FSDP out of accelerate's configuration",
            )
        return False
    if not accelerator.is_fsdp2:
        raise UsageError("FSDP of version 1 flattens the weights", remedy="set fsdp_version to 2 in accelerate's file")
    if precision == "fp16":
        raise UsageError("FSDP trains in bf16 or float32 here", got="precision fp16", remedy="choose bf16 or no")
    if any(isinstance(parameter, DTensor) for parameter in stage.parameters()):
        raise UsageError(
            "FSDP trains recipes of one phase here",
            got="networks that are spread over the processes since the phase before",
            expected="guidance-sdx4 or stablevsr",
            remedy="leave FSDP out of accelerate's configuration, and go on with --resume",
        )
    _check_cuts(accelerator.state.fsdp_plugin)
    return True


def _check_cuts(plugin: Any) -> None:
    """Refuse cuts by size: they take lists of blocks, which nobody calls, for networks."""
    from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy

    policy = plugin.auto_wrap_policy
    if getattr(policy, "func", policy) is size_based_auto_wrap_policy and plugin.min_num_params:
        raise UsageError(
            "FSDP cannot cut these networks by size",
            got="SIZE_BASED_WRAP in accelerate's file",
            expected="NO_WRAP, or TRANSFORMER_BASED_WRAP",
            remedy="set fsdp_auto_wrap_policy to TRANSFORMER_BASED_WRAP and fsdp_transformer_layer_cls_to_wrap to "
            "ResnetBlock2D",
        )
