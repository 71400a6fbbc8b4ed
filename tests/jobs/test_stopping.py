import pytest

from dgafvsr.errors import InterruptionError
from dgafvsr.jobs.stopping import check_stop, until_stopped


def test_items_come_until_somebody_asks_to_stop():
    asked = []
    items = until_stopped(range(5), lambda: bool(asked))
    assert [next(items), next(items)] == [0, 1]
    asked.append(True)
    with pytest.raises(InterruptionError, match="asked to stop"):
        next(items)


def test_without_a_wish_nothing_happens():
    check_stop(lambda: False)
    assert list(until_stopped([1, 2], lambda: False)) == [1, 2]
