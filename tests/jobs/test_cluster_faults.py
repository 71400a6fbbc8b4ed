"""A batch on a cluster whose driver is stopped or killed: what is finished stays, nobody is left behind, same frames.

The program runs as users run it, in a process of its own; Ray is started on this machine.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ray", reason="needs the extra `batch`")

from tests import factories
from tests.jobs.standins import job_of, lossless, pixels_of

FRAMES, SECONDS = 40, 240
MARK = "DGAFVSR_TEST"  # in the environment of the program and of everything that it starts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc"),
]


@pytest.fixture
def words(tmp_path):
    """The command, with a film that takes a while; its frames are stored as pictures."""
    factories.pipeline().save_pretrained(tmp_path / "model")
    (tmp_path / "in").mkdir()
    lossless(tmp_path / "in" / "a.mkv", factories.clip(FRAMES, 36, 44))
    inputs = [str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--container", "pictures"]
    model = ["--model", str(tmp_path / "model"), "--device", "cpu", "--dtype", "float32", "--steps", "20"]
    return [*inputs, *model, "--window", "6", "--overlap", "2", "--no-shots"]


@pytest.fixture
def started():
    """Starts commands, each at the head of a process group of its own as in a terminal; ends what is left of them."""
    token, processes = secrets.token_hex(32), []
    # Ray's own clusters ask for a token; this one belongs to the test.
    settings = {MARK: token, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_USAGE_STATS_ENABLED": "0"}

    def start(*command):
        process = subprocess.Popen(
            command,
            env=os.environ | settings,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    start.token = token
    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()
    for number in marked(token):
        os.kill(number, signal.SIGKILL)


def marked(token):
    """The numbers of all processes that were started with this mark."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and f"{MARK}={token}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it has ended, or belongs to somebody else
            continue
    return found


def until(true, process=None):
    """Waits until something is so."""
    end = time.monotonic() + SECONDS
    while not true():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def batch(started, words, *more):
    """A batch that is running."""
    program = "from dgafvsr.apps.cli.main import main; main()"
    return started(sys.executable, "-c", program, "batch", *words, *more)


def finished_windows(out):
    return sorted((job_of(out / "a") / "windows").glob("*.json"))


def check_goes_on(started, words, tmp_path, *more):
    """The same command goes on, and the frames are those of a run on one machine that was never stopped."""
    kept = {path.name: path.read_bytes() for path in finished_windows(tmp_path / "out")}
    assert kept
    again = batch(started, words, *more)
    said = again.communicate(timeout=SECONDS)[0]
    assert again.returncode == 0, said
    result = json.loads((tmp_path / "out" / "dgafvsr-batch.json").read_text())["files"][0]["result"]
    assert (result["frames"], result["frames_resumed"] > 0) == (FRAMES, True)
    alone = [str(tmp_path / "alone") if word == str(tmp_path / "out") else word for word in words]
    assert batch(started, alone).wait(SECONDS) == 0
    np.testing.assert_array_equal(pixels_of(tmp_path / "out" / "a"), pixels_of(tmp_path / "alone" / "a"))
    assert not job_of(tmp_path / "out" / "a").exists()


def test_ctrl_c_ends_driver_and_workers_and_the_same_command_goes_on(started, words, tmp_path):
    ray = ("--ray", "local", "--workers", "2")
    process = batch(started, words, *ray)
    until(lambda: finished_windows(tmp_path / "out"), process)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=SECONDS)[0]
    assert process.returncode == 130, said
    assert "the same command goes on" in said.splitlines()[-1]
    assert "Traceback" not in said
    until(lambda: not marked(started.token))
    check_goes_on(started, words, tmp_path, *ray)
    until(lambda: not marked(started.token))


def test_kill_of_the_driver_ends_the_workers_and_the_same_command_goes_on(started, words, tmp_path):
    ray = ("--ray", "local", "--workers", "2")
    process = batch(started, words, *ray)
    until(lambda: finished_windows(tmp_path / "out"), process)
    process.kill()
    process.wait()
    until(lambda: not marked(started.token))
    check_goes_on(started, words, tmp_path, *ray)
    until(lambda: not marked(started.token))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(port):
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def at_work(token):
    """The workers of a batch among the processes of a cluster."""
    found = []
    for number in marked(token):
        with suppress(OSError):
            found += [number] if b"ray::Worker" in Path("/proc", str(number), "cmdline").read_bytes() else []
    return found


def test_kill_of_the_driver_leaves_a_cluster_without_its_workers_and_the_same_command_goes_on(started, words, tmp_path):
    port = free_port()
    head = ("start", "--head", "--block", f"--port={port}", "--num-cpus=2", "--include-dashboard=false")
    cluster = started(str(Path(sys.executable).with_name("ray")), *head)
    until(lambda: answers(port), cluster)
    ray = ("--ray", f"127.0.0.1:{port}", "--workers", "2")
    process = batch(started, words, *ray)
    until(lambda: finished_windows(tmp_path / "out"), process)
    assert len(at_work(started.token)) == 2
    process.kill()
    process.wait()
    until(lambda: not at_work(started.token), cluster)
    check_goes_on(started, words, tmp_path, *ray)
    until(lambda: not at_work(started.token), cluster)
