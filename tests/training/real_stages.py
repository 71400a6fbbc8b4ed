"""A real stage of tiny networks, each sample a function of its index: for processes of their own, and for GPUs."""

from __future__ import annotations

from dataclasses import replace

import torch
from tests import factories
from torch.nn import functional as F
from torch.utils.data import Dataset

from dgafvsr.flow.dis import DISFlow
from dgafvsr.training.objective import Diffusion
from dgafvsr.training.settings import TrainerConfig
from dgafvsr.training.stage_guidance import GuidanceStage, Surroundings

GUIDANCE_CONFIG = TrainerConfig(
    steps=4,
    batch_size=4,
    micro_batch=1,
    learning_rate=3e-3,
    warmup_steps=1,
    schedule="constant",
    precision="no",
    checkpoint_every=2,
    log_every=1,
)


class Pairs(Dataset[dict[str, torch.Tensor]]):
    """Two frames of noise, and a flow that nobody estimated."""

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(index)
        hr = torch.rand(2, 3, 32, 48, generator=generator) * 2 - 1
        return {"hr": hr, "lr": F.avg_pool2d(hr, 4), "flow": torch.randn(1, 2, 32, 48, generator=generator)}


def guidance_stage() -> GuidanceStage:
    """G_U around a frozen D_U, by the authors' step."""
    denoiser = factories.denoiser()
    network = factories.guidance(denoiser).requires_grad_(True)
    around = Surroundings(
        denoiser=denoiser,
        autoencoder=factories.autoencoder(),
        diffusion=Diffusion.of(factories.scheduler(), 2),
        flow=DISFlow(),
    )
    return GuidanceStage(network, around, Pairs(), sampler_share=0.5)


def whole_batch(config: TrainerConfig = GUIDANCE_CONFIG) -> TrainerConfig:
    """The same training, all samples of a step at once."""
    return replace(config, micro_batch=None)
