"""The README.md of a model folder: parts, recipe, budget, material, machine, licence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ModelCard", "PhaseBudget", "read_budget"]


@dataclass(frozen=True, kw_only=True)
class PhaseBudget:
    """What a training phase took, from its folder."""

    phase: str
    """Such as `denoiser/velocity`."""

    steps: int
    planned: int
    batch_size: int
    hours: float
    """Time in training steps, without data that was waited for before the first step."""

    losses: dict[str, float]
    """Of the last report."""

    validated: int
    """Step of the last validation; 0 without one."""

    scores: dict[str, dict[str, float]]
    """Of the last validation: by sampler (`on`, `off`), then by metric."""

    data: str
    device: str


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a model card says."""

    name: str

    parts: Mapping[str, Any]
    """Trained networks by the name of their folder."""

    budget: tuple[PhaseBudget, ...] = ()
    licence: str | None = None
    """Of the weights."""

    base: str | None = None
    """The frozen upscaler that the guidance belongs to."""

    def text(self) -> str:
        """Markdown."""
        kind = (
            "A small model for `dgafvsr`: x4 video super-resolution by latent diffusion with dense guidance from\n"
            "aligned features (DGAF-VSR, arXiv 2511.16928). It needs no text encoder and no flow network."
            if self.base is None
            else f"A guidance network for x4 video super-resolution with `dgafvsr`; the upscaler is {self.base}."
        )
        sizes = {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, part in self.parts.items()}
        rows = [f"| {name} | {type(self.parts[name]).__name__} | {size:.2f} M |" for name, size in sizes.items()]
        sections = [f"# {self.name}", kind, "\n".join(["| part | class | parameters |", "|---|---|---|", *rows])]
        if self.budget:
            sections += ["## Training", self._training()]
        if any(phase.scores for phase in self.budget):
            sections += ["## Validation", self._validation()]
        licence = self.licence or "not stated; it has to agree with the licences of the training material"
        sections += [f"Licence of the weights: {licence}."]
        return "\n\n".join(sections) + "\n"

    def _training(self) -> str:
        rows = [
            f"| {b.phase} | {b.steps:,} of {b.planned:,} | {b.batch_size} | {b.hours:.2f} | {_losses(b.losses)} |"
            for b in self.budget
        ]
        facts = sorted({f"Material: {b.data}. Device: {b.device}." for b in self.budget})
        head = ["| phase | steps | batch | hours | losses at the end |", "|---|---|---|---|---|"]
        return "\n".join([*head, *rows, "", *facts, "All settings are in `training/`."])

    def _validation(self) -> str:
        rows = [
            f"| {b.phase} | {b.validated:,} | {sampler} | "
            + " | ".join(f"{value:.3f}" for value in scores.values())
            + " |"
            for b in self.budget
            for sampler, scores in b.scores.items()
        ]
        metrics = next(list(scores) for b in self.budget for scores in b.scores.values())
        head = [f"| phase | step | guidance | {' | '.join(metrics)} |", "|---|---|---|" + "---|" * len(metrics)]
        said = (
            "Held-out clips, the averaged weights of each phase at its last validation, with what was finished before."
        )
        return "\n".join([said, "", *head, *rows])


def _losses(losses: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in losses.items())


def read_budget(run: Path) -> tuple[PhaseBudget, ...]:
    """What the phases of a run's folder took, in the order in which they were trained."""
    files = [file for stage in ("autoencoder", "denoiser", "guidance", "decoder") for file in _logs(run / stage)]
    return tuple(_phase(run, file) for file in files)


def _logs(stage: Path) -> list[Path]:
    places = [stage / name / "losses.jsonl" for name in (".", "velocity", "sampler", "texture")]
    return [file for file in places if file.is_file()]


def _phase(run: Path, file: Path) -> PhaseBudget:
    lines = list(_whole_lines(file))
    # a run that was cut off repeats the steps since its last checkpoint; only the last report of a step counts
    reports = {line["step"]: line for line in lines}
    seconds, before = 0.0, 0
    for step, line in sorted(reports.items()):
        seconds += line["seconds_per_step"] * (step - before)
        before = step
    last = reports[before]
    stage = run / file.relative_to(run).parts[0]
    validated, scores = _last_scores(file.with_name("validation.jsonl"))
    circumstances = stage / "circumstances.json"
    known = json.loads(circumstances.read_text(encoding="utf-8")) if circumstances.is_file() else {}
    recipe = json.loads((stage / "recipe.json").read_text(encoding="utf-8"))
    config = recipe.get("trainer") or recipe[file.parent.name]
    return PhaseBudget(
        phase=file.parent.relative_to(run).as_posix(),
        steps=before,
        planned=last["steps"],
        batch_size=config["batch_size"],
        hours=seconds / 3600,
        losses=last["losses"],
        validated=validated,
        scores=scores,
        data=known.get("data", "not recorded"),
        device=f"{known.get('device', 'not recorded')}, processes: {known.get('processes', 1)}",
    )


def _whole_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The documents of a log; a line that a kill or a full disk has cut off is passed over."""
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        with suppress(json.JSONDecodeError):
            yield json.loads(line)


def _last_scores(file: Path) -> tuple[int, dict[str, dict[str, float]]]:
    last = [{"step": 0, "scores": {}}, *_whole_lines(file)][-1]
    return last["step"], last["scores"]
