from fractions import Fraction

import av
import numpy as np
import pytest

from dgafvsr.errors import InputError
from dgafvsr.video.reader import VideoReader
from tests.video.films import pictures, write_film

HEIGHT, WIDTH = 64, 96


def moment(t):
    """H W: a soft bar that moves by two columns from field to field."""
    columns = np.arange(WIDTH)
    row = 40 + 170 * np.exp(-(((columns - 20 - 2 * t) / 8.0) ** 2))
    return np.tile(row, (HEIGHT, 1))


def woven(k):
    """Picture k: the lower field's moment comes first."""
    grey = moment(2 * k + 1)
    grey[1::2] = moment(2 * k)[1::2]
    return grey


def interlaced_film(path, count=8):
    with av.open(str(path), "w") as container:
        options = {"flags": "+ildct+ilme", "crf": "4"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for k in range(count):
            picture = av.VideoFrame.from_ndarray(np.repeat(woven(k)[..., None], 3, axis=2).round().astype(np.uint8))
            picture.pts, picture.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def combs(pixels):
    """How much neighbouring lines differ."""
    return np.abs(np.diff(pixels[..., 0].astype(float), axis=0)).mean()


def test_interlaced_film_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(InputError, match=r"is interlaced: each picture holds two moments.*--deinterlace"):
        VideoReader(interlaced_film(tmp_path / "a.mp4"))


@pytest.mark.parametrize("count", [1, 2, 8])
def test_deinterlacing_gives_whole_pictures_at_the_same_times(tmp_path, count):
    with VideoReader(interlaced_film(tmp_path / "a.mp4", count), deinterlace=True) as reader:
        frames = list(reader)
    assert [frame.pts_seconds for frame in frames] == [Fraction(k, 25) for k in range(count)]
    assert not reader.info.interlaced
    assert reader.warnings == ()
    for k, frame in list(enumerate(frames))[1:-1]:
        assert combs(frame.pixels) < combs(woven(k)[..., None]) / 20
        assert np.abs(frame.pixels[..., 0] - moment(2 * k)).mean() < 1  # the moment of the field that comes first


def test_whole_pictures_stay_whole(tmp_path):
    film = write_film(tmp_path / "a.mp4", pictures(7), options={"bf": "2"})
    plain = list(VideoReader(film))
    treated = list(VideoReader(film, deinterlace=True))
    assert [frame.pts for frame in treated] == [frame.pts for frame in plain]


def test_fields_that_begin_later_are_told(tmp_path):
    whole = write_film(tmp_path / "a.h264", pictures(6, HEIGHT, WIDTH))
    fields = interlaced_film(tmp_path / "b.h264", 4)
    (tmp_path / "c.h264").write_bytes(whole.read_bytes() + fields.read_bytes())
    with VideoReader(tmp_path / "c.h264") as reader:
        assert len(list(reader)) == 10
    assert "4 pictures are marked as interlaced and are treated as whole" in reader.warnings
    with VideoReader(tmp_path / "c.h264", deinterlace=True) as reader:
        assert len(list(reader)) == 10
    assert not any("interlaced" in each for each in reader.warnings)
