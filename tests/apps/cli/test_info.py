import json

import torch

from dgafvsr.apps.cli import info as info_command
from dgafvsr.apps.cli.border import EXTRAS
from dgafvsr.apps.cli.main import run
from dgafvsr.models import checkpoints
from tests import factories


def test_json_holds_all_facts(capsys):
    assert run(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert set(facts) == {"versions", "devices", "auto", "model", "extras", "encoders"}
    assert facts["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert facts["devices"][-1]["name"] == "cpu"
    assert facts["auto"]["device"] == facts["devices"][0]["name"]
    assert set(facts["extras"]) == set(EXTRAS)
    assert set(facts["encoders"]) == {"av1", "ffv1", "h264", "hevc", "prores", "vp9"}


def test_text_shows_every_section(capsys):
    assert run(["info"]) == 0
    text = capsys.readouterr().out
    for word in ("versions", "FFmpeg", "OpenCV", "devices", "auto", "packaged model", "extras", "encoders"):
        assert word in text


def test_packaged_model_is_described_from_its_files(tmp_path, monkeypatch, capsys):
    pipe = factories.pipeline(default_steps=3, warp="centered")
    pipe.save_pretrained(tmp_path)
    monkeypatch.setattr(checkpoints, "packaged_model", lambda: tmp_path)
    model = info_command.gather()["model"]
    assert model["path"] == str(tmp_path)
    assert (model["default_steps"], model["flow"], model["warp"]) == (3, "dis", "centered")
    assert model["parameters"] == {
        name: sum(p.numel() for p in getattr(pipe, name).parameters()) for name in ("unet", "guidance", "vae")
    }
    assert run(["info"]) == 0
    assert "3 steps, flow dis, warp centered" in capsys.readouterr().out


def test_installation_without_a_model_says_so(monkeypatch, capsys):
    monkeypatch.setattr(info_command, "_packaged_model", lambda: None)
    assert run(["info"]) == 0
    assert "none in this installation" in capsys.readouterr().out


def test_plan_says_what_fits(monkeypatch, capsys):
    monkeypatch.setattr("dgafvsr.jobs.memory.available_bytes", lambda device: 64 * 10**9)
    assert run(["info", "--plan", "320x180", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert (plan["width"], plan["height"], plan["window"], plan["tile"]) == (320, 180, 24, None)
    assert run(["info", "--plan", "320x180"]) == 0
    assert "plan for 320x180" in capsys.readouterr().out


def test_plan_that_cannot_fit_says_what_would(monkeypatch, capsys):
    monkeypatch.setattr("dgafvsr.jobs.memory.available_bytes", lambda device: 10**9)
    assert run(["info", "--plan", "7680x4320"]) == 4
    assert "reduce the frames to" in capsys.readouterr().err


def test_plan_for_no_size_is_refused(capsys):
    assert run(["info", "--plan", "large"]) == 2
    assert "WIDTHxHEIGHT" in capsys.readouterr().err
