"""What becomes of awkward films, in the manner of FFmpeg's framecrc: every picture's MD5 and time, in and out.

Each case is a file, and either the error that refuses it or what is warned of; where it is read, it goes through the
identity into lossless FFV1, and every picture and time must come out as it came in.
"""

import hashlib
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dgafvsr.errors import InputError
from dgafvsr.video.codecs import EncoderSettings
from dgafvsr.video.reader import VideoReader, open_source
from dgafvsr.video.writer import open_sink
from tests.video.films import MILLISECOND, add_streams, coded_of, pictures, sound_of, times_of, write_coded, write_film
from tests.video.test_deinterlacing import interlaced_film
from tests.video.test_encoder import hdr_film, transparent


def checks(path, **options):
    """(Seconds to the millisecond, MD5 of pixels and alpha) of each frame, and the warnings."""
    with open_source(path, **options) as reader:
        rows = [
            (
                round(frame.pts_seconds / MILLISECOND),
                hashlib.md5(
                    frame.pixels.tobytes() + (b"" if frame.alpha is None else frame.alpha.tobytes())
                ).hexdigest(),
            )
            for frame in reader
        ]
    return rows, reader.warnings


def through_ffv1(film, target, **options):
    with open_source(film, **options) as reader, open_sink(target, reader.info, EncoderSettings(codec="ffv1")) as sink:
        for frame in reader:
            sink.write(frame)
    return sink.warnings


def variable_rate(folder):
    return write_film(folder / "a.mkv", pictures(5), pts=[40, 73, 106, 173, 973], time_base=MILLISECOND)


def odd_time_base(folder):
    return write_film(folder / "a.mp4", pictures(6), pts=[0, 7, 19, 20, 44, 91], time_base=Fraction(1, 997))


def edit_list(folder):
    """The first 5 pictures lie before 0: an edit list of the MP4 leaves them out."""
    return write_film(folder / "a.mp4", pictures(12), pts=list(range(-5, 7)), options={"bf": "0", "g": "1"})


def late_start(folder):
    return write_film(folder / "a.mp4", pictures(5), pts=[48, 49, 50, 51, 52])


def b_frames(folder):
    return write_film(folder / "a.mp4", pictures(24), options={"bf": "3", "b_strategy": "0"})


def rotated(folder):
    return write_film(folder / "a.mp4", pictures(3), rotation=90)


def wide_pixels(folder):
    return write_film(folder / "a.mp4", pictures(3), aspect=Fraction(16, 11))


def ten_bits(folder):
    return write_film(folder / "a.mkv", pictures(4), pixel_format="yuv420p10le")


def full_chroma(folder):
    return write_film(folder / "a.mp4", pictures(4), pixel_format="yuv444p")


def odd_sizes(folder):
    return write_film(folder / "a.mp4", pictures(3, 33, 47), pixel_format="yuv444p")


def one_frame(folder):
    return write_film(folder / "a.mp4", pictures(1))


def silent(folder):
    return write_film(folder / "a.mp4", pictures(7))


def long_sound(folder):
    return write_film(folder / "a.mkv", pictures(3), sound_seconds=2, sound_codec="libopus")


def subtitles_and_chapters(folder):
    film = write_film(folder / "plain.mkv", pictures(12))
    font = ("a.ttf", "font/ttf", b"font")
    return add_streams(
        film, folder / "a.mkv", subtitles=[(0, 90, "Text")], chapters=[(0, 500, "eins")], attachment=font
    )


def alpha(folder):
    return write_coded(folder / "a.mkv", [transparent(8)] * 3, "yuva444p")


def deep_alpha(folder):
    return write_coded(folder / "a.mov", [transparent(10)] * 3, "yuva444p10le", codec="prores_ks")


def full_range(folder):
    tags = {"color_range": 2, "colorspace": 1}
    planes = [np.tile(np.arange(256, dtype=np.uint8), (32, 1)), *[np.full((32, 256), 128, np.uint8)] * 2]
    return write_coded(folder / "a.mkv", [planes] * 2, "yuv444p", context=tags)


def hdr(folder):
    return hdr_film(folder / "a.mkv")


def grey(folder):
    planes = [np.tile(np.arange(0, 1024, 4, dtype=np.uint16), (32, 1))]
    return write_coded(folder / "a.mkv", [planes] * 2, "gray10le")


def raw_stream(folder):
    return write_film(folder / "a.h264", pictures(12), options={"bf": "2"})


def dash_and_unicode(folder):
    return write_film(folder / "a.mkv", pictures(3)).rename(folder / "-ключ 映画 %03d.mkv")


READ = {
    "variable frame rate": (variable_rate, None),
    "time base of 1/997 s": (odd_time_base, None),
    "edit list that cuts the start": (edit_list, None),
    "first picture at 2 s": (late_start, None),
    "reordered pictures (B-frames)": (b_frames, None),
    "rotated by 90 degrees": (rotated, None),
    "pixels of 16:11": (wide_pixels, "sample aspect ratio 16/11 is not kept: ffv1 in matroska"),
    "10 bits": (ten_bits, None),
    "4:4:4": (full_chroma, None),
    "odd sizes": (odd_sizes, None),
    "one frame": (one_frame, None),
    "silent": (silent, None),
    "sound longer than the pictures": (long_sound, None),
    "subtitles, chapters, font": (subtitles_and_chapters, None),
    "alpha of 8 bits": (alpha, None),
    "alpha of ProRes 4444": (deep_alpha, None),
    "full range": (full_range, None),
    "HDR10, BT.2020, PQ": (hdr, "mastering display and light levels of HDR are dropped: ffv1"),
    "grey of 10 bits": (grey, None),
    "raw stream without times": (raw_stream, "12 frames had no timestamp"),
    "name with a dash, blanks, Cyrillic": (dash_and_unicode, None),
}


@pytest.mark.parametrize("case", READ)
def test_every_picture_and_time_comes_out_as_it_went_in(tmp_path, case):
    make, warning = READ[case]
    film = make(tmp_path)
    before, told = checks(film)
    told = (*told, *through_ffv1(film, tmp_path / "out.mkv"))
    after, _ = checks(tmp_path / "out.mkv")
    assert before
    assert after == before
    assert [warning in each for each in told] == [True] if warning else told == ()
    one, other = VideoReader(film).info, VideoReader(tmp_path / "out.mkv").info
    assert other.rotation == one.rotation
    assert (other.bit_depth > 8, other.has_alpha) == (one.bit_depth > 8, one.has_alpha)


def test_edit_list_shows_what_players_show(tmp_path):
    assert [row[0] for row in checks(edit_list(tmp_path))[0]] == [round(1000 * k / 24) for k in range(7)]


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_odd_time_base_is_exact_where_the_container_can(tmp_path, suffix):
    film = odd_time_base(tmp_path)
    with open_source(film) as reader, open_sink(tmp_path / f"b{suffix}", reader.info) as sink:
        for frame in reader:
            sink.write(frame)
    assert times_of(tmp_path / f"b{suffix}")[0] == [Fraction(k, 997) for k in (0, 7, 19, 20, 44, 91)]


def truncated(folder):
    film = write_film(folder / "a.mkv", pictures(48), options={"g": "6"})
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    return film


def zero_bytes(folder):
    (folder / "a.mp4").touch()
    return folder / "a.mp4"


def renamed_text(folder):
    (folder / "a.mp4").write_text("a text, not a film\n" * 20)
    return folder / "a.mp4"


def playlist(folder):
    film = write_film(folder / "other.ts", pictures(12))
    (folder / "a.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{film}\n#EXT-X-ENDLIST\n")
    return folder / "a.mp4"


def concat_script(folder):
    film = write_film(folder / "other.ts", pictures(12))
    (folder / "a.mp4").write_text(f"ffconcat version 1.0\nfile {film.name}\n")
    return folder / "a.mp4"


def session_description(folder):
    (folder / "a.sdp").write_text(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    )
    return folder / "a.sdp"


def interlaced(folder):
    return interlaced_film(folder / "a.mp4")


def changing_size(folder):
    films = [write_film(folder / f"{k}.h264", pictures(6, *size)) for k, size in enumerate([(32, 48), (48, 64)])]
    (folder / "a.h264").write_bytes(b"".join(film.read_bytes() for film in films))
    return folder / "a.h264"


REFUSED = {
    "truncated": (truncated, r"truncated after about \d\.\d\d s"),
    "zero bytes": (zero_bytes, r"is empty \(0 bytes\)"),
    "text renamed .mp4": (renamed_text, "is not a video"),
    "playlist that points at another file": (playlist, "is not a video"),
    "concat script": (concat_script, "is not a video"),
    "session description (a network address)": (session_description, "is not a video"),
    "interlaced": (interlaced, "is interlaced.*--deinterlace"),
    "pictures that change their size": (
        changing_size,
        r"changes its picture size at frame \d+.*64x48.*48x32 throughout",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trusted_is_refused_with_a_reason(tmp_path, case):
    make, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        checks(make(tmp_path))


@pytest.mark.parametrize("lost", [4, 11])
def test_transport_stream_with_lost_packets(tmp_path, lost):
    """Packets of 188 bytes that never arrived, as in a recording of a broadcast."""
    film = write_film(tmp_path / "a.ts", pictures(48, 96, 128), options={"g": "12", "bf": "2"})
    whole = dict(checks(film)[0])
    data = film.read_bytes()
    at = len(data) // 188 // 2
    film.write_bytes(data[: at * 188] + data[(at + lost) * 188 :])
    with pytest.raises(InputError, match=r"damaged after frame \d+ \(\d\.\d\d s\)"):
        checks(film)
    left, warnings = checks(film, on_error="skip-damaged")
    assert len(warnings) == 1
    found = int(re.search(r"from \d\.\d\d s to \d\.\d\d s: at least (\d+) frames are lost", warnings[0])[1])
    assert 0 < found <= 48 - len(left) <= found + 2  # of whole pictures that never arrived nobody knows
    assert set(left) <= set(whole.items())
    assert len(left) >= 48 - 24


def test_sound_survives_the_identity(tmp_path):
    film = long_sound(tmp_path)
    through_ffv1(film, tmp_path / "out.mkv")
    assert sound_of(tmp_path / "out.mkv") == sound_of(film)


def test_stored_planes_are_the_makers_own(tmp_path):
    """The maker of these films stores what it is given, so the tests above rest on it."""
    for planes in coded_of(alpha(tmp_path)):
        for one, other in zip(planes, transparent(8), strict=True):
            np.testing.assert_array_equal(one, other)


def test_vp9_with_alpha_is_read_with_it(tmp_path):
    film = write_coded(
        tmp_path / "a.webm", [transparent_halved()] * 3, "yuva420p", codec="libvpx-vp9", options={"crf": "4"}
    )
    frames = list(open_source(film))
    assert len(frames) == 3
    for frame in frames:
        assert np.abs(frame.alpha.astype(int) - transparent(8)[3]).max() <= 6
    with av.open(str(film)) as container:
        assert next(container.decode(video=0)).format.name == "yuv420p"  # FFmpeg's own decoder passes over it


def transparent_halved():
    luma, chroma, _, plane = transparent(8)
    return [luma, chroma[::2, ::2], chroma[::2, ::2], plane]


DOCUMENT = Path(__file__).parents[2] / "docs" / "video.md"


def test_every_row_of_the_documented_table_names_its_test():
    section = (
        DOCUMENT.read_text(encoding="utf-8").partition("## Awkward files and what happens")[2].partition("\n## ")[0]
    )
    makers = [row.split("|")[-2].strip() for row in section.splitlines() if row.startswith("|")][2:]
    rooms = [Path(__file__).parent, Path(__file__).parents[1] / "jobs"]
    tests = {
        name
        for room in rooms
        for file in room.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    cases = {f'`test_awkward.py` "{case}"' for case in (*READ, *REFUSED)}
    assert len(makers) > 50
    assert [maker for maker in makers if maker not in cases and maker.strip("`") not in tests] == []
