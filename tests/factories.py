"""Tiny seeded models with the shape of the real ones, built in milliseconds."""

import numpy as np
import torch
from diffusers import DDIMScheduler

from dgafvsr.models.autoencoder import ResidualAutoencoder
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.guided_unet import GuidedUNet
from dgafvsr.pipeline import DGAFVSRPipeline

WIDTHS = (8, 12, 16)


def denoiser(*, attention=False, num_class_embeds=None, seed=0):
    """A D_U with three levels; with `attention` it attends to a 5 x 6 prompt at the two lower ones."""
    torch.manual_seed(seed)
    down, up = "CrossAttnDownBlock2D" if attention else "DownBlock2D", "CrossAttnUpBlock2D"
    return GuidedUNet(
        in_channels=7,
        out_channels=4,
        block_out_channels=WIDTHS,
        layers_per_block=2,
        down_block_types=("DownBlock2D", down, down),
        up_block_types=(up, up, "UpBlock2D") if attention else ("UpBlock2D",) * 3,
        mid_block_type="UNetMidBlock2DCrossAttn" if attention else "UNetMidBlock2D",
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=6,
        num_class_embeds=num_class_embeds,
    ).eval()


def guidance(unet, *, trained=True, seed=1, **reads):
    """A G_U for this denoiser; `trained` gives its zero convolutions something to say."""
    network = GuidanceUNet.from_denoiser(unet, **reads).eval()
    if trained:
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in network.named_parameters():
            if name.startswith("zero_"):
                parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return network


def autoencoder(seed=2):
    """A ResidualAutoencoder that a test can afford."""
    torch.manual_seed(seed)
    return ResidualAutoencoder(
        width=12,
        encoder_blocks=1,
        decoder_blocks=2,
        detail_width=8,
        latents_mean=(0.1, -0.2, 0.3, 0.0),
        latents_std=(0.5, 1.5, 1.0, 2.0),
    ).eval()


def scheduler():
    """The packaged model's scheduler."""
    return DDIMScheduler(
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
    )


def pipeline(**settings):
    """A pipeline of all the above, in the packaged model's shape."""
    unet = denoiser()
    parts = {"unet": unet, "vae": autoencoder(), "scheduler": scheduler(), "guidance": guidance(unet)}
    pipe = DGAFVSRPipeline(**(parts | {"default_steps": 2, "flow": "dis"} | settings))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def clip(frames=3, height=18, width=22, seed=3):
    """A moving texture: T H W 3 uint8."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 256, (height + 2 * frames, width + frames, 3), dtype=np.uint8)
    return np.stack([texture[2 * t : 2 * t + height, t : t + width] for t in range(frames)])
