"""The hooks of the dirty log where the TDP MMU maps all of the guest.

A log that begins with all bits set protects nothing; as long as the VM's logs do that, large
leaves are split where their pages are cleared. Where a log ends, large leaves come back if the
host's memory allows them; D and W stay as they are.

Source: arch/x86/kvm/x86.c (``kvm_mmu_slot_apply_flags``), mmu.c
(``kvm_arch_mmu_enable_log_dirty_pt_masked``).
"""

from __future__ import annotations

from mkold.kvm.bitops import __ffs, __fls
from mkold.kvm.dirty_log import kvm_dirty_log_manual_protect_and_init_set
from mkold.kvm.mmu_lock import kvm_mmu_read_lock, kvm_mmu_read_unlock
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm
from mkold.kvm.x86.mmu.spte import PG_LEVEL_2M, PG_LEVEL_4K, level_shift
from mkold.kvm.x86.tdp import dirty
from mkold.kvm.x86.tdp.huge import (
    kvm_tdp_mmu_recover_huge_pages,
    kvm_tdp_mmu_try_split_huge_pages,
)
from mkold.kvm.x86.tdp.iter import EXCLUSIVE
from mkold.lang import NULL, WRITE_ONCE, Ptr, addr, kernel, u64


@kernel
def kvm_arch_commit_memory_region(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], bitmap: Ptr[u64], protect: u64
) -> u64:
    """The slot's log begins or ends; no vCPU calls this."""
    if bitmap != NULL and protect:
        return dirty.kvm_mmu_slot_start_logging(kvm, slot, bitmap)
    WRITE_ONCE(slot.dirty_bitmap, bitmap)
    if bitmap == NULL:
        waits = addr(kvm.stat.lock_waits)
        kvm_mmu_read_lock(kvm, waits)
        kvm_tdp_mmu_recover_huge_pages(kvm, slot, waits)
        kvm_mmu_read_unlock(kvm)
    return 0


@kernel
def see_writes_to_large_leaves(kvm: Ptr[Kvm], first: u64, last: u64) -> None:
    """Split what maps ``[first, last]`` large, of which nothing was protected as the log began;
    where there is no memory for that, the first write is to do it. ``mmu_lock`` is held for
    writing."""
    waits = addr(kvm.stat.lock_waits)
    kvm_tdp_mmu_try_split_huge_pages(kvm, first, last + 1, PG_LEVEL_4K, EXCLUSIVE, waits)
    dirty.kvm_tdp_mmu_write_protect_gfn(kvm, first, PG_LEVEL_2M)
    if first >> level_shift(PG_LEVEL_2M) != last >> level_shift(PG_LEVEL_2M):
        dirty.kvm_tdp_mmu_write_protect_gfn(kvm, last, PG_LEVEL_2M)


@kernel
def kvm_arch_mmu_enable_log_dirty_pt_masked(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], offset: u64, mask: u64
) -> None:
    """Clear D or W of the pages' leaves."""
    if kvm_dirty_log_manual_protect_and_init_set(kvm):
        first = slot.base_gfn + offset + __ffs(mask)
        last = slot.base_gfn + offset + __fls(mask)
        see_writes_to_large_leaves(kvm, first, last)
    dirty.kvm_arch_mmu_enable_log_dirty_pt_masked(kvm, slot.base_gfn + offset, mask)
