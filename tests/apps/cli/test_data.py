import pytest
import typer

from dgafvsr.apps.cli.data import app
from dgafvsr.apps.cli.main import run
from tests.evaluation.pictures import smooth_clip, write_clip
from tests.evaluation.test_datasets import make_vid4


def test_complete_benchmark_leaves_with_0_and_incomplete_with_3(tmp_path, capsys):
    folder = make_vid4(tmp_path / "vid4")
    assert run(["data", "check", str(folder)]) == 0
    assert "complete" in capsys.readouterr().out
    (folder / "GT" / "city" / "00000033.png").unlink()
    assert run(["data", "check", str(folder), "--layout", "vid4"]) == 3
    printed = capsys.readouterr()
    assert "GT/city holds 33 pictures instead of 34" in printed.out
    assert printed.err.count("\n") == 1
    assert "2 problems" in printed.err


@pytest.mark.parametrize("kind", ["bicubic", "bd", "realistic"])
def test_clips_are_degraded(tmp_path, capsys, kind):
    write_clip(tmp_path / "GT" / "a", smooth_clip(2, 64, 72))
    seed = ["--seed", "5"] if kind == "realistic" else []
    assert run(["data", "degrade", str(tmp_path / "GT"), str(tmp_path / "LR"), "--kind", kind, *seed]) == 0
    assert capsys.readouterr().out == "a: 2 frames\n"
    assert [path.name for path in sorted((tmp_path / "LR" / "a").iterdir())] == ["00000000.png", "00000001.png"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["check", "none"], 3),
        (["check", "."], 3),
        (["check", ".", "--layout", "imagenet"], 2),
        (["degrade", "none", "LR"], 3),
        (["degrade", "GT", "LR", "--kind", "x"], 2),
        (["degrade", "GT", "LR", "--kind", "realistic", "--seed", "-1"], 2),
        (["degrade", "GT", "LR", "--seed", "5"], 2),
        (["degrade", "GT", "none/LR"], 1),
        (["degrade", "GT", "GT"], 1),
        (["pack", "none", "out.tar"], 3),
        (["pack", "GT", "none/out.tar"], 1),
        (["pack", "GT", "GT"], 1),
        (["pack", "GT", "out.tar", "--max-mb", "0"], 2),
        (["pack", "GT", "out.tar", "--format", "gif"], 2),
    ],
)
def test_bad_request_is_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys, words, code):
    write_clip(tmp_path / "GT" / "a", smooth_clip(2, 64, 72))
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert run(["data", *words]) == code
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1, printed.err
    assert printed.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_training_data_is_packed(tmp_path, capsys):
    write_clip(tmp_path / "data" / "a", smooth_clip(6, 128, 136))
    write_clip(tmp_path / "data" / "val" / "b", smooth_clip(2, 128, 136))
    words = ["pack", str(tmp_path / "data"), str(tmp_path / "out.tar"), "--max-mb", "1", "--run-frames", "3"]
    assert run(["data", *words]) == 0
    told = capsys.readouterr().out.splitlines()
    assert "0 photographs and 2 runs (6 frames), quality 95 or better" in told[0]
    assert told[1] == "1 folders of validation and test material are left out"
    assert 0 < (tmp_path / "out.tar").stat().st_size <= 1_000_000


@pytest.mark.parametrize("name", ["check", "degrade", "pack"])
def test_every_option_is_documented(name):
    command = typer.main.get_command(app).commands[name]
    assert [parameter.name for parameter in command.params if not getattr(parameter, "help", None)] == []
