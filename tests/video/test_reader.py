from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from dgafvsr.errors import InputError, UsageError
from dgafvsr.video.color import ColorTags
from dgafvsr.video.reader import VideoReader, open_source
from tests.video.films import HEIGHT, WIDTH, pictures, write_film

LONG = {"options": {"g": "6", "bf": "2"}}


def read(path):
    with open_source(path) as source:
        return list(source)


def spoil(path, start, count=60):
    """Overwrites bytes from a fraction of the file on with noise."""
    data = bytearray(path.read_bytes())
    at = int(len(data) * start)
    data[at : at + count] = np.random.default_rng(0).bytes(count)
    path.write_bytes(data)
    return path


def cut(path, part):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    return path


def test_lossless_pixels_come_out_exactly(tmp_path):
    film = write_film(tmp_path / "a.mkv", pictures(), codec="ffv1", pixel_format="bgr0")
    np.testing.assert_array_equal([frame.pixels for frame in read(film)], pictures())


def test_info_says_what_is_there(tmp_path):
    film = write_film(
        tmp_path / "a.mp4", pictures(9), sound_seconds=1, rotation=90, aspect=Fraction(4, 3), options={"bf": "2"}
    )
    info = VideoReader(film).info
    assert (info.width, info.height, info.frame_rate, info.frame_count) == (WIDTH, HEIGHT, 24, 9)
    assert (info.rotation, info.sample_aspect_ratio, info.audio_codecs) == (90, Fraction(4, 3), ("aac",))
    assert (info.codec, info.pixel_format, info.bit_depth, info.losses) == ("h264", "yuv420p", 8, ())
    assert info.color == ColorTags()
    assert info.duration_seconds == Fraction(9, 24)


def test_deep_sources_come_as_sixteen_bits(tmp_path):
    with VideoReader(write_film(tmp_path / "a.mkv", pictures(3), pixel_format="yuv420p10le")) as reader:
        assert (reader.info.bit_depth, reader.info.losses) == (10, ())
        assert {frame.pixels.dtype for frame in reader} == {np.dtype(np.uint16)}


def test_iterating_twice_gives_the_same(tmp_path):
    with VideoReader(write_film(tmp_path / "a.mp4", pictures())) as reader:
        next(iter(reader))
        first, second = ([(frame.pts, frame.pixels.tobytes()) for frame in reader] for _ in range(2))
    assert first == second
    assert len(first) == 7


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_reordered_pictures_come_in_the_order_of_showing(tmp_path, codec):
    options = {"bf": "3"} if codec == "libx264" else {"x265-params": "bframes=3:log-level=none"}
    film = pictures(12, height=64, width=96)  # libx265 corrupts memory below 64 columns
    frames = read(write_film(tmp_path / "a.mp4", film, codec=codec, options=options))
    assert [frame.pts_seconds for frame in frames] == [Fraction(k, 24) for k in range(12)]
    error = np.abs(np.stack([frame.pixels for frame in frames]).astype(int) - film).mean(axis=(1, 2, 3))
    assert error.max() < 10  # each picture is itself: neighbours differ by more than 20


def test_variable_frame_rate_keeps_every_time(tmp_path):
    pts = [40, 73, 106, 173, 973]
    film = write_film(tmp_path / "a.mkv", pictures(5), pts=pts, time_base=Fraction(1, 1000))
    assert [(frame.pts, frame.time_base) for frame in read(film)] == [(each, Fraction(1, 1000)) for each in pts]


@pytest.mark.parametrize("suffix", [".avi", ".h264"])
def test_times_that_the_container_lacks_are_derived(tmp_path, suffix):
    film = write_film(tmp_path / f"a{suffix}", pictures(12), options={"bf": "2"})
    with VideoReader(film) as reader:
        assert [frame.pts_seconds for frame in reader] == [Fraction(k, 24) for k in range(12)]
        assert bool(reader.warnings) == (suffix == ".h264")


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("part", [1, 3])
def test_recording_that_starts_in_the_middle_starts_at_its_first_key_frame(tmp_path, part, codec):
    settings = "open-gop=1:keyint=12:bframes=3:scenecut=0"
    options = {"x264-params": settings} if codec == "libx264" else {"x265-params": f"{settings}:log-level=none"}
    film = write_film(tmp_path / "a.ts", pictures(60, height=64, width=96), codec=codec, options=options)
    data = film.read_bytes()
    film.write_bytes(data[len(data) // 188 * part // 10 * 188 :])
    with VideoReader(film) as reader:
        frames = list(reader)
    assert len(frames) in (12, 24, 36, 48)
    assert {b.pts - a.pts for a, b in pairwise(frames)} == {3750}
    assert "before the first key frame" in reader.warnings[0]


def test_stream_without_key_frames_is_read(tmp_path):
    options = {"x264-params": "keyint=9:intra-refresh=1:bframes=0"}
    assert len(read(write_film(tmp_path / "a.mkv", pictures(30), options=options))) == 30


@pytest.mark.parametrize(("suffix", "part"), [(".mp4", 0.6), (".mkv", 0.6), (".avi", 0.6), (".mkv", 0.95)])
def test_truncated_file_is_refused_with_the_place(tmp_path, suffix, part):
    options = {"movflags": "faststart"} if suffix == ".mp4" else {}
    film = write_film(tmp_path / f"a{suffix}", pictures(48), container_options=options, **LONG)
    with pytest.raises(InputError, match=r"truncated after about [01]\.\d\d s"):
        VideoReader(cut(film, part))


def test_truncated_file_without_its_index_says_so(tmp_path):
    film = write_film(tmp_path / "a.mp4", pictures(12))
    with pytest.raises(InputError, match="truncated before its first frame, its index is missing"):
        VideoReader(cut(film, 0.5))


def test_truncated_fragments_are_found(tmp_path):
    options = {"movflags": "frag_keyframe+empty_moov"}
    film = write_film(tmp_path / "a.mp4", pictures(48), container_options=options, **LONG)
    with pytest.raises(InputError, match="truncated after about"):
        VideoReader(cut(film, 0.6))


def test_live_recording_without_sizes_is_read(tmp_path):
    film = write_film(tmp_path / "a.mkv", pictures(12), container_options={"live": "1"})
    assert len(read(film)) == 12


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".ts"])
def test_damage_in_the_middle_is_an_error_with_its_time(tmp_path, suffix):
    film = write_film(tmp_path / f"a{suffix}", pictures(48), **LONG)
    with pytest.raises(InputError, match=r"damaged after frame \d+ \([01]\.\d\d s\)"):
        read(spoil(film, 0.5, count=700))


def test_broken_structure_in_the_middle_is_found_before_work_starts(tmp_path):
    film = write_film(tmp_path / "a.mkv", pictures(48), container_options={"cluster_time_limit": "500"}, **LONG)
    data = film.read_bytes()
    second_cluster = data.index(b"\x1f\x43\xb6\x75", data.index(b"\x1f\x43\xb6\x75") + 4)
    film.write_bytes(data[:second_cluster] + bytes(4) + data[second_cluster + 4 :])
    with pytest.raises(InputError, match=r"damaged after about 0\.\d\d s"):
        VideoReader(film)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.mp4 does not exist"):
        open_source(tmp_path / "none.mp4")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x" * 300 + ".mp4", "cannot be read.*too long"),
        ("loop.mp4", "cannot be read"),
        ("a.mp4/b.mp4", r"b\.mp4 does not exist"),
        ("gone.mp4", r"gone\.mp4 does not exist"),
        ("", "not a regular file|holds no pictures|does not exist"),
    ],
)
def test_name_that_leads_nowhere_is_named(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "gone.mp4").symlink_to("none.mp4")
    with pytest.raises(InputError, match=message):
        open_source(name)


@pytest.mark.parametrize("content", [b"just some text\n" * 20, b"[Script Info]\nTitle: x\n", b"<html></html>"])
def test_text_is_not_a_video(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mp4 is not a video"):
        open_source(tmp_path / "a.mp4")


def test_playlists_are_not_followed(tmp_path):
    film = write_film(tmp_path / "other.ts", pictures(12))
    (tmp_path / "a.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{film}\n#EXT-X-ENDLIST\n")
    (tmp_path / "b.mp4").write_text(f"ffconcat version 1.0\nfile {film.name}\n")
    for name in ("a.mp4", "b.mp4"):
        with pytest.raises(InputError, match="is not a video"):
            open_source(tmp_path / name)


def test_empty_file_is_named(tmp_path):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(InputError, match=r"a\.mp4 is empty \(0 bytes\)"):
        open_source(tmp_path / "a.mp4")


def test_sound_alone_is_refused(tmp_path):
    film = write_film(tmp_path / "a.mp4", pictures(3), sound_seconds=1)
    import av

    with av.open(str(film)) as source, av.open(str(tmp_path / "b.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    with pytest.raises(InputError, match=r"no video stream.*a file with audio"):
        open_source(tmp_path / "b.mp4")


def test_video_stream_without_frames_is_refused(tmp_path):
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.start_encoding()
    with pytest.raises(InputError, match=r"a\.mp4 (has no video|is not a video)"):
        open_source(tmp_path / "a.mp4")


def test_frame_rate_is_for_folders_only(tmp_path):
    film = write_film(tmp_path / "a.mp4", pictures(3))
    with pytest.raises(UsageError, match="has its own frame rate"):
        open_source(film, frame_rate=Fraction(30))


@pytest.mark.parametrize("name", ["-i.mp4", "a b.mp4", "http:x.mp4", "фильм.mp4", "%03d.mp4"])
def test_any_file_name_is_just_a_name(tmp_path, name, monkeypatch):
    write_film(tmp_path / "a.mkv", pictures(3), container_format="mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(read(name)) == 3
