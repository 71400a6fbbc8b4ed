import inspect
import json

import pytest

from dgafvsr.apps.cli.evaluate import evaluate
from dgafvsr.apps.cli.main import run
from dgafvsr.evaluation.runner import EvaluationSettings
from tests import factories
from tests.apps.cli import films


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Scores of tests do not meet the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "dgafvsr" / "scores"


@pytest.fixture
def pictures(tmp_path):
    for name in ("gt", "ours"):
        films.write_pictures(tmp_path / name, sizes=[(32, 24)] * 3)
    return tmp_path


def test_methods_are_run_side_by_side_and_their_frames_kept(pictures, capsys):
    pytest.importorskip("matplotlib")
    films.write_pictures(pictures / "lr", sizes=[(20, 16)] * 2)
    films.write_pictures(pictures / "large", sizes=[(80, 64)] * 2)
    factories.pipeline().save_pretrained(pictures / "model")
    words = ["evaluate", f"folder={pictures / 'large'}", "--truth", str(pictures / "large"), "--metrics", "psnr"]
    words += ["--lr", str(pictures / "lr"), "--baseline", "lanczos", "--model", f"mine={pictures / 'model'}"]
    words += ["--guidance", "--no-guidance", "--device", "cpu", "--jobs", "1"]
    words += ["--keep-frames", str(pictures / "kept"), "--plots", str(pictures / "plots")]
    assert run([*words, f"--json={pictures / 'r.json'}"]) == 0
    names = ["lanczos", "mine, guidance on", "mine, guidance off", "folder"]
    assert list(json.loads((pictures / "r.json").read_text())["methods"]) == names
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("lanczos", "folder", "guidance"))
    assert {path.name for path in (pictures / "kept").iterdir()} == set(names[:3])
    assert (pictures / "plots" / "bars.png").is_file()


def test_benchmark_without_truth_is_scored_by_what_needs_none(pictures, capsys):
    words = ["evaluate", str(pictures / "ours"), "--flow", "dis", "--metrics", "psnr,warping"]
    assert run([*words, "--no-cache", f"--markdown={pictures / 'r.md'}"]) == 0
    text = (pictures / "r.md").read_text()
    assert "n/a: no truth" in text
    assert "own motion" in text
    assert inspect.signature(evaluate).parameters["truth"].default is None


def test_scores_are_cached_unless_not_wanted(pictures, cache, capsys):
    words = ["evaluate", str(pictures / "ours"), "--truth", str(pictures / "gt"), "--metrics", "psnr"]
    assert run([*words, "--no-cache"]) == 0
    assert not cache.exists()
    assert run(words) == 0
    assert len(list(cache.rglob("*.json"))) == 1


def test_scores_are_shown_and_written(pictures, capsys):
    reports = [
        f"--{kind}={pictures / name}" for kind, name in (("json", "r.json"), ("markdown", "r.md"), ("csv", "r.csv"))
    ]
    words = ["evaluate", f"mine={pictures / 'ours'}", "--truth", str(pictures / "gt"), "--metrics", "psnr,ssim"]
    assert run([*words, "--max-frames", "2", *reports]) == 0
    table = capsys.readouterr().out
    assert "mine" in table
    assert "2 frames" in table
    document = json.loads((pictures / "r.json").read_text())
    assert document["max_frames"] == 2
    assert document["methods"]["mine"]["mean"]["psnr"] == "inf"
    assert "mine" in (pictures / "r.md").read_text()
    assert (pictures / "r.csv").read_text().startswith("method,clip,frame")


def test_defaults_are_the_settings():
    defaults = {name: parameter.default for name, parameter in inspect.signature(evaluate).parameters.items()}
    settings = EvaluationSettings()
    assert defaults["metrics"] is None
    assert defaults["protocol"] == settings.protocol.name
    assert defaults["max_frames"] == settings.max_frames
    assert defaults["clips"] == settings.clips


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--truth", "gt", "--metrics", "beauty"], 2),
        (["--truth", "gt", "--protocol", "mine"], 2),
        (["--truth", "gt", "--flow", "farneback"], 2),
        (["--truth", "gt", "--max-frames", "0"], 2),
        (["--truth", "gt", "--device", "tpu"], 2),
        (["--truth", "gt", "--clips", "other"], 2),
        (["--truth", "gt", "--json", "r.txt"], 2),
        (["--truth", "gt", "--json", "gt/000.png"], 2),
        (["--truth", "gt", "--csv", "none/r.csv"], 1),
        (["--truth", "none"], 3),
        (["--truth", "gt", "--jobs", "0"], 2),
        (["--truth", "gt", "--model", "packaged"], 2),
        (["--truth", "gt", "--baseline", "bicubic"], 2),
        (["--truth", "gt", "--lr", "gt"], 2),
        (["--truth", "gt", "--lr", "gt", "--baseline", "nearest"], 2),
        (["--truth", "gt", "--lr", "gt", "--baseline", "bicubic"], 3),
        (["--truth", "gt", "--lr", "none", "--baseline", "bicubic"], 3),
        (["--truth", "gt", "--lr", "gt", "--model", "./none"], 3),
        (["--truth", "gt", "--lr", "gt", "--baseline", "bicubic", "--baseline", "bicubic"], 2),
        (["--truth", "gt", "--plots", "gt"], 1),
        (["--truth", "gt", "--metrics", "niqe", "--niqe-prior", "none.npz"], 3),
        (["--truth", "ours", "--metrics", "psnr,niqe"], 3),
        (["--truth", "gt", "--metrics", "psnr", "--cache", "gt/000.png"], 1),
    ],
)
def test_bad_request_is_one_line_and_writes_nothing(pictures, monkeypatch, capsys, options, code):
    monkeypatch.chdir(pictures)
    before = sorted(pictures.rglob("*"))
    assert run(["evaluate", "ours", *options]) == code
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1, printed.err
    assert printed.out == ""
    assert sorted(pictures.rglob("*")) == before
