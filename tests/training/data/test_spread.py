from __future__ import annotations

import cv2
import numpy as np
import pytest

from dgafvsr.training.data.spread import describe_picture, is_soft, spread_order


def noise(side: int = 160, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_each_next_one_is_the_farthest():
    points = np.array([[0.0], [1.0], [10.0], [4.0], [9.0]], dtype=np.float32)
    assert spread_order(points) == [3, 2, 0, 1, 4]  # 3 is nearest to the mean, 4.8
    assert spread_order(points[:1]) == [0]


def test_copies_come_last():
    points = np.array([[0.0], [0.0], [7.0], [7.0], [3.0]], dtype=np.float32)
    order = spread_order(points)
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert {float(points[place, 0]) for place in order[:3]} == {0.0, 3.0, 7.0}


def test_descriptions_tell_colour_detail_and_motion_apart():
    grey = np.full((64, 96, 3), 128, dtype=np.uint8)
    red = grey.copy()
    red[..., 0] = 255
    described = [describe_picture(each) for each in (grey, red, noise())]
    described += [describe_picture(noise(), noise(seed=1)), describe_picture(noise(), noise())]
    assert all(each.shape == (64,) for each in described)
    assert np.array_equal(described[2], described[4])
    distances = [np.linalg.norm(a - b) for a, b in ((described[0], described[k]) for k in (1, 2))]
    assert min(distances) > 20
    assert np.linalg.norm(described[3] - described[4]) > 20


@pytest.mark.parametrize(("enlarged", "expected"), [(1, False), (2, True), (4, True)])
def test_enlarged_pictures_are_soft(enlarged, expected):
    coarse = np.random.default_rng(0).integers(60, 190, (256 // enlarged, 256 // enlarged, 3), dtype=np.uint8)
    coarse = cv2.GaussianBlur(coarse, (0, 0), 0.8)  # a natural spectrum
    assert is_soft(cv2.resize(coarse, (256, 256), interpolation=cv2.INTER_CUBIC)) is expected


def test_small_pictures_are_left_alone():
    assert not is_soft(np.zeros((100, 300, 3), dtype=np.uint8))
