"""What the allocator keeps and gives back, seen from the resident set."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dgafvsr import host_memory
from dgafvsr.host_memory import keep_freed_memory, return_freed_memory

glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are not asked")


@glibc_only
def test_freed_memory_goes_back_to_the_system():
    def resident():
        return os.sysconf("SC_PAGE_SIZE") * int(Path("/proc/self/statm").read_text().split()[1])

    blocks = [bytearray(64 * 1024) for _ in range(2000)]
    last = blocks.pop()  # at the end of the heap: without it the allocator gives the rest back by itself
    blocks.clear()
    before = resident()
    return_freed_memory()
    assert before - resident() > 50_000_000
    assert len(last) == 64 * 1024


PROGRAM = """
import resource
from dgafvsr.host_memory import keep_freed_memory, return_freed_memory
{keep}
bytearray(300_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    bytearray(300_000_000)  # cleared by calloc: every page of it is touched, or comes cleared from the system
kept = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
return_freed_memory()
left = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
print(kept, left)
"""


@glibc_only
@pytest.mark.parametrize(("keep", "is_kept"), [("", False), ("keep_freed_memory()", True)])
def test_large_blocks_are_kept_where_that_is_wanted_and_still_can_be_given_back(keep, is_kept):
    run = [sys.executable, "-c", PROGRAM.format(keep=keep)]
    kept, left = map(int, subprocess.run(run, check=True, capture_output=True, text=True).stdout.split())
    assert (kept > 300_000_000) == is_kept
    assert left < 150_000_000


@pytest.mark.parametrize("library", [None, SimpleNamespace()])
def test_other_systems_and_libraries_are_left_alone(monkeypatch, library):
    monkeypatch.setattr(host_memory.sys, "platform", "darwin" if library is None else "linux")
    monkeypatch.setattr(host_memory.ctypes, "CDLL", lambda name: library)
    keep_freed_memory()
    return_freed_memory()
