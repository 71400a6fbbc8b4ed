import json

import pytest
import torch

from dgafvsr.apps.cli import info as info_command
from dgafvsr.apps.cli.border import EXTRAS
from dgafvsr.apps.cli.devices import DTYPES
from dgafvsr.apps.cli.info_plan import plan_lines
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


@pytest.fixture
def plenty(monkeypatch):
    monkeypatch.setattr("dgafvsr.jobs.memory.available_bytes", lambda device: 64 * 10**9)


def planned(capsys, *words):
    assert run(["info", "--plan", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["plan"]


def test_plan_says_what_fits(plenty, capsys):
    plan = planned(capsys, "320x180")
    assert (plan["width"], plan["height"], plan["window"], plan["tile"]) == (320, 180, 24, None)
    assert (plan["model"], plan["memory"], plan["available_bytes"]) == ("packaged", "free", 64 * 10**9)
    assert set(plan["dtypes"]) == set(DTYPES)
    chosen = plan["dtypes"][plan["dtype"]]
    assert chosen == {name: plan[name] for name in chosen}
    assert plan["dtypes"]["float32"]["expected_bytes"] >= plan["dtypes"]["float16"]["expected_bytes"]


def test_plan_is_shown_for_every_type_of_weights(plenty, capsys):
    assert run(["info", "--plan", "320x180"]) == 0
    text = capsys.readouterr().out
    assert "plan for 320x180" in text
    assert "64.0 GB are free" in text
    for name in DTYPES:
        (line,) = [line for line in text.splitlines() if line.strip().startswith(name)]
        assert "windows of 24 that share 4, " in line
        assert ", whole frames, decoded beside the next window: about" in line
    assert text.count("<- auto") == 1


def test_plan_for_a_memory_that_is_not_here(capsys):
    plan = planned(capsys, "640x360", "--memory", "2.5 GB", "--device", "cpu")
    assert (plan["memory"], plan["available_bytes"]) == ("given", 2.5 * 10**9)
    assert plan["expected_bytes"] < 2.5 * 10**9
    assert plan["window"] < planned(capsys, "640x360", "--memory", "64GB", "--device", "cpu")["window"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_plan_for_a_gpu_that_is_not_here(capsys):
    here = planned(capsys, "640x360", "--memory", "16GB", "--device", "cpu")
    there = planned(capsys, "640x360", "--memory", "16GB", "--device", "cuda")
    assert (there["device"], there["dtype"]) == ("cuda", "bfloat16")
    one_window = there["expected_bytes"] / there["lockstep"]
    assert one_window < here["expected_bytes"]  # finished frames lie on the host
    assert run(["info", "--plan", "640x360", "--device", "cuda"]) == 2
    assert "There is no device cuda" in capsys.readouterr().err


def test_plan_for_a_model_folder(tmp_path, capsys):
    factories.pipeline().save_pretrained(tmp_path)
    plan = planned(capsys, "64x48", "--memory", "4GB", "--model", str(tmp_path))
    assert plan["model"] == str(tmp_path)
    assert plan["expected_bytes"] < planned(capsys, "64x48", "--memory", "4GB")["expected_bytes"]


def test_plan_that_cannot_fit_says_what_it_needs_and_what_would_fit(capsys):
    assert run(["info", "--plan", "7680x4320", "--memory", "2GB", "--device", "cpu"]) == 4
    message = capsys.readouterr().err
    for part in ("The memory is too small for frames of 7680x4320", "2.0 GB", "Expected: ", "reduce the frames to"):
        assert part in message
    assert run(["info", "--plan", "320x180", "--memory", "500MB", "--device", "cpu"]) == 4
    assert "more memory" in capsys.readouterr().err


def test_type_that_cannot_fit_is_named_beside_the_others():
    problem = "The memory is too small"
    fits = {"window": 6, "overlap": 4, "tile": 96, "lockstep": 3, "side_by_side": False, "expected_bytes": 7 * 10**8}
    facts = {
        "model": "packaged",
        "device": "cuda",
        "offload": "model",
        "memory": "given",
        "available_bytes": 10**9,
        "dtype": "bfloat16",
    }
    lines = plan_lines(facts | {"dtypes": {"bfloat16": fits, "float32": {"problem": problem}}})
    expected = (
        "windows of 6 that share 4, 3 of them in lockstep, tiles of 96 pixels, decoded between windows: about 0.7 GB"
    )
    assert lines[0] == "packaged model on cuda with model offload, 1.0 GB are given"
    assert lines[1] == f"bfloat16  {expected} in all   <- auto"
    assert lines[2] == f"float32   {problem}"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--plan", "large"), "WIDTHxHEIGHT"),
        (("--plan", "64x48", "--memory", "8"), "such as 8GB"),
        (("--plan", "64x48", "--memory", "0GB"), "such as 8GB"),
        (("--memory", "8GB"), "add --plan"),
    ],
)
def test_plan_of_nothing_is_refused(words, part, capsys):
    assert run(["info", *words]) == 2
    assert part in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_plan_with_weights_that_wait_on_the_cpu(offload, capsys):
    words = ("640x360", "--memory", "16GB", "--device", "cuda")
    every, waiting = planned(capsys, *words), planned(capsys, *words, "--offload", offload)
    assert (every["offload"], waiting["offload"]) == ("none", offload)
    assert waiting["expected_bytes"] < every["expected_bytes"]
    assert not waiting["side_by_side"]


def test_offload_is_planned_with_what_is_free(plenty, capsys, monkeypatch):
    monkeypatch.setattr("dgafvsr.apps.cli.devices.choose_offload", lambda name, device: name)
    plan = planned(capsys, "320x180", "--device", "cpu", "--offload", "model")
    assert (plan["memory"], plan["available_bytes"], plan["side_by_side"]) == ("free", 64 * 10**9, False)
