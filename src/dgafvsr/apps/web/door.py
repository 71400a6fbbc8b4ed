"""Who and what may pass: a thin layer of ASGI in front of gradio, which offers far more than this app uses.

- Only the addresses that the page needs exist; the rest of gradio's are 404.
- On a loopback address only requests to a loopback name are answered, so that no other site's name can be pointed here
  (DNS rebinding).
- A request that changes something must come from our own page (cross-site request forgery).
- An event names no file but what was uploaded or is shown; gradio would also fetch files from other hosts.
- The browser is told to load nothing from elsewhere.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from dgafvsr.apps.web.data_folder import DataFolder
from dgafvsr.apps.web.settings import ServerSettings, is_loopback
from dgafvsr.apps.web.words import bytes_text

__all__ = ["Door", "names_other_file"]

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

READ = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|logout)/?|/(assets|static|svelte)/.*"
    r"|/gradio_api/(info|queue/data|upload_progress|startup-events|app_id|user|login_check|heartbeat/\w+)/?"
    r"|/gradio_api/file=/.*"
)
WRITE = re.compile(r"/login/?|/gradio_api/(queue/join|upload|cancel|reset)/?")
JOIN, UPLOAD = "/gradio_api/queue/join", "/gradio_api/upload"
LARGEST_EVENT = 1_000_000
FORM_BYTES = 100_000
"""Around the file in an upload."""
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'none'; form-action 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)


def names_other_file(value: Any, *homes: str) -> bool:
    """Whether a request's JSON names a file outside some folders.

    Args:
        value: of the JSON.
        homes: the folders, resolved.
    """
    if isinstance(value, dict):
        path = value.get("path")
        at_home = not isinstance(path, str) or os.path.normpath(path).startswith(tuple(home + os.sep for home in homes))
        return not at_home or any(names_other_file(each, *homes) for each in value.values())
    return isinstance(value, list) and any(names_other_file(each, *homes) for each in value)


class Door:
    """An ASGI application around another.

    Args:
        app: what is behind it.
        settings: of the server.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], settings: ServerSettings) -> None:
        self._app, self._settings = app, settings
        self._local = is_loopback(settings.host)
        folder = DataFolder(settings.data)
        self._homes = str(folder.uploads), str(folder.shown)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope)
        if refusal is None and scope["method"] == "POST" and scope["path"].rstrip("/") == JOIN:
            body = await _body(receive)
            refusal = _event_refusal(body, *self._homes)
            receive = _again(body, receive)
        if refusal is not None:
            await _refuse(send, *refusal)
            return

        async def send_with_headers(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason, None where the request may pass."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        method, path = scope["method"], scope["path"]
        host = headers.get("host", "")
        if self._local and not is_loopback(urlsplit(f"//{host}").hostname or ""):
            return 403, "This server only answers to the name of this machine: localhost or 127.0.0.1"
        if method in ("GET", "HEAD"):
            return None if READ.fullmatch(path) else (404, "There is nothing at this address")
        if method != "POST" or not WRITE.fullmatch(path):
            return 404, "There is nothing at this address"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, "Requests from other sites are not answered"
        length = headers.get("content-length", "")
        most = self._settings.max_upload_bytes
        if path.rstrip("/") == UPLOAD and length.isdecimal() and int(length) > most + FORM_BYTES:
            return 413, f"The file is larger than allowed: {bytes_text(int(length))}, at most {bytes_text(most)}"
        return None


def _event_refusal(body: bytes | None, *homes: str) -> tuple[int, str] | None:
    if body is None:
        return 413, "The request is too large"
    try:
        other = names_other_file(json.loads(body), *homes)
    except (ValueError, RecursionError):
        return 400, "The request is not understood"
    return (403, "No file of this name can be read") if other else None


async def _body(receive: Receive) -> bytes | None:
    """The whole of a request, None where it is larger than any event of the page."""
    parts, size = [], 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_EVENT:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


def _again(body: bytes | None, receive: Receive) -> Receive:
    """The same request once more, then what comes after it."""
    pending = [{"type": "http.request", "body": body or b"", "more_body": False}]

    async def receive_again() -> dict[str, Any]:
        return pending.pop() if pending else await receive()

    return receive_again


async def _refuse(send: Send, status: int, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})
