import numpy as np
import pytest
import torch
from scipy import ndimage

from dgafvsr.analysis.intensity import edge_map, high_pass_map

N, C, H, W = 2, 3, 11, 14


def test_edge_of_a_ramp_is_its_slope():
    ramp = 0.5 * torch.arange(W).float() + 1.2 * torch.arange(H).float()[:, None]
    edges = edge_map(ramp.expand(N, C, H, W))
    assert edges.shape == (N, 1, H, W)
    assert torch.allclose(edges[..., 1:-1, 1:-1], torch.tensor(1.3), atol=1e-5)


def test_edge_map_is_scipys_sobel():
    feature = torch.randn(N, C, H, W)
    expected = [
        [np.hypot(ndimage.sobel(plane, 0, mode="nearest"), ndimage.sobel(plane, 1, mode="nearest")) / 8 for plane in f]
        for f in feature.numpy()
    ]
    assert np.allclose(edge_map(feature)[:, 0], np.mean(expected, axis=1), atol=1e-6)


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_high_pass_map_is_scipys_gaussian(sigma):
    feature = torch.randn(N, C, H, W)
    planes = feature.numpy()
    blurred = ndimage.gaussian_filter(planes, sigma, axes=(2, 3), mode="nearest", truncate=3.0)
    assert np.allclose(high_pass_map(feature, sigma=sigma)[:, 0], np.abs(planes - blurred).mean(1), atol=1e-6)


def test_a_plane_has_no_detail():
    flat = torch.full((1, C, H, W), 3.0)
    assert not edge_map(flat).any()
    assert high_pass_map(flat, sigma=1.0).max() < 1e-6
