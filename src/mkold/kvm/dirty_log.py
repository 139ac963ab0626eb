"""The dirty log of a slot: it begins, is taken, is cleared, ends.

Rules
-----
* A slot is logged as long as it has a bitmap, one bit a page. From when on a write is seen is
  the architecture's to say: it puts the bitmap in its place.
* Taking the log moves the bits out and lets the next write to each of those pages be seen. With
  ``KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE`` it reads alone; clearing, which names pages, does the
  rest for those of them that had a bit.
* With ``KVM_DIRTY_LOG_INITIALLY_SET`` besides, a log begins with all bits set, and nothing is
  protected before its bit is cleared.

Source: virt/kvm/kvm_main.c (``kvm_prepare_memory_region``, ``kvm_get_dirty_log_protect``,
``kvm_clear_dirty_log_protect``, ``kvm_vm_ioctl_enable_cap_generic``).
Known limits: a log begins and ends in its slot; the kernel installs another one and waits for
those who use the old (SRCU).
"""

from __future__ import annotations

from mkold.kvm.arch import (
    kvm_arch_commit_memory_region,
    kvm_arch_get_dirty_log,
    kvm_arch_mmu_enable_log_dirty_pt_masked,
)
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.tlb import flush_request, kvm_make_all_request
from mkold.kvm.types import KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE, Kvm
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    atomic_fetch_andnot,
    cast,
    kernel,
    u64,
)


@kernel
def kvm_enable_dirty_log_protect2(kvm: Ptr[Kvm], options: u64) -> None:
    """KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2."""
    WRITE_ONCE(kvm.manual_dirty_log_protect, options)


@kernel
def kvm_dirty_log_manual_protect_and_init_set(kvm: Ptr[Kvm]) -> bool:
    """Whether a log begins with all bits set, and nothing protected."""
    return READ_ONCE(kvm.manual_dirty_log_protect) > KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE


@kernel
def kvm_log_dirty_pages(kvm: Ptr[Kvm], slot_id: u64, bitmap: Ptr[u64]) -> u64:
    """KVM_MEM_LOG_DIRTY_PAGES for a slot that has no log: log in ``bitmap``, a word for each 64
    pages; 0, or 1 if there is no memory."""
    slot = addr(kvm.slots[slot_id])
    all_set = kvm_dirty_log_manual_protect_and_init_set(kvm)
    for i in range((slot.npages + 63) >> 6):
        bitmap[i] = 0
    if all_set:
        for i in range(slot.npages):
            bitmap[i >> 6] |= 1 << (i & 63)
    return kvm_arch_commit_memory_region(kvm, slot, bitmap, not all_set)


@kernel
def kvm_log_no_dirty_pages(kvm: Ptr[Kvm], slot_id: u64) -> u64:
    """The slot's log ends; 0, or 1 if there is no memory."""
    null = cast(Ptr[u64], NULL)
    return kvm_arch_commit_memory_region(kvm, addr(kvm.slots[slot_id]), null, 0)


@kernel
def kvm_get_dirty_log(kvm: Ptr[Kvm], slot_id: u64, log: Ptr[u64]) -> u64:
    """The dirty pages of a slot, as bits in ``log``; 1 if it is not logged."""
    slot = addr(kvm.slots[slot_id])
    if not READ_ONCE(kvm.manual_dirty_log_protect):
        return kvm_arch_get_dirty_log(kvm, slot, log)
    bitmap = READ_ONCE(slot.dirty_bitmap)
    if bitmap == NULL:
        return 1
    for i in range((slot.npages + 63) >> 6):
        log[i] = READ_ONCE(bitmap[i])
    return 0


@kernel
def kvm_clear_dirty_log_protect(
    kvm: Ptr[Kvm], slot_id: u64, first_page: u64, num_pages: u64, log: Ptr[u64]
) -> u64:
    """See the next write to those pages that have a bit in ``log``, and in the slot's own
    bitmap; 1 if it is not logged.

    Parameters
    ----------
    first_page, num_pages : pages of the slot that ``log`` is about; the first a multiple of 64
    """
    slot = addr(kvm.slots[slot_id])
    bitmap = READ_ONCE(slot.dirty_bitmap)
    if bitmap == NULL:
        return 1
    flush: u64 = 0
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    for i in range((num_pages + 63) >> 6):
        at = (first_page >> 6) + i
        mask: u64 = log[i]
        if mask:
            mask &= atomic_fetch_andnot(bitmap[at], mask)
        if mask:
            flush = 1
            kvm_arch_mmu_enable_log_dirty_pt_masked(kvm, slot, 64 * at, mask)
    kvm_mmu_unlock(kvm)
    if flush:
        kvm_make_all_request(kvm, flush_request(slot.base_gfn, slot.npages))
    return 0
