"""The peak is that of the process, whoever started it."""

import subprocess
import sys

import numpy as np
import pytest

from dgafvsr.jobs.peak_memory import peak_memory_bytes

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
