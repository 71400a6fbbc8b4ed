from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dgafvsr.errors import InputError, InterruptionError, UsageError
from dgafvsr.jobs.parts import FilmPart, Place, parse_part, parse_place
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.upscale import upscale_file
from dgafvsr.video.frames import Frame, PlacedFrame, SourceInfo
from tests.jobs.standins import MILLISECOND, Nearest, enlarged, lossless, pixels_of
from tests.jobs.test_shot_plan import shot_list
from tests.video.films import pictures, sound_of, times_of, write_film

INFO = SourceInfo(path=Path("a.mkv"), width=4, height=4, frame_rate=Fraction(10), time_base=Fraction(1, 10))


class Film:
    """A film of frames that hold their own number, the first shown at 0.7 s; keeps how many were asked for."""

    info = INFO

    def __init__(self, count):
        self.count, self.read = count, 0

    def read_from(self, reached):
        for index in range(self.count):
            if reached(index, Fraction(index, 10)):
                pixels = np.full((4, 4, 3), index, np.uint8)
                frame = Frame(pixels=pixels, pts=7 + index, time_base=Fraction(1, 10), duration=1)
                self.read += 1
                yield PlacedFrame(index=index, seconds=Fraction(index, 10), frame=frame)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("2", Place(seconds=Fraction(2))),
        ("2.5s", Place(seconds=Fraction(5, 2))),
        ("1:02.5", Place(seconds=Fraction(125, 2))),
        ("1:00:03", Place(seconds=Fraction(3603))),
        ("48f", Place(frame=48)),
    ],
)
def test_places_are_times_or_frames(text, place):
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["", "-1", "1:2:3:4", "two", "3m", "4.5f", "1e3", "٣"])
def test_other_texts_are_no_places(text):
    with pytest.raises(UsageError):
        parse_place(text)


@pytest.mark.parametrize("text", ["5", "-", "3-2", "2-2", "0-0", "9f-4f", "-0", "1-2-3"])
def test_ranges_without_a_frame_are_refused(text):
    with pytest.raises(UsageError):
        parse_part(text)


@pytest.mark.parametrize(
    ("text", "first", "values"),
    [
        ("0.5-1", 5, [5, 6, 7, 8, 9]),  # counted from the first frame, which is shown at 0.7 s
        ("0.41-0.7", 5, [5, 6]),
        ("3f-0.6", 3, [3, 4, 5]),
        ("17f-", 17, [17, 18, 19]),
        ("-2f", 0, [0, 1]),
    ],
)
def test_part_is_cut_exactly_and_starts_at_0(text, first, values):
    part = parse_part(text).take(Film(20))
    frames = list(part.frames)
    assert (part.first_index, part.start_seconds) == (first, Fraction(7 + first, 10))
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == values
    assert [frame.pts for frame in frames] == list(range(len(values)))
    end = first + len(values)
    assert part.stop_seconds == (Fraction(7 + end, 10) if end < 20 else None)


def test_nothing_is_read_after_the_part():
    film = Film(20)
    assert len(list(FilmPart(stop=Place(frame=4)).take(film).frames)) == 4
    assert film.read == 5


def test_part_after_the_end_is_an_error():
    with pytest.raises(InputError, match=r"ends before the range 3 s to the end"):
        parse_part("3-").take(Film(20))


def test_part_without_a_frame_is_an_error():
    with pytest.raises(InputError, match=r"no frame in the range frame 17 to 1\.5 s"):
        parse_part("17f-1.5").take(Film(20))


def test_preview_is_made_without_reading_on(tmp_path, monkeypatch):
    import dgafvsr.video.reader as room

    film, read = lossless(tmp_path / "a.mkv", pictures(60)), []
    decode = room.video_frame_to_pixels
    monkeypatch.setattr(room, "video_frame_to_pixels", lambda *args: read.append(1) or decode(*args))
    summary = upscale_file(film, tmp_path / "out", Nearest(), UpscaleSettings(part=FilmPart(stop=Place(frame=5))))
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), enlarged(pictures(60)[:5]))
    assert summary.frames == 5
    assert len(read) == 6


def test_part_keeps_noise_shots_and_distances_of_the_film(tmp_path):
    pts = [40, 73, 106, 173, 973, 1000, 1100, 1300]
    film = write_film(tmp_path / "a.mkv", pictures(8), pts=pts, time_base=MILLISECOND)
    upscaler = Nearest()
    listed = shot_list(tmp_path / "s.json", 0, 5)
    settings = UpscaleSettings(part=parse_part("2f-7f"), shots=listed)
    summary = upscale_file(film, tmp_path / "b.mp4", upscaler, settings)
    assert [call[:2] for call in upscaler.calls] == [(2, 3), (5, 2)]
    assert times_of(tmp_path / "b.mp4")[0] == [(each - 106) * MILLISECOND for each in pts[2:7]]
    assert summary.shots == 2
    assert summary.warnings == ()


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_sound_of_a_part_ends_with_its_last_frame(tmp_path, suffix):
    """With B-frames and a variable rate, MP4 does not say how long a picture is shown; the next one does."""
    pts = [0, 3, 9, 10, 40, 41, 42, 50, 60, 61, 62, 90]
    film = write_film(tmp_path / "a.mp4", pictures(12), pts=pts, sound_seconds=3, options={"bf": "2"})
    upscale_file(film, tmp_path / f"b{suffix}", Nearest(), UpscaleSettings(part=parse_part("4f-9f")))
    whole, part = sound_of(film)[0], sound_of(tmp_path / f"b{suffix}")[0]
    start, stop = Fraction(40, 24), Fraction(61, 24)
    kept = [data for at, data in whole if start < at + Fraction(1024, 48000) and at < stop]
    assert [data for at, data in part if at + Fraction(1024, 48000) > 0] == kept


def test_stopped_job_of_a_part_goes_on_with_its_sound(tmp_path):
    film = write_film(tmp_path / "a.mp4", pictures(30), sound_seconds=1.2)
    settings = UpscaleSettings(part=parse_part("7f-27f"), window=6, overlap=1)
    upscale_file(film, tmp_path / "whole.mp4", Nearest(), settings)
    asked = iter([False] * 40 + [True] * 999)
    with pytest.raises(InterruptionError):
        upscale_file(film, tmp_path / "b.mp4", Nearest(), settings, wants_stop=lambda: next(asked))
    assert upscale_file(film, tmp_path / "b.mp4", Nearest(), settings).frames_resumed > 0
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (Fraction(5, 2), "2.5 s"),
        (Fraction(12345678901, 10**7), "1234.5678901 s"),
        (Fraction(1, 3), "1/3 s"),
        (Fraction(1, 10**12), "1/1000000000000 s"),
        (Fraction(3600), "3600 s"),
    ],
)
def test_text_of_a_place_is_exact(seconds, text):
    """Jobs are told apart by it."""
    assert str(Place(seconds=seconds)) == text


@pytest.mark.parametrize("text", ["9" * 5000, "9" * 5000 + "f", "0." + "1" * 5000, "9" * 5000 + ":00"])
def test_numbers_without_end_are_no_places(text):
    with pytest.raises(UsageError):
        parse_place(text)
