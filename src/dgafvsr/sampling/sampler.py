"""The bidirectional sampler: T steps in T/2 pairs, one sweep forward, the next backward.

    for every visit (step, frame) in the order of `sweeps.py`:
        aligned   = alignment of the x0 estimate of the visit's neighbour           OGWM
        residuals = guidance network(z_t, x, aligned)                               FTCM
        v         = D_U(<z_t, x>; residuals)
        z_{t-1}, x0 = scheduler step

Strictly serial in (step, frame); what runs in parallel is a batch of windows in lockstep. Latents and scheduler
arithmetic stay in float32 whatever the networks' type.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from dgafvsr.errors import ModelError, UsageError
from dgafvsr.models.guided_unet import EncoderResiduals, GuidanceResiduals, GuidedUNet
from dgafvsr.sampling.noise import NoiseSource
from dgafvsr.sampling.predictions import check_prediction_type, to_x0
from dgafvsr.sampling.sweeps import Direction, Turns, sweep_order
from dgafvsr.sampling.tiles import Tile, Tiling, blend_tiles, plan_tiles

__all__ = ["Guidance", "Sampler", "SamplerInput", "StepEvent"]


class Guidance(Protocol):
    """How the neighbour's x0 estimate guides a frame: FTCM, or StableVSR's pixel guidance."""

    def keep(self, flow: Tensor) -> Tensor:
        """What the alignment needs of an N 2 4h 4w flow."""
        ...

    def align(self, neighbor_x0: Tensor, neighbor_lr: Tensor, kept: Tensor) -> Tensor:
        """The neighbour's estimate on the current frame's grid, in whatever domain the guidance works."""
        ...

    def residuals(
        self,
        *,
        latents: Tensor,
        lr: Tensor,
        aligned: Tensor,
        timestep: Tensor | float | int,
        prompt_embeds: Tensor | None = None,
        class_labels: Tensor | None = None,
    ) -> GuidanceResiduals | EncoderResiduals:
        """What is added to D_U at this step."""
        ...


@dataclass(frozen=True, kw_only=True)
class SamplerInput:
    """A batch of B windows of N frames each, sampled in lockstep.

    Attributes:
        latents: initial noise with unit variance, B N 4 h w float32.
        lr: LR frames in [-1, 1], B N 3 h w.
        flow_forward: kept flow with which frame i + 1 reads frame i, B N-1 ...; None without guidance.
        flow_backward: kept flow with which frame i reads frame i + 1, B N-1 ...; None without guidance.
        noise: one source a window, for schedulers that draw.
        class_labels: noise level, B, or None.
    """

    latents: Tensor
    lr: Tensor
    noise: tuple[NoiseSource, ...]
    flow_forward: Tensor | None = None
    flow_backward: Tensor | None = None
    class_labels: Tensor | None = None

    def __post_init__(self) -> None:
        batch, frames = self.latents.shape[:2]
        assert self.lr.shape[:2] == (batch, frames), "latents and LR frames must agree"
        assert len(self.noise) == batch, "one noise source a window"
        for flow in (self.flow_forward, self.flow_backward):
            assert flow is None or flow.shape[:2] == (batch, frames - 1), "one flow a pair of frames"


@dataclass(frozen=True, kw_only=True)
class StepEvent:
    """One finished visit of the sampler.

    Attributes:
        step: 0 .. steps - 1.
        steps: T.
        frame: 0 .. frames - 1, within the window.
        frames: N.
        timestep: the diffusion time t of this step.
        direction: of the sweep.
        latents: z_{t-1} of this frame, B 4 h w float32.
        x0: its noise-free estimate z~_{t->0}, B 4 h w float32.
        aligned: what the guidance read of the neighbour, or None for an unguided visit.
    """

    step: int
    steps: int
    frame: int
    frames: int
    timestep: float
    direction: Direction
    latents: Tensor = field(repr=False)
    x0: Tensor = field(repr=False)
    aligned: Tensor | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """The double loop over steps and frames.

    Args:
        denoiser: D_U.
        guidance: FTCM, pixel guidance, or None: every frame alone.
        scheduler: any diffusers scheduler; it is copied, never changed.
        prompt_embeds: 1 L D, for denoisers with cross-attention.
        eta: stochasticity of DDIM; ignored by schedulers that do not take it.
        tiling: how G_U and D_U see a frame in parts, for less memory; None shows them whole frames.
        turns: `unguided` leaves the frame where a sweep begins alone, as the paper does; `guided` lets a preview of its
            neighbour guide it, so that with few steps the last frame of a clip looks like the others.
    """

    denoiser: GuidedUNet
    guidance: Guidance | None
    scheduler: Any
    prompt_embeds: Tensor | None = None
    eta: float = 0.0
    tiling: Tiling | None = None
    turns: Turns = "unguided"

    def sample(self, window: SamplerInput, steps: int) -> Iterator[StepEvent]:
        """Visits in order; the latents of the last step's events are the result.

        Args:
            window: what to sample.
            steps: T, at least 1.

        Yields:
            One `StepEvent` a visit, after its scheduler step.

        Raises:
            UsageError: the scheduler cannot do that many steps, or the tiles do not fit the networks.
            ModelError: the scheduler gives no x0 estimate.
        """
        frames = window.latents.shape[1]
        tiles = self._tiles(window)
        stepper = _Stepper(self.scheduler, frames, steps, self.eta, window.latents.device)
        latents = list((window.latents.float() * stepper.init_noise_sigma).unbind(1))
        x0: Tensor | None = None
        for visit in sweep_order(frames, len(stepper.timesteps), self.turns):
            timestep = stepper.timesteps[visit.step]
            aligned = None
            if visit.neighbor is not None and self.guidance is not None:
                if visit.preview:
                    neighbor = latents[visit.neighbor]
                    scaled = stepper.scale(neighbor, timestep, visit.neighbor)
                    prediction = self._predict(tiles, scaled, window, visit.neighbor, None, timestep)
                    x0 = stepper.preview(prediction, neighbor, timestep, visit.neighbor)
                assert x0 is not None
                flow = _flow(window, visit.frame, visit.neighbor)
                aligned = self.guidance.align(x0, window.lr[:, visit.neighbor], flow)
            noisy = latents[visit.frame]
            scaled = stepper.scale(noisy, timestep, visit.frame)
            prediction = self._predict(tiles, scaled, window, visit.frame, aligned, timestep)
            generators = [source.step(visit.step, visit.frame) for source in window.noise] if stepper.draws else None
            latents[visit.frame], x0 = stepper.step(prediction, noisy, timestep, visit.frame, generators)
            yield StepEvent(
                step=visit.step,
                steps=len(stepper.timesteps),
                frame=visit.frame,
                frames=frames,
                timestep=float(timestep),
                direction=visit.direction,
                latents=latents[visit.frame],
                x0=x0,
                aligned=aligned,
            )

    def _tiles(self, window: SamplerInput) -> list[Tile] | None:
        if self.tiling is None:
            return None
        height, width = window.latents.shape[-2:]
        return plan_tiles(height, width, self.tiling, stride=2 ** (len(self.denoiser.config.block_out_channels) - 1))

    def _predict(
        self,
        tiles: list[Tile] | None,
        latents: Tensor,
        window: SamplerInput,
        frame: int,
        aligned: Tensor | None,
        timestep: Tensor,
    ) -> Tensor:
        """The denoiser's prediction for a frame, whole or tile by tile and blended: B 4 h w float32."""
        lr, labels = window.lr[:, frame], window.class_labels
        if tiles is None:
            return self._predict_whole(latents, lr, aligned, timestep, labels)
        scale = 1 if aligned is None else aligned.shape[-1] // latents.shape[-1]  # StableVSR aligns RGB at full size

        def predict(tile: Tile) -> Tensor:
            part = None if aligned is None else tile.crop(aligned, scale)
            return self._predict_whole(tile.crop(latents), tile.crop(lr), part, timestep, labels)

        return blend_tiles(predict, tiles, latents)

    def _predict_whole(
        self, latents: Tensor, lr: Tensor, aligned: Tensor | None, timestep: Tensor, class_labels: Tensor | None
    ) -> Tensor:
        """The denoiser's prediction for what one call of it sees: B 4 h w float32."""
        dtype = self.denoiser.dtype
        prompt = None
        if self.prompt_embeds is not None:
            prompt = self.prompt_embeds.to(dtype).expand(latents.shape[0], -1, -1)
        residuals = None
        if aligned is not None and self.guidance is not None:
            residuals = self.guidance.residuals(
                latents=latents,
                lr=lr,
                aligned=aligned,
                timestep=timestep,
                prompt_embeds=prompt,
                class_labels=class_labels,
            )
        sample = torch.cat([latents.to(dtype), lr.to(dtype)], dim=1)
        output = self.denoiser(sample, timestep, prompt, class_labels, residuals=residuals, return_dict=False)
        return output[0].float()


def _flow(window: SamplerInput, frame: int, neighbor: int) -> Tensor:
    """The kept flow with which `frame` reads `neighbor`."""
    flow = window.flow_forward if neighbor < frame else window.flow_backward
    assert flow is not None, "guidance needs flows"
    return flow[:, min(frame, neighbor)]


class _Stepper:
    """A scheduler for every frame: multistep solvers keep a history, and each frame has its own."""

    def __init__(self, scheduler: Any, frames: int, steps: int, eta: float, device: torch.device) -> None:
        scheduler = copy.deepcopy(scheduler)
        if not all(hasattr(scheduler, name) for name in ("init_noise_sigma", "scale_model_input", "alphas_cumprod")):
            raise _no_estimate(scheduler)
        trained = scheduler.config.num_train_timesteps
        if not 1 <= steps <= trained:
            raise UsageError("The number of steps is out of range", got=steps, expected=f"1 to {trained}")
        scheduler.set_timesteps(steps)
        accepted = set(inspect.signature(scheduler.step).parameters)
        self._options: dict[str, Any] = {"eta": eta} if "eta" in accepted else {}
        self.draws = "generator" in accepted
        self.timesteps: Tensor = scheduler.timesteps
        self.init_noise_sigma = float(scheduler.init_noise_sigma)
        self._device = device
        self._schedulers = [copy.deepcopy(scheduler) for _ in range(frames)]

    def scale(self, latents: Tensor, timestep: Tensor, frame: int) -> Tensor:
        return self._schedulers[frame].scale_model_input(latents, timestep)

    def step(
        self,
        prediction: Tensor,
        noisy: Tensor,
        timestep: Tensor,
        frame: int,
        generators: list[torch.Generator] | None,
    ) -> tuple[Tensor, Tensor]:
        """z_{t-1} and the x0 estimate, each B 4 h w float32."""
        scheduler = self._schedulers[frame]
        options = dict(self._options)
        if generators is not None:
            options["generator"] = generators[0] if len(generators) == 1 else generators
        output = scheduler.step(prediction, timestep, noisy, **options)
        x0 = getattr(output, "pred_original_sample", None)
        return output.prev_sample, self._estimate(prediction, noisy, timestep, scheduler) if x0 is None else x0

    def preview(self, prediction: Tensor, noisy: Tensor, timestep: Tensor, frame: int) -> Tensor:
        """The x0 estimate that `step` would give, B 4 h w float32; the frame's own scheduler stays as it is."""
        kept = self._schedulers[frame]
        self._schedulers[frame] = copy.deepcopy(kept)
        try:  # the estimate does not depend on what the generator draws
            generators = [torch.Generator().manual_seed(0)] if self.draws else None
            return self.step(prediction, noisy, timestep, frame, generators)[1]
        finally:
            self._schedulers[frame] = kept

    def _estimate(self, prediction: Tensor, noisy: Tensor, timestep: Tensor, scheduler: Any) -> Tensor:
        """x0 of schedulers that do not return it but share the variance-preserving process."""
        if self.init_noise_sigma != 1.0:
            raise _no_estimate(scheduler)
        kind = check_prediction_type(scheduler.config.prediction_type)
        return to_x0(prediction, noisy, scheduler.alphas_cumprod[int(timestep)], kind)


def _no_estimate(scheduler: Any) -> ModelError:
    return ModelError(
        "This scheduler gives no x0 estimate, which the guidance is made of",
        got=type(scheduler).__name__,
        expected="one whose step returns pred_original_sample, such as DDPM or DDIM",
        remedy="choose another scheduler",
    )
