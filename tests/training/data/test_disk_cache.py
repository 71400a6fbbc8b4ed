from __future__ import annotations

import multiprocessing
import os
import pickle

import pytest
import torch

from dgafvsr.errors import OutputError, UsageError
from dgafvsr.training.data.disk_cache import DiskCache, content_key


def made(value: float, count: int = 100):
    return lambda: {"x": torch.full((count,), value)}


def test_what_was_made_once_is_read_by_others(tmp_path):
    cache = DiskCache(tmp_path / "cache")
    key = content_key(b"source", {"scale": 4})
    assert torch.equal(cache.get(key, made(1.0))["x"], torch.full((100,), 1.0))
    other = DiskCache(tmp_path / "cache")
    assert torch.equal(other.get(key, made(2.0))["x"], torch.full((100,), 1.0))
    assert (other.hits, other.misses) == (1, 0)


def test_another_source_or_setting_is_another_key():
    keys = {
        content_key(b"source", {"scale": 4, "name": "a"}),
        content_key(b"sources", {"scale": 4, "name": "a"}),
        content_key(b"source", {"scale": 2, "name": "a"}),
    }
    assert len(keys) == 3
    assert content_key(b"source", {"name": "a", "scale": 4}) in keys


def test_it_is_bounded_and_keeps_what_was_read_last(tmp_path):
    cache = DiskCache(tmp_path, max_bytes=10_000)
    keys = [content_key(bytes([index]), {}) for index in range(40)]
    for age, key in enumerate(keys):
        cache.get(key, made(1.0))
        os.utime(cache._path(key), (1000 + age, 1000 + age))
        if age == 5:
            os.utime(cache._path(keys[0]), (5000, 5000))
    files = list(tmp_path.rglob("*.safetensors"))
    assert sum(path.stat().st_size for path in files) <= 10_000
    kept = {path.parent.name + path.stem for path in files}
    assert {keys[0], keys[39], keys[38]} <= kept
    assert keys[1] not in kept


def test_a_damaged_entry_is_made_again(tmp_path, caplog):
    cache = DiskCache(tmp_path)
    key = content_key(b"a", {})
    cache.get(key, made(1.0))
    cache._path(key).write_bytes(b"torn")
    assert cache.get(key, made(2.0))["x"][0] == 2
    assert "damaged" in caplog.text
    assert DiskCache(tmp_path).get(key, made(3.0))["x"][0] == 2


def test_a_disk_that_takes_nothing_costs_only_the_saving(tmp_path, monkeypatch, caplog):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    cache = DiskCache(tmp_path)
    monkeypatch.setattr("dgafvsr.training.data.disk_cache.save_file", full)
    for value in (1.0, 2.0):
        assert cache.get(content_key(b"a", {}), made(value))["x"][0] == value
    assert caplog.text.count("No space left") == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def _fill(folder, start) -> None:
    cache = DiskCache(folder)
    for index in range(30):
        number = (start + index) % 30
        assert cache.get(content_key(bytes([number]), {}), made(float(number)))["x"][0] == number


def test_several_processes_share_it(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_fill, args=(tmp_path, start)) for start in (0, 0, 15)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(list(tmp_path.rglob("*.safetensors"))) == 30
    assert list(tmp_path.rglob("*.partial")) == []


def test_it_can_be_pickled(tmp_path):
    cache = DiskCache(tmp_path)
    cache.get(content_key(b"a", {}), made(1.0))
    again = pickle.loads(pickle.dumps(cache))  # noqa: S301
    assert again.get(content_key(b"a", {}), made(2.0))["x"][0] == 1


def test_impossible_caches_are_refused(tmp_path):
    with pytest.raises(UsageError, match="bound"):
        DiskCache(tmp_path, max_bytes=0)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be made"):
        DiskCache(tmp_path / "file" / "cache")
