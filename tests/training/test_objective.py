from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file
from torch.nn import functional as F

from dgafvsr.models.checkpoints import load_guidance, load_parts
from dgafvsr.models.guidance_unet import GuidanceUNet
from dgafvsr.models.guided_unet import GuidedUNet
from dgafvsr.models.latent_codec import LatentCodec
from dgafvsr.models.prompt import embed_prompt
from dgafvsr.sampling.ftcm import FTCM
from dgafvsr.sampling.ogwm import OGWM
from dgafvsr.sampling.predictions import add_noise, target
from dgafvsr.training.objective import (
    Condition,
    Diffusion,
    denoiser_errors,
    guidance_loss,
    predict,
    unrolled,
    unrolled_guided,
)
from dgafvsr.training.own_model import make_scheduler

PARITY = Path(os.environ.get("DGAFVSR_PARITY", Path(__file__).parents[3] / "shared" / "parity")) / "dgafvsr"


def tiny_denoiser(seed: int = 0) -> GuidedUNet:
    torch.manual_seed(seed)
    return GuidedUNet(
        in_channels=7,
        out_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D",) * 2,
        mid_block_type="UNetMidBlock2D",
        up_block_types=("UpBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
    ).eval()


def tiny_inputs(n: int = 3, frames: int = 2, h: int = 6, w: int = 10) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "x0": torch.randn(n, frames, 4, h, w, generator=generator),
        "lr": torch.rand(n, frames, 3, h, w, generator=generator) * 2 - 1,
        "flow": torch.randn(n, frames - 1, 2, 4 * h, 4 * w, generator=generator),
        "noise": torch.randn(n, frames, 4, h, w, generator=generator),
        "timesteps": torch.tensor([999, 400, 5])[:n],
    }


@pytest.mark.skipif(not PARITY.is_dir(), reason="the authors' reference outputs are not on this machine")
def test_guidance_loss_equals_the_authors_step():
    reference = {key: value for key, value in load_file(PARITY / "reference.safetensors").items() if "train/" in key}
    ref = {key.removeprefix("train/"): value for key, value in reference.items()}
    parts = load_parts(PARITY / "model")
    guidance = load_guidance(PARITY / "model").requires_grad_(True)
    codec = LatentCodec(parts.vae)
    gt, lr = ref["gt"], ref["lr"]
    x0 = codec.encode(gt[0], lr[0])[None]
    flow = load_file(PARITY / "reference.safetensors")["flow_forward"][0][None, None]
    result = guidance_loss(
        parts.unet,
        FTCM(network=guidance, ogwm=OGWM(convention="released")),
        Diffusion.of(parts.scheduler, 4),
        x0=x0,
        lr=lr,
        flow=flow,
        noise=torch.stack([ref["noise_neighbor"], ref["noise"]], dim=1),
        timesteps=ref["timesteps"].long(),
        condition=Condition(prompt_embeds=embed_prompt(parts.text_encoder, parts.tokenizer)),
    )
    # Two implementations in float32: rounding only.
    torch.testing.assert_close(result.aligned, ref["guidance_latent"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(result.loss.reshape(1), ref["loss"], atol=1e-6, rtol=1e-5)
    result.loss.backward()
    torch.testing.assert_close(guidance.conv_in.weight.grad, ref["grad_conv_in"], atol=1e-6, rtol=1e-3)
    # The authors' first convolution shares its bias with the frozen D_U, so their norm leaves it out.
    gradients = [value.grad for name, value in guidance.named_parameters() if name != "conv_in.bias"]
    norm = torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm()
    torch.testing.assert_close(norm.reshape(1), ref["grad_norm"], atol=1e-6, rtol=1e-4)


def test_only_the_guidance_network_gets_gradients():
    denoiser = tiny_denoiser().requires_grad_(False)
    guidance = GuidanceUNet.from_denoiser(denoiser).requires_grad_(True)
    diffusion = Diffusion.of(make_scheduler(), 4)
    ftcm = FTCM(network=guidance, ogwm=OGWM())
    guidance_loss(denoiser, ftcm, diffusion, **tiny_inputs()).loss.backward()
    assert all(parameter.grad is None for parameter in denoiser.parameters())
    assert all(convolution.weight.grad.abs().sum() > 0 for convolution in [*guidance.zero_down, *guidance.zero_up])


def test_untrained_guidance_leaves_the_frozen_denoiser_as_it_is():
    denoiser = tiny_denoiser().requires_grad_(False)
    ftcm = FTCM(network=GuidanceUNet.from_denoiser(denoiser), ogwm=OGWM())
    diffusion = Diffusion.of(make_scheduler(), 4)
    inputs = tiny_inputs()
    guided = guidance_loss(denoiser, ftcm, diffusion, **inputs).errors
    centre = {key: inputs[key][:, 1] for key in ("x0", "lr", "noise")}
    assert torch.equal(guided, denoiser_errors(denoiser, diffusion, **centre, timesteps=inputs["timesteps"]))


def test_denoiser_loss_is_the_squared_error_of_v():
    denoiser, diffusion, inputs = tiny_denoiser(), Diffusion.of(make_scheduler(), 4), tiny_inputs()
    x0, lr, noise = (inputs[key][:, 0] for key in ("x0", "lr", "noise"))
    times = inputs["timesteps"]
    alpha_bar = diffusion.alpha_bar(times)
    v = predict(denoiser, add_noise(x0, noise, alpha_bar), lr, times)
    expected = F.mse_loss(v, target(x0, noise, alpha_bar, "v_prediction"))
    errors = denoiser_errors(denoiser, diffusion, x0=x0, lr=lr, noise=noise, timesteps=times)
    torch.testing.assert_close(errors.mean(), expected)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
def test_unrolled_sampler_equals_the_schedulers(steps, kind):
    scheduler = DDIMScheduler.from_config({**make_scheduler().config, "prediction_type": kind})
    denoiser, diffusion = tiny_denoiser(), Diffusion.of(scheduler, steps)
    inputs = tiny_inputs()
    lr, noise = inputs["lr"][:, 0], inputs["noise"][:, 0]
    with torch.no_grad():
        latents = noise
        for time in scheduler.timesteps:
            prediction = predict(denoiser, latents, lr, time.expand(len(lr)))
            latents = scheduler.step(prediction, time, latents, eta=0.0).prev_sample
        result = unrolled(denoiser, diffusion, lr=lr, noise=noise)
    torch.testing.assert_close(result, latents, atol=1e-5, rtol=1e-5)


def test_unrolled_guided_sampler_with_untrained_guidance_is_every_frame_alone():
    denoiser = tiny_denoiser()
    ftcm = FTCM(network=GuidanceUNet.from_denoiser(denoiser), ogwm=OGWM())
    diffusion = Diffusion.of(make_scheduler(), 2)
    inputs = tiny_inputs(frames=3)
    with torch.no_grad():
        result = unrolled_guided(denoiser, ftcm, diffusion, lr=inputs["lr"], flow=inputs["flow"], noise=inputs["noise"])
        for k in range(3):
            alone = unrolled(denoiser, diffusion, lr=inputs["lr"][:, k], noise=inputs["noise"][:, k])
            torch.testing.assert_close(result[:, k], alone)


def test_gradients_stop_before_the_last_steps():
    denoiser, diffusion, inputs = tiny_denoiser(), Diffusion.of(make_scheduler(), 4), tiny_inputs()
    lr, noise = inputs["lr"][:, 0], inputs["noise"][:, 0].requires_grad_(True)
    unrolled(denoiser, diffusion, lr=lr, noise=noise, gradient_steps=2).sum().backward()
    assert noise.grad is None
    assert denoiser.conv_out.weight.grad is not None
