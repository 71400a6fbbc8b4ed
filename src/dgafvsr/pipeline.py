"""DGAFVSRPipeline: a clip in, the clip four times as large out.

    frames -> FM (flow) -> sampler [ OGWM -> FTCM -> D_U -> scheduler ] -> VAE -> frames

This file only connects the rooms; every step of the method has its own file in `flow`, `sampling` and `models`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from torch import Tensor

from dgafvsr.errors import InputError, ModelError, UsageError
from dgafvsr.flow.estimator import FlowEstimator, create_flow_estimator
from dgafvsr.flow.fm import BidirectionalFlows, bidirectional_flows
from dgafvsr.models.checkpoints import check_guidance_fits, load_guidance, load_parts, resolve_folder
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.models.prompt import embed_prompt
from dgafvsr.sampling.ftcm import FTCM
from dgafvsr.sampling.noise import InitialNoise, KeyedNoise, NoiseSource, initial_latents
from dgafvsr.sampling.ogwm import OGWM, Convention
from dgafvsr.sampling.sampler import Guidance, Sampler, SamplerInput, StepEvent
from dgafvsr.sampling.stablevsr import PixelGuidance
from dgafvsr.sampling.windows import Window, batch_windows, plan_windows
from dgafvsr.video.arrays import FramesLike, FramesOut, OutputType, as_frames, check_output_type, from_frames
from dgafvsr.video.color import to_signed

__all__ = ["DGAFVSRPipeline", "UpscaledFrames"]

StepCallback = Callable[["DGAFVSRPipeline", int, float, dict[str, Tensor]], object]


@dataclass(frozen=True, kw_only=True)
class UpscaledFrames:
    """What the pipeline gives back.

    Attributes:
        frames: T H W 3 float array in [0, 1] ("np"), list of pictures ("pil"), T 3 H W tensor in [0, 1] ("pt"), or
            scaled latents T 4 h w ("latent").
    """

    frames: FramesOut


@dataclass(frozen=True, kw_only=True)
class _Request:
    """A checked call: what every window of it shares."""

    lr: Tensor  # T 3 h w in [0, 1]
    steps: int
    seed: int
    first_frame: int
    noise_level: int
    guidance: Guidance | None
    sampler: Sampler
    latents: Tensor | None
    noise: NoiseSource | None
    flows: BidirectionalFlows | None
    on_event: Callable[[StepEvent], None] | None
    on_step_end: StepCallback | None


class DGAFVSRPipeline(DiffusionPipeline):
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
        initial_noise: `independent` or `shared` between frames, see `dgafvsr.sampling.noise`.

    Attributes:
        ogwm: the warp of FTCM; replace it to run the paper's ablations.
        flow_estimator: FM's estimator, made from `flow` at the first call unless it is set before.

    Example:
        >>> pipe = DGAFVSRPipeline.from_pretrained()  # the packaged model
        >>> out = pipe(frames, seed=0)  # frames: T H W 3 uint8
        >>> out.frames.shape  # T 4H 4W 3, float in [0, 1]
    """

    model_cpu_offload_seq = "text_encoder->guidance->unet->vae"
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
    ) -> None:
        super().__init__()
        for value, kind in ((warp, Convention), (initial_noise, InitialNoise)):
            if value not in get_args(kind):
                raise ModelError("Unknown setting of a model", got=value, expected=" or ".join(get_args(kind)))
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
            warp=warp, default_steps=default_steps, flow=flow, noise_level=noise_level, initial_noise=initial_noise
        )
        self.ogwm = OGWM(convention=warp)
        self.flow_estimator: FlowEstimator | None = None

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
        guided: bool = True,
        first_frame: int = 0,
        noise: NoiseSource | None = None,
        noise_level: int | None = None,
        eta: float = 0.0,
        on_event: Callable[[StepEvent], None] | None = None,
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
            output_type: "np", "pil", "pt" or "latent".
            callback_on_step_end: called as (pipeline, step, timestep, {"latents": B N 4 h w}) after each sweep.
            overlap: frames that neighbouring windows share.
            window_batch: windows of equal length sampled in lockstep.
            guided: False samples every frame alone.
            first_frame: index of the first frame in its shot: noise belongs to frame indices.
            noise: source of randomness instead of the seed's, such as `SequentialNoise` (the authors' order of draws).
            noise_level: class label, and above 0 the noise augmentation of the LR frames, for SD-x4 checkpoints.
            eta: stochasticity of DDIM.
            on_event: called with a `StepEvent` after every (step, frame).

        Returns:
            The frames, in the form that `output_type` names.

        Raises:
            InputError: the frames, latents or flows do not fit.
            UsageError: an option is out of its range.
            ModelError: the model produced values that are not numbers.
        """
        output_type = check_output_type(output_type)
        lr = as_frames(frames)
        level = self.config.noise_level if noise_level is None else noise_level
        guidance = self._guidance() if guided else None
        request = _Request(
            lr=lr,
            steps=self.default_steps if num_inference_steps is None else num_inference_steps,
            seed=seed,
            first_frame=first_frame,
            noise_level=level,
            guidance=guidance,
            sampler=self._sampler(guidance, scheduler, eta),
            latents=_checked_latents(latents, lr),
            noise=noise,
            flows=_checked_flows(flows, lr),
            on_event=on_event,
            on_step_end=callback_on_step_end,
        )
        self._check_options(request, window, window_batch)
        finished: list[Tensor] = []
        for windows in batch_windows(plan_windows(len(lr), window, overlap), window_batch):
            finished += self._run(request, windows, decode=output_type != "latent")
        self.maybe_free_model_hooks()
        result = torch.cat(finished)
        return UpscaledFrames(frames=result if output_type == "latent" else from_frames(result, output_type))

    def _run(self, request: _Request, windows: list[Window], *, decode: bool) -> list[Tensor]:
        """The kept frames (or latents) of windows sampled in lockstep, one N C H W CPU tensor a window."""
        inputs = self._inputs(request, windows)
        batch = list(inputs.latents.unbind(1))
        for event in request.sampler.sample(inputs, request.steps):
            batch[event.frame] = event.latents
            if request.on_event is not None:
                request.on_event(event)
            last = event.frame == (event.frames - 1 if event.direction == "forward" else 0)
            if last and request.on_step_end is not None:
                request.on_step_end(self, event.step, event.timestep, {"latents": torch.stack(batch, dim=1)})
        latents = torch.stack(batch, dim=1)
        out = []
        for index, window in enumerate(windows):
            kept, lr = latents[index, window.kept], inputs.lr[index, window.kept]
            out.append(self._decode(kept, lr) if decode else kept.cpu())
        return out

    def _inputs(self, request: _Request, windows: list[Window]) -> SamplerInput:
        device = self._execution_device
        clips, latents, noises, flows = [], [], [], []
        for window in windows:
            frames = slice(window.start, window.stop)
            first = request.first_frame + window.start
            keyed = KeyedNoise(seed=request.seed, first_frame=first, initial_noise=self.config.initial_noise)
            noise = request.noise or keyed
            lr = request.lr[frames].to(device)
            if request.latents is not None:
                initial = request.latents[frames].float()
            else:
                shape = (self.unet.config.out_channels, *lr.shape[-2:])
                initial = initial_latents(noise, len(lr), shape)
            clips.append(self._augment(to_signed(lr), request.noise_level, keyed))
            latents.append(initial.to(device))
            noises.append(noise)
            flows.append(self._flows(request, window, lr))
        guided = request.guidance is not None
        return SamplerInput(
            latents=torch.stack(latents),
            lr=torch.stack(clips),
            noise=tuple(noises),
            flow_forward=torch.stack([flow.forward for flow in flows if flow]) if guided else None,
            flow_backward=torch.stack([flow.backward for flow in flows if flow]) if guided else None,
            class_labels=self._class_labels(request.noise_level, len(windows)),
        )

    def _flows(self, request: _Request, window: Window, lr: Tensor) -> BidirectionalFlows | None:
        """FM: the flows of a window, reduced to what its guidance keeps."""
        if request.guidance is None:
            return None
        keep = request.guidance.keep
        if request.flows is None:
            if self.flow_estimator is None:
                self.flow_estimator = create_flow_estimator(self.config.flow, device=self._execution_device)
            return bidirectional_flows(lr, self.flow_estimator, keep=keep)
        pairs = slice(window.start, window.stop - 1)
        forward, backward = request.flows.forward[pairs], request.flows.backward[pairs]
        return BidirectionalFlows(forward=keep(forward.to(lr.device)), backward=keep(backward.to(lr.device)))

    def _decode(self, latents: Tensor, lr: Tensor) -> Tensor:
        """Frame by frame, so that memory does not grow with the window: N 3 4h 4w in [0, 1] on the CPU."""
        codec = LatentCodec(self.vae)
        return torch.cat([codec.decode_pixels(latents[i : i + 1], lr[i : i + 1]).cpu() for i in range(len(latents))])

    def _guidance(self) -> Guidance | None:
        if self.guidance is None:
            return None
        if isinstance(self.guidance, GuidanceUNet):
            return FTCM(network=self.guidance, ogwm=self.ogwm)
        return PixelGuidance(network=self.guidance, codec=LatentCodec(self.vae), convention=self.ogwm.convention)

    def _sampler(self, guidance: Guidance | None, scheduler: Any, eta: float) -> Sampler:
        prompt = None
        if self.text_encoder is not None:
            prompt = embed_prompt(self.text_encoder, self.tokenizer).to(self._execution_device)
        return Sampler(
            denoiser=self.unet, guidance=guidance, scheduler=scheduler or self.scheduler, prompt_embeds=prompt, eta=eta
        )

    def _class_labels(self, noise_level: int, batch: int) -> Tensor | None:
        if self.unet.config.num_class_embeds is None:
            return None
        return torch.full((batch,), noise_level, dtype=torch.long, device=self._execution_device)

    def _augment(self, lr: Tensor, noise_level: int, noise: KeyedNoise) -> Tensor:
        """SD-x4's noise augmentation of LR frames N 3 h w in [-1, 1]; level 0, the method's, changes nothing."""
        if noise_level == 0:
            return lr
        draws = [torch.randn(lr.shape[1:], generator=noise.generator("lr", frame)) for frame in range(len(lr))]
        level = torch.tensor([noise_level])
        return self.low_res_scheduler.add_noise(lr, torch.stack(draws).to(lr), level)

    def _check_options(self, request: _Request, window: int | None, window_batch: int) -> None:
        levels = self.unet.config.num_class_embeds
        if request.noise_level and (levels is None or self.low_res_scheduler is None):
            raise UsageError("This model has no noise levels", got=request.noise_level, expected=0)
        if levels is not None and not 0 <= request.noise_level < levels:
            raise UsageError("The noise level is out of range", got=request.noise_level, expected=f"0 to {levels - 1}")
        if window_batch < 1:
            raise UsageError("window_batch is out of range", got=window_batch, expected="at least 1")
        if request.noise is not None and window is not None and window < len(request.lr):
            raise UsageError(
                "A noise source of your own needs one window", got=f"window {window}", remedy="leave window out"
            )


def _checked_latents(latents: Tensor | None, lr: Tensor) -> Tensor | None:
    if latents is not None:
        expected = (len(lr), latents.shape[1] if latents.ndim == 4 else 4, *lr.shape[-2:])
        if tuple(latents.shape) != expected:
            raise InputError("The latents do not fit the frames", got=tuple(latents.shape), expected=expected)
    return latents


def _checked_flows(flows: tuple[Tensor, Tensor] | None, lr: Tensor) -> BidirectionalFlows | None:
    if flows is None:
        return None
    expected = (len(lr) - 1, 2, lr.shape[-2] * 4, lr.shape[-1] * 4)
    for flow in flows:
        if tuple(flow.shape) != expected:
            raise InputError("The flows do not fit the frames", got=tuple(flow.shape), expected=expected)
    return BidirectionalFlows(forward=flows[0], backward=flows[1])
