import asyncio
import json

import pytest

from dgafvsr.apps.web.door import Door, names_other_file
from dgafvsr.apps.web.settings import ServerSettings

HOME = "127.0.0.1:7860"
JOIN, UPLOAD = "/gradio_api/queue/join", "/gradio_api/upload"


async def _inside(scope, receive, send):
    """What is behind the door: answers with what it was sent."""
    body = (await receive()).get("body", b"")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def knock(path, method="GET", body=b"", settings=None, parts=1, **headers):
    """Status, headers and body of the answer."""
    sent = []
    size = -(-len(body) // parts) or 1
    chunks = [body[start : start + size] for start in range(0, len(body), size)] or [b""]

    async def receive():
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(message):
        sent.append(message)

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in ({"host": HOME} | headers).items()]
    scope = {"type": "http", "method": method, "path": path, "headers": named}
    asyncio.run(Door(_inside, settings or ServerSettings())(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(each.get("body", b"") for each in sent[1:])


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/config",
        "/assets/index.js",
        "/theme.css",
        "/gradio_api/queue/data",
        "/gradio_api/heartbeat/ab12",
        "/gradio_api/file=/a/b.mp4",
    ],
)
def test_what_the_page_needs_passes(path):
    status, headers, _ = knock(path)
    assert status == 200
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert headers[b"x-frame-options"] == b"DENY"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/monitoring"),
        ("GET", "/gradio_api/proxy=https://example.org/"),
        ("GET", "/gradio_api/file=https://example.org/"),
        ("GET", "/gradio_api/file=relative"),
        ("GET", "/gradio_api/deep_link"),
        ("GET", "/gradio_api/vibe-code"),
        ("GET", "/docs"),
        ("POST", "/gradio_api/vibe-edit"),
        ("POST", "/gradio_api/run/predict"),
        ("POST", "/gradio_api/call/take"),
        ("POST", "/gradio_api/component_server"),
        ("PUT", "/gradio_api/upload"),
        ("DELETE", "/"),
        ("OPTIONS", "/gradio_api/upload"),
    ],
)
def test_nothing_else_does(method, path):
    assert knock(path, method)[0] == 404


@pytest.mark.parametrize("host", ["evil.example.org", "evil.example.org:7860", "127.0.0.1.example.org", ""])
def test_other_names_of_a_local_server_are_refused(host):
    assert knock("/", host=host)[0] == 403


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1", "[::1]:7860"])
def test_local_names_are_answered(host):
    assert knock("/", host=host)[0] == 200


def test_server_with_a_password_answers_to_any_name():
    settings = ServerSettings(host="0.0.0.0", password="long enough")
    assert knock("/", settings=settings, host="studio.example.org")[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example.org", "null", "http://127.0.0.1:9999"])
def test_requests_of_other_sites_change_nothing(origin):
    assert knock(UPLOAD, "POST", origin=origin)[0] == 403
    assert knock(JOIN, "POST", b"{}", origin=f"http://{HOME}")[0] == 200


@pytest.mark.parametrize("folder", ["uploads", "shown"])
def test_event_passes_whole(tmp_path, folder):
    path = f"{tmp_path}/{folder}/0123/b.mp4"
    body = json.dumps({"data": [{"path": path, "url": f"http://{HOME}/x"}, "x" * 5000]}).encode()
    assert knock(JOIN, "POST", body, ServerSettings(data=tmp_path), parts=7)[::2] == (200, body)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (json.dumps({"data": [{"path": "http://10.0.0.1/secret"}]}).encode(), 403),
        (json.dumps({"data": [{"path": "/etc/passwd"}]}).encode(), 403),
        (b"not json", 400),
        (b"[" * 200_000, 400),
        (b" " * 1_000_001, 413),
    ],
)
def test_bad_event_is_refused(body, status):
    assert knock(JOIN, "POST", body, parts=3)[0] == status


def test_announced_upload_that_is_too_large_is_refused_before_it_is_read():
    settings = ServerSettings(max_upload_bytes=5_000_000)
    status, _, reason = knock(UPLOAD, "POST", settings=settings, content_length="6000000")
    assert (status, reason) == (413, b"The file is larger than allowed: 6 MB, at most 5 MB")
    assert knock(UPLOAD, "POST", settings=settings, content_length="5000500")[0] == 200


def test_files_are_found_at_any_depth():
    for path in ("https://x", "/etc/passwd", "/data/uploads/../jobs/a", "/data/uploads", "/data/uploadsx/a", "a"):
        assert names_other_file([{"a": [{"path": path}]}], "/data/uploads"), path
    assert not names_other_file({"data": [{"path": "/data/uploads/a/b.mp4"}, 5, None, "http://x"]}, "/data/uploads")
