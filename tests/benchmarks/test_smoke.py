"""Every speed and memory benchmark runs at the smallest size and writes its report; no time is looked at."""

import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dgafvsr import DGAFVSRPipeline

FOLDER = Path(__file__).parents[2] / "benchmarks"
COMMON = ("--size", "32x16", "--repeats", "1", "--write")
RUNS = {
    "warp": (),
    "flow": ("--no-raft",),
    "step": (),
    "backends": (),
    "sweep": ("--frames", "2"),
    "decode": ("--tile", "32"),
    "video_io": ("--frames", "5"),
    "end_to_end": ("--frames", "2", "--steps", "1"),
    "phases": ("--frames", "2", "--steps", "1"),
    "overlap": ("--frames", "6"),
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
        ("allocator", ("--frames", "3")),
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
    assert measuring == {*RUNS, "memory", "allocator", "memory_plan", "recordings"}


def write_clips(folder):
    """One clip of three frames in Vid4's layout, of 40 x 32 LR pixels."""
    rng = np.random.default_rng(0)
    for kind, scale in (("gt", 4), ("bix4", 1)):
        (folder / kind / "noise").mkdir(parents=True)
        for index in range(3):
            pixels = rng.integers(0, 256, (32 * scale, 40 * scale, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / kind / "noise" / f"{index}.png")


def test_frontier_makes_its_variants_and_scores_them_again(benchmark_module, tmp_path, monkeypatch):
    frontier, place, written = benchmark_module("frontier"), tmp_path / "run", tmp_path / "results"
    monkeypatch.setattr(frontier.harness, "RESULTS", written)
    write_clips(tmp_path / "clips")
    words = ["--clips", str(tmp_path / "clips"), "--output", str(place), "--metrics", "psnr,tof", "--write"]
    words += ["--variants", "fast", "1 step, no guidance", "--crop", "32x24", "--max-frames", "2"]
    frontier.main(words)
    assert {path.name for path in (place / "frames").iterdir()} == {"own", "own, again", "fast", "1 step, no guidance"}
    (report,) = written.iterdir()
    rows = [line for line in report.read_text().splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3
    assert all(word in rows[0] for word in ("ratio", "PSNR", "tOF", "frontier"))
    frontier.main([*words, "--rescore"])
    assert [line for line in report.read_text().splitlines() if line.startswith("|")] == rows


def test_frontier_is_what_nothing_beats(benchmark_module):
    on_frontier = benchmark_module("frontier").on_frontier
    times = {"own": 2.0, "same": 1.99, "fast": 1.0, "slow": 3.0, "bad": 1.5}
    psnr = {"own": 30.0, "same": 30.0, "fast": 28.0, "slow": 30.01, "bad": 27.0}
    scores = {name: {"psnr": value, "lpips": 60 - value} for name, value in psnr.items()}
    for metric in ("psnr", "lpips"):
        best = {name for name in times if on_frontier(name, metric, times, scores, 0.01)}
        assert best == {"own", "same", "fast"}, metric


def test_every_dictionary_of_variants_can_be_sampled(benchmark_module):
    frontier = benchmark_module("frontier")
    parameters = inspect.signature(DGAFVSRPipeline.__call__).parameters
    for variants in (frontier.COMMON, frontier.FEW, frontier.MANY):
        assert all(set(settings) <= set(parameters) for settings in variants.values())
