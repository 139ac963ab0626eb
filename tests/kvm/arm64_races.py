"""Loops that threads run against each other on arm64's stage 2, in kernel Python."""

from __future__ import annotations

from mkold.kvm.arm64.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.arm64.pgtable.age import stage2_test_clear_young_fast
from mkold.kvm.arm64.pgtable.map import kvm_pgtable_stage2_map
from mkold.kvm.arm64.pgtable.pte import stage2_set_prot_attr
from mkold.kvm.arm64.pgtable.tables import kvm_mmu_topup_memory_cache
from mkold.kvm.arm64.pgtable.walk import (
    EAGAIN,
    KVM_PGTABLE_WALK_HANDLE_FAULT,
    KVM_PGTABLE_WALK_SHARED,
)
from mkold.kvm.mmu_lock import kvm_mmu_read_lock, kvm_mmu_read_unlock
from mkold.lang import NULL, READ_ONCE, Ptr, addr, cpu_relax, kernel, u64
from mkold.mm.mm_types import Mm
from mkold.mm.mmu_notifier import (
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from mkold.sync.rcu import rcu_do_batch


@kernel
def race_map(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n: u64, seed: u64) -> u64:
    """Faults, ``n`` of them: now a block of two tables' pages, now one page; how many came to
    nothing because of another."""
    flags = KVM_PGTABLE_WALK_SHARED | KVM_PGTABLE_WALK_HANDLE_FAULT
    lost = 0
    chance: u64 = seed
    for i in range(n):
        chance = (chance * 6364136223846793005 + 1442695040888963407) & ((1 << 64) - 1)
        mc = addr(vcpu.arch.mmu_page_cache)
        if kvm_mmu_topup_memory_cache(kvm, mc, 3):
            return n
        gfn = (chance >> 33) & 15
        pages: u64 = 1
        if (chance >> 40) & 1:
            pages = 8
            gfn &= 8
        pfn = 64 * (1 + ((chance >> 44) & 1)) + gfn
        attr = stage2_set_prot_attr(1)
        kvm_mmu_read_lock(kvm, addr(vcpu.stat.lock_waits))
        data = addr(vcpu.arch.walk)
        ret = kvm_pgtable_stage2_map(kvm, data, gfn, pages, pfn, attr, mc, flags)
        kvm_mmu_read_unlock(kvm)
        lost += ret == EAGAIN
        if i & 63 == 0:
            rcu_do_batch()
    rcu_do_batch()
    return lost


@kernel
def race_age(kvm: Ptr[Kvm], n_pages: u64, stop: Ptr[u64]) -> u64:
    """Clear all pages over and over; how many were young."""
    young = 0
    while not READ_ONCE(stop.value):
        failed, found = stage2_test_clear_young_fast(kvm, 0, n_pages, 1, NULL, n_pages - 1)
        young += found + failed
        cpu_relax()
    return young


@kernel
def race_unmap(mm: Ptr[Mm], hva: u64, pages: u64, stop: Ptr[u64]) -> u64:
    """Take pages away over and over; how often."""
    n = 0
    while not READ_ONCE(stop.value):
        mmu_notifier_invalidate_range_start(mm, hva, hva + pages)
        mmu_notifier_invalidate_range_end(mm, hva, hva + pages)
        rcu_do_batch()
        n += 1
        cpu_relax()
    rcu_do_batch()
    return n
