"""The peak is that of the process, whoever started it."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from dgafvsr.jobs.peak_memory import peak_memory_bytes, reset_peak_memory

HELD = 300_000_000
CHILD = "from dgafvsr.jobs.peak_memory import peak_memory_bytes; print(peak_memory_bytes('cpu'))"


@pytest.mark.skipif(sys.platform == "win32", reason="not known there")
def test_the_peak_counts_what_was_held():
    np.ones(HELD, np.uint8)
    assert peak_memory_bytes("cpu") > HELD


@pytest.mark.skipif(sys.platform == "win32", reason="not known there")
def test_a_child_does_not_inherit_its_parents_peak():
    """getrusage's number does go down to it: a job started by a large program would report that program's memory."""
    np.ones(HELD, np.uint8)
    child = subprocess.run([sys.executable, "-c", CHILD], check=True, capture_output=True, text=True)
    assert 1_000_000 < int(child.stdout) < HELD


def test_a_gpu_that_the_process_has_not_begun_to_use_is_not_asked(monkeypatch):
    """A cluster's driver has one perhaps, and leaves it to its workers; torch's allocator refuses to say anything."""

    def refuse(device):
        raise RuntimeError("Invalid device argument 0: did you call init?")

    for name in ("reset_peak_memory_stats", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, refuse)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    reset_peak_memory("cuda:0")
    assert peak_memory_bytes("cuda:0") == pytest.approx(peak_memory_bytes("cpu"), rel=0.1)
    asked = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", asked.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7)
    reset_peak_memory("cuda:1")
    assert (asked, peak_memory_bytes("cuda:1")) == (["cuda:1"], 7)
