"""What lies beside the pictures of a part of a film: sound, subtitles, chapters."""

from fractions import Fraction
from itertools import takewhile

import av
import numpy as np
import pytest

from dgafvsr.video.encoding import plan_encoding
from dgafvsr.video.reader import open_source
from dgafvsr.video.segments import assemble, write_segment
from dgafvsr.video.spans import LEAD_SECONDS, Span
from tests.video.films import MILLISECOND, add_streams, pictures, sound_of, times_of, write_film
from tests.video.test_remux import chapters_of, texts_of, words_of

TEXTS = [(100, 200, "before"), (600, 200, "into"), (900, 100, "inside"), (1150, 900, "out of"), (1600, 100, "after")]
CHAPTERS = [(0, 500, "eins"), (500, 1000, "zwei"), (1000, 1500, "drei"), (1500, 2000, "vier")]


def part_of(film, target, first, stop):
    """The frames [first, stop) as a film of their own, and what was said; the part's start on the film's clock."""
    with open_source(film) as reader:
        taken = list(takewhile(lambda each: each.index < stop, reader.read_from(lambda index, seconds: index >= first)))
        encoding, begin = plan_encoding(target, reader.info), taken[0].frame
        frames = [type(begin)(**vars(each.frame) | {"pts": each.frame.pts - begin.pts}) for each in taken]
        segment = write_segment(target.with_suffix(".segment"), frames, reader.info, encoding)
        said = assemble([segment], target, reader.info, encoding, start_seconds=begin.pts_seconds)
    return said, begin.pts_seconds


def samples_of(path):
    """The first channel, by the number of the sample in the file's time."""
    with av.open(str(path)) as container:
        found = {}
        for frame in container.decode(audio=0):
            values = frame.to_ndarray()
            channel = values[0, ::2] if not frame.format.is_planar else values[0]
            start = round(frame.pts * frame.time_base * frame.sample_rate)
            found.update(enumerate(channel.astype(float).tolist(), start))
        return found


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("codec", ["aac", "libmp3lame", "alac"])
def test_sound_of_mp4_and_mov_is_cut_to_the_sample(tmp_path, suffix, codec):
    film = write_film(tmp_path / "a.mp4", pictures(48), sound_seconds=2.2, sound_codec=codec, options={"bf": "2"})
    said, start = part_of(film, tmp_path / f"b{suffix}", 17, 30)
    assert said == ()
    whole, part = samples_of(film), samples_of(tmp_path / f"b{suffix}")
    offset = start * 48000
    assert min(part) == 0
    assert 26000 <= max(part) + 1 <= 26000 + 4096  # 13 frames; the last packet is kept whole
    assert max(abs(part[k] - whole[k + offset]) for k in part) <= 1e-5 * max(map(abs, whole.values()))


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
@pytest.mark.parametrize("source", [".mkv", ".mp4"])
def test_sound_of_matroska_begins_with_the_first_whole_packet_and_it_is_said(tmp_path, suffix, source):
    film = write_film(tmp_path / f"a{source}", pictures(48), sound_seconds=2.2, sound_codec="libopus")
    said, start = part_of(film, tmp_path / f"b{suffix}", 17, 30)
    found, whole = sound_of(tmp_path / f"b{suffix}")[0], sound_of(film)[0]
    stop = start + Fraction(13, 24)
    kept = [(at - start, data) for at, data in whole if start <= at < stop]
    assert [data for _, data in found] == [data for _, data in kept]
    assert max(abs(a - b) for (a, _), (b, _) in zip(found, kept, strict=True)) <= 2 * MILLISECOND
    container = "matroska" if suffix == ".mkv" else "webm"
    late = f"begins {float(kept[0][0]):.3f} s after the first frame: {container} cannot begin inside a packet of sound"
    assert len(said) == 1
    assert late in said[0]


def test_pictures_keep_their_distances_and_start_at_0(tmp_path):
    pts = list(np.cumsum([33 + 40 * (k % 3) for k in range(30)]))
    film = write_film(tmp_path / "a.mkv", pictures(30), pts=pts, time_base=MILLISECOND, sound_seconds=2)
    part_of(film, tmp_path / "b.mp4", 11, 21)
    assert times_of(tmp_path / "b.mp4")[0] == [(each - pts[11]) * MILLISECOND for each in pts[11:21]]


def test_part_from_the_films_start_has_the_sound_from_its_start(tmp_path):
    film = write_film(tmp_path / "a.mp4", pictures(48), sound_seconds=2.2)
    said, _ = part_of(film, tmp_path / "b.mp4", 0, 13)
    assert said == ()
    whole = sound_of(film)[0]
    assert sound_of(tmp_path / "b.mp4")[0] == [row for row in whole if row[0] < Fraction(13, 24)]


@pytest.mark.parametrize("case", ["after", "before"])
def test_sound_that_lies_elsewhere_leaves_an_empty_track(tmp_path, case):
    film = write_film(tmp_path / "a.mkv", pictures(96), sound_seconds=0.5)
    said, _ = part_of(film, tmp_path / "b.mkv", *{"after": (60, 80), "before": (0, 4)}[case])
    assert said == ()
    assert bool(sound_of(tmp_path / "b.mkv")[0]) == (case == "before")


def test_texts_are_cut_to_the_part(tmp_path):
    film = write_film(tmp_path / "plain.mkv", pictures(48), sound_seconds=2)
    film = add_streams(film, tmp_path / "a.mkv", subtitles=TEXTS, chapters=CHAPTERS)
    said, start = part_of(film, tmp_path / "b.mkv", 17, 30)
    begin, end = start / MILLISECOND, 1250
    assert begin == 708
    rows = [(0, 800 - begin, "into"), (900 - begin, 100, "inside"), (1150 - begin, end - 1150, "out of")]
    found = texts_of(tmp_path / "b.mkv")
    assert [text for *_, text in found] == [text for *_, text in rows]
    for (at, length, _), (meant, long, _) in zip(found, rows, strict=True):
        assert abs(at - meant * MILLISECOND) <= MILLISECOND
        assert abs(length - long * MILLISECOND) <= MILLISECOND
    chapters = [(0, 1000 - begin, "zwei"), (1000 - begin, end - begin, "drei")]
    for (at, stop, title), (meant, until, name) in zip(chapters_of(tmp_path / "b.mkv"), chapters, strict=True):
        assert (abs(at - meant * MILLISECOND) <= MILLISECOND, title) == (True, name)
        assert abs(stop - until * MILLISECOND) <= MILLISECOND
    assert [each for each in said if "packet of sound" not in each] == []


def test_texts_are_cut_and_converted(tmp_path):
    film = write_film(tmp_path / "plain.mkv", pictures(48))
    part_of(add_streams(film, tmp_path / "a.mkv", subtitles=TEXTS), tmp_path / "b.mp4", 17, 30)
    assert [text for *_, text in words_of(tmp_path / "b.mp4")[1]] == ["into", "inside", "out of"]
    part_of(tmp_path / "b.mp4", tmp_path / "c.mov", 3, 9)
    assert [text for *_, text in words_of(tmp_path / "c.mov")[1]] == ["inside"]


@pytest.mark.parametrize(("length", "kept"), [(200, ["x", "y"]), (0, ["y"])])
def test_subtitles_without_a_length_are_left_out_before_the_part_and_it_is_said(tmp_path, length, kept):
    film = write_film(tmp_path / "plain.mkv", pictures(48))
    rows = [(600, length, "x" * 40), (900, length, "y" * 40)]
    film = add_streams(film, tmp_path / "a.mkv", subtitles=rows, subtitle_codec="dvd_subtitle")
    said, _ = part_of(film, tmp_path / "b.mkv", 17, 30)
    assert [text[0] for *_, text in texts_of(tmp_path / "b.mkv")] == kept
    note = (
        "subtitle stream 1 (dvdsub) does not say how long its subtitles are shown: one from before the part is left out"
    )
    assert said == (() if length else (note,))


def test_parts_that_meet_lose_one_packet_at_most(tmp_path):
    film = write_film(tmp_path / "a.mkv", pictures(48), sound_seconds=2.2, sound_codec="libopus")
    for name, first, stop in (("b", 0, 20), ("c", 20, 48)):
        part_of(film, tmp_path / f"{name}.mkv", first, stop)
    first, second = ([data for _, data in sound_of(tmp_path / f"{name}.mkv")[0]] for name in "bc")
    whole = [data for at, data in sound_of(film)[0] if at < 2]
    assert first == whole[: len(first)]  # from the film's start nothing is missing
    assert second == whole[len(whole) - len(second) :]
    assert len(whole) - len(first) - len(second) in (-1, 0)


def test_what_decoders_need_before_the_part_is_hidden(tmp_path):
    film = write_film(tmp_path / "a.mp4", pictures(48), sound_seconds=2.2)
    part_of(film, tmp_path / "b.mp4", 17, 30)
    hidden = sound_of(tmp_path / "b.mp4")[0][0][0]
    assert -LEAD_SECONDS - Fraction(1024, 48000) < hidden < -Fraction(1024, 48000)


@pytest.mark.parametrize(
    ("stretch", "kept"),
    [((0, 2), None), ((1, 3), (2, 3)), ((2, 3), (2, 3)), ((3, 9), (3, 5)), ((0, 9), (2, 5)), ((5, 6), None)],
)
def test_span_clips_a_stretch(stretch, kept):
    span = Span(start=Fraction(2), stop=Fraction(5))
    assert span.clipped(*map(Fraction, stretch)) == kept


def test_span_holds_a_moment_or_not():
    span = Span(start=Fraction(2), stop=Fraction(5))
    assert [span.clipped(Fraction(k), Fraction(k)) is not None for k in range(7)] == [k in (2, 3, 4) for k in range(7)]
