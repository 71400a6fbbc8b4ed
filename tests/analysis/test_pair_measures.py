import numpy as np
import pytest
import torch
from scipy import ndimage

from dgafvsr.analysis.pair_measures import compare_pair
from dgafvsr.errors import InputError

C, H, W = 3, 18, 23
RULES = ["range", "deviation"]


def pair(seed=0):
    generator = torch.Generator().manual_seed(seed)
    current = torch.randn(1, C, H, W, generator=generator)
    aligned = current + 0.2 * torch.randn(1, C, H, W, generator=generator)
    visible = torch.zeros(1, 1, H, W, dtype=torch.bool)
    visible[..., 3:-4, 2:-5] = True
    return aligned, current, visible


@pytest.mark.parametrize("normalisation", RULES)
def test_measures_equal_an_independent_computation(normalisation):
    aligned, current, visible = pair()
    found = compare_pair(aligned, current, visible, normalisation)
    first, second = aligned[0].double().numpy(), current[0].double().numpy()
    inner = (slice(None), slice(3, -4), slice(2, -5))
    both = np.concatenate([part[inner].reshape(C, -1) for part in (first, second)], axis=1)
    low, high = both.min(1), both.max(1)
    if normalisation == "deviation":
        low, high = both.mean(1) - 3 * both.std(1), both.mean(1) + 3 * both.std(1)
    first, second = ((part - low[:, None, None]) / (high - low)[:, None, None] for part in (first, second))
    difference = (first - second)[inner]
    levels = np.bincount(np.rint(255 * difference).astype(int).ravel() + 1000)
    shares = levels[levels > 0] / levels.sum()
    assert found["psnr"] == pytest.approx(10 * np.log10(1 / np.mean(difference**2)), rel=1e-6)
    assert found["entropy"] == pytest.approx(-np.sum(shares * np.log2(shares)), rel=1e-6)
    assert found["sigma"] == pytest.approx(255 * difference.std(), rel=1e-6)
    assert found["f_sigma"] == pytest.approx(1 / (1 + 255 * difference.std()), rel=1e-6)
    assert found["f_entropy"] == pytest.approx(1 / (1 + found["entropy"]))
    assert found["ssim"] == pytest.approx(similarity(first, second)[:, 8:-9, 7:-10].mean(), rel=1e-4)


def similarity(first, second):
    """SSIM as in Wang et al. 2004, borders mirrored, by scipy."""

    def mean(x):
        return ndimage.gaussian_filter(x, 1.5, axes=(1, 2), mode="mirror", radius=5)

    a, b = mean(first), mean(second)
    covariance = mean(first * second) - a * b
    variances = mean(first**2) - a**2 + mean(second**2) - b**2
    return (2 * a * b + 1e-4) * (2 * covariance + 9e-4) / ((a**2 + b**2 + 1e-4) * (variances + 9e-4))


def test_equal_pictures_have_nothing_between_them():
    _, current, visible = pair()
    found = compare_pair(current, current, visible, "range")
    assert (found["psnr"], found["entropy"], found["sigma"]) == (float("inf"), 0, 0)
    assert (found["f_entropy"], found["f_sigma"], found["ssim"]) == (1, 1, pytest.approx(1))


def test_the_range_of_the_numbers_does_not_matter():
    aligned, current, visible = pair()
    plain, scaled = (compare_pair(aligned * k + 5, current * k + 5, visible, "range") for k in (1, 30))
    assert plain["psnr"] == pytest.approx(scaled["psnr"], rel=1e-4)
    assert plain["ssim"] == pytest.approx(scaled["ssim"], rel=1e-3)


def test_range_flatters_what_is_mostly_near_zero_and_deviation_does_not():
    """The same relative error on a flat and on a peaked distribution."""
    generator = torch.Generator().manual_seed(2)
    even = torch.rand(1, C, 40, 40, generator=generator) - 0.5
    peaked = even.sign() * even.abs() ** 6
    visible = torch.ones(1, 1, 40, 40, dtype=torch.bool)
    scores = {}
    for name, current in (("even", even), ("peaked", peaked)):
        noise = torch.randn(current.shape, generator=generator)
        noise *= 0.1 * current.std() / noise.std()
        scores[name] = {rule: compare_pair(current + noise, current, visible, rule)["psnr"] for rule in RULES}
    assert scores["peaked"]["range"] > scores["even"]["range"] + 4
    assert scores["peaked"]["deviation"] == pytest.approx(scores["even"]["deviation"], abs=0.1)


def test_too_little_to_look_at_is_refused():
    with pytest.raises(InputError, match="too little"):
        compare_pair(torch.rand(1, 3, 8, 20), torch.rand(1, 3, 8, 20), torch.ones(1, 1, 8, 20).bool(), "range")
