import errno
import os
import signal
import subprocess
import sys
import time
import tomllib
import warnings
from pathlib import Path

import pytest

from dgafvsr.apps.cli.border import EXTRAS, guard, wants_debug
from dgafvsr.apps.cli.main import run
from dgafvsr.errors import InputError, ResourceError
from tests.apps.cli import films


def raising(error):
    def command():
        raise error

    return command


def test_known_error_is_its_message_and_its_code(capsys):
    assert guard(raising(InputError("a.mp4 is not a video", remedy="check the path"))) == 3
    assert capsys.readouterr().err == "error: a.mp4 is not a video. Remedy: check the path.\n"


def test_message_of_several_lines_becomes_one(capsys):
    assert guard(raising(ResourceError("no\n  memory"))) == 4
    assert capsys.readouterr().err == "error: no memory.\n"


def test_unknown_error_is_one_line_that_names_debug(capsys):
    assert guard(raising(KeyError("x"))) == 1
    assert capsys.readouterr().err == "error: internal error (KeyError: 'x'); rerun with --debug to see where\n"


def test_debug_shows_the_traceback(capsys):
    assert guard(raising(KeyError("x")), debug=True) == 1
    assert "Traceback" in capsys.readouterr().err


def test_interruption_is_130(capsys):
    assert guard(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_full_memory_is_a_resource_error(capsys):
    assert guard(raising(MemoryError("no room"))) == 4
    assert "--window" in capsys.readouterr().err


def test_full_disk_is_a_resource_error(capsys):
    assert guard(raising(OSError(errno.ENOSPC, "No space left on device", "runs/losses.jsonl"))) == 4
    assert "The disk is full. Got: runs/losses.jsonl" in capsys.readouterr().err


def test_missing_extra_names_what_to_install(capsys):
    assert guard(raising(ModuleNotFoundError("no", name="accelerate.utils"))) == 2
    assert 'pip install "dgafvsr[train]"' in capsys.readouterr().err


def test_library_warnings_are_silent_without_debug(capsys):
    assert guard(lambda: warnings.warn("noise", UserWarning, stacklevel=1)) == 0
    assert capsys.readouterr().err == ""


def test_extras_are_those_of_the_package():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    declared = {name: " ".join(needs) for name, needs in project["optional-dependencies"].items()}
    for name, modules in EXTRAS.items():
        needs = declared[name] + (declared["eval"] if "dgafvsr[eval]" in declared[name] else "")
        assert all(module.replace("_", "-") in needs for module in modules), name


@pytest.mark.parametrize(
    ("words", "wanted"), [(["info"], False), (["info", "--debug"], True), (["upscale", "--", "--debug"], False)]
)
def test_debug_is_read_from_the_options(words, wanted):
    assert wants_debug(words) is wanted


def test_unknown_command_is_2(capsys):
    assert run(["sharpen"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def command_line(*arguments, **options):
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1"}
    words = [sys.executable, "-m", "dgafvsr.apps.cli.main", *map(str, arguments)]
    return subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_process_leaves_with_the_code_and_one_line(tmp_path):
    process = command_line("upscale", tmp_path / "none.mp4", tmp_path / "out.mp4")
    out, line = process.communicate(timeout=120)
    assert process.returncode == 3
    assert out == ""
    assert line == f"error: {tmp_path / 'none.mp4'} does not exist. Remedy: check the path.\n"
    assert list(tmp_path.iterdir()) == []


SLOW_COMMAND = """
import sys, time
import dgafvsr.pipeline
from tests.apps.cli import films

class Slow(films.EnlargingPipeline):
    def __call__(self, frames, **options):
        print("working", flush=True)
        for _ in range(600):
            time.sleep(0.1)
            options["on_event"](None)

dgafvsr.pipeline.DGAFVSRPipeline = Slow()
from dgafvsr.apps.cli.main import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_process_leaves_nothing_behind(tmp_path, number):
    video = films.write_video(tmp_path / "in.mp4")
    words = [sys.executable, "-c", SLOW_COMMAND, "upscale", str(video), str(tmp_path / "out.mp4")]
    root = Path(__file__).parents[3]
    process = subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "working\n"
    time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_help_does_not_wait_for_torch():
    check = (
        "import sys; from dgafvsr.apps.cli.main import run; code = run(['upscale', '--help']); "
        "sys.exit(code or ('torch' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, timeout=60).returncode == 0


def test_name_of_any_bytes_is_shown(tmp_path):
    name = b"\xff\xfe.mp4"
    command = [sys.executable, "-m", "dgafvsr.apps.cli.main", "compare", name, name, b"out.mp4"]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 3
    assert done.stderr == b"error: \\udcff\\udcfe.mp4 does not exist. Remedy: check the path.\n"
