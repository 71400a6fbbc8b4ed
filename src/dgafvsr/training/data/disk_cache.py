"""A bounded folder of computed tensors, shared by all processes: one safetensors file a key.

A key is the hash of what the tensors were made from and of every setting that shapes them, so a source that changes is
never met again. Files appear complete or not at all; two processes that make the same one write the same bytes. The
files that were read longest ago go first. A full or closed disk only costs the saving: it is logged once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dgafvsr.errors import OutputError, UsageError

__all__ = ["DiskCache", "content_key"]

logger = logging.getLogger(__name__)

Tensors = dict[str, torch.Tensor]


def content_key(content: bytes, settings: Mapping[str, object]) -> str:
    """The key of what is computed from these bytes under these settings, 40 hexadecimal digits."""
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=20)
    digest.update(content)
    return digest.hexdigest()


class DiskCache:
    """Tensors by key.

    Args:
        folder: made if it is missing; files that are no entries of a cache are left alone.
        max_bytes: bound of all entries; may be passed for a moment by what the processes write at once.

    Raises:
        OutputError: the folder cannot be made.
        UsageError: the bound is not above 0.
    """

    def __init__(self, folder: Path, *, max_bytes: int = 20 * 2**30) -> None:
        if max_bytes <= 0:
            raise UsageError("The bound of the cache is out of range", got=max_bytes, expected="bytes, above 0")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"The cache folder {folder} cannot be made",
                got=error.strerror or str(error),
                remedy="choose another folder for the cache",
            ) from error
        self.folder, self.max_bytes = folder, max_bytes
        self.hits = self.misses = 0
        self._since_check = max_bytes  # the first entry looks at what is there
        self._closed = False

    def get(self, key: str, make: Callable[[], Tensors]) -> Tensors:
        """The tensors of that key, on the CPU, made and kept if they are not here. They must not be written to."""
        path = self._path(key)
        kept = self._load(path)
        if kept is not None:
            self.hits += 1
            return kept
        self.misses += 1
        made = {name: value.contiguous() for name, value in make().items()}
        if not self._closed:
            self._save(path, made)
        return made

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.safetensors"

    def _load(self, path: Path) -> Tensors | None:
        try:
            tensors = load_file(path)
            os.utime(path)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            logger.warning("The cache entry %s is damaged and is made again: %s", path, error)
            path.unlink(missing_ok=True)
            return None
        return tensors

    def _save(self, path: Path, tensors: Tensors) -> None:
        partial = path.with_name(f".{secrets.token_hex(6)}.partial")
        try:
            path.parent.mkdir(exist_ok=True)
            save_file(tensors, partial)
            written = partial.stat().st_size
            os.replace(partial, path)
        except (OSError, SafetensorError) as error:
            partial.unlink(missing_ok=True)
            self._closed = True
            logger.warning("The cache %s takes no more entries, training goes on without: %s", self.folder, error)
            return
        self._since_check += written
        # Looking at all entries is slow, so it is done after every fortieth of the bound; half of that is made free.
        if self._since_check > self.max_bytes / 40:
            self._since_check = 0
            self._evict()

    def _evict(self) -> None:
        entries = []
        for path in self.folder.glob("??/*.safetensors"):
            try:
                stat = path.stat()
            except FileNotFoundError:  # another process was faster
                continue
            entries.append((stat.st_mtime_ns, stat.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.max_bytes * 0.95:
                break
            path.unlink(missing_ok=True)
            total -= size

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "hits": 0, "misses": 0}
