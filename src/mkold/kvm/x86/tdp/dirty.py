"""Write protection, and the dirty log of a slot.

Rules
-----
* Where the hardware has D bits and logs what it sets (PML), the log is by D: whoever fetches it
  clears D, and the hardware logs the next write, which sets it again. Else W goes, and the next
  write faults; the fault puts W back (``fast_fault``) and logs.
* Logging starts with splitting large leaves, then D or W is cleared in all; TLBs are flushed
  without ``mmu_lock``.
* Fetching takes a word of the bitmap at a time (an exchange), then clears D or W of those
  pages, all under ``mmu_lock`` held for writing; if any word was set, TLBs are flushed after.
* D and W are cleared in leaves alone. What is not writable, but may become so by a fast page
  fault, counts as writable to whoever takes that right away.

Sources: arch/x86/kvm/mmu/tdp_mmu.c (``wrprot_gfn_range``, ``clear_dirty_gfn_range``,
``clear_dirty_pt_masked``, ``write_protect_gfn``), mmu.c
(``kvm_arch_mmu_enable_log_dirty_pt_masked``), virt/kvm/kvm_main.c
(``kvm_get_dirty_log_protect``); commits 7c8a4742c4ab, 45a61ebb2211, 2673dfb591a3.
Known limits: the PML buffer is drained as it is filled (``hw``).
"""

from __future__ import annotations

from mkold.kvm.bitops import __ffs
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, sp_spt
from mkold.kvm.x86.mmu.flush import kvm_flush_remote_tlbs_unlocked
from mkold.kvm.x86.mmu.spte import (
    KVM_AD_ENABLED,
    PG_LEVEL_4K,
    PT_WRITABLE_MASK,
    SHADOW_DIRTY_MASK,
    SHADOW_MMU_WRITABLE_MASK,
    is_last_spte,
    is_mmu_writable_spte,
    is_shadow_present_pte,
    is_writable_pte,
    spte_ad_need_write_protect,
)
from mkold.kvm.x86.tdp.change import (
    __tdp_mmu_set_spte_atomic,
    tdp_mmu_clear_spte_bits,
    tdp_mmu_set_spte,
)
from mkold.kvm.x86.tdp.huge import kvm_tdp_mmu_try_split_huge_pages
from mkold.kvm.x86.tdp.iter import (
    EXCLUSIVE,
    gfn_behind,
    is_leaf,
    tdp_mmu_iter_cond_resched,
    tdp_walk,
)
from mkold.kvm.x86.tdp.roots import tdp_mmu_next_root
from mkold.lang import (
    NULL,
    WRITE_ONCE,
    Ptr,
    addr,
    cast,
    kernel,
    parameter,
    rcu_read_lock,
    rcu_read_unlock,
    smp_mb,
    u64,
    xchg,
)

# The hardware logs the pages whose D it sets.
ENABLE_PML = parameter("ENABLE_PML", 1)

# 0: faults of their time. A tracked page keeps the right to become writable (7c8a4742c4ab); D
# is cleared in whatever is present (45a61ebb2211); where the log is by D, D is cleared also in
# entries whose writes the hardware does not log (2673dfb591a3).
WRPROT_MMU_WRITABLE = parameter("WRPROT_MMU_WRITABLE", 1)
CLEAR_DIRTY_OF_LEAVES = parameter("CLEAR_DIRTY_OF_LEAVES", 1)
WRPROT_UNLOGGED = parameter("WRPROT_UNLOGGED", 1)


@kernel
def dirty_log_bit(spte: u64) -> u64:
    """What is cleared in a leaf to see the next write to its page."""
    if not KVM_AD_ENABLED or not ENABLE_PML:
        return PT_WRITABLE_MASK
    if WRPROT_UNLOGGED and spte_ad_need_write_protect(spte):
        return PT_WRITABLE_MASK
    return SHADOW_DIRTY_MASK


@kernel
def clear_dirty_of_entry(sptep: Ptr[u64], spte: u64, level: u64) -> None:
    """Clear D or W of an entry seen as ``spte``, if it is a leaf; looks again if it changed."""
    while is_shadow_present_pte(spte):
        if CLEAR_DIRTY_OF_LEAVES and not is_last_spte(spte, level):
            return
        bit = dirty_log_bit(spte)
        if not (spte & bit):
            return
        ok, seen = __tdp_mmu_set_spte_atomic(sptep, spte, spte & ~bit)
        if ok:
            return
        spte = seen


@kernel
def clear_dirty_gfn_range(
    kvm: Ptr[Kvm], root: Ptr[KvmMmuPage], start: u64, end: u64, shared: u64, waits: Ptr[u64]
) -> None:
    """Clear D or W of all leaves of ``[start, end)`` by compare-and-swap; ``mmu_lock`` is
    held."""
    gfn = start
    n: u64 = 0
    while gfn < end:
        sptep, spte, level = tdp_walk(sp_spt(root), gfn, PG_LEVEL_4K)
        if tdp_mmu_iter_cond_resched(kvm, n, 0, shared, waits):
            n = 0
            continue
        n += 1
        clear_dirty_of_entry(sptep, spte, level)
        gfn = gfn_behind(gfn, level)


@kernel
def clear_dirty_pt_masked(kvm: Ptr[Kvm], root: Ptr[KvmMmuPage], gfn: u64, mask: u64) -> None:
    """Clear D or W of those base-page leaves of 64 pages from ``gfn`` on that ``mask`` names;
    ``mmu_lock`` is held for writing."""
    rcu_read_lock()
    while mask != 0:
        at = gfn + __ffs(mask)
        mask &= mask - 1
        sptep, spte, level = tdp_walk(sp_spt(root), at, PG_LEVEL_4K)
        bit = dirty_log_bit(spte)
        if level == PG_LEVEL_4K and is_shadow_present_pte(spte) and (spte & bit):
            tdp_mmu_clear_spte_bits(sptep, spte, bit, level)
    rcu_read_unlock()


@kernel
def kvm_arch_mmu_enable_log_dirty_pt_masked(kvm: Ptr[Kvm], gfn: u64, mask: u64) -> None:
    """See the next write to each of the pages that ``mask`` names; ``mmu_lock`` is held for
    writing."""
    root = tdp_mmu_next_root(kvm, cast(Ptr[KvmMmuPage], NULL), 0)
    while root != NULL:
        clear_dirty_pt_masked(kvm, root, gfn, mask)
        root = tdp_mmu_next_root(kvm, root, 0)


@kernel
def kvm_vm_ioctl_get_dirty_log(kvm: Ptr[Kvm], slot: Ptr[MemorySlot], log: Ptr[u64]) -> u64:
    """Move the slot's dirty pages to ``log`` (one bit a page) and start afresh; 1 if it is not
    logged. No vCPU calls this."""
    bitmap = slot.dirty_bitmap
    if bitmap == NULL:
        return 1
    flush: u64 = 0
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    for i in range((slot.npages + 63) >> 6):
        mask = xchg(bitmap[i], 0)
        log[i] = mask
        if mask != 0:
            flush = 1
            kvm_arch_mmu_enable_log_dirty_pt_masked(kvm, slot.base_gfn + 64 * i, mask)
    kvm_mmu_unlock(kvm)
    if flush:
        kvm_flush_remote_tlbs_unlocked(kvm)
    return 0


@kernel
def kvm_mmu_slot_start_logging(kvm: Ptr[Kvm], slot: Ptr[MemorySlot], bitmap: Ptr[u64]) -> u64:
    """Log writes to the slot in ``bitmap`` from here on; 0, or 1: no memory. No vCPU calls
    this."""
    waits = addr(kvm.stat.lock_waits)
    end = slot.base_gfn + slot.npages
    kvm_mmu_lock(kvm, waits)
    WRITE_ONCE(slot.dirty_bitmap, bitmap)
    smp_mb()  # pairs with the full barrier of a fast page fault's compare-and-swap
    done = kvm_tdp_mmu_try_split_huge_pages(
        kvm, slot.base_gfn, end, PG_LEVEL_4K, EXCLUSIVE, waits
    )
    root = tdp_mmu_next_root(kvm, cast(Ptr[KvmMmuPage], NULL), 0)
    while root != NULL:
        rcu_read_lock()
        clear_dirty_gfn_range(kvm, root, slot.base_gfn, end, EXCLUSIVE, waits)
        rcu_read_unlock()
        root = tdp_mmu_next_root(kvm, root, 0)
    kvm_mmu_unlock(kvm)
    kvm_flush_remote_tlbs_unlocked(kvm)
    return not done


@kernel
def write_protect_gfn(kvm: Ptr[Kvm], root: Ptr[KvmMmuPage], gfn: u64, min_level: u64) -> u64:
    """The guest can't write to ``gfn`` by ``root`` any more, nor get the right to by a fast
    page fault; whether a flush is due. Leaves below ``min_level`` are left alone. ``mmu_lock``
    is held for writing."""
    rcu_read_lock()
    sptep, spte, level = tdp_walk(sp_spt(root), gfn, min_level)
    can: u64 = is_leaf(spte, level) and is_writable_pte(spte)
    if WRPROT_MMU_WRITABLE:
        can = is_leaf(spte, level) and (is_writable_pte(spte) or is_mmu_writable_spte(spte))
    if can:
        new = spte & ~(PT_WRITABLE_MASK | SHADOW_MMU_WRITABLE_MASK)
        tdp_mmu_set_spte(kvm, sptep, spte, new, level)
    rcu_read_unlock()
    return can


@kernel
def kvm_tdp_mmu_write_protect_gfn(kvm: Ptr[Kvm], gfn: u64, min_level: u64) -> u64:
    """As ``write_protect_gfn``, by every valid root."""
    can: u64 = 0
    root = tdp_mmu_next_root(kvm, cast(Ptr[KvmMmuPage], NULL), 1)
    while root != NULL:
        can |= write_protect_gfn(kvm, root, gfn, min_level)
        root = tdp_mmu_next_root(kvm, root, 1)
    return can
