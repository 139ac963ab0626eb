"""The VM and the vCPU as arm64's KVM sees them.

Sources: arch/arm64/include/asm/kvm_host.h (``kvm_s2_mmu``, ``kvm_arch``), kvm_pgtable.h
(``kvm_pgtable``, ``kvm_pgtable_visit_ctx``), include/linux/kvm_types.h
(``kvm_mmu_memory_cache``).
Known limits: of guests of the guest there is what aging does not see: a vCPU may run on another
root (``nested_pgd``), as it runs on a shadow stage 2; nobody fills or flushes one here.
"""

from __future__ import annotations

from mkold.ir.boot import MAX_CPUS
from mkold.kvm import types
from mkold.lang import Array, Ptr, Struct, atomic64_t, mutex, u64
from mkold.mm.slab import KmemCache

KVM_MMU_CACHE_OBJECTS = 6  # a walk takes three at most

# Why the hardware gave up (``ESR_EL2.DFSC``, without the level).
ESR_ELx_FSC_FAULT = 0x04
ESR_ELx_FSC_ACCESS = 0x08
ESR_ELx_FSC_PERM = 0x0C


class KvmMmuMemoryCache(Struct):
    """``struct kvm_mmu_memory_cache``: tables taken while nothing was held, for a walk that may
    not wait for memory. Its owner's alone."""

    nobjs: u64
    objects: Array[u64, 6]
    pad: u64


class WalkData(Struct):
    """What one walk is about: the range, and what its visitor is to do there.

    ``pfn`` is the frame of page ``gfn``. Belongs to a vCPU, or to whoever holds ``mmu_lock``
    for writing.
    """

    gfn: u64
    end: u64
    pfn: u64
    attr: u64
    clear: u64
    mc: Ptr[KvmMmuMemoryCache]
    force_pte: u64
    done: u64  # leaves that were changed
    leaf: u64  # as it was before its attributes were changed


class KvmS2Mmu(Struct):
    """``struct kvm_s2_mmu`` with its ``kvm_pgtable``: the root, and who else keeps tables.

    ``nr_deferred`` counts tables that wait for a grace period.
    """

    pgd: Ptr[u64]
    nr_deferred: atomic64_t
    tlb_flushes: atomic64_t
    pad: Array[u64, 5]
    walk: WalkData
    split_page_cache: KvmMmuMemoryCache


class KvmArch(Struct):
    """``struct kvm_arch``: the MMU, the cache of its tables, waits of agers by CPU.

    ``alloc_mutex`` is the allocator's that a walk once used (``map.ALLOC_IN_WALK``).
    """

    mmu: KvmS2Mmu
    alloc_mutex: mutex
    pad: Array[u64, 7]
    page_cache: KmemCache
    age_waits: Array[u64, MAX_CPUS * 8]


class Kvm(types.Kvm):
    """``struct kvm``."""

    arch: KvmArch


class VcpuArch(Struct):
    """``struct kvm_vcpu_arch``: why the hardware gave up and at which level, the root of
    a nested guest that the vCPU runs or NULL (``hw_mmu``), and its own store of tables."""

    fsc: u64
    fault_level: u64
    nested_pgd: Ptr[u64]
    pad: Array[u64, 5]
    walk: WalkData
    mmu_page_cache: KvmMmuMemoryCache


class Vcpu(types.Vcpu):
    """``struct kvm_vcpu``."""

    arch: VcpuArch
