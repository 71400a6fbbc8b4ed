"""A step that cannot be learned from: what is kept of it, and what is said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from dgafvsr.errors import ResourceError
from dgafvsr.training.draws import Draws

__all__ = ["LEAST_SCALE", "can_go_on", "failed_step", "keep_batch"]

LEAST_SCALE: Final = 2.0**-10
"""Of fp16's loss. It starts at 2^16 and is halved at each overflow: so small, it no longer explains one."""


def can_go_on(loss: float, norm: float, *, scale: float | None) -> bool:
    """Whether a step may be taken or, in fp16, skipped.

    Args:
        loss: of the step.
        norm: of its gradients.
        scale: of the loss in fp16, None where it is not scaled.
    """
    # scaled float16 gradients overflow by design; the scaler skips such a step and halves its scale
    is_skipped = scale is not None and scale > LEAST_SCALE
    return math.isfinite(loss) and (is_skipped or math.isfinite(norm))


def keep_batch(path: Path, batch: Mapping[str, Tensor], draws: Draws, notes: Mapping[str, str]) -> str:
    """Save what is needed to see a step again; a sentence that says where it is, or why it is not.

    Args:
        path: the file.
        batch: the process's part of the step.
        draws: of its samples, nothing drawn yet.
        notes: what else is known, as text.
    """
    tensors = {f"batch.{key}": value.detach().cpu().contiguous() for key, value in batch.items()}
    tensors["samples"] = torch.tensor(draws.samples)
    tensors["generators"] = torch.stack([generator.get_state() for generator in draws.generators])
    try:
        save_file(tensors, path, metadata=dict(notes))
    except (OSError, SafetensorError) as error:
        return f"the batch could not be saved: {error}"
    return f"the batch and its generators are in {path}"


def failed_step(name: str, step: int, *, loss: float, norm: float, scale: float | None, kept: str) -> ResourceError:
    """The error of a step at which `can_go_on` said no.

    Args:
        name: of the phase.
        step: its number.
        loss: of the step.
        norm: of its gradients.
        scale: as `can_go_on` takes it.
        kept: what `keep_batch` said.
    """
    if scale is not None and math.isfinite(loss):
        return ResourceError(
            f"the gradients of {name} are not finite at step {step}, however small fp16's loss is scaled",
            got=f"loss {loss}, gradient norm {norm}, scale {scale:g}",
            expected=f"numbers; {kept}",
            remedy="train in a new folder with precision=bf16 or precision=no",
        )
    return ResourceError(
        f"the loss of {name} is not finite at step {step}",
        got=f"loss {loss}, gradient norm {norm}",
        expected=f"numbers; {kept}",
        remedy="train in a new folder with a lower learning_rate or another precision",
    )
