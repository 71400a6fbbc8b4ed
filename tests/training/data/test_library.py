from __future__ import annotations

import numpy as np
import pytest
from tests.training.data.test_sources import write_frames

from dgafvsr.errors import InputError, UsageError
from dgafvsr.training.data.clips import ClipLibrary
from dgafvsr.training.data.library import DataSettings, UnitedLibrary, open_data
from dgafvsr.training.data.photos import PhotoLibrary


class Flat:
    """A library of one colour."""

    def __init__(self, value: int, count: int = 1) -> None:
        self.value, self.count = value, count

    def __len__(self) -> int:
        return self.count

    def picture(self, rng, side):
        return np.full((side, side, 3), self.value, dtype=np.uint8)


def test_libraries_are_drawn_from_by_weight():
    united = UnitedLibrary([Flat(1), Flat(2, count=0), Flat(3, count=5)], [1, 5, 3])
    assert len(united) == 6
    drawn = [united.picture(np.random.default_rng(seed), 4)[0, 0, 0] for seed in range(400)]
    assert set(drawn) == {1, 3}
    assert 0.68 < np.mean([value == 3 for value in drawn]) < 0.82


def test_impossible_unions_are_refused():
    with pytest.raises(InputError, match="no training picture"):
        UnitedLibrary([Flat(1, count=0)], [1])
    with pytest.raises(UsageError, match="weights"):
        UnitedLibrary([Flat(1)], [0])
    with pytest.raises(UsageError, match="weights"):
        UnitedLibrary([Flat(1)], [1, 1])
    with pytest.raises(UsageError, match="clip_picture_share"):
        DataSettings(clip_picture_share=1)


def test_a_folder_with_everything(data_folder):
    data = open_data(data_folder)
    assert (len(data.photos), len(data.clips), len(data.pictures)) == (3, 1, 4)
    assert data.summary() == "3 photographs and 1 clip"
    assert (data.problems, data.problems_summary(), data.disk) == ((), "", None)


def test_several_folders_as_one(data_folder, tmp_path):
    write_frames(tmp_path / "more" / "a")
    write_frames(tmp_path / "more" / "val" / "b")
    data = open_data([data_folder, tmp_path / "more"])
    assert data.summary() == "3 photographs and 2 clips; 1 folder is held out"
    with pytest.raises(InputError, match="no training data"):
        open_data([])


def test_clips_alone_give_single_pictures(tmp_path):
    write_frames(tmp_path / "a")
    data = open_data(tmp_path)
    assert len(data.photos) == 0
    assert data.pictures.picture(np.random.default_rng(0), 32).shape == (32, 32, 3)


def test_skipped_sources_are_listed(data_folder, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"x")
    data = open_data([data_folder, tmp_path], settings=DataSettings(bad_share=0.5))
    for seed in range(20):
        data.pictures.picture(np.random.default_rng(seed), 32)
    assert [problem.source for problem in data.problems] == [str(tmp_path / "broken.jpg")]
    assert data.problems_summary().startswith(f"{tmp_path / 'broken.jpg'} is skipped (unreadable): ")


def test_what_is_validated_on_is_not_trained_on(data_folder, tmp_path):
    clip = data_folder / "videos" / "clip.mp4"
    (tmp_path / "link").symlink_to(clip.parent)
    for val in (clip, clip.parent, tmp_path / "link"):
        data = open_data(data_folder, val=val)
        assert data.summary() == "3 photographs and 0 clips; 1 folder is held out"
        assert data.held_out[-1].reason == "validated on"
    assert len(open_data(tmp_path, val=data_folder / "photos").clips) == 1
    with pytest.raises(InputError, match=r"all training data lies in .* validated on"):
        open_data(data_folder, val=data_folder)


def test_what_the_validation_clips_link_to_is_not_trained_on(tmp_path):
    for seed, clip in enumerate(("a", "b", "c")):
        write_frames(tmp_path / "data" / clip, seed=seed)
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "001").symlink_to(tmp_path / "data" / "b")
    data = open_data(tmp_path / "data", val=tmp_path / "held")
    assert [clip.path.name for clip in data.clips.sources] == ["a", "c"]
    assert [each.reason for each in data.held_out] == ["validated on"]


def test_a_cache_that_would_keep_nothing_is_refused(data_folder, tmp_path):
    write_frames(tmp_path / "data" / "a")
    cache = tmp_path / "cache"
    with pytest.raises(UsageError, match=r"cache would keep nothing.*leave --cache out"):
        open_data(tmp_path / "data", cache=cache, keeps_flow=False)
    assert not cache.exists()
    assert open_data(data_folder, cache=cache, keeps_flow=False).disk is not None  # has a video
    assert open_data(tmp_path / "data", cache=cache).disk is not None  # for its flow


def test_the_cache_is_made_where_it_is_asked_for(data_folder, tmp_path):
    data = open_data(data_folder, cache=tmp_path / "cache", settings=DataSettings(cache_bytes=10**7))
    assert data.disk is not None
    assert data.disk.max_bytes == 10**7
    data.clips.frame(0, 0)
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 1


def test_libraries_keep_the_contract(data_folder):
    for library in (PhotoLibrary(data_folder / "photos"), ClipLibrary(data_folder / "videos")):
        first, again, other = (library.picture(np.random.default_rng(seed), 48) for seed in (1, 1, 2))
        assert first.shape == (48, 48, 3)
        assert first.dtype == np.uint8
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
