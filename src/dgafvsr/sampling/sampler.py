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

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from dgafvsr.errors import UsageError
from dgafvsr.models.guided_unet import EncoderResiduals, GuidanceResiduals, GuidedUNet
from dgafvsr.sampling.ftcm import FTCM
from dgafvsr.sampling.noise import NoiseSource
from dgafvsr.sampling.reuse import Recall, Recollection, Reuse
from dgafvsr.sampling.solvers import Stepper
from dgafvsr.sampling.sweeps import Direction, Turns, sweep_order
from dgafvsr.sampling.tiles import Tile, Tiling, blend_tiles, plan_tiles

__all__ = ["Guidance", "Sampler", "SamplerInput", "StepEvent"]


class Guidance(Protocol):
    """How the neighbour's x0 estimate guides a frame: FTCM, or StableVSR's pixel guidance."""

    @property
    def reliability(self) -> bool:
        """Whether `keep` wants flows with a third channel, their reliability."""
        ...

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

    @property
    def windows(self) -> int:
        """B, how many are sampled in lockstep."""
        return len(self.latents)


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
        reuse: which parts of the networks run at which steps; by default all at every one.
    """

    denoiser: GuidedUNet
    guidance: Guidance | None
    scheduler: Any
    prompt_embeds: Tensor | None = None
    eta: float = 0.0
    tiling: Tiling | None = None
    turns: Turns = "unguided"
    reuse: Reuse = field(default_factory=Reuse)

    def sample(self, window: SamplerInput, steps: int) -> Iterator[StepEvent]:
        """Visits in order; the latents of the last step's events are the result.

        Args:
            window: what to sample.
            steps: T, at least 1.

        Yields:
            One `StepEvent` a visit, after its scheduler step.

        Raises:
            UsageError: the scheduler cannot do that many steps, the tiles do not fit the networks, or the guidance has
                none of the steps or features that `reuse` names.
            ModelError: the scheduler gives no x0 estimate.
        """
        frames = window.latents.shape[1]
        tiles = self._tiles(window)
        stepper = Stepper(self.scheduler, frames, steps, self.eta)
        recall = self._recall(len(stepper.timesteps))
        # The networks' times go to the device once, each in memory of its own, as CUDA graphs want their inputs; the
        # scheduler reads its own on the CPU, without waiting for the device.
        times = [time.clone() for time in stepper.timesteps.to(window.latents.device)]
        latents = list((window.latents.float() * stepper.init_noise_sigma).unbind(1))
        x0: Tensor | None = None
        for visit in sweep_order(frames, len(stepper.timesteps), self.turns, recall.guided_steps):
            timestep, time = stepper.timesteps[visit.step], times[visit.step]
            aligned = None
            if visit.neighbor is not None and self.guidance is not None:
                if visit.preview:
                    neighbor = latents[visit.neighbor]
                    scaled = stepper.scale(neighbor, timestep, visit.neighbor)
                    look = partial(recall.visit, visit.step, preview=True)
                    prediction = self._predict(tiles, scaled, window, visit.neighbor, None, time, look)
                    x0 = stepper.preview(prediction, neighbor, timestep, visit.neighbor)
                assert x0 is not None
                flow = _flow(window, visit.frame, visit.neighbor)
                aligned = self.guidance.align(x0, window.lr[:, visit.neighbor], flow)
            noisy = latents[visit.frame]
            scaled = stepper.scale(noisy, timestep, visit.frame)
            look = partial(recall.visit, visit.step)
            prediction = self._predict(tiles, scaled, window, visit.frame, aligned, time, look)
            generators = [source.step(visit.step, visit.frame) for source in window.noise] if stepper.draws else None
            latents[visit.frame], x0 = stepper.step(prediction, noisy, timestep, visit.frame, generators)
            if visit.step == len(stepper.timesteps) - 1:
                stepper.forget(visit.frame)
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
        stride = 2 ** (len(self.denoiser.config.block_out_channels) - 1)
        return plan_tiles(window.latents.float(), self.tiling, stride)

    def _recall(self, steps: int) -> Recall:
        if self.reuse.features_every > 1 and not isinstance(self.guidance, FTCM | None):
            raise UsageError(
                "Only FTCM's guidance can reuse features",
                got=f"{type(self.guidance).__name__}, features at every {self.reuse.features_every}. step",
                remedy="leave the reuse of features out",
            )
        return Recall(self.reuse, steps)

    def _predict(
        self,
        tiles: list[Tile] | None,
        latents: Tensor,
        window: SamplerInput,
        frame: int,
        aligned: Tensor | None,
        timestep: Tensor,
        look: Callable[[tuple[int, ...]], Recollection],
    ) -> Tensor:
        """The denoiser's prediction for a frame, whole or tile by tile and blended: B 4 h w float32."""
        lr, labels = window.lr[:, frame], window.class_labels
        if tiles is None:
            return self._predict_whole(latents, lr, aligned, timestep, labels, look((frame,)))
        scale = 1 if aligned is None else aligned.shape[-1] // latents.shape[-1]  # StableVSR aligns RGB at full size

        def predict(tile: Tile) -> Tensor:
            part = None if aligned is None else tile.crop(aligned, scale)
            found = look((frame, tile.rows.start, tile.columns.start))
            return self._predict_whole(tile.crop(latents), tile.crop(lr), part, timestep, labels, found)

        return blend_tiles(predict, tiles, latents)

    def _predict_whole(
        self,
        latents: Tensor,
        lr: Tensor,
        aligned: Tensor | None,
        timestep: Tensor,
        class_labels: Tensor | None,
        found: Recollection,
    ) -> Tensor:
        """The denoiser's prediction for what one call of it sees: B 4 h w float32."""
        dtype = self.denoiser.dtype
        prompt = None
        if self.prompt_embeds is not None:
            prompt = self.prompt_embeds.to(dtype).expand(latents.shape[0], -1, -1)
        guided = aligned is not None and self.guidance is not None
        denoiser_deep, guidance_deep = found.features(guided=guided)
        residuals = found.residuals
        if aligned is not None and self.guidance is not None:
            made = self.guidance.residuals(
                latents=latents,
                lr=lr,
                aligned=aligned,
                timestep=timestep,
                prompt_embeds=prompt,
                class_labels=class_labels,
                **({} if guidance_deep is None else {"deep": guidance_deep}),
            )
            residuals = found.keep(made)
        sample = torch.cat([latents.to(dtype), lr.to(dtype)], dim=1)
        options = {"residuals": residuals} | ({} if denoiser_deep is None else {"deep": denoiser_deep})
        output = self.denoiser(sample, timestep, prompt, class_labels, **options, return_dict=False)
        return output[0].float()


def _flow(window: SamplerInput, frame: int, neighbor: int) -> Tensor:
    """The kept flow with which `frame` reads `neighbor`."""
    flow = window.flow_forward if neighbor < frame else window.flow_backward
    assert flow is not None, "guidance needs flows"
    return flow[:, min(frame, neighbor)]
