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

Known limits: entry by entry, without the wide scan of ``radix.age``.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.nested.guest import kvmhv_find_nested
from mkold.kvm.powerpc.nested.rmap import nest_rmap_gfn, nest_rmap_lpid, nest_rmap_next
from mkold.kvm.powerpc.nested.shadow import find_kvm_nested_guest_pte, maps_frames
from mkold.kvm.powerpc.nested.spread import nest_rmapp
from mkold.kvm.powerpc.radix.pte import (
    _PAGE_ACCESSED,
    level_pages,
    pte_leaf,
    pte_mkold,
    pte_pfn,
    pte_young,
)
from mkold.kvm.powerpc.radix.pte_update import pte_xchg
from mkold.kvm.powerpc.radix.walk import radix_walk, walk_boundary
from mkold.kvm.young import kvm_should_clear_young
from mkold.lang import NULL, READ_ONCE, Ptr, cpu_relax, kernel, u64


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
def kvmhv_age_page(
    kvm: Ptr[Kvm], ptep: Ptr[u64], pte: u64, rmapp: Ptr[u64], npages: u64
) -> None:
    """Clear R of L1's young leaf ``pte`` of ``npages`` pages, then of its shadow entries."""
    if not pte_xchg(ptep, pte, pte_mkold(pte)):
        return
    word = READ_ONCE(rmapp.value)
    while word:
        entry, word, _node = nest_rmap_next(word)
        kvmhv_clear_shadow_young(kvm, entry, pte_pfn(pte), npages)


@kernel
def wanted(n: u64, clear: u64, bitmap: Ptr[u64], bit: u64) -> u64:
    """Whether to clear R of a leaf of which ``n`` pages are in the range; it is marked."""
    should_clear = 0
    for i in range(n):
        should_clear |= kvm_should_clear_young(bitmap, bit - i, clear)
        if bitmap == NULL:
            break
    return should_clear


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
    young = 0
    while gfn < end:
        ptep, pte, level = radix_walk(pgtable, gfn)
        after = min(walk_boundary(gfn, level), end)
        if pte_leaf(pte) and pte_young(pte):
            young += 1
            if wanted(after - gfn, clear, bitmap, last_bit + (end - 1 - gfn)):
                npages = level_pages(level)
                rmapp = nest_rmapp(kvm, gfn & ~(npages - 1))
                kvmhv_age_page(kvm, ptep, pte, rmapp, npages)
        gfn = after
    return young
