"""Faults, the walk and unmapping under PR; and aging, which there is none.

* Unmapping goes through every list of every vCPU, then flushes.
* ``age`` and ``test_age`` say "not young": PR never sees an accessed bit. So whatever asks
  learns nothing of such a VM's pages.

Source: arch/powerpc/kvm/book3s_pr.c (``do_kvm_unmap_gfn``, ``kvm_age_gfn_pr``),
book3s_64_mmu_host.c (``kvmppc_mmu_map_page``).
Known limits: the hardware walks the shadow entries themselves.
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.powerpc.asm.kvm_host import HpteCache, Kvm, Vcpu
from mkold.kvm.powerpc.pr.shadow import (
    free_shadow_entry,
    kvmppc_mmu_hpte_cache_map,
    kvmppc_mmu_hpte_cache_next,
    kvmppc_mmu_pte_pflush,
    shadow_lookup,
)
from mkold.kvm.retry import mmu_invalidate_retry
from mkold.kvm.tlb import kvm_flush_remote_tlbs_range, kvm_vcpu_of, tlb_fill
from mkold.kvm.types import RESUME_GUEST, RESUME_HOST
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    addr,
    cast,
    cpu_relax,
    kernel,
    smp_load_acquire,
    smp_rmb,
    smp_store_release,
    u64,
)
from mkold.mm.fault.memory import hva_to_pfn
from mkold.mm.mm_types import PFN_ERR, PFN_ERR_RETRY
from mkold.mm.slab import kmem_cache_init
from mkold.sync.rcu import rcu_core


@kernel
def kvmppc_core_init_vm_pr(kvm: Ptr[Kvm]) -> u64:
    """A new VM needs nothing before its first fault."""
    kmem_cache_init(addr(kvm.arch.caches[0]), HpteCache.size, 0)
    kvm.arch.pr = 1
    smp_store_release(kvm.arch.mmu_ready, 1)
    return 0


@kernel
def kvm_unmap_gfn_range_pr(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Unmap ``[gfn, end)`` from every vCPU, and flush; ``mmu_lock`` is held."""
    n = smp_load_acquire(kvm.n_vcpus)
    found: u64 = 0
    for i in range(n):
        vcpu = cast(Ptr[Vcpu], kvm_vcpu_of(kvm, i))
        found += kvmppc_mmu_pte_pflush(vcpu, gfn, end)
    if found:
        kvm_flush_remote_tlbs_range(kvm, gfn, end - gfn)
        kvm.stat.unmapped += found
    return 0


@kernel
def kvmppc_core_destroy_vm_pr(kvm: Ptr[Kvm]) -> None:
    """Give every entry back."""
    n = smp_load_acquire(kvm.n_vcpus)
    for i in range(n):
        kvmppc_mmu_pte_pflush(cast(Ptr[Vcpu], kvm_vcpu_of(kvm, i)), 0, ~0)


@kernel
def kvm_set_spte_gfn_pr(kvm: Ptr[Kvm], gfn: u64, pfn: u64) -> u64:
    """The page is unmapped."""
    return kvm_unmap_gfn_range_pr(kvm, gfn, gfn + 1)


@kernel
def kvm_age_gfn_pr(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """There is no accessed bit to clear."""
    return 0


@kernel
def kvm_test_age_gfn_pr(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """There is no accessed bit to see."""
    return 0


@kernel
def kvm_configure_mmu_pr(kvm: Ptr[Kvm], radix: u64) -> u64:
    """There is one mode."""
    return 1


@kernel
def mmu_walk_shadow(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> tuple[u64, u64]:
    """Translate an access of the guest; as ``radix.hw.mmu_walk_hw``."""
    pfn, may_write = shadow_lookup(vcpu, gfn)
    if pfn == 0 or (write and not may_write):
        return 0, 0
    tlb_fill(vcpu, gfn, pfn, may_write)
    return 1, pfn


@kernel
def kvmppc_mmu_map_page(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """Handle a fault of ``vcpu``; as ``kvmppc_book3s_radix_page_fault``."""
    rcu_core()
    vcpu.stat.faults += 1
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL:
        return RESUME_HOST
    mmu_seq = READ_ONCE(kvm.mmu_invalidate_seq)
    smp_rmb()  # pairs with kvm_mmu_invalidate_end: seq first, then the frame
    hva = gfn_to_hva(slot, gfn)
    pfn, writable = hva_to_pfn(kvm.mm, hva, write)
    if pfn >= PFN_ERR:
        if pfn == PFN_ERR_RETRY:
            cpu_relax()
            return RESUME_GUEST
        return RESUME_HOST
    entry = kvmppc_mmu_hpte_cache_next(addr(kvm.arch.caches[0]))
    if entry == NULL:
        return RESUME_HOST
    entry.gfn = gfn
    entry.pfn = pfn
    entry.may_write = writable
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    stale = mmu_invalidate_retry(kvm, mmu_seq, hva, hva + 1)
    if not stale:
        kvmppc_mmu_pte_pflush(vcpu, gfn, gfn + 1)
        kvmppc_mmu_hpte_cache_map(vcpu, entry)
    kvm_mmu_unlock(kvm)
    if stale:
        free_shadow_entry(cast(u64, entry))
        vcpu.stat.retries += 1
        cpu_relax()
    return RESUME_GUEST
