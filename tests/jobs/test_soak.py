"""A long film costs no more memory than a short one."""

import subprocess
import sys

import pytest

from tests.jobs.standins import lossless
from tests.video.films import pictures

LARGEST_GROWTH = 1.05
JOB = """
import sys
from dgafvsr.host_memory import keep_freed_memory
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.upscale import upscale_file
from tests.jobs.standins import Nearest
keep_freed_memory()  # as the command line does
print(upscale_file(sys.argv[1], sys.argv[2], Nearest(), UpscaleSettings(window=24)).peak_memory_bytes)
"""


@pytest.mark.slow
def test_500_frames_peak_as_50_do(tmp_path):
    """A leak would keep 450 pictures of 1.2 MB, about as much as the process needs."""
    peaks = []
    for count in (50, 500):
        film = lossless(tmp_path / f"{count}.mkv", pictures(count, 64, 96))
        words = [sys.executable, "-c", JOB, str(film), str(tmp_path / f"large{count}.mp4")]
        peaks.append(int(subprocess.run(words, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] <= LARGEST_GROWTH * peaks[0]
