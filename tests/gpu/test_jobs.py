"""Jobs on a GPU: decoded beside the sampling on a stream of their own, resumed to the same bits, short of memory."""

import numpy as np
import pytest
import torch

from dgafvsr.errors import InterruptionError
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.upscale import upscale_file
from tests.gpu.conftest import packaged
from tests.jobs.standins import lossless, pixels_of

pytestmark = pytest.mark.gpu

SHORT = UpscaleSettings(window=3, overlap=1, lockstep=1, tile=None)


@pytest.fixture
def film(tmp_path, clip):
    """The clip as a file."""
    return lossless(tmp_path / "in.mkv", clip)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_decoding_beside_sampling_changes_no_bit(device, clip, film, tmp_path, dtype):
    """A stream that did not wait for the other would show as wrong pixels, now and then: so, several times."""
    pipe = packaged(device, dtype)
    wanted = np.rint(255 * pipe(clip, window=3, overlap=1).frames)
    for attempt in range(3):
        upscale_file(film, tmp_path / f"out{attempt}", pipe, SHORT)
        np.testing.assert_array_equal(pixels_of(tmp_path / f"out{attempt}"), wanted)


def test_stopped_job_goes_on_to_the_same_bits(device, film, tmp_path):
    pipe = packaged(device, torch.float16)
    upscale_file(film, tmp_path / "whole", pipe, SHORT)
    finished = []
    with pytest.raises(InterruptionError):
        upscale_file(
            film, tmp_path / "out", pipe, SHORT, finished.append, wants_stop=lambda: finished[-1].frames_done > 0
        )
    summary = upscale_file(film, tmp_path / "out", packaged(device, torch.float16), SHORT)
    assert 0 < summary.frames_resumed < summary.frames
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), pixels_of(tmp_path / "whole"))


def test_job_that_runs_out_of_memory_goes_on_with_less(device, film, tmp_path):
    if device.type != "cuda":
        pytest.skip("memory can only be made scarce on CUDA")
    pipe = packaged(device)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    enough = upscale_file(film, tmp_path / "whole", pipe, SHORT).peak_memory_bytes
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.6 * enough / total, device)
    try:
        summary = upscale_file(film, tmp_path / "out", pipe, SHORT)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    assert summary.frames == len(pixels_of(tmp_path / "out"))
    assert any("going on with" in warning for warning in summary.warnings)
