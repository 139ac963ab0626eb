"""Frames: allocate and free one, from lists of each CPU's own.

Rules
-----
* A frame is ``1 << PAGE_SHIFT`` words of the machine's memory; its number is its word
  address shifted right by that. Frame 0 does not exist; 0 says "none".
* Each CPU keeps a list with a lock of its own, which others take only when all else is
  empty; so the usual path touches no shared cache line. Lists are refilled from, and
  emptied into, the zone's list, ``PCP_BATCH`` frames at a time.
* Links lie beside the frames, not in them: a free frame is all POISON.
* An allocation fails only if no frame is free anywhere.

Source: mm/page_alloc.c (per-CPU pages, rmqueue_bulk, free_pcppages_bulk).
Known limits: single frames only, one zone.
"""

from __future__ import annotations

from mkold.ir.boot import MEMBLOCK, PAGE_ALLOC, PAGE_ALLOC_CPU
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Array,
    Ptr,
    Struct,
    addr,
    atomic_fetch_add_relaxed,
    cast,
    kernel,
    parameter,
    poison,
    smp_processor_id,
    spin_lock,
    spin_unlock,
    spinlock_t,
    u64,
    unpoison,
)
from mkold.sync.rcu import NR_CPUS

# log2 of the words in a frame: 9 is 4 KiB, 13 is 64 KiB.
PAGE_SHIFT = parameter("PAGE_SHIFT", 9)
PCP_BATCH = parameter("PCP_BATCH", 32)
PCP_HIGH = parameter("PCP_HIGH", 96)


class MemBlock(Struct):
    """Memory for what is never given back: tables of links, slabs."""

    next: u64
    end: u64


class Zone(Struct):
    """All frames; ``links[pfn - first_pfn]`` is the next in the list that holds ``pfn``."""

    lock: spinlock_t
    head: u64
    nr_free: u64  # in the zone's own list
    pad: Array[u64, 5]
    first_pfn: u64
    n_frames: u64
    links: Ptr[u64]


class PerCpuPages(Struct):
    """One CPU's list."""

    lock: spinlock_t
    head: u64
    count: u64
    pad: Array[u64, 5]


@kernel
def memblock_init(start: u64, end: u64) -> None:
    """Say which words ``memblock_alloc`` hands out; ``start`` is a multiple of 8."""
    block = cast(Ptr[MemBlock], MEMBLOCK)
    block.next = start
    block.end = end


@kernel
def memblock_alloc(n_words: u64) -> u64:
    """``n_words`` words on a cache line's start, never to be given back; 0: no more."""
    block = cast(Ptr[MemBlock], MEMBLOCK)
    n_words = (n_words + 7) & ~7
    start = atomic_fetch_add_relaxed(block.next, n_words)
    end = READ_ONCE(block.end)
    if start > end or end - start < n_words:
        return 0
    return start


@kernel
def this_zone() -> Ptr[Zone]:
    """The machine's one zone."""
    return cast(Ptr[Zone], PAGE_ALLOC)


@kernel
def pcp_of(cpu: u64) -> Ptr[PerCpuPages]:
    """A CPU's list."""
    return cast(Ptr[PerCpuPages], PAGE_ALLOC_CPU) + cpu


@kernel
def page_link(zone: Ptr[Zone], pfn: u64) -> Ptr[u64]:
    """The link of a frame."""
    return zone.links + (pfn - zone.first_pfn)


@kernel
def page_poison(pfn: u64) -> None:
    """Fill a frame with POISON."""
    poison(cast(Ptr[u64], pfn << PAGE_SHIFT).value, 1 << PAGE_SHIFT)


@kernel
def page_alloc_init(first_pfn: u64, n_frames: u64, links: Ptr[u64]) -> None:
    """Make ``n_frames`` frames free; ``links`` has a word for each. Runs alone."""
    zone = this_zone()
    zone.first_pfn = first_pfn
    zone.n_frames = n_frames
    zone.links = links
    zone.head = 0
    for i in range(n_frames):
        pfn = first_pfn + n_frames - 1 - i
        page_poison(pfn)
        links[pfn - first_pfn] = zone.head
        zone.head = pfn
    WRITE_ONCE(zone.nr_free, n_frames)


@kernel
def move_pages(zone: Ptr[Zone], source: Ptr[u64], target: Ptr[u64], n: u64) -> None:
    """Move ``n`` frames from the list that the word ``source`` heads to ``target``'s."""
    for _ in range(n):
        pfn = source.value
        link = page_link(zone, pfn)
        source.value = link.value
        link.value = target.value
        target.value = pfn


@kernel
def rmqueue_bulk(zone: Ptr[Zone], pcp: Ptr[PerCpuPages]) -> None:
    """Move up to a batch of frames from the zone's list to a CPU's."""
    spin_lock(zone.lock)
    n = min(PCP_BATCH, zone.nr_free)
    move_pages(zone, addr(zone.head), addr(pcp.head), n)
    WRITE_ONCE(zone.nr_free, zone.nr_free - n)
    WRITE_ONCE(pcp.count, pcp.count + n)
    spin_unlock(zone.lock)


@kernel
def free_pcppages_bulk(zone: Ptr[Zone], pcp: Ptr[PerCpuPages]) -> None:
    """Move a batch of frames from a CPU's list to the zone's."""
    spin_lock(zone.lock)
    n = min(PCP_BATCH, pcp.count)
    move_pages(zone, addr(pcp.head), addr(zone.head), n)
    WRITE_ONCE(zone.nr_free, zone.nr_free + n)
    WRITE_ONCE(pcp.count, pcp.count - n)
    spin_unlock(zone.lock)


@kernel
def pcp_take(zone: Ptr[Zone], cpu: u64) -> u64:
    """Take a frame from a CPU's list, refilled from the zone if it is empty; 0: none."""
    pcp = pcp_of(cpu)
    spin_lock(pcp.lock)
    if pcp.count == 0 and READ_ONCE(zone.nr_free) != 0:
        rmqueue_bulk(zone, pcp)
    pfn = 0
    if pcp.count != 0:
        pfn = pcp.head
        pcp.head = page_link(zone, pfn).value
        WRITE_ONCE(pcp.count, pcp.count - 1)
    spin_unlock(pcp.lock)
    return pfn


@kernel
def alloc_page() -> u64:
    """A frame's number, or 0 if none is free; its content is POISON."""
    zone = this_zone()
    cpu = smp_processor_id()
    pfn = pcp_take(zone, cpu)
    for i in range(NR_CPUS):
        if pfn != 0:
            break
        if READ_ONCE(pcp_of(i).count) != 0:
            pfn = pcp_take(zone, i)
    if pfn != 0:
        unpoison(cast(Ptr[u64], pfn << PAGE_SHIFT).value, 1 << PAGE_SHIFT)
    return pfn


@kernel
def free_page(pfn: u64) -> None:
    """Give a frame back."""
    zone = this_zone()
    page_poison(pfn)
    pcp = pcp_of(smp_processor_id())
    spin_lock(pcp.lock)
    link = page_link(zone, pfn)
    link.value = pcp.head
    pcp.head = pfn
    WRITE_ONCE(pcp.count, pcp.count + 1)
    if pcp.count > PCP_HIGH:
        free_pcppages_bulk(zone, pcp)
    spin_unlock(pcp.lock)


@kernel
def nr_free_pages() -> u64:
    """How many frames are free; exact while nobody allocates."""
    n = READ_ONCE(this_zone().nr_free)
    for cpu in range(NR_CPUS):
        n += READ_ONCE(pcp_of(cpu).count)
    return n
