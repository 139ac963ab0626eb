"""Putting a mapping in place: ``kvmppc_create_pte``.

Cases, at the level of the new leaf and on the way down to it:

==============================  ====================================================
what is there                   what happens
==============================  ====================================================
nothing                         a table is linked in, or the leaf is set
a leaf for the same frame       R, C and W of the new leaf are ORed in
a leaf for another frame        it is unmapped first
a larger leaf                   it is unmapped; the missing tables are linked in
a table where the leaf goes     unlinked, flushed, emptied, freed; the leaf is set
==============================  ====================================================

``map_leaf`` does it for a shadow tree (``gp``) as for the VM's own (NULL).

Tables are allocated without the lock: if one is missing, the lock is dropped, one is
allocated, and everything is looked at again, the retry counter included. A table is
published by a release store after it was zeroed, which the walkers' address dependency
relies on.

Source: arch/powerpc/kvm/book3s_64_mmu_radix.c (``kvmppc_create_pte``).
"""

from __future__ import annotations

from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.powerpc.asm.kvm_host import Kvm, KvmNestedGuest
from mkold.kvm.powerpc.radix.pte import (
    entry_table,
    level_pages,
    pte_leaf,
    pte_pfn,
    pte_present,
    table_entry,
    table_index,
)
from mkold.kvm.powerpc.radix.pte_update import kvmppc_radix_update_pte
from mkold.kvm.powerpc.radix.tables import alloc_table, free_table_now
from mkold.kvm.powerpc.radix.unmap import kvmppc_unlink_table, kvmppc_unmap_pte
from mkold.kvm.retry import mmu_invalidate_retry
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    cast,
    kernel,
    parameter,
    smp_store_release,
    u64,
)

# 0 leaves out the check of the retry counter: a seeded fault for the tests.
CHECK_RETRY = parameter("CHECK_RETRY", 1)

CREATED = 0
EAGAIN = 11
ENOMEM = 12
NEED_TABLE = 1 << 32  # | level of the missing table


@kernel
def set_leaf(
    kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest], ptep: Ptr[u64], gfn: u64, pte: u64, level: u64
) -> None:
    """Make ``ptep``, the entry of ``gfn`` at ``level``, the leaf ``pte``."""
    old = READ_ONCE(ptep.value)
    if pte_leaf(old):
        if pte_pfn(old) == pte_pfn(pte):
            kvmppc_radix_update_pte(ptep, 0, pte)
            return
        kvmppc_unmap_pte(kvm, gp, ptep, gfn, level)
    elif pte_present(old):
        kvm.stat.huge_split += 1
        kvmppc_unlink_table(kvm, gp, ptep, gfn, level)
    smp_store_release(ptep.value, pte)


@kernel
def map_leaf(
    kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest], gfn: u64, pte: u64, level: u64,
    spare: Ptr[u64], spare_level: u64,
) -> tuple[u64, Ptr[u64]]:  # fmt: skip
    """Under ``mmu_lock``: go down to ``level`` and set the leaf.

    ``spare`` is a zeroed table of ``spare_level`` to link in where one is missing.

    Returns
    -------
    CREATED, or ``NEED_TABLE | level``; and the spare table if it was not used, else NULL
    """
    root: Ptr[u64] = READ_ONCE(kvm.arch.pgtable)
    if gp != NULL:
        root = gp.shadow_pgtable
    ptep = root + table_index(gfn, 3)
    at = 3
    while at > level:
        entry = READ_ONCE(ptep.value)
        if pte_leaf(entry):
            kvmppc_unmap_pte(kvm, gp, ptep, gfn, at)
            entry = 0
        at -= 1
        if not pte_present(entry):
            if spare == NULL or spare_level != at:
                return NEED_TABLE | at, spare
            entry = table_entry(spare)
            smp_store_release(ptep.value, entry)
            spare = NULL
        ptep = entry_table(entry) + table_index(gfn, at)
    set_leaf(kvm, gp, ptep, gfn, pte, level)
    return CREATED, spare


@kernel
def try_create(
    kvm: Ptr[Kvm], gfn: u64, pte: u64, level: u64, mmu_seq: u64, hva: u64,
    spare: Ptr[u64], spare_level: u64, waits: Ptr[u64],
) -> tuple[u64, Ptr[u64]]:  # fmt: skip
    """One attempt under the lock; as ``map_leaf``, or EAGAIN."""
    kvm_mmu_lock(kvm, waits)
    stale: u64 = not READ_ONCE(kvm.arch.radix)  # a tree that is still there is being freed
    if CHECK_RETRY:
        npages = level_pages(level)
        first = hva - (gfn & (npages - 1))
        stale |= mmu_invalidate_retry(kvm, mmu_seq, first, first + npages)
    if stale:
        kvm_mmu_unlock(kvm)
        return EAGAIN, spare
    result, left = map_leaf(kvm, NULL, gfn, pte, level, spare, spare_level)
    kvm_mmu_unlock(kvm)
    return result, left


@kernel
def kvmppc_create_pte(
    kvm: Ptr[Kvm], gfn: u64, pte: u64, level: u64, mmu_seq: u64, hva: u64, waits: Ptr[u64]
) -> u64:
    """Map ``gfn`` by the leaf ``pte`` at ``level``.

    Parameters
    ----------
    gfn : any page of the leaf
    mmu_seq : ``mmu_invalidate_seq`` as it was before the frame was looked up
    hva : the host page of ``gfn``
    waits : two words, see ``kvm_mmu_lock``

    Returns
    -------
    CREATED, EAGAIN (an invalidation came between, or the tables are gone), ENOMEM

    Ordering
    --------
    Takes ``mmu_lock``. May wait for vCPUs in guest mode, so the caller is in none.
    """
    spare = cast(Ptr[u64], NULL)
    spare_level = 0
    while True:
        result, spare = try_create(
            kvm, gfn, pte, level, mmu_seq, hva, spare, spare_level, waits
        )
        if spare != NULL:
            free_table_now(spare)
            spare = NULL
        if result & NEED_TABLE:
            spare_level = result & 3
            spare = alloc_table(kvm, spare_level)
            if spare == NULL:
                return ENOMEM
        else:
            return result
