from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from dgafvsr.errors import InputError
from dgafvsr.video.color import (
    ColorTags,
    from_signed,
    pixels_to_video_frame,
    to_array,
    to_signed,
    to_tensor,
    to_uint8,
    to_unit,
    video_frame_to_pixels,
)
from dgafvsr.video.frames import Frame, SourceInfo
from dgafvsr.video.reader import VideoReader
from dgafvsr.video.writer import EncoderSettings, VideoWriter

LUMA = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # red and blue weights
LEVELS = (0, 90, 255)


def chart():
    """Every mixture of three levels as a flat patch of 16 x 22: 66 rows, 144 columns."""
    patches = np.array(list(product(LEVELS, repeat=3)), np.uint8).reshape(3, 9, 3)
    return patches.repeat(22, axis=0).repeat(16, axis=1)


def ycbcr(rgb, matrix, full):
    """Independent of swscale: the definition in ITU-R BT.601, BT.709 and BT.2020. 3 H W float."""
    red, blue = LUMA[matrix]
    r, g, b = np.moveaxis(rgb / 255, -1, 0)
    y = red * r + (1 - red - blue) * g + blue * b
    cb, cr = (b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)
    return np.stack(
        [255 * y, 255 * cb + 128, 255 * cr + 128] if full else [16 + 219 * y, 128 + 224 * cb, 128 + 224 * cr]
    )


def info_for(pixels, tags=None):
    height, width = pixels.shape[:2]
    second = Fraction(1)
    return SourceInfo(
        path=Path("none"), width=width, height=height, frame_rate=second, time_base=second, color=tags or ColorTags()
    )


def write_one(path, pixels, tags, **settings):
    with VideoWriter(
        path, info_for(pixels, tags), EncoderSettings(quality=1, options={"preset": "ultrafast"}, **settings)
    ) as writer:
        writer.write(Frame(pixels=pixels, pts=0, time_base=Fraction(1), duration=1))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", LUMA)
def test_conversion_agrees_with_the_standards(matrix, full):
    tags = ColorTags(matrix=matrix, full_range=full)
    coded = pixels_to_video_frame(chart(), tags, "yuv444p")
    # half a level of rounding; swscale's fixed-point full range is up to one level off
    assert np.abs(coded.to_ndarray() - ycbcr(chart(), matrix, full)).max() <= (1.1 if full else 0.6)
    assert coded.colorspace == matrix
    back = video_frame_to_pixels(coded, tags)
    assert np.abs(back.astype(int) - chart()).max() <= 2


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6])
def test_chart_survives_a_video_file(tmp_path, matrix, full, codec):
    write_one(tmp_path / "chart.mp4", chart(), ColorTags(matrix=matrix, full_range=full), codec=codec)
    with VideoReader(tmp_path / "chart.mp4") as reader:
        assert (reader.info.color.matrix, reader.info.color.full_range) == (matrix, full)
        pixels = next(iter(reader)).pixels.astype(int)
    # the inside of each patch: 4:2:0 chroma mixes colours across the borders
    inner = (slice(None), slice(4, 18), slice(None), slice(4, 12))
    difference = (pixels - chart()).reshape(3, 22, 9, 16, 3)[inner]
    assert np.abs(difference).max() <= 4


@pytest.mark.parametrize(("height", "width", "matrix"), [(48, 64, 6), (720, 64, 1), (48, 1280, 1)])
def test_untagged_sources_are_tagged_by_size(tmp_path, height, width, matrix):
    write_one(tmp_path / "a.mkv", np.full((height, width, 3), 90, np.uint8), ColorTags())
    with VideoReader(tmp_path / "a.mkv") as reader:
        assert reader.info.color == ColorTags(matrix=matrix, full_range=False)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_all_tags_are_passed_on(tmp_path, suffix):
    tags = ColorTags(matrix=9, primaries=9, transfer=16, full_range=False)
    write_one(tmp_path / f"a{suffix}", chart(), tags)
    with VideoReader(tmp_path / f"a{suffix}") as reader:
        assert reader.info.color == tags


def test_tagged_matrix_is_believed_against_the_size():
    assert ColorTags(matrix=6).resolved(width=1920, height=1080).matrix == 6


def test_matrix_without_a_table_is_refused():
    with pytest.raises(InputError, match=r"colour matrix.*code 14"):
        ColorTags(matrix=14).resolved(width=64, height=48)


def test_rgb_pictures_are_not_converted():
    picture = av.VideoFrame.from_ndarray(chart(), format="rgb24").reformat(format="gbrp")
    np.testing.assert_array_equal(video_frame_to_pixels(picture, ColorTags()), chart())


def test_bytes_survive_floats():
    values = np.arange(256, dtype=np.uint8).reshape(2, 4, 8, 4)
    np.testing.assert_array_equal(to_uint8(to_unit(values)), values)
    assert to_unit(np.array([0, 65535], np.uint16)).tolist() == [0, 1]


def test_rounding_is_to_the_nearest_and_clamped():
    np.testing.assert_array_equal(to_uint8(np.array([-0.2, 0.499 / 255, 0.501 / 255, 1.7])), [0, 0, 1, 255])


def test_nothing_writes_into_its_argument():
    values = np.array([0.3, 0.7], np.float32)
    to_uint8(values)
    np.testing.assert_array_equal(values, np.array([0.3, 0.7], np.float32))


def test_video_layout_round_trip():
    video = np.random.default_rng(0).integers(0, 256, (5, 6, 10, 3), dtype=np.uint8)
    tensor = to_tensor(video)
    assert tensor.shape == (5, 3, 6, 10)
    np.testing.assert_array_equal(to_uint8(to_array(from_signed(to_signed(tensor)))), video)


def test_signed_range_is_clamped_on_the_way_back():
    assert from_signed(torch.tensor([-3.0, -1.0, 1.0, 3.0])).tolist() == [0, 0, 1, 1]
