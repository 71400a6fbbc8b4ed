from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dgafvsr.errors import UsageError
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.sizes import OutputSize, PictureSize, resize
from dgafvsr.jobs.upscale import upscale_file
from dgafvsr.video.codecs import EncoderSettings
from dgafvsr.video.color import to_unit
from dgafvsr.video.frames import SourceInfo
from dgafvsr.video.reader import open_source
from tests.jobs.standins import Nearest, enlarged, lossless, pixels_of
from tests.video.films import pictures, write_film

INFO = SourceInfo(path=Path("a.mp4"), width=640, height=360, frame_rate=Fraction(24), time_base=Fraction(1, 24))
TURNED = replace(INFO, rotation=90)


def size(info=INFO, *, even=True, **asked):
    made = OutputSize(**asked).of(info, even=even)
    return made.width, made.height


def test_four_times_is_native():
    assert size() == (2560, 1440)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"scale": Fraction(2)}, (1280, 720)),
        ({"scale": Fraction(5, 2)}, (1600, 900)),
        ({"height": 1080}, (1920, 1080)),
        ({"width": 1000}, (1000, 562)),
        ({"box": (1920, 1080)}, (1920, 1080)),
        ({"box": (1920, 1200)}, (1920, 1080)),
        ({"box": (4000, 722)}, (1284, 722)),
    ],
)
def test_shape_stays(asked, expected):
    assert size(**asked) == expected


def test_sizes_are_those_that_a_viewer_sees():
    assert size(TURNED, height=1280) == (1280, 720)
    assert size(TURNED, box=(1080, 1920)) == (1920, 1080)
    assert OutputSize(box=(1080, 1920)).notes(PictureSize(width=1920, height=1080), TURNED) == ()


def test_box_that_is_not_filled_is_said():
    wanted = OutputSize(box=(1920, 1200))
    assert "fits into 1920x1200 as 1920x1080" in wanted.notes(wanted.of(INFO, even=True), INFO)[0]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"height": 360}, "already as large.*640x360.*height 360"),
        ({"box": (640, 2000)}, "already as large"),
        ({"width": 100}, "already as large"),
        ({"height": 1442}, "more than 4 times.*at most 2560x1440"),
        ({"height": 1081}, "odd size.*ask for 1082"),
    ],
)
def test_impossible_sizes_are_refused_with_the_remedy(asked, words):
    with pytest.raises(UsageError, match=words):
        size(**asked)


def test_pictures_may_be_odd():
    assert size(even=False, height=1081) == (1922, 1081)


@pytest.mark.parametrize(
    "asked", [{"scale": 1}, {"scale": Fraction(9, 2)}, {"width": 0}, {"box": (8, 0)}, {"width": 9, "height": 9}]
)
def test_settings_out_of_range_are_refused(asked):
    with pytest.raises(UsageError):
        OutputSize(**asked)


@given(st.integers(16, 4000), st.integers(16, 4000), st.fractions(Fraction(11, 10), 4), st.booleans())
def test_any_scale_gives_a_size_within_a_pixel_or_two_of_it(width, height, scale, even):
    made = size(replace(INFO, width=width, height=height), even=even, scale=scale)
    step = 2 if even else 1
    assert all(
        abs(side - scale * source) <= Fraction(step, 2) for side, source in zip(made, (width, height), strict=True)
    )
    assert not even or not (made[0] % 2 or made[1] % 2)


@given(st.integers(16, 500), st.integers(16, 500), st.integers(17, 2000), st.integers(17, 2000))
def test_box_is_never_exceeded(width, height, columns, rows):
    try:
        made = size(replace(INFO, width=width, height=height), even=True, box=(columns, rows))
    except UsageError:
        return
    assert made[0] <= columns
    assert made[1] <= rows


def test_resize_is_pillows_lanczos_in_float():
    picture = np.random.default_rng(0).random((40, 56, 3), dtype=np.float32)
    small = resize(picture, PictureSize(width=21, height=17))
    eight_bit = Image.fromarray(np.rint(picture * 255).astype(np.uint8)).resize((21, 17), Image.Resampling.LANCZOS)
    np.testing.assert_allclose(small, np.asarray(eight_bit) / 255, atol=2 / 255)  # Pillow's own path rounds thrice
    assert small.dtype == np.float32


def test_resize_is_antialiased_and_keeps_flat_pictures_flat():
    checks = np.indices((64, 64)).sum(axis=0) % 2
    np.testing.assert_allclose(resize(checks.astype(np.float32), PictureSize(width=16, height=16)), 0.5, atol=0.02)
    flat = np.full((20, 30, 3), 0.7, np.float32)
    np.testing.assert_allclose(resize(flat, PictureSize(width=11, height=7)), 0.7, atol=1e-6)


def test_same_size_is_the_same_picture():
    picture = np.random.default_rng(0).random((6, 10, 3), dtype=np.float32)
    assert resize(picture, PictureSize(width=10, height=6)) is picture


def test_film_is_made_in_the_size_that_was_asked_for(tmp_path):
    film = lossless(tmp_path / "a.mkv", pictures(3))
    settings = UpscaleSettings(size=OutputSize(scale=Fraction(2)))
    summary = upscale_file(film, tmp_path / "out", Nearest(), settings)
    assert (summary.width, summary.height) == (96, 64)
    half = PictureSize(width=96, height=64)
    expected = [np.rint(resize(to_unit(each), half) * 255) for each in enlarged(pictures(3))]
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), np.stack(expected).astype(np.uint8))


def test_ten_bits_stay_ten_bits(tmp_path):
    film = write_film(tmp_path / "a.mkv", pictures(2), codec="ffv1", pixel_format="yuv444p10le")
    settings = UpscaleSettings(encoder=EncoderSettings(codec="ffv1", pixel_format="gbrp16le"))
    upscale_file(film, tmp_path / "b.mkv", Nearest(), settings)
    with open_source(film) as source, open_source(tmp_path / "b.mkv") as made:
        for before, after in zip(source, made, strict=True):
            assert before.pixels.dtype == after.pixels.dtype == np.uint16
            np.testing.assert_array_equal(after.pixels, enlarged(before.pixels[None])[0])


def test_transparency_is_enlarged_and_kept(tmp_path):
    (tmp_path / "in").mkdir()
    alpha = np.zeros((32, 48), np.uint8)
    alpha[:, 24:] = 255
    Image.fromarray(np.dstack([pictures(1)[0], alpha])).save(tmp_path / "in" / "0.png")
    upscale_file(tmp_path / "in", tmp_path / "out", Nearest())
    with open_source(tmp_path / "out") as made:
        (frame,) = made
    assert frame.alpha.shape == (128, 192)
    np.testing.assert_array_equal(frame.alpha[:, :80], 0)
    np.testing.assert_array_equal(frame.alpha[:, 112:], 255)
    np.testing.assert_array_equal(frame.pixels, enlarged(pictures(1))[0])
