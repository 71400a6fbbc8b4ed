from __future__ import annotations

import pickle
from threading import Lock

from dgafvsr.errors import InputError, ResourceError, UsageError
from dgafvsr.evaluation.perceptual import MetricUnavailableError


def test_an_error_arrives_in_another_process_as_it_was():
    error = ResourceError("the disk is full", got=7, expected="8 bytes", remedy="free some")
    error.add_note("it was so before")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(again) is ResourceError
    assert str(again) == str(error) == "the disk is full. Got: 7. Expected: 8 bytes. Remedy: free some."
    assert (again.what, again.got, again.expected, again.remedy) == ("the disk is full", "7", "8 bytes", "free some")
    assert (again.exit_code, again.__notes__) == (4, ["it was so before"])
    bare = pickle.loads(pickle.dumps(UsageError("nothing is named")))  # noqa: S301
    assert (str(bare), bare.got, bare.remedy) == ("nothing is named.", None, None)


def test_what_cannot_be_pickled_arrives_as_text():
    lock = Lock()
    again = pickle.loads(pickle.dumps(InputError("it is locked", got=lock)))  # noqa: S301
    assert again.got == str(lock)


def test_errors_with_arguments_of_their_own_arrive_too():
    error = MetricUnavailableError("NIQE cannot be had", short="no package", remedy="install it")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(again), str(again), again.short) == (MetricUnavailableError, str(error), "no package")
