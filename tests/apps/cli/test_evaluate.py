import inspect
import json

import pytest

from dgafvsr.apps.cli.evaluate import evaluate
from dgafvsr.apps.cli.main import run
from dgafvsr.evaluation.metrics import parse_metrics
from dgafvsr.evaluation.runner import EvaluationSettings
from tests.apps.cli import films


@pytest.fixture
def pictures(tmp_path):
    for name in ("gt", "ours"):
        films.write_pictures(tmp_path / name, sizes=[(32, 24)] * 3)
    return tmp_path


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
    assert parse_metrics(defaults["metrics"]) == settings.metrics
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
        ([], 2),
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
