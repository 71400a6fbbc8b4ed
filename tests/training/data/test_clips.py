from __future__ import annotations

import numpy as np
import pytest

from dgafvsr.errors import InputError
from dgafvsr.training.data.clips import ClipLibrary


def test_clips_are_halved_and_cut(data_folder):
    assert ClipLibrary(data_folder / "videos").clip(0).shape == (8, 64, 80, 3)
    assert ClipLibrary(data_folder / "videos", frames_per_clip=5).clip(0).shape == (5, 64, 80, 3)


def test_clips_are_optional(tmp_path):
    assert len(ClipLibrary(tmp_path / "missing")) == 0


def test_crop_is_a_function_of_the_generators_state(data_folder):
    clips = ClipLibrary(data_folder / "videos")
    crops = [clips.crop(np.random.default_rng(seed), frames=3, side=32) for seed in (4, 4, 5)]
    assert crops[0].shape == (3, 32, 32, 3)
    assert np.array_equal(crops[0], crops[1])
    assert not np.array_equal(crops[0], crops[2])


def test_what_is_no_video_is_named(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"broken\.mp4"):
        ClipLibrary(tmp_path).clip(0)


def test_too_small_clips_are_refused(data_folder):
    clips = ClipLibrary(data_folder / "videos")
    with pytest.raises(InputError, match="too small"):
        clips.crop(np.random.default_rng(0), frames=2, side=128)
    with pytest.raises(InputError, match="too short"):
        clips.crop(np.random.default_rng(0), frames=9, side=32)
