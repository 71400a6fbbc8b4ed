from __future__ import annotations

import multiprocessing

import pytest

from dgafvsr.errors import InputError, UsageError
from dgafvsr.training.data.problems import Problem, ProblemList


def test_each_source_counts_once():
    problems = ProblemList(10)
    for _ in range(3):
        problems.add("b", "unreadable", "torn")
    problems.add("a", "too short", "1 frame")
    assert list(problems) == [Problem("a", "too short", "1 frame"), Problem("b", "unreadable", "torn")]
    assert problems.summary() == "a is skipped (too short): 1 frame\nb is skipped (unreadable): torn"
    assert problems.is_unreadable("b")
    assert not problems.is_unreadable("a")


def test_too_many_unreadable_sources_are_an_error():
    problems = ProblemList(30)
    for name in "abc":
        problems.add(name, "unreadable", "torn")
    for name in "pqrst":
        problems.add(name, "too short", "1 frame")
    with pytest.raises(InputError, match=r"4 of 30 training sources.*at most 10%"):
        problems.add("d", "unreadable", "torn")


def test_one_of_a_few_is_borne_and_the_only_one_is_not():
    ProblemList(3).add("a", "unreadable", "torn")
    with pytest.raises(InputError, match="1 of 1"):
        ProblemList(1).add("a", "unreadable", "torn")
    with pytest.raises(UsageError, match="share"):
        ProblemList(3, bad_share=2)


def _find(problems: ProblemList, name: str) -> None:
    problems.add(name, "unreadable", "torn")


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_what_workers_find_is_told_in_the_main_process(method):
    problems = ProblemList(100)
    context = multiprocessing.get_context(method)
    workers = [context.Process(target=_find, args=(problems, name)) for name in ("a", "b", "a")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [problem.source for problem in problems] == ["a", "b"]
    assert [worker.exitcode for worker in workers] == [0, 0, 0]


def test_the_list_s_file_goes_with_it():
    problems = ProblemList(10)
    problems.add("a", "too short", "1 frame")
    folder = problems._file.parent
    assert folder.exists()
    del problems
    assert not folder.exists()
