import json

import numpy as np
import pytest

from dgafvsr.errors import InputError, OutputError, UsageError
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.upscale import upscale_file
from dgafvsr.sampling.windows import plan_windows
from tests.jobs.standins import STEPS, Nearest, enlarged, lossless, pixels_of
from tests.video.films import listing, pictures
from tests.video.test_shots import texture

LENGTHS = (7, 2, 6)
STARTS = (0, 7, 9)


def cut_film(path):
    """Three scenes of calm motion, of 7, 2 and 6 frames."""
    frames = np.concatenate([texture(seed, count) for seed, count in enumerate(LENGTHS)])
    return lossless(path, frames), frames


def shot_list(path, *starts, stop=None):
    stops = [*starts[1:], stop]
    rows = [{"start_frame": a} | ({} if b is None else {"stop_frame": b}) for a, b in zip(starts, stops, strict=True)]
    path.write_text(json.dumps({"shots": rows}))
    return path


def windows(lengths, window, overlap):
    planned, start = [], 0
    for length in lengths:
        planned += [(start + each.start, each.stop - each.start) for each in plan_windows(length, window, overlap)]
        start += length
    return planned


@pytest.mark.parametrize(("window", "overlap"), [(24, 4), (4, 1), (3, 2), (1, 0)])
def test_windows_start_anew_at_cuts_and_noise_follows_the_film(tmp_path, window, overlap):
    film, frames = cut_film(tmp_path / "a.mkv")
    upscaler = Nearest()
    summary = upscale_file(film, tmp_path / "out", upscaler, UpscaleSettings(window=window, overlap=overlap))
    assert summary.shots == 3
    assert [call[:2] for call in upscaler.calls] == windows(LENGTHS, window, overlap)
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), enlarged(frames))


def test_shots_are_upscaled_as_films_of_their_own(tmp_path):
    film, frames = cut_film(tmp_path / "a.mkv")
    mixed = Nearest(spoil=lambda result, first: (result + result.mean(0) + first % 5 / 10) / 3)  # leans on its window
    upscale_file(film, tmp_path / "whole", mixed, UpscaleSettings(window=4, overlap=1))
    whole = pixels_of(tmp_path / "whole")
    for start, length in zip(STARTS, LENGTHS, strict=True):
        shot = lossless(tmp_path / f"{start}.mkv", frames[start : start + length])
        alone = Nearest(
            spoil=lambda result, first, start=start: (result + result.mean(0) + (first + start) % 5 / 10) / 3
        )
        settings = UpscaleSettings(window=4, overlap=1, detect_shots=False)
        upscale_file(shot, tmp_path / f"{start}", alone, settings)
        np.testing.assert_array_equal(pixels_of(tmp_path / f"{start}"), whole[start : start + length])


def test_without_shots_the_film_is_one(tmp_path):
    film, _ = cut_film(tmp_path / "a.mkv")
    upscaler = Nearest()
    assert upscale_file(film, tmp_path / "out", upscaler, UpscaleSettings(detect_shots=False)).shots == 1
    assert [call[:2] for call in upscaler.calls] == [(0, 15)]


def test_list_is_followed_instead_of_looking(tmp_path):
    film, _ = cut_film(tmp_path / "a.mkv")
    upscaler = Nearest()
    settings = UpscaleSettings(shots=shot_list(tmp_path / "s.json", 0, 4, 12))
    summary = upscale_file(film, tmp_path / "out", upscaler, settings)
    assert [call[:2] for call in upscaler.calls] == [(0, 4), (4, 8), (12, 3)]
    assert (summary.shots, summary.warnings) == (3, ())


def test_saved_list_tells_the_shots_and_gives_them_again(tmp_path):
    film, _ = cut_film(tmp_path / "a.mkv")
    saved = tmp_path / "s.json"
    upscale_file(film, tmp_path / "out", Nearest(), UpscaleSettings(save_shots=saved))
    rows = json.loads(saved.read_text())["shots"]
    assert [(row["start_frame"], row["stop_frame"]) for row in rows] == [(0, 7), (7, 9), (9, 15)]
    assert [row["start_seconds"] for row in rows] == pytest.approx([0, 7 / 24, 9 / 24], abs=1e-3)
    settings = UpscaleSettings(shots=saved, save_shots=tmp_path / "again.json")
    upscale_file(film, tmp_path / "again", Nearest(), settings)
    assert (tmp_path / "again.json").read_text() == saved.read_text()


def test_progress_ends_at_the_work_that_there_was(tmp_path):
    told = []
    film, _ = cut_film(tmp_path / "a.mkv")
    upscale_file(film, tmp_path / "out", Nearest(), UpscaleSettings(window=4, overlap=2), told.append)
    work = STEPS * sum(length for _, length in windows(LENGTHS, 4, 2))
    assert (told[-1].work_done, told[-1].work_total) == (work, work)


@pytest.mark.parametrize("name", ["s.json", "a.mkv", "none/s.json"])
def test_list_is_not_written_over_anything(tmp_path, name):
    film, _ = cut_film(tmp_path / "a.mkv")
    (tmp_path / "s.json").write_text("dear")
    before, upscaler = listing(tmp_path), Nearest()
    with pytest.raises(OutputError):
        upscale_file(film, tmp_path / "out", upscaler, UpscaleSettings(save_shots=tmp_path / name))
    assert listing(tmp_path) == before
    assert upscaler.calls == []


@pytest.mark.parametrize("name", ["out", "out/s.json"])
def test_list_and_output_are_kept_apart(tmp_path, name):
    film, _ = cut_film(tmp_path / "a.mkv")
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="shot list"):
        upscale_file(film, tmp_path / "out", Nearest(), UpscaleSettings(save_shots=tmp_path / name))
    assert listing(tmp_path / "out") == {}


def test_existing_list_is_replaced_on_demand(tmp_path):
    film, _ = cut_film(tmp_path / "a.mkv")
    (tmp_path / "s.json").write_text("old")
    settings = UpscaleSettings(save_shots=tmp_path / "s.json", overwrite=True)
    upscale_file(film, tmp_path / "out", Nearest(), settings)
    assert json.loads((tmp_path / "s.json").read_text())["shots"]


def interrupt(result, first_frame):
    raise KeyboardInterrupt


def test_failed_job_leaves_no_list(tmp_path):
    film, _ = cut_film(tmp_path / "a.mkv")
    before = listing(tmp_path)
    settings = UpscaleSettings(window=4, overlap=1, save_shots=tmp_path / "s.json")
    with pytest.raises(KeyboardInterrupt):
        upscale_file(film, tmp_path / "out", Nearest(spoil=interrupt), settings)
    assert listing(tmp_path) == before


def test_list_of_another_film_is_refused_where_frames_are_counted(tmp_path):
    film = lossless(tmp_path / "a.avi", pictures(5))
    upscaler = Nearest()
    settings = UpscaleSettings(shots=shot_list(tmp_path / "s.json", 0, 3, stop=6))
    with pytest.raises(InputError, match=r"not of this film.*frame 5.*0 to 4"):
        upscale_file(film, tmp_path / "out", upscaler, settings)
    assert upscaler.calls == []


def test_list_that_outlasts_a_film_of_unknown_length_is_said(tmp_path):
    film = lossless(tmp_path / "a.mkv", pictures(5))
    settings = UpscaleSettings(shots=shot_list(tmp_path / "s.json", 0, 3, 5, 9))
    summary = upscale_file(film, tmp_path / "out", Nearest(), settings)
    assert (summary.frames, summary.shots) == (5, 2)
    assert summary.warnings == ("the film ends with frame 4; 2 listed shots lie after that",)


def test_killed_job_leaves_no_half_written_list(tmp_path):
    film, _ = cut_film(tmp_path / "a.mkv")
    seen = []
    settings = UpscaleSettings(window=4, overlap=1, save_shots=tmp_path / "lists" / "s.json")
    (tmp_path / "lists").mkdir()
    upscale_file(film, tmp_path / "out", Nearest(), settings, lambda told: seen.append(listing(tmp_path / "lists")))
    assert seen
    assert all(names == {} for names in seen), "what a kill at that moment would leave"
    assert list(listing(tmp_path / "lists")) == ["s.json"]
