import os
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from dgafvsr.apps.web.uploads import safe_name
from dgafvsr.errors import InputError
from dgafvsr.video.limits import InputLimits
from tests.apps.cli.films import write_video
from tests.apps.web.standins import Workshop, arrived, cut_example


@pytest.fixture
def shop(tmp_path):
    with Workshop(tmp_path / "data", max_upload_bytes=10**6) as opened:
        yield opened


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("clip.mp4", "clip.mp4"),
        ("My holiday (1).MOV", "My_holiday_1.mov"),
        ("../../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system32\\x.mkv", "x.mkv"),
        ("/abs/olute.webm", "olute.webm"),
        (".hidden.mp4", "hidden.mp4"),
        ("...", "video"),
        ("", "video"),
        ("a\x00b\nc.mp4", "a_b_c.mp4"),
        ("-rf.mp4", "rf.mp4"),
        ("Größe 東京.mp4", "Größe_東京.mp4"),
        ("x" * 300 + ".mp4", "x" * 60 + ".mp4"),
        ("a.m;p$4", "a.mp4"),
        ("<script>.mp4", "script.mp4"),
    ],
)
def test_names_become_harmless(given, made):
    assert safe_name(given) == made


def test_film_is_moved_and_described(shop, tmp_path):
    upload = arrived(shop.folder, cut_example(tmp_path / "My clip (1).mp4"))
    film = shop.desk.take(upload)
    assert not upload.exists()
    assert list(shop.folder.uploads.iterdir()) == []
    assert (film.name, film.file) == ("My clip (1).mp4", "My_clip_1.mp4")
    assert (film.width, film.height, film.interlaced) == (96, 56, False)
    assert film.seconds == pytest.approx(0.4)
    facts = dict(film.facts)
    assert facts["Size"] == "96 x 56 pixels"
    assert facts["Length"] == "0.40 s, 10 frames"
    assert facts["Frame rate"] == "25 frames/s"
    assert (facts["Colour"], facts["Sound"]) == ("SDR", "none")
    assert Image.open(shop.desk.thumbnail(film)).size == (96, 56)
    assert shop.store.source_of(film).is_file()


def no_video(path):
    path.write_text("no film")


def empty(path):
    path.touch()


def playlist(path):
    path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")


def torn(path):
    write_video(path, frames=30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def picture(path):
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(path, format="png")


def sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.rate = 48000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))


def tiny(path):
    write_video(path, width=12, height=14)


def large(path):
    write_video(path)
    with path.open("ab") as file:
        file.truncate(10**6 + 1)


@pytest.mark.parametrize(
    ("make", "name", "words"),
    [
        (no_video, "a.mp4", "a.mp4 is not a video"),
        (empty, "a.mp4", "a.mp4 is empty"),
        (playlist, "a.m3u8", "a.m3u8 is not a video"),
        (torn, "a.mp4", "a.mp4 is truncated"),
        (picture, "a.png", "a.png is a picture"),
        (picture, "a.mp4", "a.mp4 is not a video"),
        (sound, "a.mp4", "a.mp4 has no video stream"),
        (tiny, "a.mp4", "too small"),
        (large, "a.mp4", "a.mp4 is larger than allowed"),
    ],
)
def test_what_is_no_film_is_refused_in_a_sentence_and_leaves_nothing(shop, tmp_path, make, name, words):
    make(tmp_path / name)
    with pytest.raises(InputError) as caught:
        shop.desk.take(arrived(shop.folder, tmp_path / name))
    assert words in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    for folder in (shop.folder.uploads, shop.folder.films, shop.folder.shown):
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (InputLimits(pixels=96 * 56 - 1), "--max-pixels"),
        (InputLimits(frames=9), "--max-frames"),
        (InputLimits(seconds=Fraction(1, 4)), "--max-seconds"),
    ],
)
def test_film_over_a_limit_is_refused(tmp_path, limits, words):
    with Workshop(tmp_path / "data", limits=limits) as shop, pytest.raises(InputError, match=words):
        shop.film(tmp_path)


def test_file_from_elsewhere_is_not_taken(shop, tmp_path):
    outside = cut_example(tmp_path / "private.mp4")
    link = shop.folder.uploads / "link.mp4"
    os.symlink(outside, link)
    for path in (outside, link, shop.folder.uploads / ".." / ".." / "private.mp4", shop.folder.uploads):
        with pytest.raises(InputError, match="did not arrive"):
            shop.desk.take(path)
    assert outside.exists()


def test_interlaced_film_is_taken_and_said(shop, tmp_path):
    path = tmp_path / "fields.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25, options={"flags": "+ildct+ilme", "top": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for level in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 40 * level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    film = shop.desk.take(arrived(shop.folder, path))
    assert film.interlaced
    assert "interlaced" in dict(film.facts)["Scan"]
