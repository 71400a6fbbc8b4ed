import os
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from dgafvsr.errors import InputError, UsageError
from dgafvsr.video.limits import InputLimits
from dgafvsr.video.reader import open_source
from tests.video.films import MILLISECOND, pictures, write_film


def test_defaults_bound_the_picture_and_not_the_length():
    limits = InputLimits()
    assert (limits.pixels, limits.frames, limits.seconds) == (8192 * 8192, None, None)
    limits.check_frames("a", 10**9)
    limits.check_seconds("a", Fraction(10**9))


@pytest.mark.parametrize("wrong", [{"pixels": 0}, {"frames": 0}, {"seconds": Fraction(0)}])
def test_impossible_limits_are_refused(wrong):
    with pytest.raises(UsageError, match="limit on"):
        InputLimits(**wrong)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"pixels": 32 * 48 - 1}, r"larger than allowed.*48x32, 1536 pixels.*at most 1535.*--max-pixels"),
        ({"frames": 11}, r"more frames than allowed.*at most 11.*--max-frames"),
        ({"seconds": Fraction(49, 100)}, r"longer than allowed.*at most 0\.49 s.*--max-seconds"),
    ],
)
def test_limits_are_checked_before_frames_come(tmp_path, suffix, limits, message):
    film = write_film(tmp_path / f"a{suffix}", pictures(12))
    with pytest.raises(InputError, match=message):
        list(open_source(film, limits=InputLimits(**limits)))
    enough = InputLimits(pixels=32 * 48, frames=12, seconds=Fraction(51, 100))
    assert len(list(open_source(film, limits=enough))) == 12


@pytest.mark.parametrize(("limits", "given"), [({"frames": 5}, 5), ({"seconds": Fraction(1, 4)}, 6)])
def test_what_no_header_tells_is_counted(tmp_path, limits, given):
    film = write_film(tmp_path / "a.mkv", pictures(12), container_options={"live": "1"})
    source = iter(open_source(film, limits=InputLimits(**limits)))
    for _ in range(given):
        next(source)
    with pytest.raises(InputError, match="than allowed"):
        next(source)


def test_header_that_lies_about_the_size_costs_no_memory(tmp_path):
    film = write_film(tmp_path / "a.mkv", pictures(2, 512, 512))
    with av.open(str(film)) as source, av.open(str(tmp_path / "b.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        stream.codec_context.width = stream.codec_context.height = 16
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    with pytest.raises(InputError):
        list(open_source(tmp_path / "b.mkv", limits=InputLimits(pixels=1024)))


def test_folders_have_the_same_limits(tmp_path):
    for k in range(3):
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / f"{k}.png")
    for limits, flag in (
        ({"pixels": 599}, "pixels"),
        ({"frames": 2}, "frames"),
        ({"seconds": Fraction(1, 10)}, "seconds"),
    ):
        with pytest.raises(InputError, match=f"--max-{flag}"):
            open_source(tmp_path, limits=InputLimits(**limits))
    assert len(list(open_source(tmp_path, limits=InputLimits(pixels=600, frames=3)))) == 3


def test_pipes_and_devices_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", "/dev/zero", "/dev/stdin"):
        with pytest.raises(InputError, match="not a regular file"):
            open_source(path)


def test_links_are_followed_to_files_only(tmp_path):
    film = write_film(tmp_path / "a.mp4", pictures(3))
    (tmp_path / "link.mp4").symlink_to(film)
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    assert len(list(open_source(tmp_path / "link.mp4"))) == 3
    with pytest.raises(InputError, match="not a regular file"):
        open_source(tmp_path / "zero.mp4")
    with pytest.raises(InputError, match="does not exist"):
        open_source(tmp_path / "gone.mp4")


def test_movie_that_points_at_another_file_gets_nothing_of_it(tmp_path):
    """A MOV whose track lies in another file: its data reference says where, and is not followed."""
    film = write_film(tmp_path / "a.mov", pictures(3))
    data = film.read_bytes()
    own = b"\x00\x00\x00\x0curl \x00\x00\x00\x01"
    assert own in data
    away = b"\x00\x00\x00\x0curl \x00\x00\x00\x00"  # no longer "in this file"
    film.write_bytes(data.replace(own, away))
    frames = list(open_source(film))
    assert len(frames) == 3  # read from the file itself, where the offsets point; nothing else is opened


def test_time_before_the_first_picture_does_not_count(tmp_path):
    film = write_film(tmp_path / "a.mkv", pictures(3), pts=[60_000, 60_040, 60_080], time_base=MILLISECOND)
    assert len(list(open_source(film, limits=InputLimits(seconds=Fraction(61))))) == 3


def test_limit_beyond_what_ffmpeg_knows_is_no_limit(tmp_path):
    film = write_film(tmp_path / "a.mp4", pictures(3))
    assert len(list(open_source(film, limits=InputLimits(pixels=10**12)))) == 3
