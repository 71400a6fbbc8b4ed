import http.client
import json
import socket
import stat
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

import pytest

from dgafvsr.apps.web.serving import bound_socket, check_gradio
from dgafvsr.apps.web.settings import ServerSettings
from dgafvsr.errors import UsageError
from tests.apps.web.servers import served

PASSWORD = "correct horse"


def test_port_in_use_is_said_with_a_remedy():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=rf"Another program uses port {port} of 127.0.0.1.*--port {port + 1}"):
            bound_socket(ServerSettings(port=port)).__enter__()


def test_unknown_host_is_said():
    with pytest.raises(UsageError, match=r"There is no address nowhere\.invalid"):
        bound_socket(ServerSettings(host="nowhere.invalid", password=PASSWORD)).__enter__()


def test_missing_gradio_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'needs the package gradio.*pip install "dgafvsr\[web\]"'):
        check_gradio()


def status_of(address, path, data=None, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urlopen(Request(address.rstrip("/") + path, data=data, headers=named), timeout=60) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def upload(address, name, content, **headers):
    """Status and body of having sent a file as the page does."""
    edge = "edge-of-the-form"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + f"\r\n--{edge}--\r\n".encode()
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.request(
        "POST", "/gradio_api/upload", body, {"Content-Type": f"multipart/form-data; boundary={edge}"} | headers
    )
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def event(address, path):
    """Status of an event that names a file of the server as if it had been uploaded."""
    data = [{"path": str(path), "meta": {"_type": "gradio.FileData"}}, None, None, None]
    body = json.dumps({"data": data, "fn_index": 0, "session_hash": "abc123"}).encode()
    return status_of(address, "/gradio_api/queue/join", body, Content_Type="application/json")


def test_nothing_outside_the_folder_can_be_read_or_written(tmp_path):
    pytest.importorskip("gradio")
    data = tmp_path / "data"
    (tmp_path / "secret.mp4").write_text("secret")
    with served(data, "--max-upload-mb", "1") as address:
        assert status_of(address, "/") == 200
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        marker = data / "dgafvsr-web.json"
        for path in ("/etc/passwd", tmp_path / "secret.mp4", data / "shown/../../secret.mp4", marker):
            assert status_of(address, f"/gradio_api/file={path}") in (403, 404), path
        for path in ("/etc/passwd", tmp_path / "secret.mp4", f"{data}/uploads/../../secret.mp4", "http://localhost/"):
            assert event(address, path) == 403, path

        status, names = upload(address, "../../../../evil.mp4", b"x")
        assert status == 200
        assert all(name.startswith(f"{data}/uploads/") and ".." not in name for name in json.loads(names))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "secret.mp4"]

        assert upload(address, "large.mp4", b"x" * 1_200_000) == (
            413,
            "The file is larger than allowed: 1.2 MB, at most 1 MB",
        )
        assert upload(address, "a.mp4", b"x", Origin="https://evil.example.org")[0] == 403
        assert status_of(address, "/", Host="evil.example.org") == 403
        assert status_of(address, "/monitoring") == 404
        assert (tmp_path / "secret.mp4").read_text() == "secret"


def test_password_closes_everything_but_the_way_in(tmp_path):
    pytest.importorskip("gradio")
    with served(tmp_path / "data", "--host", "0.0.0.0", password=PASSWORD) as address:
        assert address.startswith("http://localhost:"), "no browser opens 0.0.0.0"
        for path in ("/config", "/gradio_api/info", "/gradio_api/queue/data", f"/gradio_api/file={tmp_path}/data/lock"):
            assert status_of(address, path) == 401, path
        assert upload(address, "a.mp4", b"x")[0] == 401
        assert status_of(address, "/gradio_api/queue/join", b"{}") == 401
        assert status_of(address, "/login", urlencode({"username": "a", "password": "wrong"}).encode()) == 400
        form = urlencode({"username": "a", "password": PASSWORD}).encode()
        with urlopen(Request(f"{address}login", form), timeout=60) as answer:
            cookies = [value.partition(";")[0] for value in answer.headers.get_all("set-cookie")]
        assert status_of(address, "/config", Cookie="; ".join(cookies)) == 200
