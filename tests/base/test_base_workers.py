"""Jobs in workers: results, and limits that hold."""

from __future__ import annotations

import os
import time

from mkold.base.workers import Died, each


def square(n: int) -> int:
    return n * n


def sleep_at_three(n: int) -> int:
    time.sleep(60 if n == 3 else 0)
    return n


def spin_at_three(n: int) -> int:
    while n == 3:
        pass
    return n


def die_at_three(n: int) -> int:
    if n == 3:
        os._exit(5)
    return n


def hoard_at_three(n: int) -> int:
    return len(bytearray(1 << 34)) if n == 3 else n


def test_every_item_once() -> None:
    assert dict(each(square, range(100), jobs=2, hard_s=60)) == {n: n * n for n in range(100)}


def test_no_items() -> None:
    assert list(each(square, [], jobs=2, hard_s=60)) == []


def test_a_job_that_hangs_is_killed_and_the_rest_goes_on() -> None:
    began = time.monotonic()
    found = dict(each(sleep_at_three, range(10), jobs=1, hard_s=0.1))
    assert time.monotonic() - began < 20
    assert found.pop(3) == Died("time")
    assert found == {n: n for n in range(10) if n != 3}


def test_a_job_that_spins_is_killed_by_its_processor_time() -> None:
    found = dict(each(spin_at_three, range(10), jobs=2, hard_s=0.5))
    assert found.pop(3) == Died("time")
    assert found == {n: n for n in range(10) if n != 3}


def test_a_job_that_dies_takes_only_itself() -> None:
    found = dict(each(die_at_three, range(10), jobs=2, hard_s=60))
    assert found.pop(3) == Died("crash")
    assert len(found) == 9


def test_a_job_that_hoards_memory_ends() -> None:
    found = dict(each(hoard_at_three, range(6), jobs=1, hard_s=60, memory_bytes=2 << 30))
    assert found.pop(3) == Died("memory")
    assert len(found) == 5


def test_closing_early_stops_the_workers() -> None:
    results = each(sleep_at_three, range(10), jobs=2, hard_s=60)
    next(results)
    began = time.monotonic()
    results.close()
    assert time.monotonic() - began < 10
