from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from dgafvsr.errors import InputError
from dgafvsr.evaluation.degradations import blur_gaussian, crop_to_scale, mirror, reduce_bicubic, reduce_blurred

H, W = 64, 88
VID4 = Path(__file__).parents[2].parent / "shared" / "data" / "vid4"


def hr(n=2, height=H, width=W):
    return torch.rand(n, 3, height, width)


def test_bicubic_equals_pillow_away_from_the_border():
    frames = hr()
    found = reduce_bicubic(frames)
    assert found.shape == (2, 3, H // 4, W // 4)
    for frame, lr in zip(frames, found, strict=True):
        for channel, reduced in zip(frame, lr, strict=True):
            pillow = Image.fromarray(channel.numpy()).resize((W // 4, H // 4), Image.Resampling.BICUBIC)
            difference = np.abs(np.clip(np.asarray(pillow), 0, 1) - reduced.numpy())[2:-2, 2:-2]
            assert difference.max() < 0.5001 / 255  # the rounding to 8 bits


def test_bicubic_equals_torch_away_from_the_border():
    frames = hr()
    torchs = torch.nn.functional.interpolate(frames, scale_factor=0.25, mode="bicubic", antialias=True)
    assert (torchs.clamp(0, 1) - reduce_bicubic(frames))[..., 2:-2, 2:-2].abs().max() < 0.5001 / 255


def test_bicubic_border_is_mirrored():
    """Matlab's rule: the same as reducing a picture that really goes on mirrored."""
    frames = hr(1)
    larger = reduce_bicubic(mirror(frames, 16))
    assert torch.equal(larger[..., 4:-4, 4:-4], reduce_bicubic(frames))


def test_bicubic_equals_the_field():
    if not VID4.is_dir():
        pytest.skip("the Vid4 frames are not here")
    for clip in ("calendar", "city"):
        truth, expected = (
            np.asarray(Image.open(next(iter(sorted((VID4 / part / clip).iterdir())))).convert("RGB"))
            for part in ("gt", "bix4")
        )
        found = reduce_bicubic(torch.from_numpy(truth.copy()).permute(2, 0, 1)[None].float() / 255)[0].permute(1, 2, 0)
        assert np.abs(255 * found.numpy() - expected).mean() < 0.5


def test_blurred_is_scipys_gaussian_at_the_corner_of_each_cell():
    frames = hr()
    blurred = ndimage.gaussian_filter(frames.double().numpy(), 1.6, axes=(2, 3), radius=6, mode="reflect")
    found = reduce_blurred(frames)
    assert found.shape == (2, 3, H // 4, W // 4)
    assert np.abs(found.numpy() - blurred[..., ::4, ::4]).max() < 0.501 / 255


def test_constant_pictures_stay():
    grey = torch.full((1, 3, 16, 20), 100 / 255)
    for lr in (reduce_bicubic(grey), reduce_blurred(grey), blur_gaussian(grey, sigma=1.0, radius=3)):
        assert torch.allclose(lr, torch.tensor(100 / 255), atol=1e-6)


def test_sides_must_be_multiples_of_four():
    for reduce in (reduce_bicubic, reduce_blurred):
        with pytest.raises(InputError):
            reduce(hr(1, 18, 20))
    assert crop_to_scale(hr(1, 19, 22)).shape == (1, 3, 16, 20)
