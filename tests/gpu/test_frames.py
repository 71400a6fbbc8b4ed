"""What a GPU computes: the CPU's frames but for rounding, and the same bits every time and in every arrangement."""

import warnings

import numpy as np
import pytest
import torch

from dgafvsr.models.execution import Execution
from tests.gpu.conftest import packaged, psnr

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(("dtype", "least"), [(torch.float32, 60.0), (torch.float16, 45.0), (torch.bfloat16, 40.0)])
def test_frames_are_those_of_the_cpu_but_for_rounding(device, clip, expected, dtype, least):
    """float32 may be TF32 inside convolutions; bfloat16 has 8 bits of mantissa (59.8 dB was measured on a CPU)."""
    assert psnr(packaged(device, dtype)(clip).frames, expected) > least


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_same_seed_gives_the_same_bits(device, clip, dtype):
    pipe = packaged(device, dtype)
    np.testing.assert_array_equal(pipe(clip, seed=3).frames, pipe(clip, seed=3).frames)
    np.testing.assert_array_equal(packaged(device, dtype)(clip, seed=3).frames, pipe(clip, seed=3).frames)


@pytest.mark.parametrize(
    "options",
    [
        {"tile": 64},
        {"window": 4, "overlap": 2},
        {"turns": "guided"},
        {"initial_noise": "transported"},
        {"guided": False},
        {"solver": "dpm++", "num_inference_steps": 4},
        {"solver": "unipc", "num_inference_steps": 4},
        {"quality": "fast"},
        {"quality": "best"},
    ],
)
def test_every_way_of_sampling_agrees_with_the_cpu(device, clip, options):
    assert psnr(packaged(device)(clip, **options).frames, packaged()(clip, **options).frames) > 55


def test_windows_in_lockstep_equal_windows_in_turn(device, clip):
    """Batched convolutions may take other kernels, so rounding differs."""
    pipe = packaged(device)
    in_turn = pipe(clip, window=3, overlap=1).frames
    assert psnr(pipe(clip, window=3, overlap=1, window_batch=4).frames, in_turn) > 60


def test_compiled_networks_and_graphs_equal_eager_ones(device, clip):
    """A second call must not change what the first has given: graphs write into the same memory each time."""
    pipe = packaged(device)
    eager = pipe(clip).frames
    pipe.execution = Execution(compiled=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler, about diffusers' code
        first = pipe(clip, output_type="latent").frames
        kept = first.clone()
        frames = pipe(clip).frames
        pipe(clip[::-1].copy())
    if pipe.unet.compiled is None:
        pytest.skip("nothing can be compiled here")
    torch.testing.assert_close(first, kept, rtol=0, atol=0)
    assert psnr(frames, eager) > 55


@pytest.mark.parametrize("way", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_offloaded_networks_give_the_same_frames(device, clip, way):
    if device.type == "cpu":
        pytest.skip("there is nothing to offload from")
    pipe = packaged()
    getattr(pipe, way)(device=device)
    assert psnr(pipe(clip).frames, packaged(device)(clip).frames) > 60
