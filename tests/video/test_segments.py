from dataclasses import asdict, replace
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dgafvsr.errors import OutputError, ResourceError
from dgafvsr.video.codecs import EncoderSettings
from dgafvsr.video.color import to_unit
from dgafvsr.video.encoding import Encoding, plan_encoding
from dgafvsr.video.folders import FolderReader
from dgafvsr.video.frames import Frame
from dgafvsr.video.reader import VideoReader, open_source
from dgafvsr.video.segments import Segment, assemble, is_whole, write_segment
from dgafvsr.video.writer import VideoWriter
from tests.video.films import MILLISECOND, coded_of, listing, pictures, sound_of, times_of, write_film

PTS = [40, 73, 106, 173, 973, 974, 1300, 1333, 1366, 1400, 1433, 1500]  # ms; nothing regular about them
QUICK = {"h264": {}, "hevc": {"preset": "superfast"}, "av1": {"preset": "12"}, "vp9": {"cpu-used": "8"}}
KINDS = [
    ("h264", ".mp4"), ("h264", ".mov"), ("h264", ".mkv"), ("hevc", ".mp4"), ("hevc", ".mkv"), ("av1", ".mp4"),
    ("av1", ".webm"), ("vp9", ".webm"), ("prores", ".mov"), ("prores", ".mkv"), ("ffv1", ".mkv"),
]  # fmt: skip


def film_of(tmp_path, **options):
    """A source with sound, its frames, and what is known of it."""
    path = write_film(tmp_path / "a.mkv", pictures(12, 64, 96), pts=PTS, time_base=MILLISECOND, **options)
    with VideoReader(path) as reader:
        return list(reader), reader.info


def encoding_of(target, info, codec):
    return plan_encoding(target, info, EncoderSettings(codec=codec, options=QUICK.get(codec, {})))


def split(tmp_path, frames, info, encoding, cuts):
    borders = [0, *cuts, len(frames)]
    suffix = "" if encoding.is_folder else ".mkv"
    return [write_segment(tmp_path / f"part{a}{suffix}", frames[a:b], info, encoding) for a, b in pairwise(borders)]


@pytest.mark.parametrize(("codec", "suffix"), KINDS)
def test_film_has_the_pictures_of_its_segments_and_the_times_of_its_source(tmp_path, codec, suffix):
    frames, info = film_of(tmp_path, sound_seconds=1.5, sound_codec="libopus")
    target = tmp_path / f"b{suffix}"
    encoding = encoding_of(target, info, codec)
    segments = split(tmp_path, frames, info, encoding, [5, 6])
    assemble(segments, target, info, encoding)
    assert times_of(target)[0] == [each * MILLISECOND for each in PTS]
    parts = [picture for segment in segments for picture in coded_of(segment.path)]
    for found, expected in zip(coded_of(target), parts, strict=True):
        for plane, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(plane, other)
    if suffix in (".webm", ".mkv"):
        assert sound_of(target) == sound_of(info.path)
    with av.open(str(target)) as container:
        decoding = [packet.dts for packet in container.demux(video=0) if packet.size and packet.dts is not None]
    assert all(a < b for a, b in pairwise(decoding))


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9", "prores", "ffv1"])
def test_same_frames_give_the_same_bytes(tmp_path, codec):
    frames, info = film_of(tmp_path)
    encoding = encoding_of(tmp_path / ("b.mkv"), info, codec)
    sums = {write_segment(tmp_path / "part.mkv", frames, info, encoding).sha256 for _ in range(6)}
    assert len(sums) == 1


def test_macroblock_tree_is_the_same_each_time(tmp_path):
    frames, info = film_of(tmp_path)
    encoding = encoding_of(tmp_path / "b.mp4", info, "h264")
    # without cpu-independent libx264 gave other bytes in 1 run of 4
    assert len({write_segment(tmp_path / "part.mkv", frames, info, encoding).sha256 for _ in range(40)}) == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_split_gives_the_same_film(tmp_path_factory, data):
    tmp_path = tmp_path_factory.mktemp("split")
    gaps = data.draw(st.lists(st.integers(1, 5000), min_size=1, max_size=14), label="gaps")
    cuts = sorted(data.draw(st.sets(st.integers(1, len(gaps) - 1)), label="cuts")) if len(gaps) > 1 else []
    start = data.draw(st.integers(0, 100_000), label="start")
    codec, suffix = data.draw(st.sampled_from([("ffv1", ".mkv"), ("h264", ".mp4"), ("h264", ".mkv")]), label="codec")
    base = data.draw(st.sampled_from([MILLISECOND, Fraction(1001, 30000), Fraction(1, 90000)]), label="base")
    base = MILLISECOND if suffix == ".mkv" else base  # Matroska rounds others
    film = write_film(tmp_path / "a.mkv", pictures(1))
    info = replace(VideoReader(film).info, time_base=base)
    pts = [start + sum(gaps[:k]) for k in range(len(gaps))]
    frames = [
        Frame(pixels=pixels, pts=each, time_base=base, duration=gap)
        for pixels, each, gap in zip(pictures(len(gaps)), pts, gaps, strict=True)
    ]
    target = tmp_path / f"b{suffix}"
    encoding = plan_encoding(
        target, info, EncoderSettings(codec=codec, options={"preset": "veryfast"} if codec == "h264" else {})
    )
    assemble(split(tmp_path, frames, info, encoding, cuts), target, info, encoding)
    with VideoReader(target) as reader:
        found = list(reader)
    assert [frame.pts_seconds for frame in found] == [each * base for each in pts]
    error = np.abs(np.stack([frame.pixels for frame in found]).astype(int) - pictures(len(gaps)))
    assert error.mean() == 0 if codec == "ffv1" else error.mean(axis=(1, 2, 3)).max() < 10  # each picture is itself


def test_facts_survive_being_stored(tmp_path):
    frames, info = film_of(tmp_path)
    encoding = encoding_of(tmp_path / "b.mp4", info, "h264")
    segment = write_segment(tmp_path / "part.mkv", frames[3:8], info, encoding)
    assert (segment.frames, segment.first_pts, segment.last_pts) == (5, 173, 1333)
    assert segment.reordering in (1, 2)
    assert Segment(**asdict(segment)) == segment
    assert Encoding(**asdict(encoding)) == encoding


def test_one_segment_equals_one_long_encode(tmp_path):
    frames, info = film_of(tmp_path)
    encoding = encoding_of(tmp_path / "b.mp4", info, "h264")
    assemble(split(tmp_path, frames, info, encoding, []), tmp_path / "b.mp4", info, encoding)
    with VideoWriter(tmp_path / "c.mp4", info) as writer:
        for frame in frames:
            writer.write(frame)
    assert times_of(tmp_path / "b.mp4")[0] == times_of(tmp_path / "c.mp4")[0]
    for one, other in zip(coded_of(tmp_path / "b.mp4"), coded_of(tmp_path / "c.mp4"), strict=True):
        np.testing.assert_array_equal(one[0], other[0])


@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
def test_folders_are_assembled_from_folders(tmp_path, kind):
    frames, info = film_of(tmp_path, codec="ffv1", pixel_format="bgr0")
    encoding = plan_encoding(f"{tmp_path}/out/", info, EncoderSettings(picture_format=kind))
    segments = split(tmp_path, frames, info, encoding, [1, 7])
    assert all(map(is_whole, segments))
    assemble(segments, tmp_path / "out", info, encoding)
    assert sorted(listing(tmp_path / "out"))[-1] == f"00000011.{kind}"
    np.testing.assert_array_equal([frame.pixels for frame in FolderReader(tmp_path / "out")], pictures(12, 64, 96))


def test_rotation_shape_and_colour_come_through(tmp_path):
    film = write_film(tmp_path / "a.mp4", pictures(4, 66, 98), rotation=90, aspect=Fraction(10, 11))
    with VideoReader(film) as reader:
        frames, info = list(reader), reader.info
    info = replace(info, color=replace(info.color, matrix=1, primaries=1, transfer=1, full_range=True))
    for suffix in (".mp4", ".mov", ".mkv"):
        encoding = encoding_of(tmp_path / f"b{suffix}", info, "h264")
        assemble(split(tmp_path, frames, info, encoding, [2]), tmp_path / f"b{suffix}", info, encoding)
        found = VideoReader(tmp_path / f"b{suffix}").info
        assert (found.rotation, found.sample_aspect_ratio, found.color) == (90, Fraction(10, 11), info.color)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("rotation", [0, 90, 180])
def test_mirrored_film_stays_mirrored(tmp_path, suffix, rotation):
    film = write_film(tmp_path / "a.mp4", pictures(3), rotation=rotation, mirrored=True)
    matrix = displayed(film)
    assert matrix[0] * matrix[4] - matrix[1] * matrix[3] < 0
    with VideoReader(film) as reader:
        target = tmp_path / f"b{suffix}"
        encoding = plan_encoding(target, reader.info)
        assemble(split(tmp_path, list(reader), reader.info, encoding, [2]), target, reader.info, encoding)
    assert displayed(target) == matrix


def displayed(path):
    """The display matrix of the first picture."""
    with av.open(str(path)) as container:
        data = bytes(next(container.decode(video=0)).side_data.get(Type.DISPLAYMATRIX))
    return np.frombuffer(data, np.int32).tolist()


def test_negative_times_are_moved_once_for_all(tmp_path):
    frames, info = film_of(tmp_path)
    moved = [replace(frame, pts=frame.pts - 1000) for frame in frames]
    encoding = encoding_of(tmp_path / "b.mp4", info, "h264")
    warnings = assemble(split(tmp_path, moved, info, encoding, [4]), tmp_path / "b.mp4", info, encoding)
    assert times_of(tmp_path / "b.mp4")[0] == [(each - 40) * MILLISECOND for each in PTS]
    assert "moved by 0.960 s" in warnings[0]


def spoil(segment):
    data = bytearray(segment.path.read_bytes())
    data[len(data) // 2] ^= 1
    segment.path.write_bytes(data)


@pytest.mark.parametrize("harm", [spoil, lambda segment: segment.path.unlink()])
def test_damaged_segment_is_named_and_nothing_appears(tmp_path, harm):
    frames, info = film_of(tmp_path)
    encoding = encoding_of(tmp_path / "b.mp4", info, "h264")
    segments = split(tmp_path, frames, info, encoding, [4, 8])
    harm(segments[1])
    assert [is_whole(segment) for segment in segments] == [True, False, True]
    with pytest.raises(OutputError, match=r"part4\.mkv is missing or damaged"):
        assemble(segments, tmp_path / "b.mp4", info, encoding)
    assert not (tmp_path / "b.mp4").exists()


def test_segments_out_of_order_are_refused(tmp_path):
    frames, info = film_of(tmp_path)
    encoding = encoding_of(tmp_path / "b.mp4", info, "h264")
    segments = split(tmp_path, frames, info, encoding, [4, 8])
    with pytest.raises(OutputError, match="out of order"):
        assemble(segments[::-1], tmp_path / "b.mp4", info, encoding)


def test_segments_of_other_settings_are_refused(tmp_path):
    frames, info = film_of(tmp_path)
    encoding = encoding_of(tmp_path / "b.mkv", info, "h264")
    other = plan_encoding(tmp_path / "b.mkv", info, EncoderSettings(pixel_format="yuv444p"))
    segments = [
        write_segment(tmp_path / "1.mkv", frames[:4], info, encoding),
        write_segment(tmp_path / "2.mkv", frames[4:], info, other),
    ]
    before = listing(tmp_path)
    with pytest.raises(OutputError, match=r"2\.mkv was not encoded like the first"):
        assemble(segments, tmp_path / "b.mkv", info, encoding)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("target", ["b.mp4", "out"])
def test_existing_film_is_kept_unless_told(tmp_path, target):
    frames, info = film_of(tmp_path)
    encoding = plan_encoding(tmp_path / target, info)
    segments = split(tmp_path, frames, info, encoding, [4])
    assemble(segments, tmp_path / target, info, encoding)
    with pytest.raises(OutputError, match="exists"):
        assemble(segments, tmp_path / target, info, encoding)
    assemble(segments, tmp_path / target, info, encoding, overwrite=True)
    assert len(list(open_source(tmp_path / target))) == 12


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("target", ["b.mp4", "out"])
def test_broken_off_segment_leaves_nothing(tmp_path, target, error):
    frames, info = film_of(tmp_path)
    encoding = plan_encoding(tmp_path / target, info)
    before = listing(tmp_path)

    def stream():
        yield from frames[:5]
        raise error

    with pytest.raises((KeyboardInterrupt, ResourceError, OSError)):
        write_segment(tmp_path / "part", stream(), info, encoding)
    assert listing(tmp_path) == before


def test_segment_without_frames_is_refused(tmp_path):
    _, info = film_of(tmp_path)
    before = listing(tmp_path)
    for target in (tmp_path / "b.mp4", f"{tmp_path}/out/"):
        with pytest.raises(OutputError):
            write_segment(tmp_path / "part", [], info, plan_encoding(target, info))
    assert listing(tmp_path) == before


@pytest.mark.parametrize(("codec", "suffix"), [("vp9", ".webm"), ("prores", ".mov"), ("ffv1", ".mkv")])
def test_alpha_comes_through(tmp_path, codec, suffix):
    _, info = film_of(tmp_path)
    info = replace(info, has_alpha=True)
    alpha = np.tile(np.arange(96, dtype=np.uint8) * 2, (64, 1))
    frames = [
        Frame(pixels=pixels, alpha=alpha, pts=k, time_base=MILLISECOND, duration=1)
        for k, pixels in enumerate(pictures(4, 64, 96))
    ]
    target = tmp_path / f"b{suffix}"
    encoding = encoding_of(target, info, codec)
    assemble(split(tmp_path, frames, info, encoding, [1]), target, info, encoding)
    for frame in VideoReader(target):
        assert np.abs(to_unit(frame.alpha) - to_unit(alpha)).max() < 0.03


@pytest.mark.parametrize(
    ("base", "rate", "pts"),
    [
        (Fraction(1, 10**9), 24, [0, 41_666_000, 83_333_000, 5 * 10**9, 11 * 10**9]),  # MP4 cannot count 5 s in ns
        (MILLISECOND, 1000, [0, 1, 2, 3, 4]),
        (Fraction(1), Fraction(1, 10), [0, 10, 20, 30, 40]),
        (Fraction(1, 90000), 25, [10 * 3600 * 90000 + 3600 * k for k in range(5)]),
    ],
)
@pytest.mark.parametrize(("codec", "suffix"), [("h264", ".mp4"), ("av1", ".mp4"), ("prores", ".mov")])
def test_fine_fast_slow_and_late_clocks(tmp_path, codec, suffix, base, rate, pts):
    _, info = film_of(tmp_path)
    info = replace(info, time_base=base, frame_rate=Fraction(rate))
    ticks = max(1, round(1 / (rate * base)))
    frames = [
        Frame(pixels=pixels, pts=each, time_base=base, duration=ticks)
        for each, pixels in zip(pts, pictures(5, 64, 96), strict=True)
    ]
    target = tmp_path / f"b{suffix}"
    encoding = encoding_of(target, info, codec)
    assemble(split(tmp_path, frames, info, encoding, [2]), target, info, encoding)
    assert times_of(target)[0] == [each * base for each in pts]
