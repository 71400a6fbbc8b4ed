"""Damage in the middle of a film: an error with its time, or exactly what is left."""

from fractions import Fraction

import av
import numpy as np
import pytest

from dgafvsr.errors import InputError, UsageError
from dgafvsr.video.decoding import PictureDecoder
from dgafvsr.video.reader import VideoReader, open_source
from tests.video.films import pictures, write_film

GROUP = 12  # pictures from one key frame to the next
LONG = {"options": {"g": str(GROUP), "bf": "2", "x264-params": "scenecut=0"}}


def spoil_packets(film, path, places):
    """The film again with noise in the packets at these places of the decoding order; returns the pts in it."""
    noise = np.random.default_rng(0)
    with av.open(str(film)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        hit = []
        for place, packet in enumerate(each for each in source.demux(video=0) if each.size):
            data = bytearray(bytes(packet))
            if place in places:
                data[:] = noise.bytes(len(data))  # noise in the middle of a picture may decode to a wrong picture
                hit.append(packet.pts)
            again = av.Packet(bytes(data))
            again.pts, again.dts, again.duration, again.time_base = (
                packet.pts,
                packet.dts,
                packet.duration,
                packet.time_base,
            )
            again.is_keyframe, again.stream = packet.is_keyframe, stream
            target.mux(again)
    return hit


def seen(path, **options):
    with open_source(path, **options) as reader:
        frames = list(reader)
    return frames, reader.warnings


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("place", [14, 17, 24, 35])
def test_damaged_stretch_is_left_out_and_the_rest_keeps_its_times(tmp_path, suffix, place):
    film = write_film(tmp_path / f"a{suffix}", pictures(48), **LONG)
    whole, _ = seen(film)
    spoil_packets(film, tmp_path / f"b{suffix}", {place})
    with pytest.raises(InputError, match=r"damaged after frame \d+ \(\d\.\d\d s\).*--on-error skip-damaged"):
        seen(tmp_path / f"b{suffix}")
    left, warnings = seen(tmp_path / f"b{suffix}", on_error="skip-damaged")
    times = {frame.pts_seconds: frame.pixels for frame in whole}
    assert 0 < len(whole) - len(left) <= GROUP
    for frame in left:
        np.testing.assert_array_equal(frame.pixels, times[frame.pts_seconds])
    assert len(warnings) == 1
    assert f": {len(whole) - len(left)} frames are lost" in warnings[0]
    gone = sorted(set(times) - {frame.pts_seconds for frame in left})
    assert warnings[0].startswith("the file is damaged from ")
    start = float(warnings[0].split(" ")[5])
    assert abs(start - float(gone[0])) < 4 / 24  # the damaged packet is among the first that are gone


def test_two_stretches_are_told_apart(tmp_path):
    film = write_film(tmp_path / "a.mp4", pictures(60), **LONG)
    spoil_packets(film, tmp_path / "b.mp4", {14, 40})
    left, warnings = seen(tmp_path / "b.mp4", on_error="skip-damaged")
    lost = [int(each.rsplit(": ", 1)[1].split()[0]) for each in warnings]
    assert len(lost) == 2
    assert len(left) + sum(lost) == 60


def test_damage_up_to_the_end_is_said(tmp_path):
    film = write_film(tmp_path / "a.mp4", pictures(24), **LONG)
    spoil_packets(film, tmp_path / "b.mp4", {14})
    left, warnings = seen(tmp_path / "b.mp4", on_error="skip-damaged")
    assert "s to the end: " in warnings[0]
    assert f": {24 - len(left)} frames are lost" in warnings[0]


def test_intact_film_is_the_same_either_way(tmp_path):
    film = write_film(tmp_path / "a.mkv", pictures(30), **LONG)
    (stop, _), (skip, warnings) = seen(film), seen(film, on_error="skip-damaged")
    assert warnings == ()
    assert [(a.pts, a.pixels.tobytes()) for a in stop] == [(b.pts, b.pixels.tobytes()) for b in skip]


@pytest.mark.parametrize(("suffix", "part"), [(".mkv", 0.6), (".mp4", 0.6)])
def test_truncated_film_gives_what_is_left(tmp_path, suffix, part):
    options = {"movflags": "faststart"} if suffix == ".mp4" else {}
    film = write_film(tmp_path / f"a{suffix}", pictures(48), container_options=options, **LONG)
    film.write_bytes(film.read_bytes()[: int(film.stat().st_size * part)])
    left, warnings = seen(film, on_error="skip-damaged")
    assert 10 < len(left) < 48
    assert [frame.pts_seconds for frame in left][:10] == [Fraction(k, 24) for k in range(10)] or suffix == ".mkv"
    assert "truncated after about" in warnings[0]
    assert "what follows is lost" in warnings[0]


def test_without_times_damage_is_an_error_in_any_case(tmp_path):
    film = write_film(tmp_path / "a.avi", pictures(48), options={"g": "12"})
    data = bytearray(film.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 700] = np.random.default_rng(0).bytes(700)
    film.write_bytes(data)
    with pytest.raises(InputError, match="damaged after frame") as caught:
        seen(film, on_error="skip-damaged")
    assert "skip-damaged" not in str(caught.value)


def test_unknown_policy_is_refused(tmp_path):
    film = write_film(tmp_path / "a.mp4", pictures(3))
    with pytest.raises(UsageError, match="one of stop, skip-damaged"):
        VideoReader(film, on_error="ignore")


def test_file_that_cannot_be_read_on_is_said(tmp_path, monkeypatch):
    film = write_film(tmp_path / "a.mp4", pictures(24), **LONG)
    opened = PictureDecoder._opened_packets

    def broken(self):
        for place, packet in enumerate(opened(self)):
            if place == 15:
                raise av.error.InvalidDataError(1, "Input/output error")
            yield packet

    reader = VideoReader(film, on_error="skip-damaged")
    monkeypatch.setattr(PictureDecoder, "_opened_packets", broken)
    assert 10 < len(list(reader)) < 24
    assert "cannot be read after 0." in reader.warnings[0]
    assert "frames that the file announces are lost" in reader.warnings[1]
