"""The largest difference between our outputs and the authors', on their tiny random models, as a Markdown table.

python benchmarks/parity.py
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from safetensors.torch import load_file
from torch import Tensor

from dgafvsr import DGAFVSRPipeline
from dgafvsr.sampling.noise import SequentialNoise
from dgafvsr.sampling.ogwm import OGWM

FOLDER = Path(__file__).parents[1] / "tests" / "data" / "parity"


def error(ours: Tensor, theirs: Tensor) -> float:
    """Largest absolute difference."""
    return (ours - theirs).abs().max().item()


def networks(pipe: DGAFVSRPipeline, reference: dict[str, Tensor]) -> dict[str, float]:
    """Errors of single network calls and warps."""
    latents, lr, condition, times = (reference[f"module/{key}"] for key in ("latents", "lr", "condition", "timesteps"))
    residuals = pipe.guidance(latents, lr, condition, times)
    pairs = [(residual, f"module/down.{k}") for k, residual in enumerate(residuals.down)]
    pairs += [(residual, f"module/up.{k}") for k, residual in enumerate(residuals.up)]
    pairs += [(residuals.mid, "module/mid")]
    sample, prompt = torch.cat([latents, lr], dim=1), reference["prompt_embeds"].expand(2, -1, -1)
    plain = pipe.unet(sample, times, prompt).sample
    guided = pipe.unet(sample, times, prompt, residuals=residuals).sample
    out = {"G_U, 15 residuals": max(error(ours, reference[name]) for ours, name in pairs)}
    out["D_U without guidance"] = error(plain, reference["module/denoiser_plain"])
    out["D_U with guidance"] = error(guided, reference["module/denoiser_guided"])
    for rescaling, name in (("nearest", "ogwm"), ("bicubic", "ogwm_bicubic")):
        ogwm = OGWM(rescaling=rescaling)
        aligned = ogwm(reference["warp/feature"], ogwm.keep(reference["flow_forward"][:1]))
        out[f"OGWM, {rescaling}"] = error(aligned, reference[f"warp/{name}"])
    return out


def clips(pipe: DGAFVSRPipeline, reference: dict[str, Tensor], settings: dict) -> dict[str, float]:
    """Errors of whole clips."""
    flows = (reference["flow_forward"], reference["flow_backward"])
    generator = torch.Generator("cpu").manual_seed(settings["latent_seed"])
    runs = {
        "ddim": (DDIMScheduler(**settings["scheduler"], **settings["ddim"]), {"latents": reference["initial_latents"]}),
        "ddpm": (DDPMScheduler(**settings["scheduler"]), {"noise": SequentialNoise(generator)}),
    }
    out = {}
    for name, (scheduler, options) in runs.items():
        for kind in ("latents", "images"):
            generator.manual_seed(settings["latent_seed"])
            aligned: list[Tensor] = []
            frames = pipe(
                reference["frames"].numpy(),
                num_inference_steps=settings["steps"],
                flows=flows,
                scheduler=scheduler,
                output_type="latent" if kind == "latents" else "pt",
                on_event=lambda event, kept=aligned: kept.append(event.aligned) if event.aligned is not None else None,
                **options,
            ).frames
            frames = frames if kind == "latents" else frames.permute(0, 2, 3, 1)
            out[f"{name.upper()}, {kind}"] = error(frames, reference[f"{name}/{kind}"])
        out[f"{name.upper()}, aligned latents"] = error(torch.cat(aligned), reference[f"{name}/guidance_latents"])
    return out


def stablevsr() -> dict[str, float]:
    """Error of StableVSR's clip."""
    settings = json.loads((FOLDER / "dgafvsr" / "reference.json").read_text())
    reference = load_file(FOLDER / "stablevsr" / "reference.safetensors")
    pipe = DGAFVSRPipeline.from_pretrained(FOLDER / "dgafvsr" / "model", guidance=FOLDER / "stablevsr" / "controlnet")
    frames = pipe(
        reference["frames"].numpy(),
        num_inference_steps=settings["steps"],
        latents=reference["initial_latents"],
        flows=(reference["flow_forward"], reference["flow_backward"]),
        scheduler=DDIMScheduler(**settings["scheduler"], **settings["ddim"]),
        output_type="pt",
    ).frames
    return {"StableVSR, DDIM, images": error(frames.permute(0, 2, 3, 1), reference["ddim/images"])}


@torch.no_grad()
def main() -> None:
    """Print the table."""
    reference = load_file(FOLDER / "dgafvsr" / "reference.safetensors")
    settings = json.loads((FOLDER / "dgafvsr" / "reference.json").read_text())
    pipe = DGAFVSRPipeline.from_pretrained(FOLDER / "dgafvsr" / "model")
    rows = networks(pipe, reference) | clips(pipe, reference, settings) | stablevsr()
    print("| what | largest difference |\n|---|---|")
    print("\n".join(f"| {name} | {value:.1e} |" for name, value in rows.items()))


if __name__ == "__main__":
    main()
