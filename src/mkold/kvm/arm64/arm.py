"""The hooks of arm64.

The gate of the series' second version: the hardware sets the accessed bit, and the tables are
the host's to touch. Under pKVM they are not.

Sources: arch/arm64/kvm/arm.c, mmu.c (``kvm_unmap_gfn_range``, ``kvm_age_gfn``,
``kvm_free_stage2_pgd``); lore 20230526234435.662652-6-yuzhao@google.com (the gate).
"""

from __future__ import annotations

from mkold.kvm.arm64.asm.kvm_host import Kvm, KvmMmuMemoryCache, Vcpu
from mkold.kvm.arm64.hw import HW_AF_ALL, STAGE2_HW_AF, mmu_walk_s2
from mkold.kvm.arm64.mmu import kvm_handle_guest_abort
from mkold.kvm.arm64.pgtable.age import (
    AGE_BY_RCU,
    AGE_MODE,
    AGE_WRITE,
    kvm_pgtable_stage2_test_clear_young,
    stage2_test_clear_young_fast,
)
from mkold.kvm.arm64.pgtable.map import kvm_pgtable_stage2_map
from mkold.kvm.arm64.pgtable.pte import stage2_set_prot_attr
from mkold.kvm.arm64.pgtable.tables import (
    alloc_pgd,
    put_page,
    stage2_caches_init,
    stage2_memcache_zalloc_page,
)
from mkold.kvm.arm64.pgtable.unmap import (
    kvm_pgtable_stage2_destroy,
    kvm_pgtable_stage2_unmap,
)
from mkold.kvm.types import KVM_MAX_VCPUS
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    addr,
    cast,
    kernel,
    parameter,
    smp_store_release,
    u64,
)

IS_PROTECTED_KVM = parameter("IS_PROTECTED_KVM", 0)
# 1: the gate opens too where software sets the accessed bit.
AGE_WITHOUT_HW_AF = parameter("AGE_WITHOUT_HW_AF", 0)


@kernel
def kvm_arch_init() -> None:
    """Nothing is kept for all VMs."""


@kernel
def kvm_arch_init_vm(kvm: Ptr[Kvm]) -> u64:
    """Make the root; 0, or 1 if there is no memory."""
    stage2_caches_init(kvm)
    pgd = alloc_pgd(kvm)
    if pgd == NULL:
        return 1
    smp_store_release(kvm.arch.mmu.pgd, pgd)
    return 0


@kernel
def kvm_arch_destroy_vm(kvm: Ptr[Kvm]) -> None:
    """Give back all tables, those in the stores too."""
    kvm_pgtable_stage2_destroy(kvm)
    for i in range(KVM_MAX_VCPUS):
        vcpu = cast(Ptr[Vcpu], kvm.vcpus[i])
        if i < kvm.n_vcpus:
            while vcpu.arch.mmu_page_cache.nobjs:
                put_page(stage2_memcache_zalloc_page(addr(vcpu.arch.mmu_page_cache)))
    while kvm.arch.mmu.split_page_cache.nobjs:
        put_page(stage2_memcache_zalloc_page(addr(kvm.arch.mmu.split_page_cache)))


@kernel
def kvm_unmap_gfn_range(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Unmap ``[gfn, end)``, with its flushes."""
    kvm_pgtable_stage2_unmap(kvm, gfn, end)
    return 0


@kernel
def kvm_set_spte_gfn(kvm: Ptr[Kvm], gfn: u64, pfn: u64) -> u64:
    """The page is mapped to ``pfn`` at once, to be read and young, if its table is still there:
    the invalidation before took that away if it was the table's last."""
    data = addr(kvm.arch.mmu.walk)
    attr = stage2_set_prot_attr(0)
    kvm_pgtable_stage2_map(kvm, data, gfn, 1, pfn, attr, cast(Ptr[KvmMmuMemoryCache], NULL), 0)
    return 0


@kernel
def kvm_age_gfn(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Clear the accessed bits of ``[gfn, end)``, alone."""
    null = cast(Ptr[u64], NULL)
    return kvm_pgtable_stage2_test_clear_young(kvm, gfn, end, 1, null, 0, 0) != 0


@kernel
def kvm_test_age_gfn(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Whether any accessed bit of ``[gfn, end)`` is set."""
    null = cast(Ptr[u64], NULL)
    return kvm_pgtable_stage2_test_clear_young(kvm, gfn, end, 0, null, 0, 0) != 0


@kernel
def kvm_arch_has_test_clear_young() -> u64:
    """The gate; see above."""
    if AGE_MODE == AGE_WRITE or IS_PROTECTED_KVM:
        return 0
    if AGE_MODE == AGE_BY_RCU and not AGE_WITHOUT_HW_AF:
        return STAGE2_HW_AF == HW_AF_ALL
    return 1


@kernel
def kvm_arch_test_clear_young(
    kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> tuple[u64, u64]:
    """The fast path; see the hook."""
    failed, young = stage2_test_clear_young_fast(kvm, gfn, end, clear, bitmap, last_bit)
    return failed, young


@kernel
def kvm_arch_vcpu_runnable(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """The root is there as long as the VM."""
    return READ_ONCE(kvm.arch.mmu.pgd) != NULL


@kernel
def kvm_arch_vcpu_walk(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> tuple[u64, u64]:
    """The hardware."""
    ok, pfn = mmu_walk_s2(kvm, vcpu, gfn, write)
    return ok, pfn


@kernel
def kvm_arch_vcpu_page_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """The way out of the guest."""
    return kvm_handle_guest_abort(kvm, vcpu, gfn, write)
