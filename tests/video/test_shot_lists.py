import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dgafvsr.errors import InputError
from dgafvsr.video.frames import Frame
from dgafvsr.video.shot_lists import Shot, ShotList, ShotRecorder, dump_shots, read_shots
from dgafvsr.video.shots import mark_cuts

PIXELS = np.zeros((2, 3, 3), np.uint8)


def written(folder, content):
    (folder / "shots.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / "shots.json"


def recorded(pts, starts):
    frames = [Frame(pixels=PIXELS, pts=each, time_base=Fraction(1, 30), duration=2) for each in pts]
    recorder = ShotRecorder(mark_cuts(frames, starts))
    assert len(list(recorder)) == len(pts)
    return recorder.shots


def test_shots_tell_frames_and_times():
    assert recorded([3, 5, 7, 100, 102], {3}) == (
        Shot(start_frame=0, stop_frame=3, start_seconds=Fraction(1, 10), stop_seconds=Fraction(10, 3)),
        Shot(start_frame=3, stop_frame=5, start_seconds=Fraction(10, 3), stop_seconds=Fraction(104, 30)),
    )


def test_list_out_is_the_list_in(tmp_path):
    path = written(tmp_path, dump_shots(recorded(range(0, 20, 2), {4, 5, 9})))
    assert read_shots(path) == ShotList(path=path, starts=(0, 4, 5, 9), stop=10)
    assert json.loads(path.read_text())["shots"][1] == {
        "start_frame": 4,
        "stop_frame": 5,
        "start_seconds": 0.266667,
        "stop_seconds": 0.333333,
    }


def test_stops_may_be_left_out(tmp_path):
    path = written(tmp_path, {"shots": [{"start_frame": 0}, {"start_frame": 7}]})
    assert read_shots(path) == ShotList(path=path, starts=(0, 7), stop=None)


def rows(*borders):
    return {"shots": [{"start_frame": start, "stop_frame": stop} for start, stop in borders]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0, 48, 61", "is not a shot list"),
        ("[" * 100_000, "is not a shot list"),
        ([0, 48], "holds no shots"),
        ({"shots": []}, "holds no shots"),
        ({"shots": [0, 48]}, "Shot 1 .* is wrong.*whole numbers"),
        (rows((0, 4), (4.5, 6)), "Shot 2 .* is wrong.*whole numbers"),
        (rows((False, 4)), "Shot 1 .* is wrong.*whole numbers"),
        (rows((2, 4)), "Shot 1 .* is wrong.*start_frame 2. Expected: 0"),
        (rows((0, 4), (5, 6)), "Shot 2 .* is wrong.*start_frame 5. Expected: 4"),
        (rows((0, 4), (3, 6)), "Shot 2 .* is wrong.*start_frame 3. Expected: 4"),
        (rows((0, None), (7, None), (7, None)), "Shot 3 .* is wrong.*start_frame 7. Expected: more than 7"),
        (rows((0, 4), (4, 4)), "Shot 2 .* is wrong.*stop_frame 4. Expected: more than 4"),
    ],
)
def test_wrong_list_is_one_clear_error(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as caught:
        read_shots(written(tmp_path, content))
    assert re.search("shots.json", str(caught.value))


@pytest.mark.parametrize("make", [Path, lambda name: Path(name) / "none.json"])
def test_list_that_cannot_be_read_is_named(tmp_path, make):
    with pytest.raises(InputError, match=r"shot list .* cannot be read"):
        read_shots(make(tmp_path))


def test_binary_file_is_no_list(tmp_path):
    (tmp_path / "a.mp4").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match=r"a\.mp4 is not a shot list"):
        read_shots(tmp_path / "a.mp4")


@pytest.mark.parametrize(("stop", "frames"), [(12, 11), (None, 7), (None, 3)])
def test_list_of_a_longer_film_is_refused(stop, frames):
    with pytest.raises(InputError, match=rf"not of this film.*frames 0 to {frames - 1}"):
        ShotList(path=Path("a.json"), starts=(0, 7), stop=stop).check_fits(frames)


@pytest.mark.parametrize(("stop", "frames"), [(12, 12), (None, 8), (12, 20)])
def test_list_that_fits_is_taken(stop, frames):
    ShotList(path=Path("a.json"), starts=(0, 7), stop=stop).check_fits(frames)
