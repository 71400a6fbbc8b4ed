"""Resumable checkpoints as one safetensors file: weights, their average and the optimiser's moments; no pickle.

Everything else that a run depends on (noise, data order, learning rate) is a function of the seed, the sample and the
step, so the step number is all the state there is beside the tensors. A checkpoint is written under another name and
then renamed: a killed process or a full disk leaves the old ones, never half of one. The last few are kept.

    checkpoint-000400.safetensors  checkpoint-000600.safetensors
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from dgafvsr.errors import ModelError, OutputError, ResourceError
from dgafvsr.video.atomic import writing_error

__all__ = [
    "Checkpoint",
    "check_names",
    "checkpoint_file",
    "latest_checkpoint",
    "load_checkpoint",
    "optimizer_tensors",
    "place",
    "restore_optimizer",
    "save_checkpoint",
    "whole",
]

_MOMENTS = ("exp_avg", "exp_avg_sq", "state1", "state2", "absmax1", "absmax2", "qmap1", "qmap2")
"""State of AdamW, then of its 8-bit version, which bitsandbytes names otherwise."""

FULL = re.compile(r"\b(code:|os error) (28|122)\b")
"""How safetensors says that the disk, or the user's share of it, is full."""

_NAME = re.compile(r"checkpoint-(\d+)\.safetensors")
_FIRST_NAME = "checkpoint.safetensors"
"""What the only checkpoint of a run was called before there were several; still read."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """State of a run after `step` optimiser steps."""

    step: int

    tensors: dict[str, Tensor]
    """Names start with `trained.`, `average.` or a moment's name and a dot, then the parameter's name."""

    notes: dict[str, str] = field(default_factory=dict)
    """Numbers that are no tensors, such as the state of the loss scaling."""

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Tensors of one group by parameter name; `prefix` without its dot."""
        start = f"{prefix}."
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}


def checkpoint_file(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step belongs."""
    return folder / f"checkpoint-{step:06d}.safetensors"


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the highest step in a folder, None without one."""
    found = _numbered(folder)
    if found:
        return found[-1]
    first = folder / _FIRST_NAME
    return first if first.exists() else None


def _numbered(folder: Path) -> list[Path]:
    found = [(int(match[1]), path) for path in folder.glob("checkpoint-*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int = 2) -> Path:
    """Write a checkpoint atomically, then remove all but the last `keep`.

    Raises:
        ResourceError: the disk is full; what was there before is intact.
        OutputError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = checkpoint_file(folder, checkpoint.step)
    partial = path.with_name(path.name + ".partial")
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in checkpoint.tensors.items()}
    try:
        _check_space(folder, sum(value.numel() * value.element_size() for value in tensors.values()))
        save_file(tensors, partial, metadata={"step": str(checkpoint.step), **checkpoint.notes})
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise _saving_error(path, error, latest_checkpoint(folder)) from error
    for old in _numbered(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(28, f"{needed / 2**20:.0f} MiB are needed, {free / 2**20:.0f} MiB are free")


def _saving_error(path: Path, error: OSError | SafetensorError, last: Path | None) -> Exception:
    intact = "none was saved before" if last is None else f"{last.name} is intact"
    full = isinstance(error, OSError) and isinstance(writing_error(path, error), ResourceError)
    if full or FULL.search(str(error)):  # safetensors passes the system's error on as text
        return ResourceError(
            f"the disk is full: the checkpoint {path} was not written; {intact}",
            got=error.strerror if isinstance(error, OSError) else None,
            remedy="free some space and go on with --resume",
        )
    return OutputError(f"the checkpoint {path} cannot be written; {intact}", got=error)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint to the CPU.

    Raises:
        ModelError: the file is missing, damaged or not a checkpoint of this trainer.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes = dict(file.metadata() or {})
            step = int(notes.pop("step"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Checkpoint(step=step, tensors=tensors, notes=notes)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(
            f"{path} is not a usable training checkpoint",
            got=error,
            remedy="delete it to go on from the one before, or from the start of this stage",
        ) from error


def check_names(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    """Refuse the weights of another network.

    Raises:
        ModelError: names or shapes differ.
    """
    for name in sorted({*found, *expected}):
        ours, theirs = expected.get(name), found.get(name)
        if ours is None or theirs is None or ours.shape != theirs.shape:
            raise ModelError(
                f"the checkpoint {path} is of another network",
                got=f"{name}: {'missing' if theirs is None else tuple(theirs.shape)}",
                expected="no such weight" if ours is None else tuple(ours.shape),
                remedy="name the run's own folder, or delete the checkpoint to start this stage again",
            )


def optimizer_tensors(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """The moments of an Adam optimiser over a module, as `exp_avg.<parameter>` and so on, whole."""
    return {
        f"{moment}.{name}": whole(optimizer.state[parameter][moment])
        for name, parameter in module.named_parameters()
        if parameter in optimizer.state
        for moment in _MOMENTS
        if isinstance(optimizer.state[parameter].get(moment), Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, module: nn.Module, checkpoint: Checkpoint) -> None:
    """Put the moments of a checkpoint back into an Adam optimiser over the module they were saved from."""
    updates = int(checkpoint.notes.get("updates", checkpoint.step))
    moments = {moment: checkpoint.group(moment) for moment in _MOMENTS}
    fused = bool(optimizer.defaults.get("fused"))
    eight_bit = bool(moments["state1"])
    for name, parameter in module.named_parameters():
        found = {moment: group[name] for moment, group in moments.items() if name in group}
        if not found:
            continue
        if eight_bit:  # its types and shapes are its own, not the parameter's
            state: dict[str, Any] = {
                moment: _laid_out(value, parameter, value.dtype) for moment, value in found.items()
            }
            optimizer.state[parameter] = {"step": updates, **state}
        else:
            count = torch.tensor(float(updates), device=parameter.device if fused else "cpu")
            state = {moment: place(value, parameter) for moment, value in found.items()}
            optimizer.state[parameter] = {"step": count, **state}


def whole(value: Tensor) -> Tensor:
    """A tensor that FSDP has spread over processes, put together; every process has to ask. Others stay as they are."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def place(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor in the type, on the device, in the memory format and in the spread of another."""
    if isinstance(like, DTensor):
        return distribute_tensor(value.to(like.device, like.dtype), like.device_mesh, like.placements)
    return _laid_out(value, like, like.dtype)


def _laid_out(value: Tensor, like: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy in another's order of memory: files keep the plain one, and fused optimisers go by memory alone."""
    if value.shape != like.shape:
        return value.to(like.device, dtype)
    return torch.empty_like(like, dtype=dtype, requires_grad=False).copy_(value)
