"""Networks in training, run as a finished model would be: the project's own sampler on a whole clip.

For validation and the ablation's table. The pipeline does the same with windows, shots and model folders around it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from dgafvsr.flow.estimator import FlowEstimator
from dgafvsr.flow.fm import bidirectional_flows
from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.models.guided_unet import GuidedUNet
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.sampling.noise import InitialNoise, KeyedNoise, initial_latents
from dgafvsr.sampling.sampler import Guidance, Sampler, SamplerInput
from dgafvsr.sampling.sweeps import Turns
from dgafvsr.training.objective import Condition, Diffusion
from dgafvsr.video.color import to_signed

__all__ = ["Rollout"]


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A model of parts that may still be learning; a `ClipSampler`."""

    denoiser: GuidedUNet
    autoencoder: AutoencoderKL | ResidualAutoencoder

    diffusion: Diffusion
    """Its scheduler samples, in its number of steps."""

    guidance: Guidance | None
    """None samples every frame alone."""

    flow: FlowEstimator
    """FM's estimator."""

    initial_noise: InitialNoise = "independent"
    turns: Turns = "unguided"
    seed: int = 0

    condition: Condition = field(default_factory=Condition)

    @torch.no_grad()
    def __call__(self, lr: Tensor) -> Tensor:
        """T 3 h w in [0, 1] -> T 3 4h 4w in [0, 1] on the CPU; the same frames for the same weights and seed."""
        device = self.denoiser.device
        noise = KeyedNoise(seed=self.seed, initial_noise=self.initial_noise)
        shape = (self.denoiser.config.out_channels, *lr.shape[-2:])
        signed = to_signed(lr).to(device)
        forward = backward = None
        if self.guidance is not None:
            flows = bidirectional_flows(lr.to(device), self.flow, keep=self.guidance.keep)
            forward, backward = flows.forward[None], flows.backward[None]
        clip = SamplerInput(
            latents=initial_latents(noise, len(lr), shape).to(device)[None],
            lr=signed[None],
            noise=(noise,),
            flow_forward=forward,
            flow_backward=backward,
            class_labels=self.condition.labels(lr[:1].to(device)),
        )
        sampler = Sampler(
            denoiser=self.denoiser,
            guidance=self.guidance,
            scheduler=self.diffusion.scheduler,
            prompt_embeds=self.condition.prompt(signed[:1]),
            turns=self.turns,
        )
        latents = {event.frame: event.latents for event in sampler.sample(clip, len(self.diffusion.steps))}
        codec = LatentCodec(self.autoencoder)
        return torch.cat([codec.decode_pixels(latents[k], signed[k : k + 1]).cpu() for k in range(len(lr))])
