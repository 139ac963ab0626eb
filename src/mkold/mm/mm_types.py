"""Structs and words of the host's memory that several rooms share.

Rules
-----
* One host process (the VMM) with one anonymous VMA backs one or more guests. A *host
  page* ("hva page") is a virtual address divided by the page size; pages of the VMA
  count from ``vma_start``.
* A page-table entry (``pte_t``) is one word. Its bits follow the powerpc radix layout
  (present, read, write, referenced, changed), the frame number sits at bit 12 and up
  whatever the page size.
* ``pmd[i]`` holds the word address of page table ``i`` or 0; table ``i`` maps
  ``PTRS_PER_PTE`` pages. A table, once there, stays until the process ends. With
  ``TRANSPARENT_HUGEPAGE`` it may hold a present entry instead (``mm/huge/pmd.py``).
* A frame's content is ``PAGE_WORDS`` words at ``pfn << PAGE_SHIFT``; a frame number is a
  word address divided by the page size, so pointers and entries name the same memory.
* Every frame under the LRU has a ``Folio``; ``pfn - node.start_pfn`` indexes them.

Lock order: ``aging_lock``, page-table lock (``ptl``), then ``lru_lock`` or, in a notifier
callback, ``mmu_lock``; never the other way round.

Sources: include/linux/mm_types.h, include/linux/mmzone.h,
arch/powerpc/include/asm/book3s/64/pgtable.h. Known limits: one VMA, and with ``VM_LOCKED`` one
that is locked from the start, in tables of its own; order-0 anonymous folios, one node.
"""

from __future__ import annotations

from mkold.lang import Array, Ptr, Struct, parameter, u64
from mkold.mm.page_alloc import PAGE_SHIFT as PAGE_SHIFT  # log2 of the words in a page

# log2 of the entries in one host page table (a table is one page on 4 KiB hosts).
PTE_TABLE_SHIFT = parameter("PTE_TABLE_SHIFT", 9)
# 1: the process's memory may be mapped by huge entries, an area of a table each (``mm/huge``).
TRANSPARENT_HUGEPAGE = parameter("TRANSPARENT_HUGEPAGE", 0)
# 1: the process has a second VMA, which it locked (``mlock``).
VM_LOCKED = parameter("VM_LOCKED", 0)

# Host page-table entry.
PTE_PRESENT = 1 << 63
PTE_CONT = 1 << 58  # of a folded block (``mm/contpte.py``)
PTE_SWAP = 1 << 61  # not present: the content is in the swap area
PTE_ACCESSED = 0x100
PTE_DIRTY = 0x080
PTE_READ = 0x4
PTE_WRITE = 0x2
PTE_PFN_SHIFT = 12
PTE_PFN_MASK = 0x001FFFFFFFFFF000

# ``hva_to_pfn`` results that are not frame numbers (``pfn >= PFN_ERR``).
PFN_ERR = 1 << 62
PFN_ERR_FAULT = PFN_ERR | 1  # outside the VMA
PFN_ERR_RETRY = PFN_ERR | 2  # no frame right now: hold nothing, then ask again

# Generations (include/linux/mmzone.h).
MIN_NR_GENS = 2
MAX_NR_GENS = 4
MAX_NR_TIERS = 4
MIN_LRU_BATCH = 64
MAX_LRU_BATCH = 4096
PAGEVEC_SIZE = 31  # folios that a CPU collects before they are put on lists

# folio.flags. The generation is stored plus one; 0 means on no list.
FOLIO_GEN_MASK = 0x7
FOLIO_REFERENCED = 0x8
FOLIO_WORKINGSET = 0x10
FOLIO_REFS_SHIFT = 5
FOLIO_REFS_MASK = 0x60  # accesses beyond the first (``tiers.py``)
FOLIO_ACTIVE = 0x80  # on no list, and to be added as a used one
FOLIO_YOUNG = 0x100  # both: ``page_idle.py``
FOLIO_IDLE = 0x200

# What the aging walk and the eviction may use to learn about accesses.
AGING_NONE = 0
AGING_LOCKED = 1
AGING_LOCKLESS = 2

N_CPUS = 64  # one a thread: ir.boot.MAX_CPUS
CACHE_LINE = 8  # words
BLOOM_WORDS = 512  # 2 ** 15 bits


class ListHead(Struct):
    """``struct list_head``: word addresses of list heads; empty points at itself."""

    next: Ptr[ListHead]
    prev: Ptr[ListHead]


class Folio(Struct):
    """One frame of anonymous memory; 8 words, so that a folio is a cache line.

    ``flags`` is atomic. ``index`` is the host page that maps it (one process, mapped at
    most once, so the reverse map is this word); ``NO_INDEX`` when nothing does. ``head`` and
    ``mapped`` are of large folios (``mm/large_folio.py``).
    """

    lru: ListHead
    flags: u64
    index: u64
    head: u64
    mapped: u64
    pad: Array[u64, 2]


NO_INDEX = (1 << 64) - 1


class Bloom(Struct):
    """One Bloom filter of 2**15 bits."""

    bits: Array[u64, BLOOM_WORDS]


class AgingStats(Struct):
    """What the aging walk did; under ``aging_lock``."""

    passes: u64
    cycles: u64  # spent in walks
    entries: u64  # entries looked at
    young: u64  # of them, young in the host's or a secondary table
    tables_walked: u64
    tables_filtered: u64  # left out because the Bloom filter said so
    tables_contended: u64  # left out because a fault held the table's lock
    moved: u64  # folios promoted


class LruGen(Struct):
    """``struct lru_gen_folio``: the generations of one memory group (anonymous only).

    ``max_seq`` and ``min_seq`` only grow; generation ``seq % MAX_NR_GENS`` holds the
    folios of ``seq``. Lists are under ``lru_lock``; ``nr_pages`` is atomic because the
    aging walk moves folios between generations without touching the lists.
    """

    lru_lock: u64
    aging_lock: u64  # one walk at a time
    pad0: Array[u64, 6]
    max_seq: u64
    min_seq: u64
    mode: u64  # AGING_NONE, AGING_LOCKED or AGING_LOCKLESS
    pad1: u64
    filter_valid: Array[u64, 2]
    pad2: Array[u64, 2]
    aging: AgingStats
    lists: Array[ListHead, MAX_NR_GENS]
    nr_pages: Array[u64, MAX_NR_GENS]
    timestamps: Array[u64, MAX_NR_GENS]  # cycles at which the generation was born
    refaulted: Array[u64, MAX_NR_TIERS]  # atomic, as ``evicted``; all five: see tiers
    evicted: Array[u64, MAX_NR_TIERS]
    protected: Array[u64, MAX_NR_TIERS]
    avg_refaulted: Array[u64, MAX_NR_TIERS]
    avg_total: Array[u64, MAX_NR_TIERS]
    pad3: Array[u64, 4]
    filters: Array[Bloom, 2]


class VmEvents(Struct):
    """Event counters of one CPU, written by it alone; two cache lines."""

    pgfault: u64
    pgfault_zero: u64  # mapped the shared zero page
    pgfault_cow: u64  # replaced it
    pswpin: u64
    pswpout: u64
    workingset_refault: u64  # came back after eviction
    workingset_activate: u64  # ... so soon that keeping it would have paid
    pgsteal: u64  # frames freed by eviction
    allocstall: u64  # a fault had to reclaim by itself
    rotated: u64  # second chances given by eviction
    look_around: u64
    stall_cycles: u64  # cycles spent in faults waiting for swap
    direct_cycles: u64  # cycles spent in direct reclaim
    pad: Array[u64, 3]


class Scratch(Struct):
    """Working memory of one CPU: a bitmap word, batch counts, isolated folios."""

    bitmap: u64
    n_isolated: u64
    lru_add: u64  # folios of this CPU's batch, which is emptied when it is full
    batch: Array[u64, PAGEVEC_SIZE]
    alone: u64  # eviction asks about the page alone, and looks not at its neighbours
    nr_pages: Array[u64, MAX_NR_GENS]
    isolated: Array[u64, MIN_LRU_BATCH]


class Node(Struct):
    """``struct pglist_data``: the frames of the host, their folios, swap, the LRU."""

    start_pfn: u64
    n_frames: u64
    zero_pfn: u64  # the shared zero page; never on the LRU, never freed
    watermark_low: u64  # free frames: eviction starts below this
    watermark_high: u64  # ... and stops here
    swap_cycles: u64  # latency of reading one page from swap, in cycles
    nr_free: u64  # atomic; mirrors the allocator's count
    stop: u64  # eviction and waiting end soon after this is set
    folios: Ptr[Folio]
    huge_pfn: u64  # frames of large folios (``mm/large_frames.py``)
    n_huge: u64
    huge_used: u64
    huge_left: Ptr[u64]
    pad: Array[u64, 3]
    lrugen: LruGen
    events: Array[VmEvents, N_CPUS]
    scratch: Array[Scratch, N_CPUS]


class Mm(Struct):
    """``struct mm_struct`` of the VMM: one anonymous VMA and its page table.

    ``notifier_subscriptions`` belongs to ``mmu_notifier`` (a word address or 0).
    ``ptl`` points at one lock per table, a cache line each. ``swap_area`` holds page
    ``i``'s content at ``i << PAGE_SHIFT``; ``reported`` is one word per page, set by
    whoever finds the page young (statistics only; 0 switches it off). ``locked_start`` and
    ``locked_pages`` are the locked VMA.
    """

    vma_start: u64
    vma_pages: u64
    pmd: Ptr[u64]
    n_tables: u64
    ptl: Ptr[u64]
    page_table_lock: u64
    next_table: Ptr[u64]  # the next unused table; under page_table_lock
    notifier_subscriptions: u64
    node: Ptr[Node]
    swap_area: u64
    reported: Ptr[u64]
    locked_start: u64
    locked_pages: u64
    pad: Array[u64, 3]
