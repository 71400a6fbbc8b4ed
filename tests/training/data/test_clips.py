from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
from tests.training.conftest import picture, write_clip

from dgafvsr.errors import InputError
from dgafvsr.training.data.clips import ClipLibrary
from dgafvsr.training.data.disk_cache import DiskCache
from dgafvsr.training.data.sources import ClipSource


@pytest.fixture
def mixed(tmp_path, data_folder) -> list[ClipSource]:
    """A broken video, a good one, a short folder, a small one."""
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    good = ClipSource(name="good", path=data_folder / "videos" / "clip.mp4", halved=True)
    sources = [ClipSource(name="broken", path=tmp_path / "broken.mp4"), good]
    for name, count, side in (("short", 2, 64), ("small", 8, 40)):
        (tmp_path / name).mkdir()
        for index in range(count):
            cv2.imwrite(str(tmp_path / name / f"{index}.png"), picture(np.random.default_rng(index), side, side))
        sources.append(ClipSource(name=name, path=tmp_path / name))
    return sources


def test_frames_are_halved_and_clips_cut(data_folder):
    clips = ClipLibrary(data_folder / "videos")
    assert (len(clips), clips.length(0), clips.frame(0, 7).shape) == (1, 8, (64, 80, 3))
    assert ClipLibrary(data_folder / "videos", frames_per_clip=5).length(0) == 5


def test_clips_are_optional(tmp_path):
    assert len(ClipLibrary(tmp_path / "missing")) == 0


def test_crop_is_a_function_of_the_generators_state(data_folder):
    clips = ClipLibrary(data_folder / "videos")
    crops = [clips.crop(np.random.default_rng(seed), frames=3, side=32) for seed in (4, 4, 5)]
    assert crops[0].frames.shape == (3, 32, 32, 3)
    assert np.array_equal(crops[0].frames, crops[1].frames)
    assert not np.array_equal(crops[0].frames, crops[2].frames)


def test_crop_says_where_it_is(data_folder):
    clips = ClipLibrary(data_folder / "videos")
    orders = set()
    for seed in range(12):
        crop = clips.crop(np.random.default_rng(seed), frames=3, side=32, max_stride=3)
        steps = set(np.diff(crop.indices))
        assert len(steps) == 1
        orders |= steps
        rows, columns = slice(crop.top, crop.top + 32), slice(crop.left, crop.left + 32)
        expected = [clips.frame(crop.clip, number)[rows, columns] for number in crop.indices]
        assert np.array_equal(crop.frames, np.stack(expected))
    assert orders == {-3, -2, -1, 1, 2, 3}


def test_time_is_not_reversed_unless_allowed(data_folder):
    clips = ClipLibrary(data_folder / "videos")
    crops = [clips.crop(np.random.default_rng(seed), frames=2, side=32, reverse=False) for seed in range(8)]
    assert all(crop.indices[1] == crop.indices[0] + 1 for crop in crops)


def test_single_pictures_come_from_clips_too(data_folder):
    clips = ClipLibrary(data_folder / "videos")
    assert clips.picture(np.random.default_rng(0), 48).shape == (48, 48, 3)
    assert clips.picture(np.random.default_rng(0), 100).shape == (100, 100, 3)  # mirrored


def test_bad_clips_are_skipped_and_listed(mixed):
    clips = ClipLibrary(mixed)
    used = [clips.crop(np.random.default_rng(seed), frames=3, side=48) for seed in range(12)]
    assert {crop.clip for crop in used} == {1}
    assert [(problem.source, problem.kind) for problem in clips.problems] == [
        ("broken", "unreadable"),
        ("short", "too short"),
        ("small", "too small"),
    ]
    # What is known of other clips and other sizes changes no draw.
    assert np.array_equal(ClipLibrary(mixed).crop(np.random.default_rng(9), frames=3, side=48).frames, used[9].frames)
    fewer = {clips.crop(np.random.default_rng(seed), frames=2, side=40).clip for seed in range(20)}
    assert fewer == {1, 2, 3}


def test_what_is_no_video_is_named(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"1 of 1 training sources cannot be read.*broken\.mp4") as refused:
        ClipLibrary(tmp_path).crop(np.random.default_rng(0), frames=2, side=32)
    assert str(refused.value).count("Remedy") == 1


@pytest.mark.parametrize(("frames", "side", "what"), [(2, 128, "80x64"), (9, 32, "8 frames")])
def test_clips_that_are_all_too_small_or_short_are_an_error(data_folder, frames, side, what):
    with pytest.raises(InputError, match=f"no training clip has {frames} frames of {side}x{side}.*{what}"):
        ClipLibrary(data_folder / "videos").crop(np.random.default_rng(0), frames=frames, side=side)


def test_decoded_video_is_kept_on_disk_and_the_same(data_folder, tmp_path):
    plain = ClipLibrary(data_folder / "videos")
    for _ in range(2):  # the second library finds what the first one kept
        disk = DiskCache(tmp_path / "cache")
        kept = ClipLibrary(data_folder / "videos", disk=disk)
        assert np.array_equal(kept.frame(0, 5), plain.frame(0, 5))
    assert (disk.hits, disk.misses) == (1, 0)


def test_a_changed_video_misses_the_cache(tmp_path):
    still, disk = picture(np.random.default_rng(1), 180, 260), DiskCache(tmp_path / "cache")
    (tmp_path / "videos").mkdir()
    frames = []
    for pictures in (still, still[:, ::-1]):
        write_clip(tmp_path / "videos" / "clip.mp4", np.ascontiguousarray(pictures), frames=4)
        frames.append(ClipLibrary(tmp_path / "videos", disk=disk).frame(0, 1).copy())
    assert disk.misses == 2
    assert not np.array_equal(*frames)


def test_pickled_libraries_carry_no_pictures(data_folder):
    clips = ClipLibrary(data_folder / "videos")
    clips.frame(0, 0)
    raw = pickle.dumps(clips)
    assert len(raw) < 5000
    assert np.array_equal(pickle.loads(raw).frame(0, 3), clips.frame(0, 3))  # noqa: S301


def test_a_broken_frame_costs_only_the_samples_that_meet_it(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(6):
            cv2.imwrite(str(tmp_path / name / f"{index}.png"), picture(np.random.default_rng(index), 48, 48))
    (tmp_path / "a" / "4.png").write_bytes(b"torn")
    sources = [ClipSource(name=name, path=tmp_path / name) for name in ("a", "b")]
    used = ClipLibrary(sources)
    crops = [used.crop(np.random.default_rng(seed), frames=2, side=32) for seed in range(30)]
    assert [problem.source for problem in used.problems] == ["a"]
    assert not any(crop.clip == 0 and 4 in crop.indices for crop in crops)
    assert any(crop.clip == 0 for crop in crops)
    for seed in (0, 15, 29):  # a fresh library, which does not know of the broken frame, draws the same
        fresh = ClipLibrary(sources).crop(np.random.default_rng(seed), frames=2, side=32)
        assert np.array_equal(fresh.frames, crops[seed].frames)


def test_a_picture_of_another_size_is_skipped_and_listed(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(6):
            cv2.imwrite(str(tmp_path / name / f"{index}.png"), picture(np.random.default_rng(index), 48, 60))
    for index, side in ((2, 24), (4, 90), (5, 90)):  # two of them agree with each other, one is too small for a cut
        cv2.imwrite(str(tmp_path / "a" / f"{index}.png"), picture(np.random.default_rng(index), side, side))
    sources = [ClipSource(name=name, path=tmp_path / name) for name in ("a", "b")]
    clips = ClipLibrary(sources)
    crops = [clips.crop(np.random.default_rng(seed), frames=2, side=32) for seed in range(40)]
    assert {crop.indices for crop in crops if crop.clip == 0} == {(0, 1), (1, 0)}
    ((problem),) = clips.problems
    assert (problem.source, problem.kind) == ("a", "unreadable")
    assert problem.what in [
        f"frame {index} of a is {side}x{side}, the first is 60x48" for index, side in ((2, 24), (4, 90), (5, 90))
    ]
    for seed in (0, 21):  # a fresh library draws the same
        fresh = ClipLibrary(sources).crop(np.random.default_rng(seed), frames=2, side=32)
        assert np.array_equal(fresh.frames, crops[seed].frames)
    (tmp_path / "a" / "1.png").unlink()  # now every pair has two sizes
    with pytest.raises(InputError, match=r"1 of 1 training sources cannot be read.*frame \d of a is"):
        ClipLibrary(sources[:1]).crop(np.random.default_rng(0), frames=2, side=32)
