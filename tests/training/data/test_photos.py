from __future__ import annotations

import numpy as np
import pytest

from dgafvsr.errors import InputError
from dgafvsr.training.data.photos import PhotoLibrary, augment, list_photos


def test_no_photographs_is_a_clear_error(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match="no training photographs"):
        PhotoLibrary(tmp_path / "photos")
    with pytest.raises(InputError, match="no training photographs"):
        list_photos(tmp_path / "missing")


def test_damaged_photograph_is_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken\.png"):
        PhotoLibrary(tmp_path).photo(0)


def test_crop_is_a_function_of_the_generators_state(data_folder):
    photos = PhotoLibrary(data_folder / "photos")
    crops = [photos.crop(np.random.default_rng(seed), 48) for seed in (1, 1, 2)]
    assert np.array_equal(crops[0], crops[1])
    assert not np.array_equal(crops[0], crops[2])


def test_crop_larger_than_the_photograph_is_mirrored(data_folder):
    photos = PhotoLibrary(data_folder / "photos")
    rng = np.random.default_rng(0)
    assert {photos.crop(rng, 200).shape for _ in range(8)} == {(200, 200, 3)}


def test_large_photographs_are_halved(data_folder):
    whole, halved = (PhotoLibrary(data_folder / "photos", soft_side=side) for side in (1000, 100))
    assert whole.photo(0).shape == (150, 210, 3)
    assert halved.photo(0).shape == (75, 105, 3)


def test_augmentation_only_moves_pixels():
    picture = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    for seed in range(8):
        moved = augment(picture, np.random.default_rng(seed))
        assert np.array_equal(np.sort(moved.reshape(-1, 3), axis=0), np.sort(picture.reshape(-1, 3), axis=0))
