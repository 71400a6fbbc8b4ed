import numpy as np
import pytest
import torch

from dgafvsr.errors import UsageError
from dgafvsr.evaluation.baselines import interpolate_pixels
from tests.evaluation.pictures import smooth_clip, to_pixels


def test_bicubic_is_the_kernel_of_the_field():
    pixels = to_pixels(smooth_clip(t=1, height=9, width=13))[0]
    tensor = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]
    # antialias=True selects a = -0.5 in PyTorch, and does not blur when enlarging.
    expected = torch.nn.functional.interpolate(tensor, scale_factor=4, mode="bicubic", antialias=True)
    got = interpolate_pixels(pixels, "bicubic")
    assert got.shape == (36, 52, 3)
    difference = got.astype(float) - expected.clamp(0, 255)[0].permute(1, 2, 0).numpy()
    assert np.abs(difference).max() < 0.51  # rounding to 8 bits


def test_lanczos_interpolates_with_windowed_sinc():
    pixels = to_pixels(smooth_clip(t=1, height=11, width=15))[0]
    offset = (np.arange(-2, 4) - 0.125)[:, None]  # output pixel 30 lies at 7.125
    weights = np.sinc(offset) * np.sinc(offset / 3)
    weights /= weights.sum()
    got = interpolate_pixels(pixels, "lanczos")
    column = (pixels[:, 5:11].astype(float) * weights).sum(axis=1)  # H 3, at x = 7.125
    rows = np.array([(column[3:9, c] * weights[:, 0]).sum() for c in range(3)])  # at y = 5.125
    np.testing.assert_allclose(got[22, 30], np.clip(rows, 0, 255), atol=0.51)


def test_flat_pictures_stay_flat():
    pixels = np.full((5, 6, 3), 77, dtype=np.uint8)
    assert (interpolate_pixels(pixels, "lanczos") == 77).all()


def test_unknown_kernel_lists_the_kernels():
    with pytest.raises(UsageError, match="lanczos"):
        interpolate_pixels(np.zeros((4, 4, 3), dtype=np.uint8), "nearest")
