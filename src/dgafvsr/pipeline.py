"""DGAFVSRPipeline: a clip in, the clip four times as large out.

    frames -> FM (flow) -> sampler [ OGWM -> FTCM -> D_U -> scheduler ] -> VAE -> frames

This file only connects the rooms; every step of the method has its own file in `flow`, `sampling` and `models`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from torch import Tensor

from dgafvsr.errors import ModelError, UsageError
from dgafvsr.flow.estimator import FlowEstimator, create_flow_estimator
from dgafvsr.models.checkpoints import check_guidance_fits, load_guidance, load_parts, resolve_folder
from dgafvsr.models.execution import Execution
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.models.lazy_frames import LazyFrames
from dgafvsr.models.offload import Offloadable
from dgafvsr.models.prompt import KeptEmbedding
from dgafvsr.sampling.ftcm import FTCM
from dgafvsr.sampling.inputs import Clip, check_noise_level
from dgafvsr.sampling.noise import InitialNoise, NoiseSource
from dgafvsr.sampling.ogwm import OGWM, Convention
from dgafvsr.sampling.presets import Quality, SamplingChoice, SamplingSettings, preset
from dgafvsr.sampling.reuse import Reuse
from dgafvsr.sampling.sampler import Guidance, Sampler, StepEvent
from dgafvsr.sampling.seams import SeamState, check_state, cross_fade, hold_back
from dgafvsr.sampling.shared_flows import SharedFlows
from dgafvsr.sampling.solvers import Solver, make_scheduler
from dgafvsr.sampling.stablevsr import PixelGuidance
from dgafvsr.sampling.sweeps import Turns
from dgafvsr.sampling.tiles import Tiling
from dgafvsr.sampling.transport import NoiseTransport
from dgafvsr.sampling.windows import batch_windows, plan_windows
from dgafvsr.video.arrays import FramesLike, FramesOut, OutputType, as_frames, check_output_type, from_frames
from dgafvsr.video.color import to_signed

__all__ = ["DGAFVSRPipeline", "UpscaledFrames"]

StepCallback = Callable[["DGAFVSRPipeline", int, float, dict[str, Tensor]], object]


@dataclass(frozen=True, kw_only=True)
class UpscaledFrames:
    """What the pipeline gives back.

    Attributes:
        frames: T H W 3 float array in [0, 1] ("np"), list of pictures ("pil"), T 3 H W tensor in [0, 1] ("pt"), or
            scaled latents T 4 h w ("latent"), or a sequence of 4H 4W 3 float arrays in [0, 1], each decoded when it is
            asked for ("lazy"). The frames that the call held back are not among them.
        state: what the call for the frames that follow needs, None where nothing was held back. CPU tensors, which
            safetensors stores and restores bit for bit.
    """

    frames: FramesOut | LazyFrames | list[np.ndarray]
    state: SeamState | None = None


class DGAFVSRPipeline(Offloadable, DiffusionPipeline):
    """x4 video super-resolution with DGAF-VSR (arXiv 2511.16928), or with StableVSR's guidance, or per frame.

    Args:
        unet: D_U.
        vae: f4 autoencoder.
        scheduler: a diffusers scheduler.
        guidance: G_U, StableVSR's ControlNet, or None: every frame alone.
        text_encoder: for denoisers with cross-attention.
        tokenizer: for denoisers with cross-attention.
        low_res_scheduler: SD-x4's noise augmentation, needed for noise levels above 0.
        warp: OGWM's convention, `released` or `centered`: the one that the guidance network was trained with.
        default_steps: T when the call names none.
        flow: name of the flow backend, see `dgafvsr.flow.estimator`.
        noise_level: class label of checkpoints that have one, when the call names none.
        initial_noise: `independent`, `shared` or `transported`, see `dgafvsr.sampling.noise`.
        turns: whether the first frame of a sweep is `guided` or `unguided` (the paper), see `dgafvsr.sampling.sweeps`.

    Attributes:
        ogwm: the warp of FTCM; replace it to run the paper's ablations.
        flow_estimator: FM's estimator, made from `flow` at the first call unless it is set before.
        execution: how the networks are run, see `dgafvsr.models.execution`.

    Example:
        >>> pipe = DGAFVSRPipeline.from_pretrained()  # the packaged model
        >>> out = pipe(frames, seed=0)  # frames: T H W 3 uint8
        >>> out.frames.shape  # T 4H 4W 3, float in [0, 1]
    """

    _optional_components = ("guidance", "text_encoder", "tokenizer", "low_res_scheduler")

    def __init__(
        self,
        unet: Any,
        vae: Any,
        scheduler: Any,
        guidance: Any = None,
        text_encoder: Any = None,
        tokenizer: Any = None,
        low_res_scheduler: Any = None,
        warp: Convention = "released",
        default_steps: int = 50,
        flow: str = "raft_large",
        noise_level: int = 0,
        initial_noise: InitialNoise = "independent",
        turns: Turns = "unguided",
    ) -> None:
        super().__init__()
        for name, value, kind in (
            ("warp", warp, Convention),
            ("initial_noise", initial_noise, InitialNoise),
            ("turns", turns, Turns),
        ):
            if value not in get_args(kind):
                raise ModelError(f"Unknown setting of a model: {name}", got=value, expected=" or ".join(get_args(kind)))
        if guidance is not None:
            check_guidance_fits(guidance, unet)
        self.register_modules(
            unet=unet,
            vae=vae,
            scheduler=scheduler,
            guidance=guidance,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            low_res_scheduler=low_res_scheduler,
        )
        self.register_to_config(
            warp=warp,
            default_steps=default_steps,
            flow=flow,
            noise_level=noise_level,
            initial_noise=initial_noise,
            turns=turns,
        )
        self.ogwm = OGWM(convention=warp)
        self.flow_estimator: FlowEstimator | None = None
        self.execution = Execution()
        self._embed_prompt = KeptEmbedding()

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        folder_or_hub_id: str | Path | None = None,
        guidance: str | Path | GuidanceUNet | None = None,
        torch_dtype: torch.dtype | None = None,
        *,
        revision: str | None = None,
        flow: str | None = None,
    ) -> DGAFVSRPipeline:
        """A pipeline from a model folder of any layout in `dgafvsr.models.checkpoints`.

        Args:
            folder_or_hub_id: a local folder, a hub id, or None for the packaged model.
            guidance: a guidance network instead of the folder's own: a folder, a hub id, or the network.
            torch_dtype: type of the weights; None means float32.
            revision: branch, tag or commit of a hub id.
            flow: flow backend instead of the model's.

        Raises:
            ModelError: something is missing, damaged or does not fit; the message names it.
        """
        folder = resolve_folder(folder_or_hub_id, revision)
        parts = load_parts(folder, torch_dtype=torch_dtype, with_guidance=guidance is None)
        if isinstance(guidance, str | Path):
            guidance = load_guidance(resolve_folder(guidance), torch_dtype=torch_dtype)
        settings = parts.settings | ({"flow": flow} if flow is not None else {})
        return cls(
            unet=parts.unet,
            vae=parts.vae,
            scheduler=parts.scheduler,
            guidance=parts.guidance if guidance is None else guidance,
            text_encoder=parts.text_encoder,
            tokenizer=parts.tokenizer,
            low_res_scheduler=parts.low_res_scheduler,
            **settings,
        )

    @property
    def default_steps(self) -> int:
        """T when a call names none."""
        return int(self.config.default_steps)

    @property
    def sampling_settings(self) -> SamplingSettings:
        """What holds where neither a call nor its quality says anything: the model's card, else the method."""
        config = self.config
        return SamplingSettings(steps=self.default_steps, turns=config.turns, initial_noise=config.initial_noise)

    def enable_vae_tiling(self) -> None:
        """Decode in tiles: less memory on large frames."""
        self.vae.enable_tiling()

    def disable_vae_tiling(self) -> None:
        """Decode whole frames."""
        self.vae.disable_tiling()

    @torch.no_grad()
    def __call__(
        self,
        frames: FramesLike,
        num_inference_steps: int | None = None,
        seed: int = 0,
        latents: Tensor | None = None,
        flows: tuple[Tensor, Tensor] | None = None,
        scheduler: Any = None,
        window: int | None = None,
        output_type: OutputType = "np",
        callback_on_step_end: StepCallback | None = None,
        *,
        overlap: int = 0,
        window_batch: int = 1,
        guided: bool | None = None,
        first_frame: int = 0,
        noise: NoiseSource | None = None,
        noise_level: int | None = None,
        eta: float = 0.0,
        on_event: Callable[[StepEvent], None] | None = None,
        state: Mapping[str, Tensor] | None = None,
        tail: int = 0,
        tile: int | None = None,
        tile_overlap: int = 16,
        solver: Solver | None = None,
        turns: Turns | None = None,
        reuse: Reuse | None = None,
        flow_scale: int | None = None,
        initial_noise: InitialNoise | None = None,
        quality: Quality | None = None,
    ) -> UpscaledFrames:
        """The clip, four times as large.

        Args:
            frames: PIL pictures, a T H W 3 array (uint8, or float in [0, 1]), or a T 3 H W tensor in [0, 1].
            num_inference_steps: T; None takes the model's default.
            seed: same seed, same frames, on the same kind of device.
            latents: initial noise T 4 h w instead of the seed's.
            flows: (flow_forward, flow_backward), each T-1 2 4h 4w in HR pixels: forward[i] is how frame i + 1 reads
                frame i, backward[i] how frame i reads frame i + 1. None computes them.
            scheduler: a diffusers scheduler instead of the model's.
            window: frames sampled together; None takes the whole clip.
            output_type: "np", "pil", "pt", "latent" or "lazy".
            callback_on_step_end: called as (pipeline, step, timestep, {"latents": B N 4 h w}) after each sweep.
            overlap: frames that neighbouring windows share.
            window_batch: windows of equal length sampled in lockstep.
            guided: False samples every frame alone; None is True, or what `quality` says.
            first_frame: index of the first frame in its shot: noise belongs to frame indices.
            noise: source of randomness instead of the seed's, such as `SequentialNoise` (the authors' order of draws).
            noise_level: class label, and above 0 the noise augmentation of the LR frames, for SD-x4 checkpoints.
            eta: stochasticity of DDIM.
            on_event: called with a `StepEvent` after every (step, frame).
            state: of the result of the call for the frames before, which held back the first frames of this call.
            tail: last frames of this call that are held back: they are not in the result but, through its state, in
                that of the next call, which begins with them.
            tile: LR pixels in the side of the tiles that the networks see, see `dgafvsr.sampling.tiles`; less memory
                for large frames. None: whole frames.
            tile_overlap: LR pixels that neighbouring tiles share at least.
            solver: `ddim`, `ddpm`, `dpm++` or `unipc` with the scheduler's noise schedule; None takes it as it is.
            turns: instead of the model's.
            reuse: which parts of the networks run at which steps; None runs all at every one.
            flow_scale: times that frames are enlarged before flow is estimated on them: 4 (None), 2 or 1.
            initial_noise: instead of the model's.
            quality: `fast`, `balanced` or `best`, for whatever of steps, solver, guided, turns, reuse and flow_scale is
                None, see `dgafvsr.sampling.presets`.

        Returns:
            The frames but the tail, in the form that `output_type` names, and the state.

        Raises:
            InputError: the frames, latents, flows or state do not fit.
            UsageError: an option is out of its range.
            ModelError: the model produced values that are not numbers.
        """
        output_type = check_output_type(output_type)
        level = self.config.noise_level if noise_level is None else noise_level
        check_noise_level(level, self.unet.config.num_class_embeds, self.low_res_scheduler)
        asked = SamplingChoice(
            steps=num_inference_steps,
            solver=solver,
            guided=guided,
            turns=turns,
            reuse=reuse,
            flow_scale=flow_scale,
            initial_noise=initial_noise,
        )
        chosen = asked.over(preset(quality, self.default_steps)).on(self.sampling_settings)
        follows = chosen.initial_noise == "transported" and noise is None and latents is None
        clip = Clip(
            lr=as_frames(frames),
            seed=seed,
            first_frame=first_frame,
            initial_noise=chosen.initial_noise,
            noise=noise,
            latents=latents,
            latent_channels=self.unet.config.out_channels,
            flows=flows,
            noise_level=level,
            low_res_scheduler=self.low_res_scheduler,
            class_labels=self.unet.config.num_class_embeds is not None,
            flow_scale=chosen.flow_scale,
            transport=NoiseTransport(seed, state) if follows else None,
            shared_flows=SharedFlows(state),
        )
        self.execution.arrange(self.unet, self.guidance, self.vae)
        plan = plan_windows(len(clip.lr), window, overlap, head=check_state(state, clip.lr), tail=tail)
        if noise is not None and len(plan) > 1:
            raise UsageError("A noise source of your own needs one window", got=len(plan), remedy="leave window out")
        tiling = None if tile is None else Tiling(tile=tile, overlap=tile_overlap)
        sampler = self._sampler(self._guidance(tile) if chosen.guided else None, scheduler, eta, tiling, chosen)
        flowing = (sampler.guidance is not None or clip.needs_flows) and flows is None
        estimator = self._flow_estimator() if flowing else None
        hear = _Listeners(self, on_event, callback_on_step_end)
        finished, done = clip.room(tail), 0
        seam = None if state is None else dict(state)
        for windows in batch_windows(plan, window_batch):
            inputs = clip.windows(windows, sampler.guidance, estimator, self._execution_device)
            sampled = hear.run(sampler.sample(inputs, chosen.steps), inputs.latents)
            for index, each in enumerate(windows):
                joined = cross_fade(sampled[index], seam)
                seam = hold_back(joined, each.tail)
                finished[done : done + each.emitted] = joined[: each.emitted]
                done += each.emitted
        made = self._made(finished, clip, tile, output_type)
        self.maybe_free_model_hooks()
        if seam is not None:
            seam |= clip.handed_on
        return UpscaledFrames(frames=made, state=seam)

    def _made(
        self, latents: Tensor, clip: Clip, tile: int | None, output_type: OutputType
    ) -> FramesOut | LazyFrames | list[np.ndarray]:
        """The frames of sampled latents T 4 h w in the form that was asked for."""
        if output_type == "latent":
            return latents
        lr = to_signed(clip.lr[: len(latents)])
        frames = LazyFrames(LatentCodec(self.vae, tile), latents, lr, self._execution_device)
        if output_type == "lazy":
            # With offload the next call would move the networks about meanwhile; StableVSR's guidance decodes as well.
            hooked = any(hasattr(module, "_hf_hook") for module in self.vae.modules())
            shares = hooked or isinstance(self._guidance(tile), PixelGuidance)
            return list(frames) if shares else frames
        return from_frames(frames.decoded(), output_type)

    def _flow_estimator(self) -> FlowEstimator:
        if self.flow_estimator is None:
            self.flow_estimator = create_flow_estimator(self.config.flow, device=self._execution_device)
        return self.flow_estimator

    def _guidance(self, tile: int | None) -> Guidance | None:
        if self.guidance is None:
            return None
        if isinstance(self.guidance, GuidanceUNet):
            return FTCM(network=self.guidance, ogwm=self.ogwm)
        return PixelGuidance(network=self.guidance, codec=LatentCodec(self.vae, tile), convention=self.ogwm.convention)

    def _sampler(
        self, guidance: Guidance | None, scheduler: Any, eta: float, tiling: Tiling | None, chosen: SamplingSettings
    ) -> Sampler:
        prompt = None
        if self.text_encoder is not None:
            prompt = self._embed_prompt(self.text_encoder, self.tokenizer, self._execution_device)
        return Sampler(
            denoiser=self.unet,
            guidance=guidance,
            scheduler=make_scheduler(chosen.solver, scheduler or self.scheduler),
            prompt_embeds=prompt,
            eta=eta,
            tiling=tiling,
            turns=chosen.turns,
            reuse=chosen.reuse,
        )


@dataclass(frozen=True)
class _Listeners:
    """Runs the sampler and tells who wants to know."""

    pipeline: DGAFVSRPipeline
    on_event: Callable[[StepEvent], None] | None
    on_step_end: StepCallback | None

    def run(self, events: Iterator[StepEvent], initial: Tensor) -> Tensor:
        """The latents B N C h w after the last step."""
        batch = list(initial.unbind(1))
        for event in events:
            batch[event.frame] = event.latents
            if self.on_event is not None:
                self.on_event(event)
            last = event.frame == (event.frames - 1 if event.direction == "forward" else 0)
            if last and self.on_step_end is not None:
                self.on_step_end(self.pipeline, event.step, event.timestep, {"latents": torch.stack(batch, dim=1)})
        return torch.stack(batch, dim=1)
