import json

import pytest
import typer

from dgafvsr.apps.cli.analyze import app, parse_choices, parse_scales
from dgafvsr.apps.cli.main import run
from dgafvsr.errors import UsageError
from tests import factories
from tests.evaluation.pictures import smooth_clip, write_clip


@pytest.fixture
def clip(tmp_path):
    write_clip(tmp_path / "clip", smooth_clip(3, 80, 96))
    return tmp_path / "clip"


def reports(folder):
    return [f"--{kind}={folder / name}" for kind, name in (("json", "r.json"), ("markdown", "r.md"), ("csv", "r.csv"))]


def test_warping_of_reduced_frames_needs_no_model(clip, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    words = ["analyze", "warping", str(clip), "--features", "frame", "--scales", "1,2-4", "--textures", "2"]
    words += [
        "--max-frames",
        "2",
        f"--plot={tmp_path / 'p.png'}",
        f"--pictures={tmp_path / 'q.png'}",
        *reports(tmp_path),
    ]
    assert run(words) == 0
    assert "12.68" in capsys.readouterr().out
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["settings"]["features"] == 2
    assert len(document["sections"]["Every variant"]) == 2 * (1 + 3 * 3 * 2)
    assert (tmp_path / "p.png").is_file()
    assert (tmp_path / "q.png").is_file()


def test_warping_of_a_models_latents(clip, tmp_path, capsys):
    factories.pipeline().save_pretrained(tmp_path / "model")
    words = ["analyze", "warping", str(clip), "--model", str(tmp_path / "model"), "--crop", "18", "--textures", "1"]
    words += ["--scales", "4", "--rescalings", "nearest", "--conventions", "centered", *reports(tmp_path)]
    assert run(words) == 0
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["settings"]["flow"] == "dis"
    assert len(document["sections"]["Every variant"]) == 2


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--features", "beauty"], 2),
        (["--scales", "0"], 2),
        (["--scales", "x"], 2),
        (["--rescalings", "lanczos"], 2),
        (["--conventions", ""], 2),
        (["--flow", "farneback"], 2),
        (["--max-frames", "1"], 2),
        (["--plot", "p.jpg"], 2),
        (["--json", "none/r.json"], 1),
        (["--features", "frame", "--crop", "400"], 3),
        (["--model", "./none"], 3),
    ],
)
def test_bad_request_is_one_line_and_writes_nothing(clip, monkeypatch, capsys, options, code):
    monkeypatch.chdir(clip.parent)
    before = sorted(clip.parent.rglob("*"))
    assert run(["analyze", "warping", "clip", *options]) == code
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1, printed.err
    assert printed.out == ""
    assert sorted(clip.parent.rglob("*")) == before


def test_domains_of_a_model(clip, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    factories.pipeline().save_pretrained(tmp_path / "model")
    words = ["analyze", "domains", str(clip), "--model", str(tmp_path / "model"), "--steps", "3", "--max-frames", "2"]
    words += ["--warp", "centered"]
    words += [f"--plot={tmp_path / 'p.png'}", f"--pictures={tmp_path / 'q.png'}"]
    assert run([*words, *reports(tmp_path)]) == 0
    assert "106.50" in capsys.readouterr().out
    document = json.loads((tmp_path / "r.json").read_text())
    assert [row["pairs"] for row in document["sections"]["By step"]] == [1, 1, 1]
    assert (document["settings"]["pairs"], document["settings"]["guided"]) == (3, True)
    assert document["settings"]["warp"] == "centered"
    assert (tmp_path / "p.png").is_file()
    assert (tmp_path / "q.png").is_file()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--normalisation", "x"], 2),
        (["--warp", "sideways"], 2),
        (["--steps", "0"], 2),
        (["--csv", "r.txt"], 2),
        (["--model", "./none"], 3),
    ],
)
def test_bad_request_for_domains_is_one_line(clip, monkeypatch, capsys, options, code):
    monkeypatch.chdir(clip.parent)
    assert run(["analyze", "domains", "clip", *options]) == code
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("command", ["domains", "warping"])
def test_damage_of_the_last_clip_is_found_before_the_model_is_loaded(tmp_path, monkeypatch, capsys, command):
    for name in ("a", "b"):
        write_clip(tmp_path / "set" / name, smooth_clip(3, 80, 96))
    broken = tmp_path / "set" / "b" / "00000002.png"
    broken.write_bytes(broken.read_bytes()[:300])
    monkeypatch.setattr("dgafvsr.apps.cli.analyze._load", lambda *_: pytest.fail("the model was loaded"))
    assert run(["analyze", command, str(tmp_path / "set")]) == 3
    assert "00000002.png" in capsys.readouterr().err


def test_model_that_would_be_ignored_is_refused(clip, capsys):
    assert run(["analyze", "warping", str(clip), "--features", "frame", "--model", "packaged"]) == 2
    assert "needs no model" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["domains", "warping"])
def test_every_option_is_documented(name):
    command = typer.main.get_command(app).commands[name]
    assert [parameter.name for parameter in command.params if not getattr(parameter, "help", None)] == []


def test_lists_are_parsed():
    assert parse_scales("4, 1-2,2") == (1, 2, 4)
    assert parse_choices("b,a,b", ("a", "b"), "--x") == ("b", "a")
    with pytest.raises(UsageError):
        parse_choices("a,b", ("a", "b"), "--x", one=True)
