import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dgafvsr.errors import InputError, ModelError, OutputError, UsageError
from dgafvsr.jobs.parts import FilmPart
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.shot_plan import FRAMES_AHEAD
from dgafvsr.jobs.upscale import upscale_file
from dgafvsr.sampling.windows import plan_windows
from dgafvsr.video.codecs import EncoderSettings
from dgafvsr.video.reader import open_source
from dgafvsr.video.shots import LOOK_AHEAD
from tests.jobs.standins import MILLISECOND, STEPS, Nearest, enlarged, job_of, lossless, pixels_of
from tests.video.films import HEIGHT, WIDTH, listing, pictures, sound_of, times_of, write_film
from tests.video.test_deinterlacing import interlaced_film
from tests.video.test_folders import fill


@pytest.mark.parametrize(("window", "overlap"), [(1, 0), (4, 0), (5, 2), (5, 3), (24, 4)])
@pytest.mark.parametrize("count", [1, 7, 12])
def test_seams_change_nothing(tmp_path, count, window, overlap):
    film = lossless(tmp_path / "a.mkv", pictures(count))
    upscaler = Nearest()
    summary = upscale_file(film, tmp_path / "out", upscaler, UpscaleSettings(window=window, overlap=overlap))
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), enlarged(pictures(count)))
    assert summary.frames == count
    assert [call[:2] for call in upscaler.calls] == [
        (each.start, each.stop - each.start) for each in plan_windows(count, window, overlap)
    ]


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (16, 17)])
def test_odd_sizes_become_four_times_as_large(tmp_path, size):
    film = lossless(tmp_path / "a.mkv", pictures(3, *size))
    summary = upscale_file(film, tmp_path / "out.mp4", Nearest())
    assert (summary.height, summary.width) == (4 * size[0], 4 * size[1])
    assert pixels_of(tmp_path / "out.mp4").shape[1:3] == (4 * size[0], 4 * size[1])


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_times_rate_and_sound_come_out_as_they_went_in(tmp_path, suffix, codec):
    source_suffix = ".mkv" if suffix == ".mkv" else ".mp4"
    film = write_film(tmp_path / f"a{source_suffix}", pictures(11), sound_seconds=0.9, options={"bf": "2"})
    settings = UpscaleSettings(window=4, overlap=1, encoder=EncoderSettings(codec=codec, quality=30))
    summary = upscale_file(film, tmp_path / f"b{suffix}", Nearest(), settings)
    assert times_of(tmp_path / f"b{suffix}") == times_of(film)
    assert sound_of(tmp_path / f"b{suffix}") == sound_of(film)
    assert (summary.frames, summary.warnings) == (11, ())


def test_variable_rate_comes_out_as_it_went_in(tmp_path):
    pts = [40, 73, 106, 173, 973]
    film = write_film(tmp_path / "a.mkv", pictures(5), pts=pts, time_base=MILLISECOND)
    upscale_file(film, tmp_path / "b.mp4", Nearest(), UpscaleSettings(window=2, overlap=1))
    assert times_of(tmp_path / "b.mp4")[0] == [each * MILLISECOND for each in pts]


def test_folder_to_folder_is_exact(tmp_path):
    folder = fill(tmp_path / "in", pictures(5))
    summary = upscale_file(folder, f"{tmp_path}/out.v1/", Nearest())
    np.testing.assert_array_equal(pixels_of(tmp_path / "out.v1"), enlarged(pictures(5)))
    assert summary.output == tmp_path / "out.v1"


def test_folder_to_video_takes_the_frame_rate(tmp_path):
    folder = fill(tmp_path / "in", pictures(5))
    upscale_file(folder, tmp_path / "b.mp4", Nearest(), UpscaleSettings(frame_rate=Fraction(30000, 1001)))
    times, rate, _ = times_of(tmp_path / "b.mp4")
    assert rate == Fraction(30000, 1001)
    assert times == [k * Fraction(1001, 30000) for k in range(5)]


def test_existing_empty_folder_is_filled(tmp_path):
    (tmp_path / "out.mp4").mkdir()
    upscale_file(lossless(tmp_path / "a.mkv", pictures(2)), tmp_path / "out.mp4", Nearest())
    assert sorted(listing(tmp_path / "out.mp4")) == ["00000000.png", "00000001.png"]


def test_settings_reach_the_upscaler(tmp_path):
    upscaler = Nearest()
    settings = UpscaleSettings(steps=2, seed=7, guided=False)
    upscale_file(lossless(tmp_path / "a.mkv", pictures(3)), tmp_path / "out", upscaler, settings)
    assert upscaler.calls == [(0, 3, 2, 7, False)]


@pytest.mark.parametrize("steps", [None, 2])
def test_progress_counts_every_unit_of_work(tmp_path, steps):
    told = []
    film = write_film(tmp_path / "a.mp4", pictures(12))
    upscale_file(film, tmp_path / "out", Nearest(), UpscaleSettings(steps=steps, window=5, overlap=2), told.append)
    work = (steps or STEPS) * sum(each.stop - each.start for each in plan_windows(12, 5, 2))
    assert [each.work_done for each in told] == sorted(each.work_done for each in told)
    assert (told[-1].work_done, told[-1].work_total) == (work, work)
    assert (told[-1].frames_done, told[-1].frames_total) == (12, 12)
    assert told[0].frames_done == 0


def test_progress_without_a_frame_count_is_an_estimate(tmp_path):
    told = []
    upscale_file(write_film(tmp_path / "a.mkv", pictures(12)), tmp_path / "out", Nearest(), None, told.append)
    assert told[-1].frames_total == 12
    assert told[-1].work_total == 12 * STEPS


def test_losses_are_told_before_any_work_and_with_all_progress(tmp_path):
    told = []
    film = write_film(tmp_path / "a.mkv", pictures(3), sound_seconds=0.1)
    summary = upscale_file(film, tmp_path / "b.webm", Nearest(), None, told.append)
    assert (told[0].work_done, told[0].frames_total) == (0, 3)
    assert {each.notes for each in told} == {summary.warnings}
    assert summary.warnings == ("audio stream 1 (aac) is left out: webm does not hold aac",)


def test_no_losses_are_told_of_a_job_that_is_refused(tmp_path):
    told = []
    film = write_film(tmp_path / "a.mkv", pictures(3), sound_seconds=0.1)
    (tmp_path / "b.webm").write_bytes(b"mine")
    with pytest.raises(OutputError):
        upscale_file(film, tmp_path / "b.webm", Nearest(), None, told.append)
    assert told == []


def test_summary_tells_what_was_done(tmp_path):
    summary = upscale_file(lossless(tmp_path / "a.mkv", pictures(3)), tmp_path / "b.mp4", Nearest())
    assert (summary.output, summary.frames, summary.width, summary.height) == (
        tmp_path / "b.mp4",
        3,
        4 * WIDTH,
        4 * HEIGHT,
    )
    assert summary.device == "cpu"
    assert summary.frames_per_second == pytest.approx(3 / summary.seconds)
    assert summary.peak_memory_bytes > 1_000_000


def test_what_is_lost_is_said(tmp_path):
    film = write_film(tmp_path / "a.mkv", pictures(3), pixel_format="yuv420p10le", sound_seconds=0.2)
    settings = UpscaleSettings(encoder=EncoderSettings(picture_format="webp"))
    notes = upscale_file(film, tmp_path / "out", Nearest(), settings).warnings
    assert [word for word in ("10 bits", "sound") if any(word in note for note in notes)] == ["10 bits", "sound"]


@pytest.mark.parametrize(("detect", "ahead"), [(False, 0), (True, LOOK_AHEAD)])
def test_frames_are_read_as_they_are_needed(tmp_path, monkeypatch, detect, ahead):
    read, asked = [], []

    def counting(result, first_frame):
        asked.append((first_frame, len(read)))
        return result

    film = lossless(tmp_path / "a.mkv", pictures(40))
    import dgafvsr.video.reader as room

    decode = room.video_frame_to_pixels
    monkeypatch.setattr(room, "video_frame_to_pixels", lambda *args: read.append(1) or decode(*args))
    settings = UpscaleSettings(window=4, overlap=0, detect_shots=detect)
    upscale_file(film, tmp_path / "out", Nearest(spoil=counting), settings)
    # a window and one frame of look-ahead, what the cut detector looks ahead, and what is read on the other thread
    assert [start for start, _ in asked] == list(range(0, 40, 4))
    assert all(start + 4 <= count <= start + 5 + ahead + FRAMES_AHEAD for start, count in asked)


def with_nan(result, first_frame):
    if first_frame == 0:
        result[2, 5, 6, 1] = np.nan
    return result


def interrupt(result, first_frame):
    if first_frame == 3:
        raise KeyboardInterrupt
    return result


@pytest.mark.parametrize("target", ["b.mp4", "b.mkv", "out"])
@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (with_nan, ModelError, "NaN.* for frame 2"),
        (lambda result, first_frame: result[:, ::2], ModelError, "wrong size"),
    ],
)
def test_failure_in_the_first_window_leaves_nothing(tmp_path, target, spoil, error, message):
    film = write_film(tmp_path / "a.mp4", pictures(12), sound_seconds=0.3)
    before = listing(tmp_path)
    with pytest.raises(error, match=message):
        upscale_file(film, tmp_path / target, Nearest(spoil=spoil), UpscaleSettings(window=6, overlap=1))
    assert listing(tmp_path) == before


@pytest.mark.parametrize("target", ["b.mp4", "out"])
def test_failure_keeps_the_result_that_was_to_be_replaced(tmp_path, target):
    film = lossless(tmp_path / "a.mkv", pictures(12))
    upscale_file(film, tmp_path / target, Nearest())
    place = tmp_path if target == "b.mp4" else tmp_path / target
    before = listing(place)
    settings = UpscaleSettings(window=4, overlap=1, overwrite=True)
    with pytest.raises(KeyboardInterrupt):
        upscale_file(film, tmp_path / target, Nearest(spoil=interrupt), settings)
    assert {**before, **listing(place)} == listing(place)
    upscale_file(film, tmp_path / target, Nearest(), settings)


def missing(folder):
    return folder / "none.mp4"


def empty_folder(folder):
    (folder / "in").mkdir()
    return folder / "in"


def renamed_text(folder):
    (folder / "a.mp4").write_text("a text, not a film\n" * 20)
    return folder / "a.mp4"


def zero_bytes(folder):
    (folder / "a.mp4").touch()
    return folder / "a.mp4"


def truncated(folder):
    film = write_film(folder / "a.mkv", pictures(48), options={"g": "6"})
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    return film


def damaged(folder):
    film = write_film(folder / "a.mp4", pictures(48), options={"g": "6"})
    data = bytearray(film.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 700] = np.random.default_rng(0).bytes(700)
    film.write_bytes(data)
    return film


def mixed_sizes(folder):
    fill(folder / "in", pictures(3))
    fill(folder / "in", pictures(1, 40, 20), "x{}.png")
    return folder / "in"


def too_small(folder):
    return lossless(folder / "a.mkv", pictures(3, 15, 40))


@pytest.mark.parametrize("target", ["out.mp4", "out"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing, r"none\.mp4 does not exist"),
        (empty_folder, "holds no pictures"),
        (renamed_text, r"a\.mp4 is not a video"),
        (zero_bytes, r"a\.mp4 is empty"),
        (truncated, r"a\.mkv is truncated after about \d\.\d\d s"),
        (mixed_sizes, r"x0\.png has another size"),
        (too_small, r"too small.*40x15.*at least 16 pixels"),
    ],
)
def test_bad_input_is_one_clear_error_and_leaves_nothing(tmp_path, make, message, target):
    source = make(tmp_path)
    before = listing(tmp_path)
    with pytest.raises(InputError, match=message):
        upscale_file(source, tmp_path / target, Nearest(), UpscaleSettings(window=4, overlap=1))
    assert listing(tmp_path) == before


@pytest.mark.parametrize("target", ["out.mp4", "out"])
def test_damage_in_the_middle_is_one_clear_error_and_keeps_what_is_finished(tmp_path, target):
    film = damaged(tmp_path)
    with pytest.raises(InputError, match=r"a\.mp4 is damaged after frame \d+ \(\d\.\d\d s\)"):
        upscale_file(film, tmp_path / target, Nearest(), UpscaleSettings(window=4, overlap=1))
    assert sorted(listing(tmp_path)) == [job_of(tmp_path / target).name, "a.mp4"]


@pytest.mark.parametrize("target", ["out.mkv", "out.mp4"])
def test_damage_of_a_video_can_be_left_out_and_is_said_with_its_time(tmp_path, target):
    film = damaged(tmp_path)
    summary = upscale_file(film, tmp_path / target, Nearest(), UpscaleSettings(on_error="skip-damaged"))
    times = times_of(tmp_path / target)[0]
    assert 0 < len(times) == summary.frames < 48
    assert all(abs(time - Fraction(round(24 * time), 24)) <= MILLISECOND for time in times), "shown when they were"
    assert len({round(24 * time) for time in times}) == len(times)
    (told,) = [note for note in summary.warnings if "damaged" in note]
    assert re.search(r"\d\.\d\d s", told)


def test_interlaced_film_is_deinterlaced_on_demand(tmp_path):
    film = interlaced_film(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="--deinterlace"):
        upscale_file(film, tmp_path / "out.mkv", Nearest())
    settings = UpscaleSettings(deinterlace=True, encoder=EncoderSettings(codec="ffv1"))
    upscale_file(film, tmp_path / "out.mkv", Nearest(), settings)
    assert times_of(tmp_path / "out.mkv")[0] == times_of(film)[0]
    with open_source(film, deinterlace=True) as source:
        whole = np.stack([frame.pixels for frame in source])
    difference = pixels_of(tmp_path / "out.mkv").astype(int) - enlarged(whole)
    assert np.abs(difference).mean() < 1  # of colour stored at half the size
    with open_source(tmp_path / "out.mkv") as made:
        assert not made.info.interlaced


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("old.mp4", OutputError, r"old\.mp4 exists.*--overwrite"),
        ("old", OutputError, r"old exists and is not empty.*--overwrite"),
        ("a.mp4", OutputError, "input itself"),
        ("none/b.mp4", OutputError, "does not exist"),
        ("b.avi", UsageError, r"kind of b\.avi is unknown"),
        ("/proc/b.mp4", OutputError, "cannot be written"),
        ("x" * 300 + ".mp4", OutputError, "cannot be written.*too long"),
        ("-", UsageError, "cannot be a pipe"),
        ("/proc/out", OutputError, "cannot be written"),
    ],
)
def test_bad_output_is_refused_before_work_starts(tmp_path, target, error, message):
    film = write_film(tmp_path / "a.mp4", pictures(3))
    (tmp_path / "old.mp4").write_text("dear")
    fill(tmp_path / "old", pictures(1))
    before, upscaler = listing(tmp_path), Nearest()
    with pytest.raises(error, match=message):
        upscale_file(film, target if target == "-" else tmp_path / target, upscaler)
    assert listing(tmp_path) == before
    assert upscaler.calls == []


@pytest.mark.parametrize(
    "name",
    ["映" * 80 + ".mp4", "x" * 251 + ".mp4", "-o.mp4", " .mp4", "a\nb.mp4", "%03d.mp4", "file:x.mp4", "\udcff.mkv"],
)
def test_any_name_is_just_a_name(tmp_path, monkeypatch, name):
    (tmp_path / "out").mkdir()
    lossless(tmp_path / "a.mkv", pictures(3)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    upscale_file(name, f"out/{name}", Nearest())
    monkeypatch.chdir(tmp_path / "out")
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == [name]
    assert pixels_of(name).shape == (3, 4 * HEIGHT, 4 * WIDTH, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"window": 0},
        {"window": 24, "overlap": 24},
        {"tile": 8},
        {"overlap": -1},
        {"part": FilmPart(), "save_shots": Path("a.json")},
        {"frame_rate": Fraction(0)},
        {"detect_shots": False, "shots": Path("a.json")},
        {"detect_shots": False, "save_shots": Path("a.json")},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError):
        UpscaleSettings(**wrong)


def test_frame_rate_for_a_video_is_refused(tmp_path):
    with pytest.raises(UsageError, match="has its own frame rate"):
        upscale_file(
            write_film(tmp_path / "a.mp4", pictures(3)),
            tmp_path / "b.mp4",
            Nearest(),
            UpscaleSettings(frame_rate=Fraction(24)),
        )


BUNNY = Path(__file__).parents[3] / "shared" / "data" / "val" / "bigbuckbunny.mp4"


@pytest.mark.skipif(not BUNNY.exists(), reason="the shared clip is not here")
def test_real_file_keeps_times_and_sound(tmp_path):
    small = tmp_path / "small.mp4"
    import av

    with av.open(str(BUNNY)) as source, av.open(str(small), "w") as target:
        video = target.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 36, "yuv420p"
        sound = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux():
            if packet.stream.type == "video":
                for picture in packet.decode():
                    target.mux(video.encode(picture.reformat(width=64, height=36)))
            elif packet.size:
                packet.stream = sound
                target.mux(packet)
        target.mux(video.encode(None))
    upscale_file(small, tmp_path / "b.mp4", Nearest(), UpscaleSettings(encoder=EncoderSettings(quality=30)))
    assert times_of(tmp_path / "b.mp4") == times_of(small)
    assert sound_of(tmp_path / "b.mp4") == sound_of(BUNNY)
