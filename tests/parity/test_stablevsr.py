"""StableVSR's code on tiny random models, reproduced (float32, to 1e-4)."""

import json

import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file

from dgafvsr import DGAFVSRPipeline


def test_images(parity):
    settings = json.loads((parity / "dgafvsr" / "reference.json").read_text())
    reference = load_file(parity / "stablevsr" / "reference.safetensors")
    pipe = DGAFVSRPipeline.from_pretrained(parity / "dgafvsr" / "model", guidance=parity / "stablevsr" / "controlnet")
    frames = pipe(
        reference["frames"].numpy(),
        num_inference_steps=settings["steps"],
        latents=reference["initial_latents"],
        flows=(reference["flow_forward"], reference["flow_backward"]),
        scheduler=DDIMScheduler(**settings["scheduler"], **settings["ddim"]),
        output_type="pt",
    ).frames
    torch.testing.assert_close(frames.permute(0, 2, 3, 1), reference["ddim/images"], rtol=0, atol=1e-4)


def test_guidance_of_another_shape_is_refused(parity):
    import pytest
    from tests import factories

    from dgafvsr.errors import ModelError

    unet = factories.denoiser()
    with pytest.raises(ModelError, match="does not fit the denoiser"):
        DGAFVSRPipeline.from_pretrained(parity / "dgafvsr" / "model", guidance=factories.guidance(unet))
