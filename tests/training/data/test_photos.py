from __future__ import annotations

import numpy as np
import pytest

from dgafvsr.errors import InputError
from dgafvsr.training.data.blobs import Blob
from dgafvsr.training.data.photos import PhotoLibrary, fit, list_photos


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
    crops = [photos.picture(np.random.default_rng(seed), 48) for seed in (1, 1, 2)]
    assert np.array_equal(crops[0], crops[1])
    assert not np.array_equal(crops[0], crops[2])


def test_crop_larger_than_the_photograph_is_mirrored(data_folder):
    photos = PhotoLibrary(data_folder / "photos")
    rng = np.random.default_rng(0)
    assert {photos.picture(rng, 200).shape for _ in range(8)} == {(200, 200, 3)}


def test_large_photographs_are_halved(data_folder):
    whole, halved = (PhotoLibrary(data_folder / "photos", soft_side=side) for side in (1000, 100))
    assert whole.photo(0).shape == (150, 210, 3)
    assert halved.photo(0).shape == (75, 105, 3)


def test_small_pictures_are_mirrored_and_large_ones_averaged():
    small = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    fitted = fit(small, 4)
    assert fitted.shape == (4, 4, 3)
    assert np.array_equal(fitted[:2, :3], small)
    assert np.array_equal(fitted[2:, :3], small[::-1])
    large = np.repeat(np.repeat(small[:, :2], 4, axis=0), 4, axis=1)
    assert np.array_equal(fit(large, 2), small[:, :2])


def test_memory_is_bounded(data_folder):
    photos = PhotoLibrary(data_folder / "photos", cache_bytes=200_000)
    rng = np.random.default_rng(0)
    for _ in range(12):
        photos.picture(rng, 32)
    assert 0 < photos._cache.bytes <= 200_000


def test_unreadable_photographs_are_skipped_and_listed(data_folder, tmp_path):
    blobs = PhotoLibrary(data_folder / "photos").blobs
    (tmp_path / "broken.png").write_bytes(b"no picture")
    photos = PhotoLibrary([*blobs, Blob(tmp_path / "broken.png")])
    used = [photos.picture(np.random.default_rng(seed), 32) for seed in range(12)]
    assert [problem.source for problem in photos.problems] == [str(tmp_path / "broken.png")]
    # Knowing the bad one already changes no draw.
    fresh = PhotoLibrary([*blobs, Blob(tmp_path / "broken.png")])
    assert np.array_equal(fresh.picture(np.random.default_rng(11), 32), used[11])


def test_too_many_unreadable_photographs_are_an_error(tmp_path):
    for index in range(9):
        (tmp_path / f"{index}.png").write_bytes(b"no picture")
    photos = PhotoLibrary(tmp_path, bad_share=0.5)
    with pytest.raises(InputError, match="5 of 9 training sources cannot be read"):
        photos.picture(np.random.default_rng(0), 32)
