"""The bound on memory, and what is over it."""

from __future__ import annotations

import resource

import pytest

from mkold.base.errors import LimitError
from mkold.base.memory import allowance, available, in_words, require


def test_there_is_some_and_processes_share_it() -> None:
    assert 0 < allowance() <= available() * 1.1
    assert allowance(4) <= allowance() // 3


def test_over_the_bound_is_an_answer() -> None:
    require(100, 100, "a little")
    with pytest.raises(LimitError, match=r"a lot needs 2.0 GiB of memory, and 1.0 MiB"):
        require(2 << 30, 1 << 20, "a lot")
    with pytest.raises(LimitError):
        require(1 << 60, None, "more than there is")


def test_the_limit_of_the_process_counts() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = available()
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), hard))
    try:
        assert available() <= min(before, 64 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_words() -> None:
    assert [in_words(n) for n in (512, 3 << 20, 5 << 29)] == ["0.5 KiB", "3.0 MiB", "2.5 GiB"]
