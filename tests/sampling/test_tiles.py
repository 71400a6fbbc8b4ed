import itertools
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.pretended_device import PretendedDevice

from dgafvsr.errors import UsageError
from dgafvsr.sampling.tiles import MINIMUM_TILE, Tiling, blend_tiles, plan_spans, plan_tiles

tilings = st.integers(MINIMUM_TILE, 150).flatmap(
    lambda tile: st.builds(Tiling, tile=st.just(tile), overlap=st.integers(0, tile // 2))
)
strides = st.sampled_from([1, 2, 4, 8])


@settings(deadline=None)
@given(size=st.integers(1, 700), tiling=tilings, stride=strides)
def test_weights_cover_every_pixel_and_sum_to_one(size, tiling, stride):
    total = torch.zeros(size)
    for span in plan_spans(size, tiling, stride):
        assert (span.weights > 0).all()
        total[span.start : span.stop] += span.weights
    assert torch.allclose(total, torch.ones(size), atol=1e-6)


@settings(deadline=None)
@given(size=st.integers(1, 700), tiling=tilings, stride=strides)
def test_spans_are_what_the_networks_need(size, tiling, stride):
    spans = plan_spans(size, tiling, stride)
    assert (spans[0].start, spans[-1].stop) == (0, size)
    assert all(span.start % stride == 0 for span in spans)
    assert all(span.stop - span.start <= tiling.tile for span in spans)
    for before, after in itertools.pairwise(spans):
        assert after.start > before.start
        assert before.stop - after.start >= tiling.overlap
        assert min(before.stop - before.start, after.stop - after.start) > tiling.tile - 2 * stride


@settings(deadline=None)
@given(height=st.integers(16, 90), width=st.integers(16, 90), tiling=tilings)
def test_blending_crops_gives_the_whole_back(height, width, tiling):
    image = torch.arange(2 * 3 * height * width, dtype=torch.float32).view(2, 3, height, width) / (height * width)
    tiles = plan_tiles(image, tiling, stride=4)
    blended = blend_tiles(lambda tile: tile.crop(image), tiles, image)
    assert torch.allclose(blended, image, atol=1e-5)


def test_crop_scales_with_the_grid():
    tile = plan_tiles(torch.zeros(1, 4, 40, 70), Tiling(tile=40, overlap=8), stride=4)[1]
    assert tile.crop(torch.zeros(1, 3, 160, 280), scale=4).shape[-2:] == tuple(
        4 * side for side in tile.crop(torch.zeros(1, 4, 40, 70)).shape[-2:]
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_of_a_tile_are_the_products_of_its_spans(dtype):
    for tile in plan_tiles(torch.zeros(2, 4, 50, 70, dtype=dtype), Tiling(tile=40, overlap=8), stride=4):
        expected = tile.rows.weights.to(dtype)[:, None] * tile.columns.weights.to(dtype)
        assert tile.weights.dtype == dtype
        assert torch.equal(tile.weights, expected)


def test_weights_are_moved_once():
    with PretendedDevice("cuda:1") as device:
        image = torch.rand(1, 3, 50, 70).to(device)
        tiles = plan_tiles(image, Tiling(tile=40, overlap=8), stride=4)
        with patch.object(torch.Tensor, "to", side_effect=AssertionError("moved again")):
            blended = blend_tiles(lambda tile: tile.crop(image), tiles, image)
        assert torch.allclose(blended, image, atol=1e-6)


def test_predictions_fade_into_each_other():
    """Two tiles that disagree by 1: no step from one pixel to the next is larger than the ramp allows."""
    whole = torch.zeros(1, 1, 32, 80)
    tiles = plan_tiles(whole, Tiling(tile=48, overlap=16), stride=4)
    blended = blend_tiles(lambda tile: torch.full((1, 1, 32, 48), float(tile.columns.start > 0)), tiles, whole)
    steps = blended[0, 0, 0].diff()
    assert (blended[0, 0, 0, 0], blended[0, 0, 0, -1]) == (0, 1)
    assert 0 <= steps.min() <= steps.max() < 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"tile": 31}, "too small"), ({"tile": 64, "overlap": 33}, "0 to 32"), ({"tile": 64, "overlap": -1}, "0 to 32")],
)
def test_impossible_tilings_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        Tiling(**settings)


def test_tiles_that_cannot_advance_are_refused():
    with pytest.raises(UsageError, match="too small for this model"):
        plan_spans(100, Tiling(tile=36, overlap=18), stride=32)
