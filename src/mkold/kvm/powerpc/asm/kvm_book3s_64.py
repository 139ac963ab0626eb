"""Prototypes of what ``nested`` defines and ``radix`` calls.

They are hooks, as ``nested`` stands on ``radix``: what happens to an entry of L1's tree has to
happen to the shadow entries of its page.

Source: arch/powerpc/include/asm/kvm_book3s_64.h.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.lang import Ptr, hook, parameter, u64

# 1: the fast path ages a VM that has guests of its own; 0: it refuses.
NESTED_LOCKLESS = parameter("NESTED_LOCKLESS", 0)


@hook
def kvmhv_remove_nest_rmap_range(kvm: Ptr[Kvm], gfn: u64, pfn: u64, npages: u64) -> None:
    """Under ``mmu_lock``: L1's leaf for ``npages`` pages from ``gfn`` on, which mapped the
    frames from ``pfn`` on, is gone; its shadow entries go."""


@hook
def kvmhv_update_nest_rmap_rc_list(
    kvm: Ptr[Kvm], gfn: u64, clr: u64, pte: u64, npages: u64
) -> None:
    """Under ``mmu_lock``: bits ``clr`` of L1's leaf ``pte``, of ``npages`` pages, ``gfn`` among
    them, were cleared; those of its shadow entries are."""


@hook
def kvmhv_test_clear_young(
    kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> u64:
    """The fast path of a VM that has guests of its own, in an RCU read section: test (and
    clear) L1's pages ``[gfn, end)`` of one memslot and their shadow entries; entries found
    young."""
