"""The authors' code on tiny random models, reproduced: networks, warp, latents, images (float32, to 1e-4)."""

import json

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from safetensors.torch import load_file

from dgafvsr import DGAFVSRPipeline
from dgafvsr.sampling.noise import SequentialNoise
from dgafvsr.sampling.ogwm import OGWM

TOLERANCE = 1e-4  # float32 sums in another order; what is measured is about 1e-6


@pytest.fixture(scope="module")
def reference(parity):
    return load_file(parity / "dgafvsr" / "reference.safetensors")


@pytest.fixture(scope="module")
def settings(parity):
    return json.loads((parity / "dgafvsr" / "reference.json").read_text())


@pytest.fixture(scope="module")
def pipe(parity):
    return DGAFVSRPipeline.from_pretrained(parity / "dgafvsr" / "model")


def close(ours, theirs):
    return torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)


def run(pipe, reference, settings, scheduler, output_type, **options):
    aligned = []
    frames = pipe(
        reference["frames"].numpy(),
        num_inference_steps=settings["steps"],
        flows=(reference["flow_forward"], reference["flow_backward"]),
        scheduler=scheduler,
        output_type=output_type,
        on_event=lambda event: aligned.append(event.aligned) if event.aligned is not None else None,
        **options,
    ).frames
    return frames, torch.cat(aligned)


@torch.no_grad()
def test_guidance_network(pipe, reference):
    residuals = pipe.guidance(*(reference[f"module/{name}"] for name in ("latents", "lr", "condition", "timesteps")))
    for side in ("down", "up"):
        for k, residual in enumerate(getattr(residuals, side)):
            close(residual, reference[f"module/{side}.{k}"])
    close(residuals.mid, reference["module/mid"])


@torch.no_grad()
def test_denoiser_plain_and_guided(pipe, reference):
    parts = [reference[f"module/{name}"] for name in ("latents", "lr", "condition", "timesteps")]
    sample, prompt = torch.cat(parts[:2], dim=1), reference["prompt_embeds"].expand(2, -1, -1)
    close(pipe.unet(sample, parts[3], prompt).sample, reference["module/denoiser_plain"])
    guided = pipe.unet(sample, parts[3], prompt, residuals=pipe.guidance(*parts)).sample
    close(guided, reference["module/denoiser_guided"])


@pytest.mark.parametrize(("rescaling", "name"), [("nearest", "ogwm"), ("bicubic", "ogwm_bicubic")])
def test_warp(reference, rescaling, name):
    ogwm = OGWM(rescaling=rescaling)
    aligned = ogwm(reference["warp/feature"], ogwm.keep(reference["flow_forward"][:1]))
    close(aligned, reference[f"warp/{name}"])


def test_prompt(pipe, reference):
    from dgafvsr.models.prompt import embed_prompt

    close(embed_prompt(pipe.text_encoder, pipe.tokenizer), reference["prompt_embeds"])


@pytest.mark.parametrize("output_type", ["latent", "pt"])
def test_ddim(pipe, reference, settings, output_type):
    scheduler = DDIMScheduler(**settings["scheduler"], **settings["ddim"])
    options = {"latents": reference["initial_latents"]}
    frames, aligned = run(pipe, reference, settings, scheduler, output_type, **options)
    close(aligned, reference["ddim/guidance_latents"])
    if output_type == "latent":
        close(frames, reference["ddim/latents"])
    else:
        close(frames.permute(0, 2, 3, 1), reference["ddim/images"])


@pytest.mark.parametrize("output_type", ["latent", "pt"])
def test_ddpm_in_the_authors_order_of_draws(pipe, reference, settings, output_type):
    noise = SequentialNoise(torch.Generator().manual_seed(settings["latent_seed"]))
    frames, aligned = run(pipe, reference, settings, DDPMScheduler(**settings["scheduler"]), output_type, noise=noise)
    close(aligned, reference["ddpm/guidance_latents"])
    if output_type == "latent":
        close(frames, reference["ddpm/latents"])
    else:
        close(frames.permute(0, 2, 3, 1), reference["ddpm/images"])


def test_our_own_format_gives_the_same_bits(pipe, reference, settings, tmp_path):
    pipe.save_pretrained(tmp_path)
    again = DGAFVSRPipeline.from_pretrained(tmp_path)
    scheduler = DDIMScheduler(**settings["scheduler"], **settings["ddim"])
    first, second = (run(p, reference, settings, scheduler, "latent")[0] for p in (pipe, again))
    assert torch.equal(first, second)
