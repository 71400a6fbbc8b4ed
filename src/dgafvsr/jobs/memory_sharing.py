"""Sampling one window and decoding the frames of the one before: side by side, or in turns where memory is short.

Whether a window is made smaller must not depend on what happened to be decoded at that moment, so the two take turns
before anything else is tried. From then on they do to the end of the job.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

__all__ = ["MemorySharing"]


class MemorySharing:
    """Who may work now. Sampling is one call at a time, decoding one picture at a time.

    Args:
        side_by_side: False for turns from the beginning.
    """

    def __init__(self, *, side_by_side: bool = True) -> None:
        self._sampling, self._decoding = Lock(), Lock()
        self.side_by_side = side_by_side

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """For the time of a call; no picture is decoded meanwhile unless it is side by side."""
        with self._sampling:
            if self.side_by_side:
                yield
                return
            with self._decoding:
                yield

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """For the time of a picture."""
        with self._decoding:
            yield

    @contextmanager
    def between_calls(self) -> Iterator[None]:
        """For the time of a picture that does not fit beside a call: waits for the end of the one that runs."""
        self.side_by_side = False
        with self._sampling, self._decoding:
            yield
