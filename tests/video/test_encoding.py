from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from dgafvsr.errors import OutputError, UsageError
from dgafvsr.video.codecs import CODECS, CONTAINER_CODECS, CONTAINER_FORMATS, EncoderSettings
from dgafvsr.video.encoding import is_folder_name, plan_encoding
from dgafvsr.video.frames import SourceInfo
from dgafvsr.video.hdr import HDRMetadata

INFO = SourceInfo(path=Path("in.mp4"), width=96, height=64, frame_rate=Fraction(24), time_base=Fraction(1, 24))


def plan(target, *, info=None, **settings):
    return plan_encoding(target, replace(INFO, **(info or {})), EncoderSettings(**settings))


@pytest.mark.parametrize(
    ("target", "codec"),
    [("a.mp4", "h264"), ("a.M4V", "h264"), ("a.mov", "h264"), ("a.mkv", "h264"), ("a.webm", "av1"), ("a/", "png")],
)
def test_every_container_has_a_default(target, codec):
    assert plan(target).codec == codec


@pytest.mark.parametrize(
    ("target", "codec", "fitting"),
    [
        ("a.mp4", "prores", r"\.mkv or \.mov"),
        ("a.mp4", "ffv1", r"\.mkv"),
        ("a.mov", "av1", r"\.m4v or \.mkv or \.mp4 or \.webm"),
        ("a.webm", "h264", r"\.m4v or \.mkv or \.mov or \.mp4"),
    ],
)
def test_impossible_pairs_name_what_fits(target, codec, fitting):
    allowed = ", ".join(CONTAINER_CODECS[CONTAINER_FORMATS[Path(target).suffix]])
    with pytest.raises(
        UsageError, match=rf"cannot hold {codec}.*one of {allowed}.*for {codec} .*ends with {fitting}\."
    ):
        plan(target, codec=codec)


@pytest.mark.parametrize("codec", CODECS)
def test_every_layout_and_default_can_be_encoded(codec):
    facts = CODECS[codec]
    known = {layout.name for layout in av.Codec(facts.encoder, "w").video_formats}
    assert set(facts.pixel_formats) <= known
    assert set(facts.defaults) <= set(facts.pixel_formats)


@pytest.mark.parametrize("codec", CODECS)
def test_every_option_is_known_to_the_encoder(codec):
    facts = CODECS[codec]
    options = {option.name for option in av.Codec(facts.encoder, "w").create().supported_options.private}
    assert set(facts.options) <= options


@pytest.mark.parametrize(
    ("target", "codec", "info", "layout"),
    [
        ("a.mp4", "h264", {}, "yuv420p"),
        ("a.mp4", "h264", {"bit_depth": 10}, "yuv420p10le"),
        ("a.mp4", "hevc", {"bit_depth": 10}, "yuv420p10le"),
        ("a.mp4", "hevc", {"bit_depth": 12}, "yuv420p12le"),
        ("a.mp4", "hevc", {"bit_depth": 16}, "yuv420p10le"),
        ("a.webm", "av1", {"bit_depth": 10}, "yuv420p10le"),
        ("a.webm", "vp9", {"has_alpha": True}, "yuva420p"),
        ("a.mov", "prores", {}, "yuv422p10le"),
        ("a.mov", "prores", {"has_alpha": True}, "yuva444p10le"),
        ("a.mkv", "ffv1", {}, "bgr0"),
        ("a.mkv", "ffv1", {"has_alpha": True}, "bgra"),
        ("a.mkv", "ffv1", {"bit_depth": 10}, "gbrp16le"),
        ("a.mkv", "ffv1", {"bit_depth": 16, "has_alpha": True}, "gbrap16le"),
    ],
)
def test_depth_and_alpha_of_the_source_choose_the_layout(target, codec, info, layout):
    encoding = plan(target, codec=codec, info=info)
    assert encoding.pixel_format == layout
    assert encoding.alpha == info.get("has_alpha", False)
    assert encoding.warnings == (() if info.get("bit_depth") != 16 or codec == "ffv1" else encoding.warnings[:1])


@pytest.mark.parametrize(
    ("target", "settings", "info", "words"),
    [
        ("a.webm", {"codec": "vp9"}, {"bit_depth": 10}, "10 bits a sample and vp9 as yuv420p holds 8; hevc"),
        ("a.mp4", {"pixel_format": "yuv420p"}, {"bit_depth": 10}, "10 bits a sample and h264 as yuv420p holds 8"),
        ("a.mp4", {}, {"has_alpha": True}, "transparency is dropped: h264 as yuv420p holds none; prores in .mov"),
        (
            "a/",
            {"picture_format": "webp"},
            {"bit_depth": 12},
            "12 bits a sample and webp holds 8; png and tiff hold 16",
        ),
        ("a.mp4", {"codec": "vp9"}, {"has_alpha": True}, "transparency is dropped: vp9 as yuv420p"),
        ("a.webm", {}, {"sample_aspect_ratio": Fraction(16, 11)}, "ratio 16/11 is not kept: av1 in webm"),
        (
            "a.mkv",
            {"codec": "ffv1"},
            {"sample_aspect_ratio": Fraction(4, 3)},
            "ratio 4/3 is not kept: ffv1 in matroska",
        ),
        ("a.mov", {"codec": "prores"}, {"hdr": HDRMetadata(light=(1000, 400))}, "light levels of HDR are dropped"),
    ],
)
def test_what_is_lost_is_named(target, settings, info, words):
    warnings = plan(target, info=info, **settings).warnings
    assert len(warnings) == 1
    assert words in warnings[0]


@pytest.mark.parametrize(
    ("codec", "quality", "option"),
    [
        ("h264", None, ("crf", "16")), ("h264", 51, ("crf", "51")), ("hevc", None, ("crf", "18")),
        ("av1", None, ("crf", "24")), ("av1", 63, ("crf", "63")), ("vp9", 0, ("crf", "0")),
        ("prores", None, ("profile", "hq")), ("prores", 3, ("profile", "proxy")),
    ],
)  # fmt: skip
def test_quality_is_the_encoders_own(codec, quality, option):
    assert plan("a.mkv", codec=codec, quality=quality).options == dict([option])


def test_prores_of_full_chroma_is_4444():
    assert plan("a.mov", codec="prores", quality=1, pixel_format="yuv444p10le").options == {"profile": "4444"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"codec": "h264", "quality": 52}, r"range of h264.*52.*0 \(best\) to 51"),
        ({"codec": "av1", "quality": 0}, r"range of av1.*1 \(best\) to 63"),
        ({"codec": "prores", "quality": 4}, r"range of prores.*0 \(best\) to 3"),
        ({"codec": "ffv1", "quality": 1}, "lossless and takes no quality"),
        (
            {"codec": "av1", "pixel_format": "yuv444p"},
            "av1 cannot be stored as yuv444p in matroska.*one of yuv420p, yuv420p10le",
        ),
        ({"options": {"preset": "warp"}}, "option preset of h264 is unknown.*warp.*ultrafast"),
        ({"options": {"x264-params": "qp=1"}}, "option x264-params is not on the list of h264.*preset, tune"),
        ({"codec": "prores", "options": {"preset": "slow"}}, "not on the list of prores. Expected: none"),
    ],
)
def test_settings_that_do_not_fit_the_codec_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        plan("a.mkv", **settings)


@pytest.mark.parametrize(
    "wrong",
    [{"codec": "mpeg2"}, {"pixel_format": "rgb24"}, {"quality": 64}, {"quality": -1}, {"picture_format": "jpg"}],
)
def test_settings_are_from_a_list(wrong):
    with pytest.raises(UsageError, match=r"Got: .*Expected: "):
        EncoderSettings(**wrong)


@pytest.mark.parametrize(
    "settings", [{"codec": "h264"}, {"quality": 1}, {"pixel_format": "yuv420p"}, {"options": {"a": "b"}}]
)
def test_folders_have_no_video_settings(settings):
    with pytest.raises(UsageError, match="is a folder of pictures"):
        plan("a/", **settings)


def test_alpha_of_vp9_needs_a_container_of_blocks():
    assert plan("a.mkv", codec="vp9", pixel_format="yuva420p").alpha
    with pytest.raises(UsageError, match=r"vp9 cannot be stored as yuva420p in mp4.*yuv444p\."):
        plan("a.mp4", codec="vp9", pixel_format="yuva420p")


def test_encoder_that_this_ffmpeg_lacks_is_said(monkeypatch):
    monkeypatch.setattr("av.codecs_available", av.codecs_available - {"libsvtav1"})
    with pytest.raises(OutputError, match=r"no encoder for av1.*libsvtav1.*one of h264, hevc, vp9, prores, ffv1"):
        plan("a.webm")


@pytest.mark.parametrize(("codec", "size"), [("h264", (97, 64)), ("h264", (96, 65)), ("hevc", (97, 65))])
def test_odd_sizes_are_refused_where_chroma_is_halved(codec, size):
    with pytest.raises(OutputError, match=f"odd size as yuv420p.*{size[0]}x{size[1]}"):
        plan("a.mkv", codec=codec, info={"width": size[0], "height": size[1]})
    assert plan("a.mkv", codec=codec, info={"width": size[0], "height": size[1]}, pixel_format="yuv444p")


def test_pictures_too_large_for_webp_are_refused():
    with pytest.raises(OutputError, match=r"large pictures as WebP.*16384x64"):
        plan("a/", picture_format="webp", info={"width": 16384})


@pytest.mark.parametrize(("name", "folder"), [("a", True), ("a.mp4/", True), ("a.mp4", False), ("a.xyz", False)])
def test_names_say_what_is_meant(name, folder):
    assert is_folder_name(name) == folder
