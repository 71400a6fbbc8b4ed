"""`dgafvsr batch` as a user meets it."""

import inspect
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from dgafvsr.apps.cli import batch_json
from dgafvsr.apps.cli.batch import batch
from dgafvsr.apps.cli.batch_view import BatchView, show_table
from dgafvsr.apps.cli.main import run
from dgafvsr.apps.cli.upscale import upscale
from dgafvsr.jobs.batch import BatchEvent, BatchReport, BatchResult
from dgafvsr.jobs.batch_inputs import plan_batch
from dgafvsr.jobs.progress import UpscaleProgress
from tests.apps.cli import films
from tests.video import films as video_files


@pytest.fixture
def folder(tmp_path):
    """Two films, one of them deeper, and something that is none."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    films.write_video(tmp_path / "in" / "a.mp4")
    films.write_video(tmp_path / "in" / "deep" / "b.mp4", frames=3)
    return tmp_path / "in"


def batch_of(folder, *words):
    return run(["batch", str(folder), "--output", str(folder.parent / "out"), "--device", "cpu", *words])


def results(folder):
    return json.loads((folder.parent / "out" / batch_json.RESULTS).read_text())


def test_films_are_made_and_a_table_says_so(pipeline, folder, capsys):
    assert batch_of(folder, "--recursive") == 0
    printed = capsys.readouterr()
    assert "a.mp4" in printed.out
    assert "2 done in" in printed.out
    assert "[2/2] done" in printed.err
    assert (folder.parent / "out" / "deep" / "b.mp4").exists()
    facts = results(folder)
    assert (facts["ok"], facts["exit_code"], facts["done"], facts["workers"]) == (True, 0, 2, None)
    assert [each["result"]["frames"] for each in facts["files"]] == [5, 3]
    assert batch_of(folder, "--recursive") == 0
    assert results(folder)["skipped"] == 2


def test_json_is_one_object_whatever_becomes_of_the_films(pipeline, folder, capsys):
    (folder / "c.avi").write_text("no film")
    assert batch_of(folder, "--json", "--retries", "0") == 1
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert facts == results(folder) | {"seconds": facts["seconds"]}
    assert [each["status"] for each in facts["files"]] == ["done", "failed"]
    assert set(facts) == {
        *("ok", "exit_code", "output", "done", "skipped", "refused", "failed", "interrupted", "not_started"),
        *("seconds", "loading_seconds", "device", "dtype", "workers", "files"),
    }
    failed = facts["files"][1]
    assert set(failed) == {"input", "output", "status", "attempts", "seconds", "result", "error"}
    assert (failed["error"]["kind"], failed["result"], failed["attempts"]) == ("input", None, 1)
    assert "c.avi is not a video" in failed["error"]["message"]
    assert printed.err.splitlines()[-1].startswith("error: 1 of 2 films could not be made")


def test_losses_are_named_once_for_each_film_before_it_is_made(pipeline, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        video_files.write_film(tmp_path / "in" / name / "film.mkv", video_files.pictures(3), sound_seconds=0.1)
    options = ["--container", "webm", "--encoder-option", "preset=12", "--recursive"]
    assert batch_of(tmp_path / "in", *options) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("note", "["))]
    lost = "audio stream 1 (aac) is left out: webm does not hold aac"
    for film, (note, done) in zip(("a", "b"), (said[:2], said[2:]), strict=True):
        path = tmp_path / "in" / film / "film.mkv"
        assert note == f"note: {path}: {lost}"
        assert f"done  {path}" in done


def test_results_of_other_settings_are_refused_with_the_reason(pipeline, folder, capsys):
    assert batch_of(folder) == 0
    before = (folder.parent / "out" / "a.mp4").read_bytes()
    assert batch_of(folder, "--seed", "1") == 1
    assert "was made with other settings. Got: seed 1. Expected: seed 0" in capsys.readouterr().out
    assert (folder.parent / "out" / "a.mp4").read_bytes() == before
    assert results(folder)["refused"] == 1
    assert batch_of(folder, "--seed", "1", "--overwrite") == 0


def test_an_interrupted_batch_leaves_with_130_and_one_object(pipeline, folder, capsys, monkeypatch):
    import dgafvsr.interruption

    class Stopped:
        def __enter__(self):
            return lambda: True

        def __exit__(self, *error):
            return None

    monkeypatch.setattr(dgafvsr.interruption, "stop_on_signals", Stopped)
    assert batch_of(folder, "--json") == 130
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert (facts["ok"], facts["exit_code"], facts["not_started"]) == (False, 130, 1)
    assert printed.err.startswith("interrupted: ")
    assert "the same command goes on" in printed.err


@pytest.mark.parametrize(
    ("words", "code", "kind", "said"),
    [
        (["--seed", "x"], 2, "usage", "--seed"),
        (["--container", "gif"], 2, "usage", "mkv"),
        (["--workers", "2"], 2, "usage", "--ray local"),
        (["--threads", "0"], 2, "usage", "1 to 1024"),
        (["--ray", "local", "--threads", "-1"], 2, "usage", "1 to 1024"),
        (["--retries", "-1"], 2, "usage", "retries"),
        (["--fps", "fast"], 2, "usage", "30000/1001"),
        (["--list", "none.txt"], 3, "input", "none.txt cannot be read"),
        (["none.mp4"], 3, "input", "none.mp4 does not exist"),
        (["--ray", "127.0.0.1:1"], 2, "usage", "127.0.0.1:1"),
        (["--ray", "local", "--device", "cuda:1"], 2, "usage", "auto, cpu or cuda"),
        (["--ray", "local", "--compile"], 2, "usage", "--compile and --ray"),
    ],
)
def test_what_cannot_begin_is_one_line_and_one_object(pipeline, folder, capsys, words, code, kind, said):
    if "--ray" in words:
        pytest.importorskip("ray", reason="needs the extra `batch`")
    assert batch_of(folder, "--json", *words) == code
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert (facts["ok"], facts["exit_code"], facts["error"]["kind"]) == (False, code, kind)
    assert said in facts["error"]["message"]
    assert pipeline.loaded is None


def test_lists_are_read_from_files_and_stdin(pipeline, folder, tmp_path, monkeypatch):
    (tmp_path / "list.txt").write_text(f"# films\n{folder / 'a.mp4'}\n\n")
    words = ["batch", "--list", str(tmp_path / "list.txt"), "--output", str(tmp_path / "out"), "--json"]
    assert run(words) == 0
    assert (tmp_path / "out" / "a.mp4").exists()
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{folder / 'deep'}\n"))
    assert run(["batch", "--list", "-", "--output", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "b.mp4").exists()


def test_nobodys_file_is_taken_for_results(pipeline, folder, capsys):
    (folder.parent / "out").mkdir()
    foreign = folder.parent / "out" / batch_json.RESULTS
    foreign.write_text("[]")
    assert batch_of(folder) == 1
    assert "is not the results of a batch" in capsys.readouterr().err
    assert foreign.read_text() == "[]"


def test_a_model_that_is_not_there_ends_the_batch(folder, capsys, tmp_path):
    assert batch_of(folder, "--model", str(tmp_path / "nomodel"), "--json") == 3
    facts = json.loads(capsys.readouterr().out)
    assert facts["error"]["kind"] == "model"
    assert not (folder.parent / "out").exists()


def test_options_and_defaults_are_those_of_upscale():
    own = {"inputs", "output", "listed", "recursive", "container", "retries", "ray", "workers"}
    of_one_film = {"source", "target", "shots", "save_shots", "job"}
    one = inspect.signature(upscale).parameters
    many = inspect.signature(batch).parameters
    assert set(many) - own == set(one) - of_one_film
    for name in set(many) - own:
        assert many[name].default == one[name].default, name


def test_bars_follow_the_films_and_the_table_tells_the_rest(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.mp4").touch()
    first, second = plan_batch([str(tmp_path)], tmp_path / "out")
    shown = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    done = BatchResult(
        file=first, status="done", attempts=1, seconds=2.0, summary={"frames": 9, "width": 88, "height": 72}
    )
    failed = BatchResult(file=second, status="failed", attempts=2, seconds=1.0, error=ValueError("broken [b]"))
    report = BatchReport(results=(done, failed), seconds=3.0)
    with BatchView(2, shown) as view:
        view(BatchEvent(file=first))
        progress = UpscaleProgress(frames_done=3, frames_total=None, work_done=5, work_total=10)
        view(BatchEvent(file=first, progress=progress))
        view._progress.refresh()
        assert "3/? frames written" in shown.file.getvalue()
        view(BatchEvent(file=first, result=done, report=report))
        view(BatchEvent(file=second))
        view(BatchEvent(file=second, result=failed, again=True, report=report))
        view(BatchEvent(file=second))
        view(BatchEvent(file=second, result=failed, report=report))
    text = shown.file.getvalue()
    assert "[1/2] done" in text
    assert "[-/2] failed, is tried again later" in text
    assert "[2/2] failed" in text
    run_facts = batch_json.RunFacts(
        output=tmp_path / "out", loading_seconds=0.0, device="cpu", dtype="float32", workers=None
    )
    plain = Console(file=io.StringIO(), width=100)
    show_table(report, batch_json.report_facts(report, run_facts), plain)
    lines = plain.file.getvalue()
    for words in ("a.mp4", "88x72", "failed (2 attempts)", "broken [b]", "1 done, 1 failed in 3.0 s"):
        assert words in lines


def test_paths_are_said_once_and_from_here(pipeline, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder.parent)
    (folder / "c.avi").write_text("no film")
    assert batch_of(folder, "--retries", "0") == 1
    printed = capsys.readouterr()
    assert f"[1/2] done  {Path('in', 'a.mp4')}  " in printed.err
    assert printed.out.count(str(folder / "c.avi")) == 1


def test_offload_reaches_the_pipeline(pipeline, folder, monkeypatch):
    monkeypatch.setattr("dgafvsr.apps.cli.devices.choose_offload", lambda name, device: name)
    assert batch_of(folder, "--offload", "sequential") == 0
    assert pipeline.offload == "sequential"
    assert batch_of(folder, "--recursive") == 0
    assert results(folder)["skipped"] == 1
