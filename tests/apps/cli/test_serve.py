import inspect
import socket
import subprocess
import sys

import pytest

from dgafvsr.apps.cli.main import run
from dgafvsr.apps.cli.serve import serve
from dgafvsr.apps.web.settings import ServerSettings


@pytest.fixture(autouse=True)
def _gradio_is_there(monkeypatch):
    monkeypatch.setattr("dgafvsr.apps.web.serving.check_gradio", lambda: None)
    monkeypatch.delenv("DGAFVSR_PASSWORD", raising=False)


def failure(capsys, *options):
    code = run(["serve", *options])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "internal error" not in printed.err
    return code, printed.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], ["0.0.0.0", "no password", "--password", "DGAFVSR_PASSWORD"]),
        (["--host", "0.0.0.0", "--password", ""], ["no password"]),
        (["--host", "0.0.0.0", "--password", "short"], ["password is too short"]),
        (["--password", "short"], ["password is too short"]),
        (["--password", 9 * " "], ["password is too short"]),
        (["--port", "99999"], ["port", "99999"]),
        (["--keep-days", "0"], ["days"]),
        (["--max-upload-mb", "0"], ["upload size"]),
        (["--max-pixels", "0"], ["pixels"]),
        (["--device", "gpu"], ["gpu", "cpu"]),
        (["--flow", "lucas"], ["lucas"]),
        (["--offload", "disk"], ["disk", "none, model, sequential"]),
    ],
)
def test_wrong_option_is_one_line_and_exit_2(capsys, tmp_path, options, words):
    code, line = failure(capsys, "--data", str(tmp_path / "data"), *options)
    assert code == 2
    assert all(word in line for word in words), line
    assert not (tmp_path / "data").exists()


def test_data_folder_of_other_things_is_exit_1(capsys, tmp_path):
    (tmp_path / "letter.txt").touch()
    code, line = failure(capsys, "--port", "0", "--data", str(tmp_path))
    assert code == 1
    assert "holds other things" in line


def test_missing_extra_is_one_line(capsys, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, line = failure(capsys)
    assert code == 2
    assert 'pip install "dgafvsr[web]"' in line


def test_password_comes_from_the_variable(monkeypatch, capsys, tmp_path):
    served = []
    monkeypatch.setattr("dgafvsr.apps.web.serving.serve", lambda settings, *_, **__: served.append(settings))
    monkeypatch.setenv("DGAFVSR_PASSWORD", "from the variable")
    assert run(["serve", "--host", "0.0.0.0", "--data", str(tmp_path), "--max-upload-mb", "5"]) == 0
    assert (served[0].password, served[0].max_upload_bytes, served[0].data) == (
        "from the variable",
        5_000_000,
        tmp_path,
    )
    assert "from the variable" not in capsys.readouterr().out


def test_defaults_are_the_settings():
    defaults = {name: parameter.default for name, parameter in inspect.signature(serve).parameters.items()}
    settings = ServerSettings()
    for name in ("host", "port", "password", "keep_days"):
        assert defaults[name] == getattr(settings, name), name
    for name in ("pixels", "seconds", "frames"):
        assert defaults[f"max_{name}"] == getattr(settings.limits, name), name
    assert defaults["max_upload_mb"] * 1_000_000 == settings.max_upload_bytes


def test_help_imports_neither_gradio_nor_torch():
    check = (
        "import sys; from dgafvsr.apps.cli.main import run; code = run(['serve', '--help']); "
        "sys.exit(code or any(name in sys.modules for name in ('torch', 'gradio', 'fastapi')))"
    )
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, timeout=120).returncode == 0


@pytest.mark.parametrize(("found", "said"), [(True, ""), (False, "note: no browser was found on this machine; open ")])
def test_open_without_a_browser_says_the_address_and_serves_on(monkeypatch, capsys, tmp_path, found, said):
    address, opened = "http://127.0.0.1:7860/", []
    monkeypatch.setattr("dgafvsr.apps.web.serving.serve", lambda *_, on_ready, **__: on_ready(address))
    monkeypatch.setattr("dgafvsr.apps.web.browser.open_page", lambda address: opened.append(address) or found)
    words = ["serve", "--data", str(tmp_path / "data")]
    assert run(words) == 0
    assert opened == []
    capsys.readouterr()
    assert run([*words, "--open"]) == 0
    printed = capsys.readouterr()
    assert opened == [address]
    assert f"Serving {address}" in printed.out
    assert printed.err == (f"{said}{address} in one\n" if said else "")


def test_port_in_use_is_one_line_and_exit_2(capsys, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, line = failure(capsys, "--port", str(port), "--data", str(tmp_path / "data"))
    assert code == 2
    assert f"Another program uses port {port}" in line
    assert not (tmp_path / "data").exists()


def test_offload_reaches_the_model(pipeline, monkeypatch, tmp_path):
    monkeypatch.setattr("dgafvsr.apps.web.serving.serve", lambda settings, load, **_: load())
    monkeypatch.setattr("dgafvsr.apps.cli.devices.choose_offload", lambda name, device: name)
    assert run(["serve", "--data", str(tmp_path / "data"), "--device", "cpu", "--offload", "model"]) == 0
    assert pipeline.offload == "model"
