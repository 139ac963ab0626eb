"""Prototypes of what ``nested`` defines and ``radix`` calls.

They are hooks, as ``nested`` stands on ``radix``: what happens to an entry of L1's tree has to
happen to the shadow entries of its page.

Source: arch/powerpc/include/asm/kvm_book3s_64.h.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.lang import Ptr, hook, u64


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
