"""The host's own work: a periodic aging pass, background eviction, and bookkeeping.

Rules
-----
* ``kswapd_work`` is called again and again by one thread, which sleeps in between. It
  ages when the interval has passed, and evicts when free frames are below the low
  watermark, up to the high one.
* Around each pass it counts, over all pages, how many the guest truly touched since the
  count before and how many of these the host had learned to be young (from the walk, from
  look-around, from eviction). A page that is touched while the walk goes on belongs to this
  pass if the walk saw it and to the next one if not. That count is outside the measured
  time of the pass. Of a large guest it looks at one block of ``BLOCK`` pages in ``sample``,
  since looking takes the guest's marks out of its vCPUs' caches.

Source: mm/vmscan.c (kswapd, balance_pgdat); the pass by interval is what a user of
/sys/kernel/debug/lru_gen does.
"""

from __future__ import annotations

from mkold.kvm.types import KVM_MAX_VCPUS, Kvm
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Array,
    Ptr,
    Struct,
    cast,
    get_cycles,
    kernel,
    u64,
    xchg,
)
from mkold.mm.mglru.evict import shrink_node
from mkold.mm.mglru.walk import try_to_inc_max_seq
from mkold.mm.mm_types import AGING_NONE, Mm
from mkold.sync.rcu import rcu_do_batch

BLOCK = 8  # pages whose marks share a cache line


class Kswapd(Struct):
    """The aging thread's settings and counts; written by it alone once it runs."""

    kvm: Ptr[Kvm]
    mm: Ptr[Mm]
    interval_cycles: u64
    n_guests: u64
    touched: Array[u64, KVM_MAX_VCPUS]  # word address of each vCPU's array
    next_pass: u64
    passes: u64
    young_reported: u64
    young_true: u64
    young_agreed: u64  # touched and reported
    reclaimed: u64
    evict_cycles: u64
    force_scan: u64
    touched_before: Ptr[u64]  # by page: touched before the walk began
    sample: u64  # one block of pages in so many is counted


@kernel
def take_mark(word: Ptr[u64]) -> u64:
    """Read a mark and, if it is set, clear it."""
    if not READ_ONCE(word.value):
        return 0
    return xchg(word.value, 0)


@kernel
def take_touched(kswapd: Ptr[Kswapd], page: u64) -> u64:
    """Whether any vCPU used ``page`` since the last call; starts afresh."""
    touched: u64 = 0
    for i in range(kswapd.n_guests):
        marks = cast(Ptr[u64], kswapd.touched[i])
        touched |= take_mark(marks + page)
    return touched


@kernel
def account_touched(kswapd: Ptr[Kswapd], page: u64) -> None:
    """Before a walk: take down whether the guest has touched ``page``."""
    if take_touched(kswapd, page):
        kswapd.touched_before[page] = 1


@kernel
def account_reported(kswapd: Ptr[Kswapd], page: u64) -> None:
    """After a walk: compare what the host learned of ``page`` with what the guest did."""
    touched = kswapd.touched_before[page]
    reported = take_mark(kswapd.mm.reported + page)
    if touched:
        kswapd.touched_before[page] = 0
    elif reported:
        touched = take_touched(kswapd, page)
    kswapd.young_true += touched
    kswapd.young_reported += reported
    kswapd.young_agreed += touched & reported


@kernel
def account(kswapd: Ptr[Kswapd], after: u64) -> None:
    """All pages that are counted, before a walk or after it."""
    block: u64 = 0
    while block < kswapd.mm.vma_pages:
        for i in range(BLOCK):
            if block + i < kswapd.mm.vma_pages:
                if after:
                    account_reported(kswapd, block + i)
                else:
                    account_touched(kswapd, block + i)
        block += BLOCK * kswapd.sample


@kernel
def age_now(kswapd: Ptr[Kswapd]) -> bool:
    """One aging pass and its bookkeeping; False if a faulting vCPU was at it."""
    mm = kswapd.mm
    account(kswapd, 0)
    if not try_to_inc_max_seq(mm, READ_ONCE(mm.node.lrugen.max_seq), kswapd.force_scan):
        return False
    WRITE_ONCE(kswapd.passes, kswapd.passes + 1)
    account(kswapd, 1)
    return True


@kernel
def kswapd_work(kswapd: Ptr[Kswapd]) -> None:
    """What is due now: age, evict, run callbacks whose grace period has passed."""
    mm = kswapd.mm
    node = mm.node
    if node.lrugen.mode != AGING_NONE and get_cycles() >= kswapd.next_pass:
        kswapd.next_pass = get_cycles() + kswapd.interval_cycles
        age_now(kswapd)
    if READ_ONCE(node.nr_free) < node.watermark_low:
        began = get_cycles()
        kswapd.reclaimed += shrink_node(node, mm, node.watermark_high - node.watermark_low)
        kswapd.evict_cycles += get_cycles() - began
    rcu_do_batch()
