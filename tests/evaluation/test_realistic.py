import numpy as np
import pytest
import torch

from dgafvsr.evaluation.realistic import _code, _gaussian, degrade_realistic, draw_orders
from tests.evaluation.pictures import smooth_clip

T, H, W = 4, 68, 92


def degrade(seed, clip=None):
    clip = smooth_clip(T, H, W) if clip is None else clip
    return torch.cat(list(degrade_realistic(iter(clip[:, None]), seed=seed)))


@pytest.mark.parametrize("seed", [0, 1, (2, 77)])
def test_frames_keep_number_size_range_and_levels(seed):
    lr = degrade(seed)
    assert lr.shape == (T, 3, H // 4, W // 4)
    assert lr.min() >= 0
    assert lr.max() <= 1
    assert torch.allclose(lr * 255, (lr * 255).round(), atol=1e-4)


def test_same_seed_same_frames_and_other_seed_others():
    assert torch.equal(degrade(3), degrade(3))
    assert not torch.equal(degrade(3), degrade(4))


def test_the_picture_is_still_there():
    coarse = smooth_clip(T, H // 4, W // 4)  # detail that survives a reduction and a blur
    clip = torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bicubic").clamp(0, 1)
    small = torch.nn.functional.interpolate(clip, scale_factor=0.25, mode="bicubic", antialias=True)
    for seed in range(3):
        lr = degrade(seed, clip)
        assert np.corrcoef(lr.flatten().numpy(), small.flatten().numpy())[0, 1] > 0.8


def test_an_empty_clip_stays_empty():
    assert list(degrade_realistic([], seed=0)) == []


def test_parameters_are_in_range_and_repeatable():
    for seed in range(50):
        first, second = draw_orders(np.random.default_rng(seed))
        assert (first, second) == draw_orders(np.random.default_rng(seed))
        assert min(first.blur_sigmas) >= 0.2
        assert max(second.blur_sigmas) <= 2.4 * 0.6
        assert 0.6 <= first.resize_factor <= 1.3
        assert 40 <= second.jpeg_quality <= 95
        assert 3 <= first.codec_quantizer <= 20


def test_blur_has_the_drawn_deviations():
    order = draw_orders(np.random.default_rng(5))[0]
    kernel = _gaussian(order)[0, 0].double()
    offsets = torch.arange(len(kernel)) - len(kernel) // 2
    assert float(kernel.sum()) == pytest.approx(1)
    spread = float((kernel * (offsets**2 + offsets[:, None] ** 2)).sum())
    # The trace of the covariance; the kernel is cut off at three deviations of the wider axis.
    assert spread == pytest.approx(order.blur_sigmas[0] ** 2 + order.blur_sigmas[1] ** 2, rel=0.1)


def test_codec_keeps_odd_sizes_and_costs_quality():
    grey = smooth_clip(T, 35, 47).mean(1, keepdim=True).expand(-1, 3, -1, -1)  # chroma would lose at any quantizer
    pictures = (grey.permute(0, 2, 3, 1) * 255).byte().numpy()
    errors = []
    for quantizer in (2, 20):
        coded = torch.cat(list(_code(iter(pictures), quantizer)))
        assert coded.shape == (T, 3, 35, 47)
        errors.append(np.abs(coded.permute(0, 2, 3, 1).numpy() * 255 - pictures).mean())
    fine, coarse = errors
    assert 0 < fine < 3
    assert fine < coarse
