from __future__ import annotations

import av
import cv2
import numpy as np
import pytest
from tests.training.conftest import picture

from dgafvsr.errors import InputError
from dgafvsr.training.data.clip_files import VideoClip, open_clip
from dgafvsr.training.data.sources import ClipSource


def write_video(path, *, codec="mpeg4", container=None, frames=50, gop=12, b_frames=0) -> None:
    """Frame k is a picture moved by k px: 96 x 64."""
    still = picture(np.random.default_rng(2), 64, 240)
    options = {"g": str(gop), "bf": str(b_frames), "q": "2"}
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index in range(frames):
            frame = np.ascontiguousarray(still[:, 2 * index : 2 * index + 96])
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode())


@pytest.mark.parametrize(
    ("name", "b_frames"), [("a.mp4", 0), ("a.mp4", 2), ("a.mkv", 2), ("a.avi", 0), ("a.mpg", 0), ("a.m4v", 0)]
)
def test_any_frames_are_those_of_decoding_from_the_start(tmp_path, name, b_frames):
    write_video(tmp_path / name, b_frames=b_frames, codec="mpeg1video" if name == "a.mpg" else "mpeg4")
    clip = VideoClip(tmp_path / name, halved=False)
    assert len(clip) == 50
    whole = clip.read(0, 50)
    assert whole.shape == (50, 64, 96, 3)
    for start, stop in ((0, 3), (11, 14), (12, 13), (30, 50), (49, 50)):
        assert np.array_equal(clip.read(start, stop), whole[start:stop])


def test_late_frames_are_reached_without_decoding_the_early_ones(tmp_path, monkeypatch):
    write_video(tmp_path / "a.mp4")
    clip = VideoClip(tmp_path / "a.mp4")
    seen = []
    monkeypatch.setattr(
        "dgafvsr.training.data.clip_files.enumerate", lambda items: _counted(items, seen), raising=False
    )
    clip.read(40, 42)
    assert 0 < len(seen) <= 12 + 2


def _counted(items, seen):
    for number, item in enumerate(items):
        seen.append(number)
        yield number, item


def test_a_torn_video_is_named(tmp_path):
    write_video(tmp_path / "a.mkv")
    raw = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(raw[: len(raw) // 2])
    clip = VideoClip(tmp_path / "a.mkv", halved=False)
    assert 10 < len(clip) < 50  # what is there can be used


def test_pictures_of_other_sizes_are_an_error(tmp_path):
    for index, side in enumerate((32, 32, 40)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.zeros((side, 32, 3), dtype=np.uint8))
    clip = open_clip(ClipSource(name="a", path=tmp_path))
    assert len(clip) == 3
    assert clip.read(0, 2).shape == (2, 32, 32, 3)
    with pytest.raises(InputError, match="differ in size"):
        clip.read(1, 3)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="none does not exist"):
        open_clip(ClipSource(name="a", path=tmp_path / "none"))


def test_contents_differ_by_frame_and_file(tmp_path):
    write_video(tmp_path / "a.mp4", frames=4)
    clip = VideoClip(tmp_path / "a.mp4")
    assert clip.content(0) != clip.content(1)
    assert clip.content(1) == VideoClip(tmp_path / "a.mp4").content(1)
    write_video(tmp_path / "a.mp4", frames=5)
    assert clip.content(1) != VideoClip(tmp_path / "a.mp4").content(1)
