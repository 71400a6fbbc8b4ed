"""The rules that an image must keep; hadolint looks at the rest where it is installed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.documents import ROOT

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = [line for line in TEXT.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


def arguments(instruction):
    return [line.split(maxsplit=1)[1] for line in LINES if line.split()[0] == instruction]


def test_bases_are_short_names_with_an_exact_version():
    for base in arguments("FROM"):
        assert re.match(r"[a-z]+(/[a-z]+)?:\d+\.\d+\.\d+-[\w.-]+( AS \w+)?$", base), base


def test_program_runs_as_an_ordinary_user_by_number():
    last = TEXT.rpartition("\nFROM ")[2]
    (user,) = re.findall(r"^USER (\d+)$", last, re.MULTILINE)
    assert int(user) >= 1000
    assert f"useradd --uid {user}" in last


def test_nothing_is_left_of_package_lists_and_caches():
    assert "PIP_NO_CACHE_DIR=1" in TEXT
    for line in LINES:
        assert "apt-get" not in line or "rm -rf /var/lib/apt/lists/*" in line


def test_no_address_is_named():
    assert re.findall(r"https?://\S+|\b[\w-]+\.(?:org|io|com|dev|net)\b", TEXT) == []


def test_program_is_the_entry_point_and_shows_its_help():
    assert (arguments("ENTRYPOINT"), arguments("CMD")) == (['["dgafvsr"]'], ['["--help"]'])


def test_torch_is_pinned_for_both_kinds_of_device():
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    (rule,) = re.findall(r"sed -E 's/(.+?)/&\+cpu/'", TEXT)
    assert len(re.findall(rule, pins, re.MULTILINE)) == 2
    assert arguments("ARG") == ["DEVICE=cuda", "EXTRAS=sdx4"]


def test_what_is_copied_is_there_and_let_through():
    let_through = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE))
    copied = {word for line in arguments("COPY") if "--from" not in line for word in line.split()[:-1]}
    assert copied == let_through
    assert all((ROOT / name).exists() for name in copied)


def test_hadolint_has_nothing_to_say():
    program = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed (extra docs)")
    result = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")
