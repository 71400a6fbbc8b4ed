import urllib.error

import pytest
import torch

from dgafvsr.errors import InputError
from dgafvsr.evaluation.perceptual import MetricUnavailableError, PerceptualDistance, backbone_file
from tests.evaluation.pictures import noisy, smooth_clip


def needs(name):
    """Skip without the backbone; looks for the file, downloads nothing."""
    file = backbone_file(name)
    return pytest.mark.skipif(not file.is_file(), reason=f"{file.name} is not in the torch hub cache")


@needs("lpips")
def test_lpips_equals_the_authors_package():
    lpips = pytest.importorskip("lpips")
    truth = smooth_clip(t=2)
    prediction = noisy(truth)
    with torch.no_grad():
        expected = lpips.LPIPS(net="alex", verbose=False)(prediction, truth, normalize=True).flatten()
    torch.testing.assert_close(PerceptualDistance("lpips")(prediction, truth), expected, atol=1e-6, rtol=1e-5)


@needs("dists")
def test_dists_equals_the_authors_package():
    dists = pytest.importorskip("DISTS_pytorch")
    truth = smooth_clip(t=2)
    prediction = noisy(truth)
    with torch.no_grad():
        expected = dists.DISTS().eval()(prediction, truth)
    torch.testing.assert_close(PerceptualDistance("dists")(prediction, truth), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in ("lpips", "dists")])
def test_equal_pictures_have_no_distance_and_noise_has_some(name):
    distance = PerceptualDistance(name)
    truth = smooth_clip(t=2)
    torch.testing.assert_close(distance(truth, truth), torch.zeros(2), atol=1e-5, rtol=0)
    assert (distance(noisy(truth, 0.1), truth) > distance(noisy(truth, 0.02), truth)).all()


@needs("lpips")
def test_too_small_pictures_are_refused():
    with pytest.raises(InputError, match="at least 31"):
        PerceptualDistance("lpips")(torch.zeros(1, 3, 30, 40), torch.zeros(1, 3, 30, 40))


@pytest.mark.parametrize("name", ["lpips", "dists"])
def test_missing_weights_say_what_to_do(name, monkeypatch, tmp_path):
    def unreachable(*arguments, **options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(MetricUnavailableError, match=f"leave {name} out") as caught:
        PerceptualDistance(name)
    assert backbone_file(name).name in str(caught.value)


@needs("dists")
def test_remembered_truth_changes_no_number_and_is_never_stale():
    truths, predictions = (smooth_clip(t=2, seed=seed) for seed in (0, 3))
    shared, alone = PerceptualDistance("dists"), PerceptualDistance("dists")
    for index in (0, 1, 0):
        truth = truths[index : index + 1]
        first, second = (shared(predictions[each : each + 1], truth) for each in (0, 1))
        for each, found in enumerate((first, second)):
            expected = alone(predictions[each : each + 1], truth.clone())  # another tensor: nothing is remembered
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
        assert not torch.equal(first, second)
