"""Jobs in workers: results, and limits that hold."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import resource
import time

from mkold.base.workers import Died, each, hard_limit


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


class Heavy:
    """Small, and large when it is sent."""

    def __reduce__(self) -> tuple[type, tuple[bytes]]:
        return bytes, (bytes(1 << 34),)


def heavy_at_three(n: int) -> object:
    return Heavy() if n == 3 else n


def abort_at_three(n: int) -> int:
    if n == 3:
        faulthandler.disable()  # pytest's own would tell of it
        os.abort()
    return n


def test_a_result_that_can_t_be_sent_is_out_of_memory_and_the_worker_goes_on() -> None:
    found = dict(each(heavy_at_three, range(6), jobs=1, hard_s=60, memory_bytes=2 << 30))
    assert found.pop(3) == Died("memory")
    assert found == {n: n for n in range(6) if n != 3}


def test_what_a_library_aborts_at_is_out_of_memory() -> None:
    found = dict(each(abort_at_three, range(6), jobs=1, hard_s=60, memory_bytes=2 << 30))
    assert found.pop(3) == Died("memory")


def limits_at(n: int) -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_AS)


def with_a_limit_of_its_own(size: int) -> tuple[int, int]:
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    ((_, found),) = each(limits_at, [0], jobs=1, hard_s=60, memory_bytes=8 << 30)
    assert not isinstance(found, Died)
    return found


def test_a_machine_that_gives_less_than_the_limit_is_fine() -> None:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=lambda: theirs.send(with_a_limit_of_its_own(6 << 30)))
    process.start()
    assert ours.poll(60)
    assert ours.recv() == (6 << 30, 6 << 30)
    process.join()


def test_the_clock_is_kept_to_a_tenth() -> None:
    began = time.process_time()

    def spin(n: int) -> float:
        while True:
            pass

    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    assert dict(each(spin, [0], jobs=1, hard_s=hard_limit(0.5))) == {0: Died("time")}
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - used < 0.75
    assert time.process_time() - began < 0.5


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
