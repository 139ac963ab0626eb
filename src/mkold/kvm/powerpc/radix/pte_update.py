"""Atomic updates of an entry: the two ways to clear the accessed bit, and R/C updates.

* ``pte_xchg`` is, its name notwithstanding, a compare-and-swap: it fails if the entry
  changed, and the bit stays set.
* ``kvmppc_radix_update_pte`` is an atomic clear-and-set of bits that can't fail and orders
  nothing (``ldarx``/``stdcx.`` on hardware).

``CLEAR_YOUNG`` chooses which one aging uses.

Sources: arch/powerpc/include/asm/book3s/64/pgtable.h (``pte_xchg``),
arch/powerpc/kvm/book3s_64_mmu_radix.c (``kvmppc_radix_update_pte``).
"""

from __future__ import annotations

from mkold.kvm.powerpc.radix.pte import _PAGE_ACCESSED, pte_mkold
from mkold.lang import (
    READ_ONCE,
    Ptr,
    atomic_fetch_andnot_relaxed,
    atomic_fetch_or_relaxed,
    cmpxchg,
    kernel,
    parameter,
    try_cmpxchg_relaxed,
    u64,
)

CLEAR_BY_PTE_XCHG = 0
CLEAR_BY_UPDATE_PTE = 1
CLEAR_YOUNG = parameter("CLEAR_YOUNG", CLEAR_BY_PTE_XCHG)


@kernel
def pte_xchg(ptep: Ptr[u64], old: u64, new: u64) -> u64:
    """Replace ``old`` by ``new`` if the entry still holds ``old``; 1 if it did."""
    return cmpxchg(ptep.value, old, new) == old


@kernel
def kvmppc_radix_update_pte(ptep: Ptr[u64], clr: u64, set_: u64) -> u64:
    """Atomically clear the bits ``clr``, then set ``set_``; the entry as it was."""
    if set_ == 0:
        return atomic_fetch_andnot_relaxed(ptep.value, clr)
    if clr == 0:
        return atomic_fetch_or_relaxed(ptep.value, set_)
    old = READ_ONCE(ptep.value)
    while True:
        ok, seen = try_cmpxchg_relaxed(ptep.value, old, (old & ~clr) | set_)
        if ok:
            return old
        old = seen


@kernel
def pte_clear_young(ptep: Ptr[u64], pte: u64) -> None:
    """Clear the accessed bit of an entry just read as ``pte``; other bits stay."""
    if CLEAR_YOUNG == CLEAR_BY_UPDATE_PTE:
        kvmppc_radix_update_pte(ptep, _PAGE_ACCESSED, 0)
    else:
        pte_xchg(ptep, pte, pte_mkold(pte))
