"""The way to a Ray cluster: found, or started on this machine, or one message why not."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

import ray

from dgafvsr.errors import ResourceError, UsageError

__all__ = ["connect", "first_line"]

LOCAL = "local"
REACH_SECONDS = 10
LOCAL_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
"""Ray's settings where it is started here: it reports to nobody, and its workers do not give way to other programs."""
LOCAL_ATTEMPTS = 3
"""Ray gives its own processes half a minute to start, which a busy machine may not keep."""


def connect(address: str, workers: int | None) -> None:
    """Connect this program to a cluster, or start one.

    Args:
        address: as `dgafvsr.jobs.cluster.open_cluster` takes it.
        workers: that a cluster on this machine must have cores for, None for any number.

    Raises:
        UsageError: it cannot be reached, or runs other versions of Ray or Python.
        ResourceError: Ray does not start here.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        for name, value in LOCAL_RAY.items():
            os.environ.setdefault(name, value)
        cpus = max(os.cpu_count() or 1, workers or 1)
        for attempt in range(LOCAL_ATTEMPTS):
            try:
                ray.init(address=LOCAL, num_cpus=cpus, include_dashboard=False, **quiet)
                return
            except Exception as error:  # Ray raises nothing more special
                ray.shutdown()
                if attempt == LOCAL_ATTEMPTS - 1:
                    raise ResourceError("Ray does not start on this machine", got=first_line(error)) from error
    remedy = (
        "check the address, and that `ray start` has run there; a cluster that asks for a token needs "
        "RAY_AUTH_MODE=token and that token here"
    )
    try:
        _knock(address)
        ray.init(address=address, **quiet)
    except (ConnectionError, OSError, ValueError) as error:
        raise UsageError(
            f"The Ray cluster {address} cannot be reached", got=first_line(error), remedy=remedy
        ) from error
    except RuntimeError as error:
        raise UsageError(
            f"The Ray cluster {address} refuses this program",
            got=first_line(error),
            remedy="use the same versions of Ray and Python on all machines",
        ) from error


def _knock(address: str) -> None:
    """Raises OSError where nobody listens: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        if address != "auto":
            raise ValueError("expected auto, local, HOST:PORT or ray://HOST:PORT")
        return
    socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()


def first_line(error: BaseException) -> str:
    """What an error says first, or its kind where it says nothing."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
