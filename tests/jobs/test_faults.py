"""Faults that nobody can prepare for: kill -9 at any moment, a disk that fills up."""

import errno
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from dgafvsr.errors import ResourceError
from dgafvsr.jobs import manifest
from dgafvsr.jobs.settings import UpscaleSettings
from dgafvsr.jobs.upscale import upscale_file
from dgafvsr.video.codecs import EncoderSettings
from tests.jobs.standins import Summing, job_of, lossless, pixels_of
from tests.video.films import pictures

KILLS, PAGE = 20, 4096
SETTINGS = UpscaleSettings(window=5, overlap=2)
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that start at once (fork)")


class Slow(Summing):
    """Gives a killer time to strike between the steps."""

    def __call__(self, frames, *, on_event, **options):
        return super().__call__(frames, on_event=lambda event: time.sleep(0.002) or on_event(event), **options)


def run(film, target, settings):
    upscale_file(film, target, Slow(), settings)


def killed(film, target, settings, seconds):
    """Whether the job was killed after so long, before it was done."""
    process = multiprocessing.get_context("fork").Process(target=run, args=(film, target, settings))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


@posix
@pytest.mark.slow
@pytest.mark.parametrize(("name", "seed"), [("out", 0), ("out.mkv", 1)])
def test_killed_at_twenty_moments_no_frame_is_lost(tmp_path, name, seed):
    film = lossless(tmp_path / "a.mkv", pictures(90))
    settings = SETTINGS if name == "out" else replace(SETTINGS, encoder=EncoderSettings(codec="ffv1"))
    upscale_file(film, tmp_path / f"whole-{name}", Summing(), settings)
    random_moment, kills, target = random.Random(seed), 0, tmp_path / name
    while kills < KILLS:
        kills += killed(film, target, settings, random_moment.uniform(0.05, 0.6))
        if target.exists():  # done before all kills were struck: once more from the start
            shutil.rmtree(target) if target.is_dir() else target.unlink()
    summary = upscale_file(film, target, Summing(), settings)
    np.testing.assert_array_equal(pixels_of(target), pixels_of(tmp_path / f"whole-{name}"))
    assert summary.frames == 90
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(["a.mkv", name, f"whole-{name}"])


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 512 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=512k", "tmpfs", place]).returncode:
        pytest.skip("disks cannot be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("name", ["out", "out.mkv"])
def test_full_disk_stops_with_one_error_and_costs_only_the_running_window(tmp_path, small_disk, name):
    film = lossless(tmp_path / "a.mkv", pictures(20))
    settings = SETTINGS if name == "out" else replace(SETTINGS, encoder=EncoderSettings(codec="ffv1"))
    whole = upscale_file(film, tmp_path / f"whole-{name}", Summing(), settings).output
    pages = sum(-(-file.stat().st_size // PAGE) for file in ([whole] if whole.is_file() else whole.iterdir()))
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(512 * 1024 - (10 + pages // 2) * PAGE))  # room for half the frames and some records
    with pytest.raises(ResourceError, match=r"disk is full.*free some space") as caught:
        upscale_file(film, small_disk / name, Summing(), settings)
    assert "finished frames are kept" in caught.value.__notes__[0]
    ballast.unlink()
    summary = upscale_file(film, small_disk / name, Summing(), settings)
    assert summary.frames_resumed > 0
    np.testing.assert_array_equal(pixels_of(small_disk / name), pixels_of(whole))
    assert [entry.name for entry in small_disk.iterdir()] == [name]


def test_disk_that_fills_at_a_record_keeps_the_windows_before(tmp_path, monkeypatch):
    film, written = lossless(tmp_path / "a.mkv", pictures(14)), []
    fsync = os.fsync

    def full(handle):
        written.append(handle)
        if len(written) == 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(manifest.os, "fsync", full)
    with pytest.raises(ResourceError, match="disk is full"):
        upscale_file(film, tmp_path / "out", Summing(), SETTINGS)
    monkeypatch.undo()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [job_of(tmp_path / "out").name, "a.mkv"]
    assert upscale_file(film, tmp_path / "out", Summing(), SETTINGS).frames_resumed > 0
    whole = upscale_file(film, tmp_path / "whole", Summing(), SETTINGS).output
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), pixels_of(whole))


COMMAND = """
import sys
import dgafvsr.pipeline
from tests.jobs.test_faults import Slow

class Model(Slow):
    def from_pretrained(self, *words, **options):
        return self
    def to(self, device):
        return self
    def __call__(self, frames, **options):
        print("working", flush=True)
        return super().__call__(frames, **options)

dgafvsr.pipeline.DGAFVSRPipeline = Model()
from dgafvsr.apps.cli.main import main
main()
"""


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_command_cleanly_and_says_how_to_go_on(tmp_path, number):
    film = lossless(tmp_path / "a.mkv", pictures(40))
    words = [
        sys.executable,
        "-c",
        COMMAND,
        "upscale",
        str(film),
        str(tmp_path / "out"),
        "--window",
        "5",
        "--overlap",
        "2",
    ]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(3):
        assert process.stdout.readline() == "working\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors.startswith("interrupted: ")
    assert "the same command goes on from there" in errors
    assert errors.count("\n") == 1
    job = job_of(tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [job.name, "a.mkv"]
    assert not list(job.rglob("*.partial"))
    summary = upscale_file(film, tmp_path / "whole", Summing(), SETTINGS)
    assert upscale_file(film, tmp_path / "out", Summing(), SETTINGS).frames_resumed >= 6
    np.testing.assert_array_equal(pixels_of(tmp_path / "out"), pixels_of(summary.output))
