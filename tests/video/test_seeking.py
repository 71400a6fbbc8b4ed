"""A film entered in its middle gives the frames that the whole film gives."""

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dgafvsr.video.reader as room
from dgafvsr.errors import InputError
from dgafvsr.video.limits import InputLimits
from dgafvsr.video.reader import open_source
from dgafvsr.video.seeking import _ShownOrder, _UnclearOrderError, find_entries
from tests.video.films import MILLISECOND, pictures, write_film
from tests.video.test_deinterlacing import interlaced_film
from tests.video.test_folders import fill

COUNT, GROUP = 60, 12
STARTS = (1, 12, 35, 40, 53)
FILM = pictures(COUNT, 64, 64)
X264 = "keyint=12:min-keyint=12:scenecut=0:bframes=3:b-adapt=0:b-pyramid=2"
X265 = "keyint=12:min-keyint=12:scenecut=0:bframes=3:b-adapt=0:log-level=none"
GROUPS = {"g": "12", "bf": "3", "sc_threshold": "0"}
UNEVEN = list(np.cumsum([33 + 50 * (k % 3) + 900 * (k == 30) for k in range(COUNT)]))


def closed_groups(folder, suffix):
    return write_film(folder / f"a{suffix}", FILM, options={"x264-params": X264})


def open_groups(folder, suffix):
    return write_film(folder / f"a{suffix}", FILM, options={"x264-params": f"{X264}:open-gop=1"})


def open_hevc(folder, suffix):
    return write_film(folder / f"a{suffix}", FILM, codec="libx265", options={"x265-params": f"{X265}:open-gop=1"})


def variable_rate(folder, suffix):
    return write_film(folder / f"a{suffix}", FILM, pts=UNEVEN, time_base=MILLISECOND, options=GROUPS)


def late_start(folder, suffix):
    return write_film(folder / f"a{suffix}", FILM, pts=list(range(48, 48 + COUNT)), options=GROUPS)


def edit_list(folder, suffix):
    """The first 5 pictures lie before 0: an edit list of the MP4 leaves them out."""
    return write_film(folder / f"a{suffix}", FILM, pts=list(range(-5, COUNT - 5)), options={**GROUPS, "bf": "0"})


def fragments(folder, suffix):
    options = {"movflags": "frag_keyframe+empty_moov"}
    return write_film(folder / f"a{suffix}", FILM, options=GROUPS, container_options=options)


def live(folder, suffix):
    return write_film(folder / f"a{suffix}", FILM, options=GROUPS, container_options={"live": "1"})


def av1(folder, suffix):
    options = {"preset": "12", "svtav1-params": "keyint=11"}
    return write_film(folder / f"a{suffix}", FILM, codec="libsvtav1", options=options)


def lossless(folder, suffix):
    return write_film(folder / f"a{suffix}", FILM, codec="ffv1", pixel_format="bgr0")


def vp9(folder, suffix):
    return write_film(folder / f"a{suffix}", FILM, codec="libvpx-vp9", options={"g": "12", "cpu-used": "8"})


def one_key_frame(folder, suffix):
    return write_film(folder / f"a{suffix}", FILM, options={"x264-params": "keyint=500:intra-refresh=1:bframes=0"})


FILMS = {
    "B-frames, MP4": (closed_groups, ".mp4", True),
    "B-frames, Matroska": (closed_groups, ".mkv", True),
    "B-frames, transport stream": (closed_groups, ".ts", True),
    "open groups, MP4": (open_groups, ".mp4", True),
    "open groups, Matroska": (open_groups, ".mkv", True),
    "open groups, transport stream": (open_groups, ".ts", True),
    "open groups of HEVC, MP4": (open_hevc, ".mp4", True),
    "open groups of HEVC, transport stream": (open_hevc, ".ts", True),
    "variable frame rate, Matroska": (variable_rate, ".mkv", True),
    "variable frame rate, MP4": (variable_rate, ".mp4", True),
    "first picture at 2 s": (late_start, ".mp4", True),
    "edit list": (edit_list, ".mp4", True),
    "fragments": (fragments, ".mp4", True),
    "without an index": (live, ".mkv", True),
    "AV1": (av1, ".mkv", True),
    "every picture a key frame": (lossless, ".mkv", True),
    "AVI, which has no times": (closed_groups, ".avi", False),
    "VP9, which may hide pictures": (vp9, ".webm", False),
    "one key frame": (one_key_frame, ".mkv", False),
}


def rows(placed):
    return [
        (each.index, each.seconds, each.frame.pts, each.frame.duration, each.frame.pixels.tobytes()) for each in placed
    ]


def everything(film, **options):
    return rows(open_source(film, **options).read_from(lambda index, seconds: True))


def from_frame(film, start):
    return rows(open_source(film).read_from(lambda index, seconds: index >= start))


@pytest.fixture
def decoded(monkeypatch):
    """The number of pictures that come out of decoders."""
    counted, check = [], room.VideoReader._checked

    def counting(reader, decoder, first_index):
        for picture in check(reader, decoder, first_index):
            counted.append(picture.pts)
            yield picture

    monkeypatch.setattr(room.VideoReader, "_checked", counting)
    return counted


@pytest.mark.parametrize("case", FILMS)
def test_every_frame_is_the_one_of_the_whole_film(tmp_path, case, decoded):
    make, suffix, enters = FILMS[case]
    film = make(tmp_path, suffix)
    whole = everything(film)
    assert len(whole) >= COUNT - 5
    for start in STARTS:
        decoded.clear()
        assert from_frame(film, start) == whole[start:]
        assert len(decoded) <= len(whole) - max(0, start - 2 * GROUP if enters else 0)
    seconds = whole[41][1]
    assert rows(open_source(film).read_from(lambda index, at: at >= seconds)) == whole[41:]


def test_key_frame_that_is_none_is_seen_through(tmp_path, decoded):
    """Marked as key frames are all pictures: what cannot be decoded there is decoded from farther back."""
    film = closed_groups(tmp_path, ".mp4")
    whole = everything(film)
    with av.open(str(film)) as source, av.open(str(tmp_path / "b.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.is_keyframe, packet.stream = True, stream
                target.mux(packet)
    for start in STARTS:
        assert from_frame(tmp_path / "b.mp4", start) == whole[start:]


def test_damage_before_the_part_is_not_met(tmp_path):
    film = closed_groups(tmp_path, ".mp4")
    whole = everything(film)
    data = bytearray(film.read_bytes())
    at = data.index(b"mdat") + 3000
    data[at : at + 400] = np.random.default_rng(0).bytes(400)
    film.write_bytes(data)
    with pytest.raises(InputError, match="is damaged after frame"):
        everything(film)
    assert from_frame(film, 40) == whole[40:]


def test_damage_in_the_part_is_told_with_its_place(tmp_path):
    film = closed_groups(tmp_path, ".mp4")
    data = bytearray(film.read_bytes())
    at = data.index(b"mdat") + 4 * (data.index(b"moov") - data.index(b"mdat")) // 5
    data[at : at + 400] = np.random.default_rng(0).bytes(400)
    film.write_bytes(data)
    with pytest.raises(InputError) as whole:
        everything(film)
    with pytest.raises(InputError) as part:
        from_frame(film, 30)
    assert str(part.value) == str(whole.value)


def test_deinterlaced_frames_are_those_of_the_whole_film(tmp_path):
    film = interlaced_film(tmp_path / "a.mp4")
    whole = everything(film, deinterlace=True)
    for start in range(len(whole)):
        reader = open_source(film, deinterlace=True)
        assert rows(reader.read_from(lambda index, seconds, start=start: index >= start)) == whole[start:]


def test_film_that_begins_in_the_middle_is_read_from_its_start(tmp_path):
    film = open_groups(tmp_path, ".ts")
    data = film.read_bytes()
    film.write_bytes(data[len(data) // 188 * 3 // 10 * 188 :])
    whole = everything(film)
    assert from_frame(film, 20) == whole[20:]
    assert find_entries(film, lambda index, seconds: index >= 20) == ()


def test_limits_count_from_the_films_start(tmp_path):
    film = closed_groups(tmp_path, ".mkv")
    with pytest.raises(InputError, match="more frames than allowed"):
        list(open_source(film, limits=InputLimits(frames=50)).read_from(lambda index, seconds: index >= 40))


def test_place_after_the_end_costs_the_last_group_only(tmp_path, decoded):
    assert from_frame(closed_groups(tmp_path, ".mkv"), 1000) == []
    assert len(decoded) <= GROUP


def test_pictures_of_a_folder_before_the_place_are_not_opened(tmp_path):
    folder = fill(tmp_path / "in", pictures(5))
    whole = everything(folder)
    reader = open_source(folder)
    (folder / "1.png").write_bytes(b"")
    assert rows(reader.read_from(lambda index, seconds: seconds >= Fraction(3, 24))) == whole[3:]


@settings(max_examples=60, deadline=None)
@given(
    depth=st.integers(0, 16),
    gaps=st.lists(st.integers(1, 9), min_size=1, max_size=80),
    seed=st.integers(0, 9999),
    start=st.integers(-50, 50),
)
def test_packets_in_any_order_of_decoding_are_sorted(depth, gaps, seed, start):
    shown = [start + sum(gaps[:k]) for k in range(len(gaps))]
    keys = np.arange(len(shown)) + np.random.default_rng(seed).uniform(0, depth, len(shown))
    keys[0] = -1
    decoded = [shown[k] for k in np.argsort(keys)]
    packets = [Announced(pts, is_keyframe=place == 0) for place, pts in enumerate(decoded)]
    assert list(_ShownOrder().sort(packets)) == shown


@dataclass
class Announced:
    pts: int | None
    is_keyframe: bool = False
    is_corrupt: bool = False
    is_discard: bool = False
    size: int = 1


@pytest.mark.parametrize(
    "packets",
    [
        [Announced(0, is_keyframe=True), Announced(None)],
        [Announced(0, is_keyframe=True), Announced(2), Announced(2)],
        [Announced(0, is_keyframe=True), Announced(1, is_corrupt=True)],
        [Announced(0), Announced(1, is_keyframe=True)],
        [Announced(3, is_keyframe=True), Announced(1), Announced(4)],
        [Announced(0, is_keyframe=True), *(Announced(k) for k in range(2, 40)), Announced(1)],
    ],
)
def test_times_that_tell_nothing_are_not_trusted(packets):
    with pytest.raises(_UnclearOrderError):
        list(_ShownOrder().sort(packets))
