from pathlib import Path

import pytest

from dgafvsr.apps.cli.main import run
from dgafvsr.apps.cli.train import parse_override
from dgafvsr.errors import UsageError
from dgafvsr.training import recipes
from dgafvsr.training.overrides import with_overrides
from dgafvsr.training.trainer import StepReport


@pytest.fixture
def calls(monkeypatch):
    """The calls of `recipes.run`; each reports once and finishes."""
    made = []

    def fake(name, *, data, output, overrides, options):
        made.append({"name": name, "data": data, "output": output, "overrides": overrides, "options": options})
        report = StepReport(
            stage="autoencoder",
            step=1,
            steps=2,
            losses={"loss": 0.5},
            gradient_norm=1,
            learning_rate=1,
            seconds_per_step=1,
        )
        options.listener(report)
        return output if options.max_minutes else output / "model"

    monkeypatch.setattr(recipes, "run", fake)
    return made


def test_command_is_a_thin_shell(calls, tmp_path, capsys):
    options = ["--set", "guidance.warp=centered", "--set", "denoiser.velocity.steps=9"]
    assert run(["train", "tiny", "--data", "photos", "--output", str(tmp_path / "run"), *options]) == 0
    (call,) = calls
    assert call["name"] == "tiny"
    assert (call["data"], call["output"]) == (Path("photos"), tmp_path / "run")
    assert call["overrides"] == {"guidance.warp": "centered", "denoiser.velocity.steps": 9}
    assert (call["options"].max_minutes, call["options"].keep) == (None, 2)
    assert capsys.readouterr().out.strip().endswith("model")


def test_shortcuts_are_fields_of_the_recipe(calls, tmp_path):
    options = ["--base", "models/base", "--arms", "zero, centered", "--val", "held", "--keep", "5", "--cache", "kept"]
    assert run(["train", "ablation", "--data", "d", "--output", str(tmp_path / "run"), *options]) == 0
    (call,) = calls
    assert call["overrides"] == {"base": "models/base", "arms": ("zero", "centered")}
    chosen = call["options"]
    assert (chosen.val, chosen.keep, chosen.cache) == (Path("held"), 5, Path("kept"))


def test_recipes_are_listed_with_their_budgets(capsys):
    assert run(["train", "--list"]) == 0
    printed = capsys.readouterr().out
    for entry in recipes.RECIPES.values():
        assert entry.name in printed
        assert entry.budget.split()[0] in printed, entry.name


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_fields_are_shown_as_set_takes_them(name, capsys):
    assert run(["train", name, "--show"]) == 0
    shown = dict(parse_override(line) for line in capsys.readouterr().out.splitlines())
    whole = recipes.resolve(name, {})
    assert with_overrides(whole, shown) == whole
    changed, value = next((field, value) for field, value in shown.items() if f".{field}".endswith(".steps"))
    assert run(["train", name, "--show", "--set", f"{changed}={value + 2}"]) == 0
    assert f"{changed}={value + 2}" in capsys.readouterr().out.splitlines()


def test_export_is_a_thin_shell(monkeypatch, tmp_path, capsys):
    from dgafvsr.training import export

    made = []
    monkeypatch.setattr(export, "export_run", lambda *folders, licence: made.append((*folders, licence)) or folders[1])
    assert run(["train", "export", "runs/a", "models/a", "--licence", "CC0"]) == 0
    assert made == [(Path("runs/a"), Path("models/a"), "CC0")]
    assert capsys.readouterr().out.strip().endswith("a")


def test_end_of_time_is_told(calls, tmp_path, capsys):
    assert run(["train", "tiny", "--data", "d", "--output", str(tmp_path / "run"), "--max-minutes", "0.5"]) == 0
    assert calls[0]["options"].max_minutes == 0.5
    assert "--resume" in capsys.readouterr().out


def test_going_on_with_a_run_must_be_said(calls, tmp_path, capsys):
    (tmp_path / "autoencoder").mkdir()
    words = ["train", "tiny", "--data", "d", "--output", str(tmp_path)]
    assert run(words) == 2
    assert "--resume" in capsys.readouterr().err
    assert run([*words, "--resume"]) == 0
    assert len(calls) == 1


@pytest.mark.parametrize("minutes", ["0", "-1"])
def test_no_time_is_a_usage_error(calls, tmp_path, capsys, minutes):
    words = ["train", "tiny", "--data", "d", "--output", str(tmp_path / "run"), "--max-minutes", minutes]
    assert run(words) == 2
    assert calls == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["train", "huge", "--data", "d", "--output", "OUT"], 2),
        (["train", "tiny", "--data", "none", "--output", "OUT"], 3),
        (["train", "tiny", "--data", "d", "--output", "OUT", "--set", "steps"], 2),
        (["train", "tiny", "--data", "d", "--output", "OUT", "--set", "nothing.here=1"], 2),
        (["train", "tiny", "--output", "OUT"], 2),
        (["train"], 2),
        (["train", "export", "OUT"], 2),
        (["train", "export", "OUT", "OUT/model"], 2),
        (["train", "tiny", "OUT", "--data", "d", "--output", "OUT"], 2),
        (["train", "tiny", "--data", "d", "--output", "OUT", "--licence", "CC0"], 2),
    ],
)
def test_bad_request_is_one_line(tmp_path, capsys, words, code):
    words = [str(tmp_path / "run") if word == "OUT" else word for word in words]
    assert run(words) == code
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1, printed
    assert not (tmp_path / "run").exists()


def test_what_a_worker_cannot_read_is_one_line(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "photos" / name).write_bytes(b"no picture")
    small = ["steps=1", "batch_size=2", "precision=no", "workers=1"]
    fields = [*(f"trainer.{each}" for each in small), "loss.perceptual_weight=0", "side=32", "width=8"]
    options = [word for field in fields for word in ("--set", field)]
    words = ["train", "autoencoder-tiny", "--data", str(tmp_path / "photos"), "--output", str(tmp_path / "run")]
    assert run([*words, *options]) == 3
    told = capsys.readouterr().err
    assert told.startswith("error: 2 of 2 training sources cannot be read, the last one: ")
    assert told.endswith(" is not a readable picture. Expected: at most 10% of them. Remedy: repair or remove them.\n")
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=3", 3),
        ("a.b=0.5", 0.5),
        ("a.b=null", None),
        ("a.b=[1, 2]", [1, 2]),
        ("a.b=released", "released"),
        ("a.b=", ""),
    ],
)
def test_override_values_are_json_or_text(text, value):
    assert parse_override(text) == ("a.b", value)


@pytest.mark.parametrize("text", ["", "a.b", "=3"])
def test_override_needs_key_and_value(text):
    with pytest.raises(UsageError):
        parse_override(text)
