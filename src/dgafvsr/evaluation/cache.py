"""Scores that are there already: one JSON file per clip, method and metric, found by what made it.

The key is the SHA-256 of everything that a score depends on: the contents of the scored pictures and of the ground
truth's, the metric with what it depends on of the protocol, the versions of its libraries and its local weights, and
the kind of device. Names and places of files are not part of it. A file appears complete or not at all, so that a run
that was interrupted continues where it was.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from dgafvsr.errors import InputError, OutputError
from dgafvsr.evaluation.clips import ClipPlan
from dgafvsr.evaluation.metrics import METRICS, MetricName
from dgafvsr.evaluation.probes import picture_files
from dgafvsr.evaluation.scoring import FLOW_METRICS, InstrumentSettings
from dgafvsr.video.atomic import PendingFile, writing_error

__all__ = ["ScoreCache", "Values", "hash_file"]

Values = tuple[float | None, ...]
"""One value per scored frame."""

LAYOUT = 2
"""Raised when scores of old files mean something else."""

PACKAGES = ("dgafvsr", "torch", "torchvision", "torchmetrics", "opencv-python-headless")
QUALITY_PACKAGES = ("pyiqa",)


class ScoreCache:
    """Scores in a folder.

    Args:
        folder: made if it is not there; None keeps nothing and finds nothing.
        settings: what all scores of a run depend on.

    Raises:
        OutputError: the folder cannot be made.
        InputError: a file of weights cannot be read.
    """

    def __init__(self, folder: Path | None, settings: InstrumentSettings) -> None:
        self._folder, self._settings = folder, settings
        self._hashes: dict[Path, list[str]] = {}
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"Scores cannot be kept in {folder}", got=error.strerror, remedy="choose another --cache, or --no-cache"
            ) from error
        files = {"flow": settings.flow_weights, "niqe": settings.niqe_prior}
        self._weights = {name: hash_file(path) for name, path in files.items() if path is not None}

    def find(self, plan: ClipPlan, method: str, metric: MetricName) -> Values | None:
        """The scores of a method's clip, None if they are not there."""
        if self._folder is None:
            return None
        path = self._path(plan, method, metric)
        try:
            held = json.loads(path.read_text(encoding="utf-8"))["values"]
            values = tuple(None if value is None else float(value) for value in held)
        except (OSError, ValueError, KeyError, TypeError):  # absent, or damaged from outside: compute it again
            return None
        return values if len(values) == len(plan.frames) else None

    def keep(self, plan: ClipPlan, method: str, metric: MetricName, values: Values) -> None:
        """Store the scores of a method's clip.

        Raises:
            OutputError: the folder cannot be written to.
            ResourceError: the disk is full.
        """
        if self._folder is None:
            return
        path = self._path(plan, method, metric)
        plain = [str(value) if value is not None and math.isinf(value) else value for value in values]
        document = {"metric": metric, "clip": plan.name, "method": method, "values": plain}
        try:
            path.parent.mkdir(exist_ok=True)
            pending = PendingFile(path, overwrite=True)
            try:
                pending.path.write_text(json.dumps(document), encoding="utf-8")
                pending.publish()
            finally:
                pending.discard()
        except OSError as error:
            raise writing_error(path, error) from error

    def _path(self, plan: ClipPlan, method: str, metric: MetricName) -> Path:
        assert self._folder is not None
        with_truth = METRICS[metric].needs_truth or METRICS[metric].temporal
        key: dict[str, Any] = {
            "layout": LAYOUT,
            "metric": metric,
            **self._manner(metric),
            "device": torch.device(self._settings.device).type,
            "versions": _versions(PACKAGES if with_truth else (*PACKAGES, *QUALITY_PACKAGES)),
            "prediction": self._contents(plan.predictions[method], plan.frames),
            "truth": self._contents(plan.truth, plan.frames) if plan.truth is not None and with_truth else None,
        }
        name = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()
        return self._folder / name[:2] / f"{name}.json"

    def _manner(self, metric: MetricName) -> dict[str, Any]:
        """The part of protocol and weights that this metric depends on: PSNR is the same with any flow."""
        protocol = self._settings.protocol
        manner: dict[str, Any] = {"luma": metric in protocol.luma_metrics, "crop": protocol.crop_border}
        if metric in FLOW_METRICS:
            manner |= {"flow": protocol.flow, "flow of luma": "tof" in protocol.luma_metrics}
            if protocol.flow.startswith("raft"):
                manner |= {"flow mode": asdict(protocol.flow_mode), "weights": self._weights.get("flow")}
        if metric == "niqe":
            manner["weights"] = self._weights.get("niqe")
        return manner

    def _contents(self, path: Path, frames: range) -> list[Any]:
        """What the scored frames are: a hash for each picture, or the video's and which of its frames."""
        if path not in self._hashes:
            files = picture_files(path)[frames.start : frames.stop] if path.is_dir() else [path]
            self._hashes[path] = [hash_file(file) for file in files]
        return self._hashes[path] if path.is_dir() else [*self._hashes[path], frames.start, frames.stop]


def hash_file(path: Path) -> str:
    """SHA-256 of a file's contents.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read", got=error.strerror, remedy="check the path") from error


@cache
def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
