"""The accelerator under test: CUDA, or what DGAFVSR_DEVICE names (`mps`; `cpu` tries out the tests themselves)."""

import os
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from dgafvsr import DGAFVSRPipeline

EXAMPLE = Path(__file__).parents[2] / "examples" / "bigbuckbunny_320x180.mp4"
FRAMES, ROWS, COLUMNS = 6, slice(40, 130), slice(100, 260)


@pytest.fixture(scope="session")
def device():
    """Skips where there is none."""
    name = os.environ.get("DGAFVSR_DEVICE", "cuda")
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if not there.get(name.partition(":")[0], lambda: True)():
        pytest.skip(f"there is no {name} device")
    return torch.device(name)


@pytest.fixture(scope="session")
def clip():
    """Real frames that move: T H W 3 uint8."""
    with av.open(str(EXAMPLE)) as film:
        pictures = [
            each.to_ndarray(format="rgb24") for each, _ in zip(film.decode(video=0), range(FRAMES), strict=False)
        ]
    return np.stack(pictures)[:, ROWS, COLUMNS]


@pytest.fixture(scope="session")
def expected(clip):
    """The packaged model's frames of the clip, in float32 on the CPU."""
    return packaged()(clip).frames


def packaged(device="cpu", dtype=torch.float32):
    """The packaged model."""
    pipe = DGAFVSRPipeline.from_pretrained(torch_dtype=dtype, flow="dis").to(device)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def psnr(found, wanted):
    """dB, of values in [0, 1]."""
    return -10 * np.log10(np.mean((np.asarray(found, np.float64) - wanted) ** 2) + 1e-20)
