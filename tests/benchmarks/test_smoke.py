"""Every speed and memory benchmark runs at the smallest size and writes its report; no time is looked at."""

import importlib
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
COMMON = ("--size", "32x16", "--repeats", "1", "--write")
RUNS = {
    "warp": (),
    "flow": ("--no-raft",),
    "step": (),
    "sweep": ("--frames", "2"),
    "decode": ("--tile", "32"),
    "video_io": ("--frames", "5"),
    "end_to_end": ("--frames", "2", "--steps", "1"),
    "scaling": ("--frames", "2", "--steps", "1", "--lockstep", "1", "2"),
}


@pytest.fixture
def benchmark_module(monkeypatch, tmp_path):
    """Imports a benchmark as its own folder sees it, and lets it write into a folder of the test."""
    monkeypatch.syspath_prepend(FOLDER)

    def load(name):
        monkeypatch.setattr(importlib.import_module("harness"), "RESULTS", tmp_path)
        return importlib.import_module(name)

    return load


@pytest.mark.parametrize("name", RUNS)
def test_benchmark_runs_and_writes_its_report(benchmark_module, tmp_path, name, capsys):
    benchmark_module(name).main([*COMMON, *RUNS[name]])
    (report,) = tmp_path.iterdir()
    text = report.read_text()
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d-{name}\.md", report.name)
    assert f"`python benchmarks/{name}.py --size 32x16" in text
    assert "torch" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) >= 4
    assert len({row.count("|") for row in rows}) == 1
    assert "ratio" in rows[0]
    assert rows[2] in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("memory", ("--lengths", "3", "5")),
        ("memory_plan", ("--setting", "32x16:2")),
        ("flow", ("--updates", "1", "--raft", "small")),
    ],
)
def test_benchmark_of_other_processes_runs(benchmark_module, tmp_path, name, words):
    benchmark_module(name).main([*COMMON, *words])
    (report,) = tmp_path.iterdir()
    assert "ratio" in report.read_text()


def test_every_benchmark_of_speed_is_tried():
    measuring = {file.stem for file in FOLDER.glob("*.py") if "from harness import" in file.read_text()}
    assert measuring == {*RUNS, "memory", "memory_plan"}
