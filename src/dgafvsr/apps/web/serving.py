"""The server: a socket that is bound before anything else, gradio behind the door, and the jobs beside it."""

from __future__ import annotations

import asyncio
import errno
import hmac
import importlib.util
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dgafvsr.apps.web.data_folder import DataFolder
from dgafvsr.apps.web.door import Door
from dgafvsr.apps.web.job_queue import JobQueue
from dgafvsr.apps.web.running import JobRunner
from dgafvsr.apps.web.settings import ServerSettings, is_wildcard
from dgafvsr.apps.web.store import Store
from dgafvsr.errors import UsageError
from dgafvsr.interruption import Wish

if TYPE_CHECKING:
    from dgafvsr.apps.web.desk import Desk
    from dgafvsr.jobs.upscaler import Upscaler

__all__ = ["bound_socket", "check_gradio", "serve"]

EXPIRY_SECONDS = 600.0
LOOK_SECONDS = 0.2
GOODBYE_SECONDS = 2
"""That open connections are given when the server stops."""
WRONG_PASSWORD_SECONDS = 1.0


def check_gradio() -> None:
    """Raise UsageError unless gradio is installed."""
    if importlib.util.find_spec("gradio") is None:
        raise UsageError("The web app needs the package gradio", remedy='pip install "dgafvsr[web]"')


def serve(
    settings: ServerSettings, load: Callable[[], Upscaler], *, wants_stop: Wish, on_ready: Callable[[str], object]
) -> None:
    """Serve the web app until somebody wants it to stop.

    Args:
        settings: of the server.
        load: gives the model, for the first job.
        wants_stop: asked several times a second.
        on_ready: told the address once it can be opened.

    Raises:
        UsageError: the address cannot be had.
        OutputError: the data folder cannot be used.
    """
    with bound_socket(settings) as listener, DataFolder(settings.data) as folder:
        store = Store(folder, keep_days=settings.keep_days)
        store.expire()
        runner = JobRunner(store, load, settings.limits)
        with JobQueue(store, runner, longest=settings.longest_queue) as queue:
            from dgafvsr.apps.web.desk import Desk

            app = _application(Desk(store, queue, settings), settings)
            with _running(app, listener) as server:
                on_ready(_address(settings, listener))
                expired = time.monotonic()
                while server.is_alive() and not wants_stop():
                    time.sleep(LOOK_SECONDS)
                    if time.monotonic() - expired > EXPIRY_SECONDS:
                        store.expire()
                        expired = time.monotonic()


@contextmanager
def bound_socket(settings: ServerSettings) -> Iterator[socket.socket]:
    """A socket that has the address of the settings and listens.

    Raises:
        UsageError: the address is unknown, in use, or not to be had.
    """
    place = f"port {settings.port} of {settings.host}"
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(
            f"There is no address {settings.host}", got=error.strerror, remedy="choose another --host"
        ) from error
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as listener:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(128)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UsageError(
                    f"Another program uses {place}",
                    remedy=f"stop it, or choose another port, such as --port {settings.port + 1}",
                ) from error
            raise UsageError(
                f"The {place} cannot be had", got=error.strerror, remedy="choose another --host or --port"
            ) from error
        yield listener


def _address(settings: ServerSettings, listener: socket.socket) -> str:
    """What a browser on this machine opens."""
    name = "localhost" if is_wildcard(settings.host) else settings.host
    host = f"[{name}]" if ":" in name else name
    return f"http://{host}:{listener.getsockname()[1]}/"


def _application(desk: Desk, settings: ServerSettings) -> Door:
    """Gradio's application behind the door. Gradio reads its variables when it is first imported."""
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(desk.store.folder.uploads),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    import gradio as gr
    from fastapi import FastAPI

    from dgafvsr.apps.web.page import STYLE, build_page, theme

    gr.set_static_paths([desk.store.folder.shown])  # shown where they are, not copied
    blocks = build_page(desk).queue(max_size=200)
    blocks.has_launched = True  # else gradio checks no path
    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        blocks,
        path="/",
        server_name=settings.host,
        server_port=settings.port,
        footer_links=[],
        run_history=False,
        auth=None if settings.password is None else _gate(settings.password),
        auth_message="Any user name, and the password that the server was started with.",
        allowed_paths=[str(desk.store.folder.shown)],
        blocked_paths=[str(desk.store.folder.films), str(desk.store.folder.jobs)],
        show_error=False,
        max_file_size=settings.max_upload_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css_paths=[STYLE],
    )
    return Door(app, settings)


def _gate(password: str) -> Callable[[str, str], Any]:
    async def admits(name: str, given: str) -> bool:
        """Whether the password is right; a wrong one costs time."""
        right = hmac.compare_digest(given.encode(), password.encode())
        if not right:
            await asyncio.sleep(WRONG_PASSWORD_SECONDS)
        return right

    return admits


@contextmanager
def _running(app: Door, listener: socket.socket) -> Iterator[threading.Thread]:
    """A thread that answers requests while the context is open."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GOODBYE_SECONDS,
        ws="none",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="dgafvsr-web", daemon=True)
    thread.start()
    try:
        while thread.is_alive() and not server.started:
            time.sleep(LOOK_SECONDS / 10)
        yield thread
    finally:
        logging.getLogger("uvicorn.error").disabled = True  # it calls every page that is still open an error
        server.should_exit = True
        thread.join()
