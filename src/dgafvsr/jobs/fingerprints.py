"""What tells one input from another, and one model from another, so that a job is never gone on with on the wrong one.

An input file is told by its size, its time of change and a hash over 64 pieces spread over it: a constant cost, also
for a preview of a long film. Any edit changes the time; a file that was replaced by another of the same size and time
differs in some piece. A folder is told by the name, size and time of each picture.

A model is told by a hash over every weight as it is in memory, with its type, and over the configuration: whatever
folder, hub revision or guidance it was put together from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import cv2
import scenedetect
import torch

from dgafvsr import __version__
from dgafvsr.errors import InputError
from dgafvsr.jobs.upscaler import Upscaler
from dgafvsr.models.offload import weights_of
from dgafvsr.video.folders import list_pictures

__all__ = ["file_sha256", "fingerprint_input", "fingerprint_model", "fingerprint_program"]

PIECES, PIECE_BYTES = 64, 1 << 16


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_input(path: Path) -> dict[str, Any]:
    """What tells a film from every other: JSON values under `bytes`, `modified_ns` and `sha256`.

    Args:
        path: a file, or a folder of pictures.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return _fingerprint_folder(path) if path.is_dir() else _fingerprint_file(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read", got=error.strerror or error, remedy="check the path") from error


def _fingerprint_file(path: Path) -> dict[str, Any]:
    facts = path.stat()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in range(PIECES):
            file.seek(max(0, facts.st_size - PIECE_BYTES) * piece // (PIECES - 1))
            digest.update(file.read(PIECE_BYTES))
    return {"bytes": facts.st_size, "modified_ns": facts.st_mtime_ns, "sha256": digest.hexdigest()}


def _fingerprint_folder(path: Path) -> dict[str, Any]:
    facts = [(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in list_pictures(path)]
    return {
        "bytes": sum(size for _, size, _ in facts),
        "modified_ns": max((time for *_, time in facts), default=0),
        "sha256": hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
    }


def fingerprint_program() -> dict[str, str]:
    """Versions of the program, and of the libraries with which rounding, cuts or encoders' settings may change."""
    modules = {"torch": torch, "PyAV": av, "OpenCV": cv2, "scenedetect": scenedetect}
    return {"version": __version__, **{name: str(module.__version__) for name, module in modules.items()}}


def fingerprint_model(model: Upscaler) -> str:
    """SHA-256 over the weights and the configuration of a model, and how it is run, in hexadecimal."""
    digest = hashlib.sha256(_told(model.config).encode())
    digest.update(f"{getattr(model, 'execution', None)}\n".encode())  # rounding depends on it, and so do frames
    for name, part in sorted(model.components.items()):
        digest.update(f"{name}/{type(part).__qualname__}/{_configuration(part)}\n".encode())
        if isinstance(part, torch.nn.Module):
            for key, weight in weights_of(part).items():
                digest.update(f"{key}/{weight.dtype}/{tuple(weight.shape)}\n".encode())
                digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _configuration(part: Any) -> str:
    config = getattr(part, "config", None)
    return _told(config if isinstance(config, Mapping) else getattr(config, "to_dict", dict)())


def _told(config: Mapping[str, Any]) -> str:
    """A configuration without the names that say where a model came from and which version wrote it."""
    return json.dumps({k: v for k, v in config.items() if not k.startswith("_")}, sort_keys=True, default=str)
