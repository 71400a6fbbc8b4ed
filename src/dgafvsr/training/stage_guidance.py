"""Stage 3: the guidance network; denoiser and autoencoder are frozen.

`GuidanceStage`        the authors' training step (docs/method.md, section 3): pair (neighbour, centre), same t, the
                       neighbour's x0 from the frozen unguided D_U, OGWM, mean squared error on v, only G_U learns.
                       Additions, all off by default: a share of pairs with the same noise in both frames, since our
                       sampler can start all frames from one noise; a share of t from the sampler's own; a share of
                       steps in which the neighbour's x0 is itself guided, as it is in sampling.
`GuidedSamplerStage`   ours: short sequences through the unrolled guided sampler, `PictureLoss` on the decoded centre,
                       and |error of the centre - error of its past carried along the flow|_1, so that what is
                       invented moves with the picture instead of flickering. A denoiser that was finished by
                       `SamplerStage` is no longer the minimum of the squared error, so the authors' step alone would
                       undo part of it.

The same stages train G_U (FTCM) and StableVSR's ControlNet (pixel guidance): the guidance is what differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from dgafvsr.flow.estimator import FlowEstimator
from dgafvsr.flow.fields import with_reliability
from dgafvsr.flow.fm import upsample_frames
from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.guided_unet import GuidedUNet
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.sampling.ftcm import FTCM
from dgafvsr.sampling.noise import InitialNoise
from dgafvsr.sampling.ogwm import OGWM, warp
from dgafvsr.sampling.sampler import Guidance
from dgafvsr.sampling.stablevsr import PixelGuidance
from dgafvsr.sampling.sweeps import Turns
from dgafvsr.training.draws import Draws
from dgafvsr.training.objective import Condition, Diffusion, guidance_loss, unrolled_guided
from dgafvsr.training.picture_loss import PictureLoss, SamplerLoss
from dgafvsr.training.rollout import Rollout
from dgafvsr.training.sequence_noise import draw_noise, transport_noise
from dgafvsr.training.stage import ClipSampler, Stage, by_noise_level
from dgafvsr.training.stage_denoiser import draw_timesteps
from dgafvsr.video.color import from_signed

__all__ = ["GuidanceNetwork", "GuidanceStage", "GuidedSamplerLoss", "GuidedSamplerStage", "Surroundings"]

GuidanceNetwork: TypeAlias = GuidanceUNet | ControlNetModel


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a guidance network is trained inside of, all frozen."""

    denoiser: GuidedUNet
    """D_U."""

    autoencoder: AutoencoderKL | ResidualAutoencoder

    diffusion: Diffusion
    """Forward process, and the sampler's timesteps."""

    flow: FlowEstimator
    """FM's estimator, for validation and for samples that bring no flow."""

    ogwm: OGWM = field(default_factory=OGWM)
    """Alignment; pixel guidance takes its convention."""

    initial_noise: InitialNoise = "independent"
    """How validation starts its frames."""

    turns: Turns = "unguided"
    """Whether validation guides the first frame of a sweep."""

    condition: Condition = field(default_factory=Condition)

    encode_batch: int = 16
    """Frames that the autoencoder encodes at once."""

    def guidance(self, network: GuidanceNetwork) -> Guidance:
        """FTCM for G_U, pixel guidance for a ControlNet."""
        if isinstance(network, GuidanceUNet):
            return FTCM(network=network, ogwm=self.ogwm)
        return PixelGuidance(network=network, codec=LatentCodec(self.autoencoder), convention=self.ogwm.convention)

    def rollout(self, guidance: Guidance | None) -> Rollout:
        """The model with this guidance, or with none."""
        return Rollout(
            denoiser=self.denoiser,
            autoencoder=self.autoencoder,
            diffusion=self.diffusion,
            guidance=guidance,
            flow=self.flow,
            initial_noise=self.initial_noise,
            turns=self.turns,
            condition=self.condition,
        )


class _FrozenDenoiserStage(Stage):
    """The guidance network learns; D_U and the autoencoder do not."""

    def __init__(self, network: GuidanceNetwork, around: Surroundings, data: Dataset[dict[str, Tensor]]) -> None:
        super().__init__()
        self.trained = network.to(memory_format=torch.channels_last)
        self.denoiser = around.denoiser.requires_grad_(False).to(memory_format=torch.channels_last)
        self.autoencoder = around.autoencoder.requires_grad_(False).to(memory_format=torch.channels_last)
        self.around, self.data = around, data
        self.guidance = around.guidance(network)

    def samplers(self) -> dict[str, ClipSampler]:
        """The model with its guidance `on` and `off`."""
        return {"on": self.around.rollout(self.guidance), "off": self.around.rollout(None)}

    @torch.no_grad()
    def _flow(self, batch: dict[str, Tensor]) -> Tensor:
        """Flow of each frame to the one before, N T-1 2 4h 4w: the samples' own, or FM's on the x4 LR frames.

        For a guidance that reads it, the flow's reliability is a third channel.
        """
        if "flow" in batch:
            return batch["flow"]
        lr = batch["lr"]
        with torch.autocast(lr.device.type, enabled=False):
            large = upsample_frames(from_signed(lr.flatten(0, 1).float())).unflatten(0, lr.shape[:2])
            pairs = [self.around.flow(large[:, k + 1], large[:, k]) for k in range(lr.shape[1] - 1)]
            if self.guidance.reliability:
                back = [self.around.flow(large[:, k], large[:, k + 1]) for k in range(lr.shape[1] - 1)]
                pairs = list(map(with_reliability, pairs, back))
        return torch.stack(pairs, dim=1)

    @torch.no_grad()
    def _latents(self, hr: Tensor, lr: Tensor, draws: Draws) -> Tensor:
        """Scaled latents N T 4 h w, sampled from the VAE's posterior as the authors do; a few frames at a time."""
        codec, frames, size = LatentCodec(self.autoencoder), hr.shape[1], self.around.encode_batch
        generators = [generator for generator in draws.generators for _ in range(frames)]
        pairs = zip(hr.flatten(0, 1).split(size), lr.flatten(0, 1).split(size), strict=True)
        # the paper's VAE is not made for half precision; our own is
        own = isinstance(self.autoencoder, ResidualAutoencoder)
        with torch.autocast(hr.device.type, enabled=own and torch.is_autocast_enabled(hr.device.type)):
            parts = [codec.encode(*pair, generators[k * size : (k + 1) * size]).float() for k, pair in enumerate(pairs)]
        return torch.cat(parts).unflatten(0, hr.shape[:2])


class GuidanceStage(_FrozenDenoiserStage):
    """The authors' step.

    Args:
        network: G_U or a ControlNet, learning.
        around: the frozen rest.
        data: sequences of two frames or, with `guided_neighbor_share`, three: `hr`, `lr` and, optionally, `flow`.
        shared_noise_share: share of pairs with the same noise in both frames, 0 to 1; the authors' is 0.
        transported_noise_share: share of pairs whose noise follows the motion, 0 to 1; the authors' is 0.
        sampler_share: share of the timesteps that are the default sampler's own, 0 to 1; the authors' is 0.
        guided_neighbor_share: share of steps in which the neighbour is guided by its own neighbour, 0 to 1; the
            authors' is 0.
    """

    def __init__(
        self,
        network: GuidanceNetwork,
        around: Surroundings,
        data: Dataset[dict[str, Tensor]],
        *,
        shared_noise_share: float = 0.0,
        transported_noise_share: float = 0.0,
        sampler_share: float = 0.0,
        guided_neighbor_share: float = 0.0,
    ) -> None:
        super().__init__(network, around, data)
        self.shared_noise_share, self.sampler_share = shared_noise_share, sampler_share
        self.guided_neighbor_share = guided_neighbor_share
        self.transported_noise_share = transported_noise_share

    def forward(self, batch: dict[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Losses of a batch: hr N T 3 4h 4w, lr N T 3 h w in [-1, 1], flow N T-1 2 4h 4w -> loss, by_level."""
        diffusion, shape = self.around.diffusion, batch["lr"].shape
        times = draw_timesteps(diffusion, sampler_share=self.sampler_share, draws=draws)
        noise = draw_noise(
            shape[1],
            self.denoiser.config.out_channels,
            *shape[-2:],
            shared_share=self.shared_noise_share,
            draws=draws,
        )
        if shape[1] > 2 and not draws.together(self.guided_neighbor_share):
            batch = {key: value[:, (-1 if key == "flow" else -2) :] for key, value in batch.items()}
        x0, flow = self._latents(batch["hr"], batch["lr"], draws), self._flow(batch)
        noise = noise[:, -x0.shape[1] :]
        noise = transport_noise(noise, flow[:, :, :2], share=self.transported_noise_share, draws=draws)
        result = guidance_loss(
            self.denoiser,
            self.guidance,
            diffusion,
            x0=x0,
            lr=batch["lr"],
            flow=flow,
            noise=noise.to(x0),
            timesteps=times.to(x0.device),
            condition=self.around.condition,
        )
        return {"loss": result.loss, "by_level": by_noise_level(result.errors, times, len(diffusion.alpha_bars))}


@dataclass(frozen=True, kw_only=True)
class GuidedSamplerLoss(SamplerLoss):
    """Loss on decoded sequences."""

    temporal_weight: float = 0.5
    """Weight of the change of the error along the motion, L1; 0 leaves it out."""

    shared_noise_share: float = 0.5
    """Share of sequences in which all frames start from one noise, 0 to 1."""

    transported_noise_share: float = 0.0
    """Share of sequences whose noise follows the motion, 0 to 1; it goes before the shared ones."""

    def noise(self, lr: Tensor, flow: Tensor, channels: int, draws: Draws) -> Tensor:
        """z_T of sequences: lr N T 3 h w, flow N T-1 2 4h 4w -> N T C h w like lr."""
        shape = (lr.shape[1], channels, *lr.shape[-2:])
        noise = draw_noise(*shape, shared_share=self.shared_noise_share, draws=draws)
        return transport_noise(noise, flow[:, :, :2], share=self.transported_noise_share, draws=draws).to(lr)


class GuidedSamplerStage(_FrozenDenoiserStage):
    """Finishes G_U on what the guided few-step sampler shows.

    Args:
        network: G_U or a ControlNet, learning.
        around: the frozen rest.
        data: sequences: `hr`, `lr` and, optionally, `flow`.
        loss: weights.
    """

    def __init__(
        self,
        network: GuidanceNetwork,
        around: Surroundings,
        data: Dataset[dict[str, Tensor]],
        loss: GuidedSamplerLoss,
    ) -> None:
        super().__init__(network, around, data)
        self.weights = loss
        self.loss = PictureLoss(loss)

    @property
    def critic(self) -> nn.Module | None:
        """The picture's, if it has one."""
        return self.loss.critic

    def forward(self, batch: dict[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Losses of sequences: hr N T 3 4h 4w, lr N T 3 h w, flow N T-1 2 4h 4w -> the losses."""
        hr, lr, flow = batch["hr"], batch["lr"], self._flow(batch)
        latents = unrolled_guided(
            self.denoiser,
            self.guidance,
            self.around.diffusion,
            lr=lr,
            flow=flow,
            noise=self.weights.noise(lr, flow, self.denoiser.config.out_channels, draws),
            gradient_steps=self.weights.gradient_steps,
        )
        codec = LatentCodec(self.autoencoder)
        output = codec.decode(latents[:, -1], lr[:, -1])
        losses: dict[str, Tensor] = self.loss(output, hr[:, -1], draws)
        if self.weights.temporal_weight > 0:
            with torch.no_grad():
                past_error = codec.decode(latents[:, -2], lr[:, -2]) - hr[:, -2]
                carried = warp(past_error, flow[:, -1, :2], "centered")
            losses["temporal"] = F.l1_loss(output - hr[:, -1], carried)
            losses["loss"] = losses["loss"] + self.weights.temporal_weight * losses["temporal"]
        return losses
