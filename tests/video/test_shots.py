from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgafvsr.sampling.windows import stream_windows
from dgafvsr.video.frames import Frame
from dgafvsr.video.shots import FLASH_FRAMES, LOOK_AHEAD, detect_cuts, mark_cuts, split_shots
from tests.video.films import pictures

HEIGHT, WIDTH = 48, 80


def texture(seed, count, *, speed=1.0, brightness=1.0):
    """T H W 3 uint8: coloured waves and blotches of a random kind that move `speed` pixels a frame."""
    rng = np.random.default_rng(seed)
    t, y, x = np.meshgrid(np.arange(count), np.arange(HEIGHT), np.arange(WIDTH), indexing="ij")
    film = np.zeros((count, HEIGHT, WIDTH, 3))
    for _ in range(6):
        period_x, period_y, phase = rng.uniform(9, 60), rng.uniform(9, 60), rng.uniform(0, 6.3)
        wave = np.sin((x + speed * t) * 6.28 / period_x + np.sin(y * 6.28 / period_y) * 2 + phase)
        film += wave[..., None] * rng.uniform(-50, 50, 3)
    return np.clip(brightness * (128 + film), 0, 255).astype(np.uint8)


def film(*parts):
    return [
        Frame(pixels=pixels, pts=index, time_base=Fraction(1, 24), duration=1)
        for index, pixels in enumerate(np.concatenate(parts))
    ]


def cuts(*parts):
    return [index for index, each in enumerate(detect_cuts(film(*parts))) if each.starts_shot][1:]


def blend(a, b, share):
    return np.rint(a + (b.astype(float) - a) * np.asarray(share)[:, None, None, None]).astype(np.uint8)


WHITE, BLACK = np.full((1, HEIGHT, WIDTH, 3), 255, np.uint8), np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_made_cuts_are_found_to_the_frame(seed):
    parts = [texture(10 * seed + k, count, speed=k) for k, count in enumerate([9, 6, 14, 5])]
    assert cuts(*parts) == [9, 15, 29]


def test_cut_between_dark_scenes_is_found():
    assert cuts(texture(1, 8, brightness=0.2), texture(2, 8, brightness=0.2)) == [8]


@pytest.mark.parametrize("brightness", [0.8, 1.2])
def test_cut_into_fast_motion_is_found(brightness):
    assert cuts(texture(1, 8), texture(2, 8, speed=4, brightness=brightness)) == [8]


def test_cut_before_the_last_frame_is_found():
    assert cuts(texture(1, 8), texture(2, 1)) == [8]


def test_cut_after_the_first_frame_is_found():
    assert cuts(texture(1, 1), texture(2, 8)) == [1]


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_cuts_close_to_each_other_are_found(distance):
    assert cuts(texture(1, 8), texture(2, distance), texture(3, 8)) == [8, 8 + distance]


@pytest.mark.parametrize("speed", [0, 0.5, 2, 5])
def test_pan_is_no_cut(speed):
    assert cuts(texture(3, 30, speed=speed)) == []


def test_motion_that_sets_in_at_once_and_stops_is_no_cut():
    moving = texture(3, 12, speed=3)
    assert cuts(moving[:1].repeat(8, 0), moving, moving[-1:].repeat(8, 0)) == []


def test_motion_of_every_third_frame_is_no_cut():
    assert cuts(texture(3, 10, speed=3).repeat(3, 0)) == []


@pytest.mark.parametrize("length", range(1, FLASH_FRAMES + 1))
@pytest.mark.parametrize("light", [WHITE, BLACK])
def test_flash_is_no_cut(light, length):
    scene = texture(3, 20)
    assert cuts(scene[:9], light.repeat(length, 0), scene[9 + length :]) == []


def test_longer_flash_is_a_shot():
    scene = texture(3, 20)
    assert cuts(scene[:9], WHITE.repeat(FLASH_FRAMES + 1, 0), scene[12:]) == [9, 12]


def test_flicker_is_no_cut():
    light = 0.95 + 0.05 * np.random.default_rng(0).uniform(-1, 1, (30, 1, 1, 1))
    assert cuts((texture(3, 30) * light).astype(np.uint8)) == []


@pytest.mark.parametrize("length", [6, 12, 24])
def test_fades_are_no_cuts(length):
    ramp = np.linspace(0, 1, length)
    share = np.concatenate([np.zeros(5), ramp, np.ones(5), ramp[::-1], np.zeros(5)])
    scene = texture(3, len(share))
    assert cuts(blend(BLACK.repeat(len(share), 0), scene, share)) == []


@pytest.mark.parametrize("length", [5, 12])
def test_dissolve_is_no_cut(length):
    a, b = texture(3, 8 + length), texture(4, 8 + length)
    mixed = blend(a[8:], b[:length], (np.arange(length) + 1) / (length + 1))
    assert cuts(a[:8], mixed, b[length:]) == []


def test_film_of_two_pictures_that_differ_has_two_shots():
    assert cuts(texture(1, 1), texture(2, 1)) == [1]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_short_film_is_one_shot(count):
    assert cuts(texture(1, count)) == []


def test_film_without_frames_has_no_shots():
    assert list(detect_cuts([])) == list(split_shots([])) == []


@pytest.mark.parametrize(("height", "width"), [(16, 17), (300, 16), (16, 1000)])
def test_any_size_of_picture_is_looked_at(height, width):
    a, b = pictures(8, height, width), 255 - pictures(8, height, width)[:, ::-1, ::-1]
    frames = film(a[:1].repeat(6, 0), b[:1].repeat(6, 0))
    assert [index for index, each in enumerate(detect_cuts(frames)) if each.starts_shot] == [0, 6]


def test_frames_of_16_bits_are_looked_at():
    frames = [each.with_pixels(each.pixels.astype(np.uint16) * 257) for each in film(texture(1, 8), texture(2, 8))]
    assert [index for index, each in enumerate(detect_cuts(frames)) if each.starts_shot] == [0, 8]


def test_little_is_read_ahead():
    read = []
    frames = film(texture(1, 8), texture(2, 8))
    for index, each in enumerate(detect_cuts(read.append(frame) or frame for frame in frames)):
        assert each.frame is frames[index]
        assert len(read) <= index + 1 + LOOK_AHEAD


@given(
    count=st.integers(1, 60),
    starts=st.sets(st.integers(0, 70)),
    window=st.integers(1, 9),
    data=st.data(),
)
def test_every_frame_is_kept_once_in_order_and_no_window_spans_a_cut(count, starts, window, data):
    overlap = data.draw(st.integers(0, window - 1))
    frames = [Frame(pixels=BLACK[0], pts=k, time_base=Fraction(1), duration=1) for k in range(count)]
    kept, borders = [], []
    for shot in split_shots(mark_cuts(frames, starts)):
        borders.append(shot.start)
        for each, held in stream_windows(shot.frames, window, overlap):
            indices = [frame.pts for frame in held]
            assert indices == list(range(shot.start + each.start, shot.start + each.stop))
            assert not {b for _, b in pairwise(indices)} & starts
            kept += indices[: each.emitted]
    assert kept == list(range(count))
    assert borders == sorted({0} | {start for start in starts if start < count})
