"""A job that is stopped anywhere and gone on with gives the same bytes as one that was never stopped."""

import json
import os
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from dgafvsr.errors import DGAFVSRError, InputError, InterruptionError, ModelError, OutputError, UsageError
from dgafvsr.jobs.job_folder import JobFolder, is_unfinished, job_folder_of
from dgafvsr.jobs.settings import JobSettings, UpscaleSettings
from dgafvsr.jobs.sizes import OutputSize
from dgafvsr.jobs.upscale import upscale_file
from dgafvsr.sampling.windows import plan_windows
from dgafvsr.video.atomic import PendingFolder
from dgafvsr.video.codecs import EncoderSettings
from tests.jobs.standins import STEPS, Nearest, Summing, job_of, lossless, pixels_of
from tests.video.films import listing, pictures, times_of, write_film
from tests.video.test_folders import fill

COUNT, SETTINGS = 14, UpscaleSettings(window=5, overlap=2)
STARTS = [window.start for window in plan_windows(COUNT, 5, 2)]


class BrokenError(Exception):
    pass


def stopping_at(start):
    def stop(result, first_frame):
        if first_frame == start:
            raise BrokenError
        return result

    return stop


@pytest.fixture
def film(tmp_path):
    (tmp_path / "in").mkdir()
    return lossless(tmp_path / "in" / "a.mkv", pictures(COUNT))


@pytest.fixture
def whole(film, tmp_path):
    """The result of a run that was never stopped."""
    return pixels_of(upscale_file(film, tmp_path / "in" / "whole", Summing(), SETTINGS).output)


def stopped(film, target, start=STARTS[2], settings=SETTINGS, upscaler=Summing):
    """A job that broke in the window that starts there."""
    with pytest.raises(BrokenError):
        upscale_file(film, target, upscaler(spoil=stopping_at(start)), settings)
    return job_of(target)


@pytest.mark.parametrize("start", STARTS[1:])
def test_resumed_is_uninterrupted_at_every_window(film, whole, tmp_path, start):
    job = stopped(film, tmp_path / "out", start)
    assert job.is_dir()
    assert not (tmp_path / "out").exists()
    upscaler = Summing()
    summary = upscale_file(film, tmp_path / "out", upscaler, SETTINGS)
    assert [call[0] for call in upscaler.calls] == [each for each in STARTS if each >= start]
    assert (summary.frames, summary.frames_resumed) == (COUNT, start)
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), whole)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_resumed_film_is_the_same_file(tmp_path, name):
    film = write_film(tmp_path / "a.mp4", pictures(COUNT), sound_seconds=0.5, options={"bf": "2"})
    settings = replace(SETTINGS, encoder=EncoderSettings(options={"preset": "ultrafast"}))
    upscale_file(film, tmp_path / f"whole-{name}", Summing(), settings)
    for start in STARTS[1:3]:
        stopped(film, tmp_path / name, start, settings)
    upscale_file(film, tmp_path / name, Summing(), settings)
    assert same_packets(tmp_path / name, tmp_path / f"whole-{name}")


def same_packets(a, b):
    import av

    def packets(path):
        with av.open(str(path)) as container:
            return [(p.stream_index, p.pts, p.dts, bytes(p)) for p in container.demux() if p.size]

    return packets(a) == packets(b)


def test_job_that_stopped_at_a_damaged_picture_goes_on_without_it(tmp_path):
    folder = fill(tmp_path / "in", pictures(COUNT))
    picture = folder / "11.png"
    picture.write_bytes(picture.read_bytes()[: picture.stat().st_size // 2])
    with pytest.raises(InputError, match=r"11\.png cannot be read"):
        upscale_file(folder, tmp_path / "out.mp4", Summing(), SETTINGS)
    settings = replace(SETTINGS, on_error="skip-damaged")
    summary = upscale_file(folder, tmp_path / "out.mp4", Summing(), settings)
    assert summary.frames_resumed > 0
    assert summary.warnings == ("11.png cannot be read and is left out",)
    assert times_of(tmp_path / "out.mp4")[0] == [Fraction(k, 24) for k in range(COUNT) if k != 11]
    upscale_file(folder, tmp_path / "at once.mp4", Summing(), settings)
    assert same_packets(tmp_path / "out.mp4", tmp_path / "at once.mp4")


def test_the_wish_to_stop_is_met_after_the_step(film, whole, tmp_path):
    upscaler, told = Summing(), []
    with pytest.raises(InterruptionError) as caught:
        upscale_file(film, tmp_path / "out", upscaler, SETTINGS, told.append, wants_stop=lambda: len(told) > 20)
    assert told[-1].work_done < STEPS * COUNT
    assert caught.value.exit_code == 130
    assert "3 finished frames are kept" in caught.value.__notes__[0]
    assert "the same command goes on" in caught.value.__notes__[0]
    upscale_file(film, tmp_path / "out", Summing(), SETTINGS)
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), whole)


def test_a_stop_before_the_first_window_leaves_nothing(film, tmp_path):
    with pytest.raises(InterruptionError) as caught:
        upscale_file(film, tmp_path / "out", Nearest(), SETTINGS, wants_stop=lambda: True)
    assert "nothing is kept" in caught.value.__notes__[0]
    assert sorted(listing(tmp_path)) == ["in"]


def test_progress_of_a_resumed_job_starts_where_it_stopped(film, tmp_path):
    stopped(film, tmp_path / "out")
    told = []
    upscale_file(film, tmp_path / "out", Summing(), SETTINGS, told.append)
    work = STEPS * sum(window.stop - window.start for window in plan_windows(COUNT, 5, 2))
    sampling = [each for each in told if each.phase == "upscaling"]
    assert [each.frames_done for each in sampling[:3]] == [0, 0, 3], "before the work, and after what was finished"
    assert (told[-1].frames_done, told[-1].work_done, told[-1].work_total) == (COUNT, work, work)


def phases(told):
    """Each phase once, and the shares that were told of it."""
    seen = dict.fromkeys(each.phase for each in told)
    return {phase: [each.phase_share for each in told if each.phase == phase] for phase in seen}


@pytest.mark.parametrize("name", ["out", "out.mkv"])
def test_checking_and_assembling_are_told_segment_by_segment(film, tmp_path, name):
    stopped(film, tmp_path / name)
    told = []
    upscale_file(film, tmp_path / name, Summing(), SETTINGS, told.append)
    shares, kept, windows = phases(told), STARTS.index(STARTS[2]), len(STARTS)
    assert list(dict.fromkeys(each.phase for each in told))[1:] == ["checking", "assembling"], "after upscaling"
    assert shares["checking"] == [(each + 1) / kept for each in range(kept)]
    assert shares["assembling"] == [(each + 1) / (2 * windows) for each in range(2 * windows)]
    assert set(shares["upscaling"]) == {None}


@pytest.mark.parametrize("name", ["out", "out.mkv"])
@pytest.mark.parametrize("phase", ["checking", "assembling"])
def test_wish_to_stop_is_met_where_segments_are_checked_and_joined(film, tmp_path, phase, name):
    target = tmp_path / name
    upscale_file(film, tmp_path / f"whole-{name}", Summing(), SETTINGS)
    before, told = listing(tmp_path), []
    job = stopped(film, target)
    with pytest.raises(InterruptionError) as caught:
        upscale_file(
            film, target, Summing(), SETTINGS, told.append, wants_stop=lambda: bool(told) and told[-1].phase == phase
        )
    kept = {"checking": STARTS[2], "assembling": COUNT}[phase]
    assert f"{kept} finished frames are kept" in caught.value.__notes__[0]
    assert not target.exists()
    assert not (job / "result" / name).exists()
    summary = upscale_file(film, target, Summing(), SETTINGS)
    assert summary.frames_resumed == kept
    assert sorted(listing(tmp_path)) == sorted([*before, name])


def spoil_segment(job, start):
    segment = job / "windows" / f"{start:08d}"
    file = next(iter(sorted(segment.iterdir()))) if segment.is_dir() else segment
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def lose_segment(job, start):
    segment = job / "windows" / f"{start:08d}"
    segment.rename(job.parent / "elsewhere")


@pytest.mark.parametrize("spoil", [spoil_segment, lose_segment])
@pytest.mark.parametrize("window", [0, 1, 2])
def test_damaged_window_is_made_again_with_those_its_state_needs(film, whole, tmp_path, window, spoil):
    job = stopped(film, tmp_path / "in" / "out", STARTS[3])
    spoil(job, STARTS[window])
    upscaler = Summing()
    summary = upscale_file(film, tmp_path / "in" / "out", upscaler, SETTINGS)
    # from the start of the shot, because older states are not kept, up to the damage; then what is missing
    assert [call[0] for call in upscaler.calls] == [*STARTS[: window + 1], *STARTS[3:]]
    assert any("1 finished windows are damaged" in note for note in summary.warnings)
    np.testing.assert_array_equal(pixels_of(tmp_path / "in" / "out"), whole)


class Cramped(Summing):
    """Has memory for whole windows before the third one only; its frames tell how they were sampled."""

    def __call__(self, frames, *, first_frame, window=None, overlap=0, **options):
        if first_frame >= STARTS[2] and window is None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        result = super().__call__(frames, first_frame=first_frame, **options)
        return result if window is None else replace(result, frames=result.frames * np.float32(0.9))


def test_damaged_window_is_made_again_with_as_much_memory_as_before(film, tmp_path):
    whole = pixels_of(upscale_file(film, tmp_path / "whole", Cramped(), SETTINGS).output)
    job = stopped(film, tmp_path / "out", STARTS[3], upscaler=Cramped)
    spoil_segment(job, STARTS[0])
    summary = upscale_file(film, tmp_path / "out", Cramped(), SETTINGS)
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), whole)
    assert sum("going on with windows of" in note for note in summary.warnings) == 1


def test_damaged_state_costs_the_shot_and_nothing_else(film, whole, tmp_path):
    job = stopped(film, tmp_path / "out", STARTS[2])
    state = next((job / "windows").glob("*.safetensors"))
    state.write_bytes(state.read_bytes()[:-1])
    upscaler, told = Summing(), []
    summary = upscale_file(film, tmp_path / "out", upscaler, SETTINGS, told.append)
    assert [call[0] for call in upscaler.calls] == STARTS
    (note,) = [each for each in summary.warnings if "state of the last window is damaged" in each]
    assert note in next(each for each in told if each.work_done).notes  # said while there is still time to stop
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), whole)


def test_windows_that_began_from_another_state_are_made_again(film, whole, tmp_path):
    job = stopped(film, tmp_path / "out", STARTS[3])
    record = job / "windows" / f"{STARTS[1]:08d}.json"
    facts = json.loads(record.read_text())
    record.write_text(json.dumps(facts | {"begun_from_sha256": "0" * 64}))
    upscaler = Summing()
    upscale_file(film, tmp_path / "out", upscaler, SETTINGS)
    assert STARTS[1] in [call[0] for call in upscaler.calls]
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), whole)


def test_only_the_newest_state_is_kept(film, tmp_path):
    job = stopped(film, tmp_path / "out", STARTS[3])
    assert [file.name for file in (job / "windows").glob("*.safetensors")] == [f"{STARTS[2]:08d}.state.safetensors"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "seed 1.*seed 0"),
        ({"steps": 2}, "steps 2.*steps None"),
        ({"overlap": 1}, "overlap 1.*overlap 2"),
        ({"window": 6}, "window 6.*window 5"),
        ({"guided": False}, "guidance False.*guidance True"),
        ({"size": OutputSize(scale=2)}, "size scale 2.*size scale 4"),
        ({"detect_shots": False}, "shots one.*shots found"),
        ({"encoder": EncoderSettings(picture_format="webp")}, "webp.*png"),
    ],
)
def test_changed_setting_is_refused_with_what_changed(film, tmp_path, change, words):
    job = stopped(film, tmp_path / "out")
    before, upscaler = sorted(job.rglob("*")), Nearest()
    with pytest.raises(UsageError, match=f"other settings.*{words}.*--restart"):
        upscale_file(film, tmp_path / "out", upscaler, replace(SETTINGS, **change))
    assert (sorted(job.rglob("*")), upscaler.calls) == (before, [])


def touched(film):
    facts = film.stat()
    os.utime(film, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))


def edited(film):
    facts, content = film.stat(), bytearray(film.read_bytes())
    content[-1] ^= 1
    film.write_bytes(content)
    os.utime(film, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def longer(film):
    facts = film.stat()
    film.write_bytes(film.read_bytes() + b"\xec\x81\x00")
    os.utime(film, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@pytest.mark.parametrize(("change", "word"), [(touched, "modified_ns"), (longer, "bytes"), (edited, "sha256")])
def test_changed_input_is_refused(film, tmp_path, change, word):
    stopped(film, tmp_path / "out")
    change(film)
    with pytest.raises(InputError, match=f"another input.*{word}.*--restart"):
        upscale_file(film, tmp_path / "out", Summing(), SETTINGS)


def test_changed_picture_of_a_folder_is_refused(tmp_path):
    folder = fill(tmp_path / "in", pictures(COUNT))
    stopped(folder, tmp_path / "out")
    touched(folder / sorted(entry.name for entry in folder.iterdir())[3])
    with pytest.raises(InputError, match="another input"):
        upscale_file(folder, tmp_path / "out", Summing(), SETTINGS)


def test_changed_model_is_refused(film, tmp_path):
    stopped(film, tmp_path / "out")
    with pytest.raises(ModelError, match=r"another model.*--restart"):
        upscale_file(film, tmp_path / "out", Summing(name="other"), SETTINGS)


def test_cosmetic_settings_do_not_count(film, whole, tmp_path):
    stopped(film, tmp_path / "out")
    (tmp_path / "out").mkdir()
    changed = replace(SETTINGS, overwrite=True, save_shots=tmp_path / "s.json")
    assert upscale_file(film, tmp_path / "out", Summing(), changed).frames_resumed == STARTS[2]
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), whole)


def test_restart_starts_over(film, tmp_path):
    stopped(film, tmp_path / "out")
    upscaler = Nearest()
    settings = UpscaleSettings(window=7, overlap=1, job=JobSettings(restart=True))
    assert upscale_file(film, tmp_path / "out", upscaler, settings).frames_resumed == 0
    assert upscaler.calls[0][0] == 0
    assert sorted(listing(tmp_path)) == ["in", "out"]


def test_finished_job_is_kept_on_demand_and_gives_the_output_again(film, whole, tmp_path):
    settings = replace(SETTINGS, job=JobSettings(folder=tmp_path / "job", keep=True))
    upscale_file(film, tmp_path / "out", Summing(), settings)
    upscaler = Summing()
    summary = upscale_file(film, tmp_path / "again", upscaler, settings)
    assert (upscaler.calls, summary.frames_resumed) == ([], COUNT)
    np.testing.assert_array_equal(pixels_of(tmp_path / "again"), whole)
    assert not job_of(tmp_path / "out").exists()


def test_second_process_is_refused(film, tmp_path):
    job = stopped(film, tmp_path / "out")
    with JobFolder(job), pytest.raises(OutputError, match="Another process"):
        upscale_file(film, tmp_path / "out", Summing(), SETTINGS)
    assert job.is_dir()


def test_folder_with_other_things_is_no_job_folder(film, tmp_path):
    (tmp_path / "dear").mkdir()
    (tmp_path / "dear" / "letter.txt").write_text("dear")
    settings = replace(SETTINGS, job=JobSettings(folder=tmp_path / "dear", restart=True))
    with pytest.raises(OutputError, match=r"not a job folder.*letter\.txt"):
        upscale_file(film, tmp_path / "out", Nearest(), settings)
    assert (tmp_path / "dear" / "letter.txt").read_text() == "dear"


def test_lost_manifest_is_no_silent_start_from_nothing(film, tmp_path):
    job = stopped(film, tmp_path / "out")
    (job / "manifest.json").unlink()
    with pytest.raises(OutputError, match=r"lost its manifest.*--restart"):
        upscale_file(film, tmp_path / "out", Summing(), SETTINGS)
    assert job.is_dir()


def test_leftovers_of_a_completed_job_go(film, tmp_path, monkeypatch):
    """As if the run had been killed between the renaming of the output and the removal of the job."""

    def kill(job):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(JobFolder, "complete", kill)
        with pytest.raises(KeyboardInterrupt):
            upscale_file(film, tmp_path / "out", Summing(), SETTINGS)
    job = job_folder_of(tmp_path / "out")
    assert job.is_dir()
    assert not is_unfinished(job)
    with pytest.raises(OutputError, match="exists"):
        upscale_file(film, tmp_path / "out", Summing(), SETTINGS)
    assert sorted(listing(tmp_path)) == ["in", "out"]


def test_job_whose_output_has_its_name_is_finished_whatever_comes_after(film, tmp_path, monkeypatch):
    publish = PendingFolder.publish

    def break_off(pending):
        publish(pending)
        if pending.target == tmp_path / "out":
            raise KeyboardInterrupt

    monkeypatch.setattr(PendingFolder, "publish", break_off)
    with pytest.raises(KeyboardInterrupt):
        upscale_file(film, tmp_path / "out", Summing(), SETTINGS)
    assert not is_unfinished(job_folder_of(tmp_path / "out"))


@pytest.mark.parametrize("there", [{"hidden"}, {"hidden", "out"}, set()])
def test_job_that_was_killed_before_its_output_had_its_name_goes_on(film, tmp_path, there):
    job = stopped(film, tmp_path / "out")
    hidden = job / "output.partial"
    (job / "naming").write_text(json.dumps([str(hidden), str(tmp_path / "out")]))
    for name in there:
        (hidden if name == "hidden" else tmp_path / name).mkdir()
    assert is_unfinished(job)
    summary = upscale_file(film, tmp_path / "out", Summing(), SETTINGS)
    assert summary.frames_resumed > 0


def test_output_that_cannot_get_its_name_leaves_the_job_unfinished(film, tmp_path, monkeypatch):
    publish = PendingFolder.publish

    def refuse(pending):
        if pending.target == tmp_path / "out":
            raise OutputError("no")
        publish(pending)

    with monkeypatch.context() as patched:
        patched.setattr(PendingFolder, "publish", refuse)
        with pytest.raises(OutputError):
            upscale_file(film, tmp_path / "out", Summing(), SETTINGS)
    assert is_unfinished(job_folder_of(tmp_path / "out"))
    assert upscale_file(film, tmp_path / "out", Summing(), SETTINGS).frames_resumed > 0


def test_error_of_a_job_says_how_to_go_on(film, tmp_path):
    def spoil(result, first_frame):
        return result * np.nan if first_frame else result

    with pytest.raises(DGAFVSRError) as caught:
        upscale_file(film, tmp_path / "out", Nearest(spoil=spoil), SETTINGS)
    assert caught.value.__notes__ == [
        f"3 finished frames are kept in {job_of(tmp_path / 'out')}; the same command goes on from there"
    ]


def test_output_that_is_in_the_way_at_the_end_costs_no_work(film, whole, tmp_path):
    def in_the_way(result, first_frame):
        (tmp_path / "out").write_text("dear")
        return result

    with pytest.raises(OutputError, match="exists"):
        upscale_file(film, tmp_path / "out", Summing(spoil=in_the_way), SETTINGS)
    (tmp_path / "out").unlink()
    upscaler = Summing()
    upscale_file(film, tmp_path / "out", upscaler, SETTINGS)
    assert upscaler.calls == []
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), whole)


def test_job_that_was_started_over_says_how_to_go_on_without_losing_all_again(film, tmp_path):
    settings = replace(SETTINGS, job=JobSettings(restart=True))
    asked = iter([False] * 40 + [True] * 999)
    with pytest.raises(InterruptionError) as caught:
        upscale_file(film, tmp_path / "out", Summing(), settings, wants_stop=lambda: next(asked))
    assert "the same command without --restart goes on from there" in caught.value.__notes__[0]


def test_other_libraries_are_another_program(film, tmp_path, monkeypatch):
    stopped(film, tmp_path / "out")
    monkeypatch.setattr(torch, "__version__", "1.0")
    with pytest.raises(UsageError, match=r"torch 1\.0.*--restart"):
        upscale_file(film, tmp_path / "out", Summing(), SETTINGS)
