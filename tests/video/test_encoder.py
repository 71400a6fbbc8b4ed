"""Pictures through the whole room: frames -> encoder -> container -> reader, for every codec."""

from fractions import Fraction

import av
import numpy as np
import pytest

from dgafvsr.video.codecs import EncoderSettings
from dgafvsr.video.color import to_unit
from dgafvsr.video.hdr import HDRMetadata
from dgafvsr.video.reader import VideoReader, open_source
from dgafvsr.video.writer import open_sink
from tests.video.films import coded_of, pictures, write_coded, write_film

TEN = 1 << 10


def copy(source, target, **settings):
    """The identity: every frame through reader and writer."""
    with open_source(source) as reader, open_sink(target, reader.info, EncoderSettings(**settings)) as sink:
        for frame in reader:
            sink.write(frame)
    return sink


def ramp(levels, height=32):
    """Every level of luma as a column, grey: planes of 4:2:0."""
    middle = 1 << (int(levels.max()).bit_length() - 1)
    luma = np.tile(levels.astype(np.uint16), (height, 1))
    chroma = np.full((height // 2, len(levels) // 2), middle, np.uint16)
    return [luma, chroma, chroma]


@pytest.mark.parametrize(("full", "levels"), [(False, np.arange(64, 940)), (True, np.arange(TEN))])
def test_every_level_of_ten_bits_survives(tmp_path, full, levels):
    film = write_coded(
        tmp_path / "a.mkv",
        [ramp(levels)] * 2,
        "yuv420p10le",
        context={"color_range": 2 if full else 1, "colorspace": 1},
    )
    assert VideoReader(film).info.color.full_range == full
    copy(film, tmp_path / "b.mkv", codec="ffv1", pixel_format="yuv420p10le")
    for planes in coded_of(tmp_path / "b.mkv"):
        np.testing.assert_array_equal(planes[0][0], levels)
        assert set(planes[1].ravel()) | set(planes[2].ravel()) == {512}
    frame = next(iter(VideoReader(film)))
    assert frame.pixels.dtype == np.uint16
    assert len(np.unique(frame.pixels[0, :, 1])) == len(levels)
    assert (frame.pixels.min(), frame.pixels.max()) == (0, 65535 if full else 65460)  # 939 of 940


@pytest.mark.parametrize(
    ("codec", "suffix"), [("h264", ".mp4"), ("hevc", ".mp4"), ("av1", ".webm"), ("prores", ".mov"), ("ffv1", ".mkv")]
)
def test_ten_bits_in_are_ten_bits_out(tmp_path, codec, suffix):
    film = write_coded(tmp_path / "a.mkv", [ramp(np.arange(64, 940), 64)] * 2, "yuv420p10le")
    sink = copy(film, tmp_path / f"b{suffix}", codec=codec)
    assert sink.warnings == ()
    with VideoReader(tmp_path / f"b{suffix}") as reader:
        assert reader.info.bit_depth >= 10
        levels = next(iter(reader)).pixels[32, :, 1]
    assert len(np.unique(levels)) > 256  # more than 8 bits could hold


@pytest.mark.parametrize("layout", ["yuv422p", "yuv444p", "yuv444p10le", "yuv422p10le"])
def test_chroma_can_be_kept_whole(tmp_path, layout):
    film = write_film(tmp_path / "a.mkv", pictures(3, 64, 96), codec="ffv1", pixel_format="bgr0")
    copy(film, tmp_path / "b.mp4", codec="hevc", pixel_format=layout, quality=0)
    with VideoReader(tmp_path / "b.mp4") as reader:
        assert reader.info.pixel_format == layout
        found = np.stack([to_unit(frame.pixels) for frame in reader]) * 255
    assert np.abs(found - pictures(3, 64, 96)).mean() < (1.5 if "444" in layout else 4)


@pytest.mark.parametrize(
    ("codec", "suffix", "smallest"),
    [("h264", ".mp4", 16), ("hevc", ".mkv", 64), ("av1", ".webm", 16), ("vp9", ".webm", 16), ("prores", ".mov", 16)],
)
def test_pictures_are_recognizable(tmp_path, codec, suffix, smallest):
    frames = pictures(5, 64, 98) if smallest == 64 else pictures(5, 32, 50)
    film = write_film(tmp_path / "a.mkv", frames, codec="ffv1", pixel_format="bgr0")
    copy(film, tmp_path / f"b{suffix}", codec=codec)
    with VideoReader(tmp_path / f"b{suffix}") as reader:
        found = np.stack([to_unit(frame.pixels) for frame in reader]) * 255
    assert np.abs(found - frames).mean() < 5


def transparent(bits):
    """Planes of 4:4:4:4 with a ramp of alpha."""
    kind, top = (np.uint8, 255) if bits == 8 else (np.uint16, (1 << bits) - 1)
    alpha = np.tile(np.linspace(0, top, 96).round().astype(kind), (64, 1))
    middle = np.full((64, 96), (top + 1) // 2, kind)
    return [middle, middle, middle, alpha]


@pytest.mark.parametrize(
    ("codec", "suffix", "bits", "allowed"),
    [
        ("ffv1", ".mkv", 8, 0),
        ("ffv1", ".mkv", 10, 0),
        ("prores", ".mov", 10, 130),
        ("vp9", ".webm", 8, 6),
        ("vp9", ".mkv", 8, 6),
    ],
)
def test_alpha_is_kept(tmp_path, codec, suffix, bits, allowed):
    layout = "yuva444p" if bits == 8 else "yuva444p10le"
    film = write_coded(tmp_path / "a.mkv", [transparent(bits)] * 3, layout)
    with VideoReader(film) as reader:
        assert reader.info.has_alpha
        before = next(iter(reader)).alpha
    sink = copy(film, tmp_path / f"b{suffix}", codec=codec)
    assert sink.warnings == ()
    with VideoReader(tmp_path / f"b{suffix}") as reader:
        assert reader.info.has_alpha
        for frame in reader:
            assert frame.alpha.dtype == frame.pixels.dtype
            assert np.abs(frame.alpha.astype(int) - before).max() <= allowed


@pytest.mark.parametrize(("kind", "bits"), [("png", 8), ("png", 10), ("tiff", 8), ("tiff", 10), ("webp", 8)])
def test_folders_keep_alpha_and_depth(tmp_path, kind, bits):
    film = write_coded(tmp_path / "a.mkv", [transparent(bits)] * 2, "yuva444p" if bits == 8 else "yuva444p10le")
    sink = copy(film, tmp_path / "out", picture_format=kind)
    assert sink.warnings == ()
    for before, after in zip(open_source(film), open_source(tmp_path / "out"), strict=True):
        np.testing.assert_array_equal(after.pixels, before.pixels)
        np.testing.assert_array_equal(after.alpha, before.alpha)


def test_alpha_that_the_output_cannot_hold_is_named(tmp_path):
    film = write_coded(tmp_path / "a.mkv", [transparent(8)] * 2, "yuva444p")
    assert "transparency is dropped" in copy(film, tmp_path / "b.mp4").warnings[0]


HDR_OPTIONS = {
    "x265-params": "log-level=none:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    ":max-cll=1000,400:hdr10=1:repeat-headers=1"
}
BT2020 = {"color_primaries": 9, "color_trc": 16, "colorspace": 9}


def hdr_film(path):
    levels = np.arange(64, 940)
    return write_coded(
        path,
        [ramp(levels, 64)] * 3,
        "yuv420p10le",
        codec="libx265",
        options=HDR_OPTIONS,
        context=BT2020,
        frame_options=BT2020,
    )


@pytest.mark.parametrize(
    ("codec", "suffix"), [("h264", ".mp4"), ("hevc", ".mp4"), ("hevc", ".mkv"), ("av1", ".mp4"), ("av1", ".webm")]
)
def test_hdr_is_kept(tmp_path, codec, suffix):
    film = hdr_film(tmp_path / "a.mkv")
    info = VideoReader(film).info
    assert info.hdr == HDRMetadata(
        primaries=tuple(Fraction(n, 50000) for n in (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450)),
        luminance=(Fraction(50, 10000), Fraction(1000)),
        light=(1000, 400),
    )
    assert (info.color.primaries, info.color.transfer, info.color.matrix, info.bit_depth) == (9, 16, 9, 10)
    sink = copy(film, tmp_path / f"b{suffix}", codec=codec)
    assert sink.warnings == ()
    found = VideoReader(tmp_path / f"b{suffix}").info
    assert found.color == info.color
    assert found.bit_depth == 10
    assert found.hdr.light == info.hdr.light
    for one, other in zip(
        (*found.hdr.primaries, *found.hdr.luminance), (*info.hdr.primaries, *info.hdr.luminance), strict=True
    ):
        assert abs(one - other) <= Fraction(1, 5000)  # AV1 counts in other fractions


def test_hdr_that_the_codec_cannot_say_is_named(tmp_path):
    sink = copy(hdr_film(tmp_path / "a.mkv"), tmp_path / "b.mov", codec="prores")
    assert "mastering display and light levels of HDR are dropped" in sink.warnings[0]
    assert VideoReader(tmp_path / "b.mov").info.color.transfer == 16


def test_nothing_is_printed(tmp_path, capfd):
    film = write_film(tmp_path / "a.mkv", pictures(3, height=64, width=96))
    capfd.readouterr()
    for codec in ("h264", "hevc", "av1", "vp9", "prores", "ffv1"):
        copy(film, tmp_path / f"{codec}.mkv", codec=codec)
    assert capfd.readouterr() == ("", "")


def test_hevc_says_nothing_of_the_processor(tmp_path):
    """x265 notes it in the stream's head, and windows that two machines made could not become one film."""
    write_film(tmp_path / "a.mkv", pictures(3, 64, 64))
    copy(tmp_path / "a.mkv", tmp_path / "b.mkv", codec="hevc")
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert b"cpuid" not in container.streams.video[0].codec_context.extradata
    assert b"cpuid" not in (tmp_path / "b.mkv").read_bytes()
