"""The memory planner against what a process really holds."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dgafvsr.jobs.memory import standing_bytes
from tests.pretended_device import PretendedDevice

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory otherwise")
@pytest.mark.parametrize("setting", ["320x180:8", "320x180:2:96", "320x180:8:beside", "320x180:8:job"])
def test_the_peak_is_at_most_what_was_planned_and_not_much_less(setting):
    command = [sys.executable, FOLDER / "memory_plan.py", "--here", "--setting", setting]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    planned, measured = map(int, run.stdout.split())
    assert measured <= planned <= 1.15 * measured


def test_on_a_gpu_the_context_is_in_neither_number(monkeypatch, capsys):
    """The allocator's peak knows nothing of it."""
    monkeypatch.syspath_prepend(FOLDER)
    benchmark = importlib.import_module("memory_plan")
    monkeypatch.setattr("dgafvsr.jobs.memory.expected_bytes", lambda *args, **options: standing_bytes("cuda") + 12)
    monkeypatch.setattr("dgafvsr.jobs.peak_memory.peak_memory_bytes", lambda device: 10)
    options = SimpleNamespace(device="cuda:1", layout="tiny", dtype="float32")
    with PretendedDevice("cuda:1"):
        benchmark.measure(benchmark.Setting.of("32x16:2"), options)
    assert capsys.readouterr().out == "12 10\n"
