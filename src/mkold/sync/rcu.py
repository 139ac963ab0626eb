"""RCU: readers that write only their own CPU's cache line, grace periods, callbacks.

Rules
-----
* Each CPU has a word: in its low half how deep it is in read-side critical sections, in
  ``PHASE`` the grace period's phase when it entered the outermost.
* A grace period flips the phase twice and after each flip waits for every CPU that is
  inside with the old phase. Once is not enough: a reader may have read the old phase and
  not yet published it.
* ``smp_mb()`` in reader and updater: after the reader's entry and before its exit, at both
  ends of the grace period.
* ``call_rcu`` only queues, in its CPU's ring; it may be called anywhere. Each CPU runs its
  own callbacks in ``rcu_do_batch()``, which waits for a grace period: call it where no
  lock is held and outside read-side critical sections. ``rcu_core()`` does so once more
  than ``RCU_QHIMARK`` are queued, for CPUs that have something better to do.

Sources: Alglave, Maranget, McKenney, Parri, Stern, "Frightening small children and
disconcerting grown-ups", ASPLOS 2018, section 6 (this algorithm and its proof);
include/linux/rcupdate.h, kernel/rcu/tree.c (``qhimark``).

Known limits: at most ``MAX_CPUS`` CPUs; a full ring is a BUG.
"""

from __future__ import annotations

from mkold.ir.boot import (
    MAX_CPUS,
    N_WORDS,
    RCU_CPU,
    RCU_GP,
    RCU_GP_LOCK,
    RCU_RING_ENTRIES,
    RCU_RING_WORDS,
)
from mkold.lang import (
    BUG_ON,
    READ_ONCE,
    WRITE_ONCE,
    Array,
    Ptr,
    Struct,
    cast,
    cpu_relax,
    kernel,
    parameter,
    smp_mb,
    smp_processor_id,
    spin_lock,
    spin_unlock,
    spinlock_t,
    u64,
)

# CPUs that a grace period looks at; a smaller number makes a smaller program to explore.
NR_CPUS = parameter("NR_CPUS", MAX_CPUS)

# Callbacks that a CPU may have queued before rcu_core() runs them; 0: it never does.
RCU_QHIMARK = parameter("RCU_QHIMARK", 256)

PHASE = 1 << 32
NEST_MASK = PHASE - 1


class RcuCpu(Struct):
    """One CPU's line."""

    nesting: u64
    head: u64  # callbacks queued so far
    tail: u64  # callbacks run so far
    pad: Array[u64, 5]


class Callback(Struct):
    """One entry of a CPU's ring."""

    function: u64
    word: u64


@kernel
def rcu_cpu(cpu: u64) -> Ptr[RcuCpu]:
    """A CPU's line."""
    return cast(Ptr[RcuCpu], RCU_CPU) + cpu


@kernel
def __rcu_read_lock() -> None:
    """``rcu_read_lock``."""
    this = rcu_cpu(smp_processor_id())
    nesting = READ_ONCE(this.nesting)
    if nesting & NEST_MASK == 0:
        phase = READ_ONCE(cast(Ptr[u64], RCU_GP).value)
        WRITE_ONCE(this.nesting, phase | 1)
        smp_mb()
    else:
        WRITE_ONCE(this.nesting, nesting + 1)


@kernel
def __rcu_read_unlock() -> None:
    """``rcu_read_unlock``."""
    this = rcu_cpu(smp_processor_id())
    smp_mb()
    WRITE_ONCE(this.nesting, READ_ONCE(this.nesting) - 1)


@kernel
def rcu_gp_ongoing(cpu: u64, phase: u64) -> bool:
    """Whether ``cpu`` is in a critical section that began before ``phase``."""
    nesting = READ_ONCE(rcu_cpu(cpu).nesting)
    return nesting & NEST_MASK != 0 and (nesting ^ phase) & PHASE != 0


@kernel
def rcu_flip_and_wait() -> None:
    """Flip the phase and wait for those who entered under the old one."""
    gp = cast(Ptr[u64], RCU_GP)
    phase = READ_ONCE(gp.value) ^ PHASE
    WRITE_ONCE(gp.value, phase)
    for cpu in range(NR_CPUS):
        while rcu_gp_ongoing(cpu, phase):
            cpu_relax()


@kernel
def __synchronize_rcu() -> None:
    """``synchronize_rcu``."""
    lock = cast(Ptr[spinlock_t], RCU_GP_LOCK)
    smp_mb()
    spin_lock(lock.value)
    rcu_flip_and_wait()
    rcu_flip_and_wait()
    spin_unlock(lock.value)
    smp_mb()


@kernel
def rcu_ring_entry(cpu: u64, index: u64) -> Ptr[Callback]:
    """Entry ``index`` of a CPU's ring."""
    rings = READ_ONCE(cast(Ptr[u64], N_WORDS).value)
    return cast(Ptr[Callback], rings + cpu * RCU_RING_WORDS) + index % RCU_RING_ENTRIES


@kernel
def __call_rcu(function: u64, word: u64) -> None:
    """``call_rcu``: queue ``function(word)``; ``function`` is its word."""
    cpu = smp_processor_id()
    this = rcu_cpu(cpu)
    BUG_ON(this.head - this.tail == RCU_RING_ENTRIES)
    entry = rcu_ring_entry(cpu, this.head)
    entry.function = function
    entry.word = word
    this.head += 1


@kernel
def rcu_invoke(function: u64, word: u64) -> None:
    """Run ``function(word)``; each build puts its callbacks here."""


@kernel
def rcu_pending() -> u64:
    """How many callbacks this CPU has queued."""
    this = rcu_cpu(smp_processor_id())
    return this.head - this.tail


@kernel
def rcu_do_batch() -> u64:
    """Wait for a grace period and run what this CPU queued before it; how many."""
    cpu = smp_processor_id()
    this = rcu_cpu(cpu)
    end = this.head
    n = end - this.tail
    if n == 0:
        return 0
    __synchronize_rcu()
    while this.tail != end:
        entry = rcu_ring_entry(cpu, this.tail)
        rcu_invoke(entry.function, entry.word)
        this.tail += 1
    return n


@kernel
def rcu_core() -> None:
    """``rcu_do_batch`` if many callbacks are queued here; cheap otherwise."""
    if RCU_QHIMARK and rcu_pending() > RCU_QHIMARK:
        rcu_do_batch()
