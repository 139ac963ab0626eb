"""Loops that two threads run against each other, in kernel Python."""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.powerpc.radix.age import kvm_test_clear_young_hv
from mkold.kvm.powerpc.radix.hw import mmu_walk_hw
from mkold.kvm.powerpc.radix.pte import _PAGE_DIRTY
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    atomic_andnot,
    kernel,
    u64,
)
from mkold.mm.mm_types import Mm
from mkold.mm.mmu_notifier import (
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)


@kernel
def race_age(kvm: Ptr[Kvm], n_pages: u64, stop: Ptr[u64]) -> u64:
    """Clear all pages over and over; how many were young."""
    young = 0
    while not READ_ONCE(stop.value):
        failed, found = kvm_test_clear_young_hv(kvm, 0, n_pages, 1, NULL, n_pages - 1)
        young += found + failed
    return young


@kernel
def race_dirty(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, ptep: Ptr[u64], n: u64, stop: Ptr[u64]
) -> u64:
    """Write to ``gfn`` as the hardware does, ``n`` times; how often C was lost after."""
    lost = 0
    for _ in range(n):
        ok, _pfn = mmu_walk_hw(kvm, vcpu, gfn, 1)
        for _ in range(4):
            if not ok or not READ_ONCE(ptep.value) & _PAGE_DIRTY:
                lost += 1
        atomic_andnot(ptep.value, _PAGE_DIRTY)
    WRITE_ONCE(stop.value, 1)
    return lost


@kernel
def race_unmap(mm: Ptr[Mm], page: u64, ptep: Ptr[u64], pte: u64, n: u64, stop: Ptr[u64]) -> u64:
    """Map and unmap ``page``, ``n`` times; how often the entry came back to life."""
    revived = 0
    for _ in range(n):
        WRITE_ONCE(ptep.value, pte)
        mmu_notifier_invalidate_range_start(mm, page, page + 1)
        for _ in range(4):
            revived += READ_ONCE(ptep.value) != 0
        mmu_notifier_invalidate_range_end(mm, page, page + 1)
    WRITE_ONCE(stop.value, 1)
    return revived
