import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from dgafvsr.errors import InputError, UsageError
from dgafvsr.evaluation.metrics import METRICS, parse_metrics, psnr, ssim
from tests.evaluation.pictures import noisy, smooth_clip


def ssim_by_hand(prediction, truth):
    """Wang et al. 2004 on one channel H W, float64: separable window written out, borders mirrored."""
    x = np.arange(-5, 6)
    window = np.exp(-(x**2) / (2 * 1.5**2))
    window /= window.sum()

    def blur(plane):
        return correlate1d(correlate1d(plane, window, axis=0, mode="mirror"), window, axis=1, mode="mirror")

    mean_p, mean_t = blur(prediction), blur(truth)
    var_p, var_t = blur(prediction**2) - mean_p**2, blur(truth**2) - mean_t**2
    covariance = blur(prediction * truth) - mean_p * mean_t
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_p * mean_t + c1) * (2 * covariance + c2)
    return (similarity / ((mean_p**2 + mean_t**2 + c1) * (var_p + var_t + c2))).mean()


def test_psnr_equals_its_definition():
    truth = smooth_clip()
    prediction = noisy(truth)
    expected = [-10 * np.log10(np.mean((p - t).double().numpy() ** 2)) for p, t in zip(prediction, truth, strict=True)]
    np.testing.assert_allclose(psnr(prediction, truth).numpy(), expected, rtol=1e-6)


def test_psnr_of_equal_pictures_is_infinite():
    assert psnr(smooth_clip(), smooth_clip()).isinf().all()


def test_ssim_equals_its_definition():
    truth = smooth_clip(t=2)
    prediction = noisy(truth)
    pairs = zip(prediction.double().numpy(), truth.double().numpy(), strict=True)
    expected = [np.mean([ssim_by_hand(*channels) for channels in zip(*pair, strict=True)]) for pair in pairs]
    np.testing.assert_allclose(ssim(prediction, truth).numpy(), expected, rtol=1e-5)


def test_ssim_of_equal_pictures_is_one():
    torch.testing.assert_close(ssim(smooth_clip(), smooth_clip()), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (torch.zeros(1, 3, 20, 24), torch.zeros(1, 3, 24, 20), "one size"),
        (torch.zeros(1, 1, 20, 24), torch.zeros(1, 1, 20, 24), "N 3 H W"),
        (torch.full((1, 3, 20, 24), torch.nan), torch.zeros(1, 3, 20, 24), "finite"),
        (torch.zeros(1, 3, 20, 24), torch.full((1, 3, 20, 24), 255.0), "255"),
    ],
)
def test_what_cannot_be_compared_is_refused(metric, prediction, truth, message):
    with pytest.raises(InputError, match=message):
        metric(prediction, truth)


def test_too_small_for_the_window_is_refused():
    with pytest.raises(InputError, match="at least 11"):
        ssim(torch.zeros(1, 3, 10, 24), torch.zeros(1, 3, 10, 24))


def test_lists_are_parsed_in_order_and_once():
    assert parse_metrics(" tLPIPS, psnr,psnr ") == ("tlpips", "psnr")


@pytest.mark.parametrize(("text", "message"), [("psnr,vmaf", "vmaf"), (" , ", "No metric")])
def test_bad_lists_name_the_metrics(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        parse_metrics(text)
    assert all(name in str(caught.value) for name in METRICS)
