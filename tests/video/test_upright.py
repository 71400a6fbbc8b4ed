from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dgafvsr.video.frames import SourceInfo
from dgafvsr.video.reader import open_source
from dgafvsr.video.upright import upright_info, upright_picture
from tests.video.films import HEIGHT, WIDTH, pictures, write_film

INFO = SourceInfo(path=Path("a"), width=WIDTH, height=HEIGHT, frame_rate=Fraction(24), time_base=Fraction(1, 24))


def filtered(path, filters):
    """The first picture as FFmpeg's own filters turn it: an independent idea of what is upright."""
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
        graph = av.filter.Graph()
        source = graph.add_buffer(width=picture.width, height=picture.height, format="rgb24", time_base=Fraction(1, 24))
        last = source
        for name, arguments in filters:
            step = graph.add(name, arguments)
            last.link_to(step)
            last = step
        sink = graph.add("buffersink")
        last.link_to(sink)
        graph.configure()
        picture = picture.reformat(format="rgb24")
        picture.time_base, picture.pts = Fraction(1, 24), 0
        graph.push(picture)
        return graph.pull().to_ndarray(format="rgb24")


# FFmpeg's own player and command line insert these for the mark.
@pytest.mark.parametrize(
    ("rotation", "mirrored", "filters"),
    [
        (0, False, []),
        (90, False, [("transpose", "cclock")]),
        (180, False, [("hflip", ""), ("vflip", "")]),
        (270, False, [("transpose", "clock")]),
        (0, True, [("hflip", "")]),
        (180, True, [("vflip", "")]),
    ],
)
def test_pictures_are_turned_as_ffmpeg_turns_them(tmp_path, rotation, mirrored, filters):
    film = write_film(
        tmp_path / "a.mkv", pictures(2), codec="ffv1", pixel_format="bgr0", rotation=rotation, mirrored=mirrored
    )
    with open_source(film) as source:
        pixels = next(iter(source)).pixels
        made, info = upright_picture(pixels, source.info), upright_info(source.info)
    np.testing.assert_array_equal(made, filtered(film, filters))
    assert made.shape[:2] == (info.height, info.width)
    assert (info.rotation, info.mirroring) == (0, None)


def test_mirrored_at_a_diagonal():
    with_corners = np.arange(6).reshape(2, 3)
    info = replace(INFO, width=3, height=2, mirroring=(0, 65536, 0, 65536, 0, 0, 0, 0, 1 << 30))
    np.testing.assert_array_equal(upright_picture(with_corners, info), with_corners.T)
    other = replace(info, mirroring=(0, -65536, 0, -65536, 0, 0, 0, 0, 1 << 30))
    np.testing.assert_array_equal(upright_picture(with_corners, other), with_corners.T[::-1, ::-1])
    assert (upright_info(info).width, upright_info(info).height) == (2, 3)


def test_shape_of_pixels_turns_with_the_picture():
    info = replace(INFO, rotation=90, sample_aspect_ratio=Fraction(16, 11))
    upright = upright_info(info)
    assert (upright.width, upright.height, upright.sample_aspect_ratio) == (HEIGHT, WIDTH, Fraction(11, 16))
    assert upright_info(replace(info, rotation=180)).sample_aspect_ratio == Fraction(16, 11)
