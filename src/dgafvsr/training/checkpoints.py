"""Resumable checkpoints as one safetensors file: weights, their average and the optimiser's moments; no pickle.

Everything else that a run depends on (noise, data order, learning rate) is a function of the seed and the step, so the
step number is all the state there is beside the tensors. A checkpoint is written beside its final name and then
renamed: a killed process leaves the old one or the new one, never half of one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dgafvsr.errors import ModelError

__all__ = ["Checkpoint", "load_checkpoint", "optimizer_tensors", "restore_optimizer", "save_checkpoint"]

_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """State of a run after `step` optimiser steps."""

    step: int

    tensors: dict[str, Tensor]
    """Names start with `trained.`, `average.`, `exp_avg.` or `exp_avg_sq.`, then the parameter's name."""

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Tensors of one group by parameter name; `prefix` without its dot."""
        start = f"{prefix}."
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically, replacing an older one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in checkpoint.tensors.items()}
    save_file(tensors, partial, metadata={"step": str(checkpoint.step)})
    os.replace(partial, path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint to the CPU.

    Raises:
        ModelError: the file is missing, damaged or not a checkpoint of this trainer.
    """
    try:
        with safe_open(path, framework="pt") as file:
            step = (file.metadata() or {})["step"]
            return Checkpoint(step=int(step), tensors={name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(
            f"{path} is not a usable training checkpoint",
            got=error,
            remedy="delete it to start this stage again",
        ) from error


def optimizer_tensors(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """The moments of an Adam optimiser over a module, as `exp_avg.<parameter>` and `exp_avg_sq.<parameter>`."""
    return {
        f"{moment}.{name}": optimizer.state[parameter][moment]
        for name, parameter in module.named_parameters()
        if parameter in optimizer.state
        for moment in _MOMENTS
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, module: nn.Module, checkpoint: Checkpoint) -> None:
    """Put the moments of a checkpoint back into an Adam optimiser over the module they were saved from."""
    moments = {moment: checkpoint.group(moment) for moment in _MOMENTS}
    for name, parameter in module.named_parameters():
        if name in moments["exp_avg"]:
            state = {moment: moments[moment][name].to(parameter) for moment in _MOMENTS}
            optimizer.state[parameter] = {"step": torch.tensor(float(checkpoint.step)), **state}
