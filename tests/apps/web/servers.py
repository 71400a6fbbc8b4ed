"""Servers in processes of their own, for tests that come through the network."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[3]


@contextmanager
def served(data, *options, hold="none", password=None):
    """The address of a server that is stopped as Ctrl-C does when the context is left.

    While the file `hold` exists, its jobs hardly get on.
    """
    environment = {key: value for key, value in os.environ.items() if key != "DGAFVSR_PASSWORD"}
    environment |= {"PYTHONUNBUFFERED": "1"} | ({} if password is None else {"DGAFVSR_PASSWORD": password})
    words = [sys.executable, "-m", "tests.apps.web.served", str(hold), "--port", "0", "--data", str(data), *options]
    process = subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        line = process.stdout.readline()
        address = re.search(r"http://\S+", line)
        assert address, line + process.stdout.read()
        yield address[0]
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=300)
        assert process.returncode == 0, rest
        assert "Traceback" not in rest, rest
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
