"""The kernel Python that runs a scenario over and over: reset, start together, note the end.

Thread 0 resets the scenario's memory and notes outcomes; the others wait at barriers.
"""

from __future__ import annotations

from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    atomic_inc_return,
    cpu_relax,
    kernel,
    smp_load_acquire,
    smp_store_release,
    u64,
)


class Torture(Struct):
    """``heap`` is reset from ``shadow``, the allocators' words from theirs; outcomes are
    rows of ``log``, one a round."""

    arrived: u64
    n_threads: u64
    heap: Ptr[u64]
    shadow: Ptr[u64]
    n_words: u64
    boot: Ptr[u64]
    boot_shadow: Ptr[u64]
    n_boot: u64
    log: Ptr[u64]
    n_watched: u64
    watched: Ptr[u64]  # addresses
    n_results: u64
    results: Ptr[u64]
    phase: u64
    ended: Ptr[u64]  # a thread: its rounds that are done


@kernel
def torture_barrier(t: Ptr[Torture]) -> None:
    """All threads meet."""
    phase = READ_ONCE(t.phase)
    if atomic_inc_return(t.arrived) == t.n_threads:
        WRITE_ONCE(t.arrived, 0)
        smp_store_release(t.phase, phase + 1)
    else:
        while smp_load_acquire(t.phase) == phase:
            cpu_relax()


@kernel
def torture_begin(t: Ptr[Torture], me: u64) -> None:
    """The memory is as the scenario built it, and every thread starts now."""
    if me == 0:
        for i in range(t.n_words):
            t.heap[i] = t.shadow[i]
        for i in range(t.n_boot):
            t.boot[i] = t.boot_shadow[i]
        for i in range(t.n_results):
            t.results[i] = 0
    torture_barrier(t)


@kernel
def torture_end(t: Ptr[Torture], me: u64, row: u64) -> None:
    """Every thread is done; thread 0 notes the outcome in row ``row`` of the log."""
    WRITE_ONCE(t.ended[me], row + 1)
    torture_barrier(t)
    if me == 0:
        width = t.n_watched + t.n_results
        for i in range(t.n_watched):
            at = t.watched[i]
            t.log[row * width + i] = t.heap[at]
        for i in range(t.n_results):
            t.log[row * width + t.n_watched + i] = t.results[i]
