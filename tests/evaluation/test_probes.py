import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dgafvsr.errors import InputError
from dgafvsr.evaluation.probes import FrameChoice, compare_probes, nothing_left, probe_clip
from tests.evaluation.pictures import smooth_clip, write_clip


@given(st.integers(1, 30), st.integers(0, 5), st.integers(0, 5), st.none() | st.integers(1, 40))
def test_choice_is_a_slice_of_the_inner_frames(count, first, last, limit):
    choice = FrameChoice(skip_first=first, skip_last=last, max_frames=limit)
    assert list(choice.of(count)) == list(range(count))[first : max(count - last, 0)][:limit]


def test_floating_point_pictures_are_refused_before_computing(tmp_path):
    write_clip(tmp_path / "sr", smooth_clip(t=2), pattern="{:03d}.tif")
    Image.fromarray(np.full((40, 52), np.nan, dtype=np.float32)).save(tmp_path / "sr" / "001.tif")
    with pytest.raises(InputError, match=r"sr/001\.tif holds floating-point numbers.*NaN"):
        probe_clip(tmp_path / "sr", FrameChoice())


@pytest.mark.parametrize("lost", ["sr", "gt"])
def test_picture_without_counterpart_is_named(tmp_path, lost):
    for name in ("sr", "gt"):
        write_clip(tmp_path / name, smooth_clip(t=4))
    (tmp_path / lost / "00000002.png").unlink()
    sides = [probe_clip(tmp_path / name, FrameChoice()) for name in ("sr", "gt")]
    kept = "gt" if lost == "sr" else "sr"
    with pytest.raises(InputError, match=rf"{kept}/00000002\.png has no counterpart"):
        compare_probes(*sides, FrameChoice())


def test_pictures_named_otherwise_have_no_counterparts_to_tell(tmp_path):
    write_clip(tmp_path / "sr", smooth_clip(t=2), pattern="x{:03d}.png")
    write_clip(tmp_path / "gt", smooth_clip(t=3))
    with pytest.raises(InputError, match=r"Got: 2 and 3\. Remedy"):
        compare_probes(*(probe_clip(tmp_path / name, FrameChoice()) for name in ("sr", "gt")), FrameChoice())


def test_nothing_left_says_what_was_left_out(tmp_path):
    write_clip(tmp_path / "gt", smooth_clip(t=2))
    choice = FrameChoice(skip_first=1, skip_last=3)
    message = str(nothing_left(probe_clip(tmp_path / "gt", choice), choice))
    assert "2 frames, without the first 1 and the last 3" in message
