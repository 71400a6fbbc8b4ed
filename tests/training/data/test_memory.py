from __future__ import annotations

import pickle

import numpy as np

from dgafvsr.training.data.memory import ByteCache


def test_the_least_recently_used_goes_first():
    cache, made = ByteCache(30), []

    def get(key):
        return cache.get(key, lambda: made.append(key) or np.full(10, key, dtype=np.uint8))

    for key in (1, 2, 3, 1, 4):
        assert get(key)[0] == key
    assert (made, cache.bytes, len(cache)) == ([1, 2, 3, 4], 30, 3)
    get(1)
    get(2)
    assert made == [1, 2, 3, 4, 2]


def test_what_is_larger_than_all_room_is_not_kept():
    cache = ByteCache(5)
    assert cache.get("a", lambda: np.zeros(10, dtype=np.uint8)).nbytes == 10
    assert (cache.bytes, len(cache)) == (0, 0)


def test_pickled_caches_are_empty():
    cache = ByteCache(30)
    cache.get("a", lambda: np.zeros(10, dtype=np.uint8))
    again = pickle.loads(pickle.dumps(cache))  # noqa: S301
    assert (again.max_bytes, again.bytes, len(again)) == (30, 0, 0)
