from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dgafvsr.errors import InputError
from dgafvsr.video.frames import Frame, SourceInfo

PIXELS = np.zeros((3, 5, 3), np.uint8)
TIMING = {"pts": 7, "time_base": Fraction(1, 30), "duration": 1}


def test_frame_knows_its_size_and_exact_time():
    frame = Frame(pixels=PIXELS, **TIMING)
    assert (frame.height, frame.width, frame.pts_seconds) == (3, 5, Fraction(7, 30))


@pytest.mark.parametrize("pixels", [PIXELS[..., 0], PIXELS[..., :2], PIXELS[:0], PIXELS.astype(np.float32)])
def test_frame_refuses_other_layouts(pixels):
    with pytest.raises(InputError, match="wrong layout"):
        Frame(pixels=pixels, **TIMING)


@pytest.mark.parametrize("wrong", [{"time_base": Fraction(0)}, {"duration": 0}])
def test_frame_refuses_impossible_timing(wrong):
    with pytest.raises(InputError, match="impossible timing"):
        Frame(pixels=PIXELS, **TIMING | wrong)


def test_with_pixels_keeps_the_moment():
    frame = Frame(pixels=PIXELS, **TIMING)
    large = frame.with_pixels(np.zeros((12, 20, 3), np.uint16))
    assert (large.pts, large.time_base, large.duration) == (frame.pts, frame.time_base, frame.duration)
    assert (large.height, large.width) == (12, 20)


def test_expected_frames_falls_back_to_the_duration():
    info = SourceInfo(path=Path("a"), width=5, height=3, frame_rate=Fraction(24), time_base=Fraction(1, 24))
    assert info.expected_frames is None
    assert SourceInfo(**vars(info) | {"duration_seconds": Fraction(2)}).expected_frames == 48
    assert SourceInfo(**vars(info) | {"duration_seconds": Fraction(2), "frame_count": 47}).expected_frames == 47


def test_losses_name_what_frames_cannot_hold():
    info = SourceInfo(path=Path("a"), width=5, height=3, frame_rate=Fraction(24), time_base=Fraction(1, 24))
    assert info.losses == ()
    lossy = replace(info, bit_depth=32, dynamic_hdr=("Dolby Vision",), has_alpha=True)
    assert [word in loss for loss, word in zip(lossy.losses, ("Dolby Vision", "32 bits"), strict=True)] == [True, True]


@pytest.mark.parametrize(
    "alpha", [np.zeros((3, 4), np.uint8), np.zeros((3, 5), np.uint16), np.zeros((3, 5, 1), np.uint8)]
)
def test_alpha_fits_the_pixels(alpha):
    with pytest.raises(InputError, match="alpha does not fit"):
        Frame(pixels=PIXELS, alpha=alpha, **TIMING)


def test_with_pixels_takes_alpha_along_only_when_given():
    frame = Frame(pixels=PIXELS, alpha=PIXELS[..., 0], **TIMING)
    assert frame.with_pixels(PIXELS).alpha is None
    assert frame.with_pixels(PIXELS, PIXELS[..., 1]).alpha.shape == (3, 5)
