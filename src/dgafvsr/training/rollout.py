"""Networks in training, run as a finished model would be: the project's own sampler on a whole clip.

For validation and the ablation's table. The pipeline does the same with windows, shots and model folders around it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from dgafvsr.flow.estimator import FlowEstimator
from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.models.guided_unet import GuidedUNet
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.sampling.inputs import Clip
from dgafvsr.sampling.noise import InitialNoise
from dgafvsr.sampling.sampler import Guidance, Sampler
from dgafvsr.sampling.sweeps import Turns
from dgafvsr.sampling.transport import NoiseTransport
from dgafvsr.sampling.windows import plan_windows
from dgafvsr.training.objective import Condition, Diffusion

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
        follows = self.initial_noise == "transported"
        clip = Clip(
            lr=lr,
            seed=self.seed,
            first_frame=0,
            initial_noise=self.initial_noise,
            noise=None,
            latents=None,
            latent_channels=self.denoiser.config.out_channels,
            flows=None,
            noise_level=0,
            low_res_scheduler=None,
            class_labels=False,
            transport=NoiseTransport(self.seed, None) if follows else None,
        )
        device = self.denoiser.device
        whole = clip.windows(plan_windows(len(lr), None), self.guidance, self.flow, device)
        whole = replace(whole, class_labels=self.condition.labels(lr[:1].to(device)))
        sampler = Sampler(
            denoiser=self.denoiser,
            guidance=self.guidance,
            scheduler=self.diffusion.scheduler,
            prompt_embeds=self.condition.prompt(whole.lr[0, :1]),
            turns=self.turns,
        )
        latents = {event.frame: event.latents for event in sampler.sample(whole, len(self.diffusion.steps))}
        codec = LatentCodec(self.autoencoder)
        return torch.cat([codec.decode_pixels(latents[k], whole.lr[0, k : k + 1]).cpu() for k in range(len(lr))])
