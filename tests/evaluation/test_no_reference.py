import sys
import urllib.error

import numpy as np
import pytest
import torch
from scipy.io import savemat
from scipy.ndimage import correlate1d
from scipy.special import gamma

from dgafvsr.errors import InputError
from dgafvsr.evaluation.no_reference import QualityScore, read_niqe_prior
from dgafvsr.evaluation.perceptual import MetricUnavailableError
from dgafvsr.evaluation.runner import EvaluationSettings, evaluate_folders
from tests.evaluation.pictures import noisy, smooth_clip, write_clip


def prior(seed=5):
    """A mean and a covariance as NIQE's could be."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(36, 36))
    return rng.uniform(0.2, 2, size=(1, 36)), factor @ factor.T / 36 + 0.1 * np.eye(36)


@pytest.fixture
def prior_file(tmp_path):
    mean, covariance = prior()
    np.savez(tmp_path / "prior.npz", mu_pris_param=mean, cov_pris_param=covariance, gaussian_window=np.ones((7, 7)))
    return tmp_path / "prior.npz"


def half_matrix(size):
    """Matlab's imresize(x, 1/2) along one axis as a matrix: cubic kernel stretched by 2, borders mirrored."""
    matrix = np.zeros((size // 2, size))
    for row in range(size // 2):
        centre = 2 * row + 0.5
        taps = np.arange(int(np.floor(centre - 4)), int(np.floor(centre - 4)) + 10)
        x = np.abs(taps - centre) / 2
        near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        weights = np.where(x <= 1, near, np.where(x < 2, far, 0))
        mirrored = np.where(taps < 0, -1 - taps, np.where(taps >= size, 2 * size - 1 - taps, taps))
        np.add.at(matrix[row], mirrored, weights / weights.sum())
    return matrix


SHAPES = np.arange(0.2, 10.001, 0.001)
RATIOS = gamma(2 / SHAPES) ** 2 / (gamma(1 / SHAPES) * gamma(3 / SHAPES))


def asymmetric_gaussian(values):
    """Shape and both scales of an asymmetric generalised gaussian, by moments (Lasmar et al., 2009)."""
    left, right = np.sqrt(np.mean(values[values < 0] ** 2)), np.sqrt(np.mean(values[values > 0] ** 2))
    ratio = left / right
    moment = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
    moment *= (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shape = SHAPES[np.argmin((RATIOS - moment) ** 2)]
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * scale, right * scale


def features(block):
    """Mittal et al., 2013: 18 numbers of a block of normalised luma."""
    shape, left, right = asymmetric_gaussian(block)
    found = [shape, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = asymmetric_gaussian(block * np.roll(block, shift, axis=(0, 1)))
        found += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return found


def normalised(luma):
    taps = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    taps /= taps.sum()

    def blur(plane):
        return correlate1d(correlate1d(plane, taps, axis=0, mode="nearest"), taps, axis=1, mode="nearest")

    mean = blur(luma)
    return (luma - mean) / (np.sqrt(np.abs(blur(luma**2) - mean**2)) + 1)


def niqe_by_hand(picture, mean, covariance):
    """NIQE of 3 H W in [0, 1], float64, written from the paper."""
    luma = np.round(255 * np.tensordot([0.299, 0.587, 0.114], picture, axes=1))
    rows, columns = (side // 96 for side in luma.shape)
    luma = luma[: 96 * rows, : 96 * columns]
    scales = []
    for side in (96, 48):
        plane = normalised(luma)
        blocks = plane.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)
        scales.append([features(block) for block in blocks])
        if side == 96:
            luma = half_matrix(luma.shape[0]) @ luma @ half_matrix(luma.shape[1]).T
    found = np.concatenate(scales, axis=1)
    difference = mean.ravel() - found.mean(axis=0)
    inverse = np.linalg.pinv((covariance + np.cov(found.T)) / 2)
    return np.sqrt(difference @ inverse @ difference)


def test_niqe_with_a_local_prior_equals_the_papers_formulas(prior_file):
    pytest.importorskip("pyiqa")
    picture = noisy(smooth_clip(t=1, height=200, width=300), 0.08)
    picture = (picture * 255).round() / 255
    expected = niqe_by_hand(picture[0].double().numpy(), *prior())
    (got,) = QualityScore("niqe", niqe_prior=prior_file)(picture).tolist()
    assert got == pytest.approx(expected, rel=2e-3)  # pyiqa's table of shapes and its luma rounding differ slightly


def test_priors_are_read_by_the_names_of_both_sources(prior_file, tmp_path):
    mean, covariance = prior()
    savemat(tmp_path / "prior.mat", {"mu_prisparam": mean, "cov_prisparam": covariance})
    for file in (prior_file, tmp_path / "prior.mat"):
        read_mean, read_covariance = read_niqe_prior(file)
        np.testing.assert_array_equal(read_mean, mean[0])
        np.testing.assert_array_equal(read_covariance, covariance)


def test_what_is_no_prior_is_refused_by_name(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    mean, covariance = prior()
    np.savez(tmp_path / "nan.npz", mu_pris_param=mean * np.nan, cov_pris_param=covariance)
    (tmp_path / "text.npz").write_text("no")
    for name in ("other.npz", "nan.npz", "text.npz", "absent.npz", "absent.mat"):
        with pytest.raises(InputError, match=name):
            read_niqe_prior(tmp_path / name)


def test_missing_package_names_the_extra_and_its_licence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(MetricUnavailableError, match=r"dgafvsr\[iqa\].*no commercial use") as caught:
        QualityScore("musiq")
    assert caught.value.short == "no pyiqa"


@pytest.mark.parametrize(("module", "package"), [("pkg_resources", "setuptools<82"), ("timm", "timm")])
def test_what_pyiqa_did_not_bring_is_named_itself(monkeypatch, module, package):
    def create(name, **options):
        raise ModuleNotFoundError(f"No module named '{module}'", name=module)

    fake_pyiqa(monkeypatch, create)
    with pytest.raises(MetricUnavailableError, match=f"pip install '{package}'") as caught:
        QualityScore("clipiqa")
    assert caught.value.short == f"no {module}"


def fake_pyiqa(monkeypatch, create):
    module = type(sys)("pyiqa")
    module.create_metric = create
    monkeypatch.setitem(sys.modules, "pyiqa", module)


def test_missing_weights_say_what_to_do(monkeypatch):
    def unreachable(name, **options):
        sys.stdout.write("Downloading ...")
        raise urllib.error.URLError("no route to host")

    fake_pyiqa(monkeypatch, unreachable)
    with pytest.raises(MetricUnavailableError, match="leave musiq out") as caught:
        QualityScore("musiq")
    assert caught.value.short == "no weights"
    with pytest.raises(MetricUnavailableError, match="--niqe-prior"):
        QualityScore("niqe")


class MeanLuma(torch.nn.Module):
    def forward(self, picture):
        assert picture.shape[0] == 1
        return picture.mean(dim=(1, 2, 3))[:, None]


def test_each_picture_has_its_score_and_nothing_is_printed(monkeypatch, capsys):
    def create(name, *, device):
        sys.stdout.write("Loading pretrained model")
        return MeanLuma()

    fake_pyiqa(monkeypatch, create)
    pictures = smooth_clip(t=3)
    torch.testing.assert_close(
        QualityScore("clipiqa")(pictures), pictures.double().mean(dim=(1, 2, 3)), rtol=1e-5, atol=0
    )
    assert capsys.readouterr().out == ""
    with pytest.raises(InputError, match="at least 32"):
        QualityScore("musiq")(torch.zeros(1, 3, 31, 40))


def test_without_truth_only_what_needs_none_is_computed(monkeypatch, tmp_path):
    fake_pyiqa(monkeypatch, lambda name, *, device: MeanLuma())
    written = write_clip(tmp_path / "sr" / "000", smooth_clip(t=2))
    settings = EvaluationSettings(metrics=("psnr", "musiq", "tlpips"))
    result = evaluate_folders({"ours": tmp_path / "sr"}, None, settings)
    assert {name: found.short for name, found in result.unavailable.items()} == {
        "psnr": "no truth",
        "tlpips": "no truth",
    }
    assert result.methods[0].mean("musiq") == pytest.approx(float(written.mean()), rel=1e-5)
