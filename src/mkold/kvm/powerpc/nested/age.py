"""Aging of a VM that has guests of its own, without a lock.

Rules
-----
* The caller is in an RCU read section, which keeps L1's tables, the nodes of the reverse map,
  the guests and their shadow tables.
* R of L1's entry goes first, by a compare-and-swap that orders what comes after it; if that
  loses, the entry keeps it, and so may the shadow entries. Then the page's list is walked, and
  R of each shadow entry goes that still maps the page, again by compare-and-swap: an entry that
  has become a table has an address in that bit. One that was changed meanwhile is looked at
  again, so that it does not keep R alone.
* Whoever sets R sets it in the shadow entry, makes sure that the entry can be found, and then
  sets L1's (``fault``, ``create``): so either that comes last and L1's entry has R, or this
  walk finds the shadow entry.
* No TLB is told, as on L1's own tree.
* Of a table of base pages only those entries are looked at one by one that have the accessed
  bit, as in ``radix.age``.
"""

from __future__ import annotations

from mkold.kvm.bitops import __ffs
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.nested.guest import kvmhv_find_nested
from mkold.kvm.powerpc.nested.rmap import nest_rmap_gfn, nest_rmap_lpid, nest_rmap_next
from mkold.kvm.powerpc.nested.shadow import find_kvm_nested_guest_pte, maps_frames
from mkold.kvm.powerpc.nested.spread import nest_rmapp
from mkold.kvm.powerpc.radix.age import SCAN_BLOCK, prefetch_behind
from mkold.kvm.powerpc.radix.pte import (
    _PAGE_ACCESSED,
    level_pages,
    pte_leaf,
    pte_mkold,
    pte_pfn,
    pte_young,
)
from mkold.kvm.powerpc.radix.pte_update import pte_xchg
from mkold.kvm.powerpc.radix.walk import radix_walk_to_table, walk_boundary
from mkold.kvm.young import kvm_should_clear_young
from mkold.lang import NULL, READ_ONCE, READ_ONCE_WHICH, Ptr, cpu_relax, kernel, u64


@kernel
def kvmhv_clear_shadow_young(kvm: Ptr[Kvm], entry: u64, pfn: u64, npages: u64) -> None:
    """Clear R of the shadow entry that ``entry`` names, if it still maps those frames."""
    gp = kvmhv_find_nested(kvm, nest_rmap_lpid(entry))
    if gp == NULL:
        return
    while True:
        ptep, pte, _level = find_kvm_nested_guest_pte(gp, nest_rmap_gfn(entry))
        if not maps_frames(pte, pfn, npages) or not (pte & _PAGE_ACCESSED):
            return
        if pte_xchg(ptep, pte, pte_mkold(pte)):
            return
        cpu_relax()


@kernel
def kvmhv_clear_list_young(kvm: Ptr[Kvm], rmapp: Ptr[u64], pfn: u64, npages: u64) -> None:
    """Clear R of the shadow entries that the page's list names, if they map those frames."""
    word = READ_ONCE(rmapp.value)
    while word:
        entry, word, _node = nest_rmap_next(word)
        kvmhv_clear_shadow_young(kvm, entry, pfn, npages)


@kernel
def kvmhv_age_page(
    kvm: Ptr[Kvm], ptep: Ptr[u64], pte: u64, rmapp: Ptr[u64], npages: u64
) -> None:
    """Clear R of L1's young leaf ``pte`` of ``npages`` pages, then of its shadow entries."""
    if pte_xchg(ptep, pte, pte_mkold(pte)):
        kvmhv_clear_list_young(kvm, rmapp, pte_pfn(pte), npages)


@kernel
def which_accessed(ptep: Ptr[u64], left: u64, rmapp: Ptr[u64]) -> tuple[u64, u64]:
    """Which of the entries from ``ptep`` on have the accessed bit, and of how many that is
    told: a block, or one where ``left`` is less. ``rmapp`` has the first one's list."""
    if left < SCAN_BLOCK:
        return (READ_ONCE(ptep.value) & _PAGE_ACCESSED) != 0, 1
    accessed = READ_ONCE_WHICH(ptep.value, SCAN_BLOCK, _PAGE_ACCESSED)
    if accessed:
        prefetch_behind(ptep)
        prefetch_behind(rmapp)
    return accessed, SCAN_BLOCK


@kernel
def age_nested_table(
    kvm: Ptr[Kvm], ptep: Ptr[u64], n: u64, rmapp: Ptr[u64],
    clear: u64, bitmap: Ptr[u64], bit: u64,
) -> u64:  # fmt: skip
    """Test (and clear) ``n`` base-page entries of one table, the first of which has ``rmapp``
    and ``bit``; how many are young."""
    young = 0
    i = 0
    while i < n:
        accessed, told = which_accessed(ptep + i, n - i, rmapp + i)
        while accessed:
            at = i + __ffs(accessed)
            pte = READ_ONCE(ptep[at])
            if pte_young(pte):
                young += 1
                if kvm_should_clear_young(bitmap, bit - at, clear):
                    kvmhv_age_page(kvm, ptep + at, pte, rmapp + at, 1)
            accessed &= accessed - 1
        i += told
    return young


@kernel
def age_nested_leaf(
    kvm: Ptr[Kvm], ptep: Ptr[u64], pte: u64, npages: u64, n: u64, rmapp: Ptr[u64],
    clear: u64, bitmap: Ptr[u64], bit: u64,
) -> u64:  # fmt: skip
    """Test (and clear) a leaf of ``npages`` pages, ``n`` of them in the range; ``rmapp`` has
    the list of its first page. 1 if young."""
    if not pte_young(pte):
        return 0
    should_clear = 0
    for i in range(n):
        should_clear |= kvm_should_clear_young(bitmap, bit - i, clear)
        if bitmap == NULL:
            break
    if should_clear:
        kvmhv_age_page(kvm, ptep, pte, rmapp, npages)
    return 1


@kernel
def kvmhv_test_clear_young(
    kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> u64:
    """Test (and clear) L1's pages ``[gfn, end)`` of one memslot; entries found young.

    Ordering
    --------
    In an RCU read section; takes no lock and waits for nothing.
    """
    pgtable = READ_ONCE(kvm.arch.pgtable)
    rmapp = nest_rmapp(kvm, gfn)
    young = 0
    while gfn < end:
        ptep, entry, level = radix_walk_to_table(pgtable, gfn)
        after = min(walk_boundary(gfn, max(level, 1)), end)
        n = after - gfn
        bit = last_bit + (end - 1 - gfn)
        if level == 0:
            young += age_nested_table(kvm, ptep, n, rmapp, clear, bitmap, bit)
        elif pte_leaf(entry):
            npages = level_pages(level)
            first = rmapp - (gfn & (npages - 1))
            young += age_nested_leaf(kvm, ptep, entry, npages, n, first, clear, bitmap, bit)
        rmapp = rmapp + n
        gfn = after
    return young
