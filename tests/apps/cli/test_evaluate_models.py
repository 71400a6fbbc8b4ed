"""Published models' layouts as methods of `dgafvsr evaluate`, and what is found out before any method is run."""

import json
import shutil
from pathlib import Path

import pytest

from dgafvsr.apps.cli.main import run
from tests import factories
from tests.apps.cli import films

PARITY = Path(__file__).parents[2] / "data" / "parity"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Two low-resolution frames of 16 x 20, their ground truth, and an own cache."""
    films.write_pictures(tmp_path / "lr", sizes=[(20, 16)] * 2)
    films.write_pictures(tmp_path / "gt", sizes=[(80, 64)] * 2)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def published(folder, *, controlnet=False):
    """A tiny random folder in the layout of SD-x4, or of StableVSR: with text encoder, tokenizer and its own VAE."""
    shutil.copytree(PARITY / "dgafvsr" / "model", folder, ignore=shutil.ignore_patterns("dgafnet"))
    index = json.loads((folder / "model_index.json").read_text())
    del index["dgafnet"]
    (folder / "model_index.json").write_text(json.dumps({**index, "flow": "dis"}))
    if controlnet:
        shutil.copytree(PARITY / "stablevsr" / "controlnet", folder / "controlnet")
    return folder


def evaluate(*words):
    common = ["--lr", "lr", "--truth", "gt", "--metrics", "psnr", "--device", "cpu", "--jobs", "1"]
    return run(["evaluate", *common, *(["--steps", "2"] if "--model" in words else []), *words])


def test_upscaler_without_guidance_is_run_per_frame_and_once(place):
    published(place / "x4")
    assert evaluate("--model", "sdx4=x4", "--guidance", "--no-guidance", "--json=r.json") == 0
    assert list(json.loads(Path("r.json").read_text())["methods"]) == ["sdx4, per frame"]


def test_stablevsrs_layout_is_run_with_and_without_guidance(place):
    published(place / "svsr", controlnet=True)
    words = ["--model", "svsr", "--guidance", "--no-guidance", "--keep-frames", "kept", "--json=r.json"]
    assert evaluate(*words) == 0
    methods = json.loads(Path("r.json").read_text())["methods"]
    assert list(methods) == ["svsr, guidance on", "svsr, guidance off"]
    assert len({method["mean"]["psnr"] for method in methods.values()}) == 2
    assert len(list(Path("kept").rglob("*.png"))) == 4


def test_damaged_model_is_found_before_a_baseline_works(place, capsys):
    factories.pipeline().save_pretrained(place / "model")
    weights = place / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert evaluate("--baseline", "lanczos", "--model", "model", "--keep-frames", "kept") == 3
    assert "unet" in capsys.readouterr().err
    assert not list(Path("kept").rglob("*.png"))


def test_predictions_that_do_not_fit_are_found_before_a_method_works(place, capsys):
    films.write_pictures(place / "theirs", sizes=[(80, 64)] * 3)
    assert evaluate("theirs", "--baseline", "lanczos", "--keep-frames", "kept") == 3
    assert "theirs and gt differ in their number of frames" in capsys.readouterr().err
    assert not Path("kept").exists()


@pytest.mark.parametrize("further", [[], ["--no-cache"]])
def test_named_flow_weights_must_be_there(capsys, further):
    words = ["--metrics", "tof", "--flow", "raft_large", "--flow-weights", "none.safetensors", *further]
    assert evaluate("--baseline", "lanczos", "--keep-frames", "kept", *words) == 3
    assert "none.safetensors" in capsys.readouterr().err
    assert not Path("kept").exists()


def test_named_flow_weights_that_are_damaged_are_no_blank_in_the_table(place, capsys):
    (place / "raft.safetensors").write_bytes(b"no weights")
    words = ["--metrics", "tof", "--flow", "raft_large", "--flow-weights", "raft.safetensors"]
    assert evaluate("--baseline", "lanczos", *words) == 3
    assert "raft.safetensors" in capsys.readouterr().err


def test_values_of_the_protocol_may_be_changed_and_show(capsys):
    words = ["--luma", "psnr", "--crop", "4", "--skip-last", "1", "--json=r.json"]
    assert evaluate("--baseline", "bicubic", *words) == 0
    found = json.loads(Path("r.json").read_text())
    assert found["protocol"]["name"] == "standard, Y for psnr, crop 4, without the last 1"
    assert found["methods"]["bicubic"]["clips"]["gt"]["frames"] == [0]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--luma", "beauty"], 2),
        (["--crop", "-1"], 2),
        (["--skip-first", "-2"], 2),
        (["--skip-last", "2"], 3),
    ],
)
def test_impossible_values_are_one_line_before_any_work(capsys, options, code):
    assert evaluate("--baseline", "bicubic", "--keep-frames", "kept", *options) == code
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(Path(".").rglob("kept/*/*"))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--steps", "2"], "--steps"),
        (["--seed", "0"], "--seed"),
        (["--dtype", "float32"], "--dtype"),
        (["--no-guidance", "--guidance"], "--guidance, --no-guidance"),
        (["--profile-row", "3"], "--plots"),
        (["--no-cache", "--cache", "scores"], "--no-cache"),
        (["--metrics", "psnr,tof", "--flow", "dis", "--flow-weights", "raft.safetensors"], "raft.safetensors"),
        (["--metrics", "psnr", "--flow-weights", "raft.safetensors"], "raft.safetensors"),
    ],
)
def test_options_that_would_be_ignored_are_refused(place, capsys, options, named):
    (place / "raft.safetensors").write_bytes(b"weights")
    assert evaluate("--baseline", "bicubic", "--keep-frames", "kept", *options) == 2
    assert named in capsys.readouterr().err
    assert not Path("kept").exists()


def test_frames_are_not_kept_where_none_are_made(capsys):
    assert run(["evaluate", "gt", "--truth", "gt", "--keep-frames", "kept"]) == 2
    assert "--keep-frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (["--metrics", "psnr,niqe"], 3, "NIQE"),
        (["--crop", "40"], 3, "crop of 40"),
        (["--plots", "plots", "--profile-row", "64"], 2, "no such row"),
        (["--metrics", "tof", "--flow", "raft_large", "--flow-weights", "lr/000.png"], 3, "lr/000.png"),
    ],
)
def test_what_cannot_be_scored_is_found_before_frames_are_made(place, capsys, options, code, named):
    pytest.importorskip("matplotlib")
    made = next((place / "lr").iterdir())
    made.rename(place / "lr" / "000.png")
    assert evaluate("--baseline", "bicubic", "--keep-frames", "kept", *options) == code
    assert named in capsys.readouterr().err
    assert not list(Path("kept").rglob("*.png"))


def test_metrics_without_weights_are_told_before_frames_are_made(capsys, monkeypatch):
    monkeypatch.setattr("dgafvsr.evaluation.perceptual._lpips_network", _refuse)
    assert evaluate("--baseline", "bicubic", "--metrics", "psnr,lpips") == 0
    printed = capsys.readouterr()
    assert "note: LPIPS n/a: LPIPS has no weights" in printed.err
    assert "LPIPS n/a: LPIPS has no weights" in printed.out


def _refuse():
    raise OSError("no route to host")
