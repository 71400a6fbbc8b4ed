"""How the web app is served, and whom it lets in."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path

from dgafvsr.errors import UsageError
from dgafvsr.video.limits import InputLimits

__all__ = ["PASSWORD_VARIABLE", "ServerSettings", "default_data_folder", "is_loopback", "is_wildcard"]

PASSWORD_VARIABLE = "DGAFVSR_PASSWORD"
SHORTEST_PASSWORD = 8
LONGEST_QUEUE = 20


def default_data_folder() -> Path:
    """Where everything is kept if nobody says otherwise: a folder of its own under the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base or Path.home() / ".cache", "dgafvsr", "web")


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach a server that is bound to the name or address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_wildcard(host: str) -> bool:
    """Whether a host stands for all addresses of this machine, and is none that a browser could open."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """How the web app is served.

    Raises:
        UsageError: a value out of its range, or an address that others can reach without a password.
    """

    host: str = "127.0.0.1"
    """Name or address to be bound to."""
    port: int = 7860
    """Of the address; 0 for any that is free."""
    password: str | None = field(default=None, repr=False)
    """Asked of everybody, at least 8 characters; None for nobody, which needs a loopback address."""
    data: Path = field(default_factory=default_data_folder)
    """The folder that everything is kept in; nothing outside it is read or written."""
    keep_days: float = 7.0
    """Days after which films and jobs that nobody has touched are removed, above 0."""
    max_upload_bytes: int = 2 * 1000**3
    """Size of the largest file that is taken, at least 1."""
    limits: InputLimits = field(default_factory=lambda: InputLimits(pixels=3840 * 2160, seconds=Fraction(3600)))
    """What films are refused as too large."""
    longest_queue: int = LONGEST_QUEUE
    """Jobs that may wait at once, at least 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UsageError("The port is impossible", got=self.port, expected="0 to 65535")
        if self.keep_days <= 0:
            raise UsageError("The days to keep are impossible", got=self.keep_days, expected="above 0")
        for name, value in (("upload size", self.max_upload_bytes), ("length of the queue", self.longest_queue)):
            if value < 1:
                raise UsageError(f"The {name} is impossible", got=value, expected="at least 1")
        if self.password is None and not is_loopback(self.host):
            raise UsageError(
                f"Others can reach {self.host}, and no password is set",
                remedy=f"set one (--password, or the variable {PASSWORD_VARIABLE}), or leave --host out",
            )
        if self.password is not None and len(self.password.strip()) < SHORTEST_PASSWORD:
            raise UsageError("The password is too short", expected=f"at least {SHORTEST_PASSWORD} characters")
