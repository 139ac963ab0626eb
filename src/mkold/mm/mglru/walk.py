"""Aging: the walk over the host's page table that finds young pages.

Rules
-----
* One walk at a time. The walk for ``max_seq`` promotes young folios to ``max_seq``, then
  opens ``max_seq + 1``: so pages found young are in the second youngest generation after
  it, and only pages faulted in since are in the youngest.
* A walk that reclaim needs leaves out tables that the Bloom filter does not name; one
  that the user asks for (by an interval) walks all, as debugfs does with ``force_scan``.
  A table whose lock is taken is left out, and kept for the next walk. Tables dense in
  young entries go into the next walk's filter. A huge entry is always looked at.
* With ``MGLRU_NONLEAF`` 1, and hardware for it (``HW_PMD_YOUNG``), a table whose own entry is
  not young is left out and the bit cleared of one that is walked. Pages that the guest alone
  made young are then not seen. Linux 6.1 does so; since commit 1d4832becdc2 not while
  somebody is subscribed to the notifiers.
* The tables of a locked VMA are left out.
* Aging without any accessed bit (AGING_NONE) only opens a generation. So it does where the
  hardware does not set the bits of the host's own entries (``HW_PTE_YOUNG`` 0): to Linux that
  is what powerpc is, and arm64 without hardware access flags (``arch_has_hw_pte_young``). With
  ``MGLRU_FORCED_WALK`` 1 a pass that the user asks for walks there too (Linux 6.1 does so; not
  a process of less than 64 pages, which no VMM is).

Source: mm/vmscan.c (try_to_inc_max_seq, walk_mm, should_skip_vma, walk_pte_range).
Known limits: tables are visited in order and the walk is not resumed half-way.
"""

from __future__ import annotations

from mkold.lang import (
    READ_ONCE,
    Ptr,
    addr,
    get_cycles,
    kernel,
    parameter,
    smp_processor_id,
    spin_lock,
    spin_trylock,
    spin_unlock,
    u64,
)
from mkold.mm.mglru.bloom import reset_bloom_filter, test_bloom_filter, update_bloom_filter
from mkold.mm.mglru.generations import inc_max_seq, lru_gen_from_seq
from mkold.mm.mglru.young import (
    age_batch,
    clear_young_notify,
    promote,
    reset_batch_size,
    suitable_to_scan,
)
from mkold.mm.mm_types import (
    AGING_NONE,
    MIN_LRU_BATCH,
    NO_INDEX,
    PTE_TABLE_SHIFT,
    TRANSPARENT_HUGEPAGE,
    AgingStats,
    Mm,
)
from mkold.mm.pgtable import (
    HW_PMD_YOUNG,
    HW_PTE_YOUNG,
    pmd_offset,
    pmd_trans_huge,
    pmdp_test_and_clear_young,
    pte_lockptr,
    pte_pfn,
    vma_is_locked,
)

MGLRU_NONLEAF = parameter("MGLRU_NONLEAF", 0)
MGLRU_FORCED_WALK = parameter("MGLRU_FORCED_WALK", 0)


@kernel
def table_is_idle(mm: Ptr[Mm], index: u64) -> bool:
    """Whether the bit of table ``index``'s own entry says that nobody used it; clears it."""
    if not (MGLRU_NONLEAF and HW_PMD_YOUNG):
        return False
    return not pmdp_test_and_clear_young(mm, index)


@kernel
def walk_pte_table(mm: Ptr[Mm], stats: Ptr[AgingStats], index: u64, max_seq: u64) -> bool:
    """Age one table's pages; whether it is worth the next walk."""
    page = mm.vma_start + (index << PTE_TABLE_SHIFT)
    last = min(page + (1 << PTE_TABLE_SHIFT), mm.vma_start + mm.vma_pages)
    ptl = pte_lockptr(mm, page)
    if not spin_trylock(ptl.value):
        stats.tables_contended += 1
        return True
    total = last - page
    young: u64 = 0
    while page < last:
        end = min(page + MIN_LRU_BATCH, last)
        young += age_batch(mm, page, end, lru_gen_from_seq(max_seq), NO_INDEX)
        page = end
    spin_unlock(ptl.value)
    stats.tables_walked += 1
    stats.entries += total
    stats.young += young
    return suitable_to_scan(total, young)


@kernel
def walk_huge_pmd(mm: Ptr[Mm], stats: Ptr[AgingStats], index: u64, max_seq: u64) -> None:
    """Age what a huge entry maps: its bit, and all of its pages in the secondary tables."""
    node = mm.node
    page = mm.vma_start + (index << PTE_TABLE_SHIFT)
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    pmdp = pmd_offset(mm, page)
    pmd = READ_ONCE(pmdp.value)
    if pmd_trans_huge(pmd):
        stats.entries += 1
        if clear_young_notify(mm, page, page + (1 << PTE_TABLE_SHIFT), pmdp):
            stats.young += 1
            scratch = addr(node.scratch[smp_processor_id()])
            promote(node, scratch, pte_pfn(pmd), lru_gen_from_seq(max_seq))
    spin_unlock(ptl.value)


@kernel
def should_skip_vma(mm: Ptr[Mm], index: u64) -> bool:
    """Whether table ``index`` is of a VMA that is not aged."""
    return vma_is_locked(mm, mm.vma_start + (index << PTE_TABLE_SHIFT))


@kernel
def walk_mm(mm: Ptr[Mm], max_seq: u64, force_scan: u64) -> None:
    """Walk every table that is worth it; caller holds ``aging_lock``."""
    node = mm.node
    stats = addr(node.lrugen.aging)
    began = get_cycles()
    reset_bloom_filter(addr(node.lrugen), max_seq + 1)
    for i in range(mm.n_tables):
        table = READ_ONCE(mm.pmd[i])
        if TRANSPARENT_HUGEPAGE and pmd_trans_huge(table):
            walk_huge_pmd(mm, stats, i, max_seq)
        elif should_skip_vma(mm, i):
            continue
        elif table and not READ_ONCE(node.stop) and not table_is_idle(mm, i):
            if force_scan or test_bloom_filter(addr(node.lrugen), max_seq, table):
                if walk_pte_table(mm, stats, i, max_seq):
                    update_bloom_filter(addr(node.lrugen), max_seq + 1, table)
            else:
                stats.tables_filtered += 1
    stats.moved += reset_batch_size(node)
    stats.passes += 1
    stats.cycles += get_cycles() - began


@kernel
def try_to_inc_max_seq(mm: Ptr[Mm], max_seq: u64, force_scan: u64) -> bool:
    """Age generation ``max_seq``; False if it is no longer the youngest, or a walk is on.

    ``force_scan`` walks every table, whatever the Bloom filter says.
    """
    node = mm.node
    if READ_ONCE(node.lrugen.max_seq) != max_seq:
        return False
    if not spin_trylock(node.lrugen.aging_lock):
        return False
    walks = HW_PTE_YOUNG or (MGLRU_FORCED_WALK and force_scan)
    if walks and node.lrugen.mode != AGING_NONE and READ_ONCE(node.lrugen.max_seq) == max_seq:
        walk_mm(mm, max_seq, force_scan)
    aged = inc_max_seq(addr(node.lrugen), max_seq)
    spin_unlock(node.lrugen.aging_lock)
    return aged
