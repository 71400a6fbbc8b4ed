"""A bounded memory of decoded pictures: the least recently used ones go first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["DEFAULT_CACHE_BYTES", "ByteCache"]

DEFAULT_CACHE_BYTES: Final = 2 * 2**30
"""Of decoded pictures in each process that prepares data."""


class ByteCache:
    """Arrays by key, at most so many bytes of them; pickles as an empty one.

    Args:
        max_bytes: bound of the sum; an array above it is handed out without being kept.
    """

    def __init__(self, max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.max_bytes, self.bytes = max_bytes, 0
        self._kept: OrderedDict[Hashable, NDArray[np.uint8]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, make: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """The array of that key, made if it is not here. It is shared: it must not be written to."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        made = make()
        if made.nbytes <= self.max_bytes:
            self._kept[key] = made
            self.bytes += made.nbytes
        while self.bytes > self.max_bytes:
            self.bytes -= self._kept.popitem(last=False)[1].nbytes
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {"max_bytes": self.max_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["max_bytes"])  # type: ignore[misc]
