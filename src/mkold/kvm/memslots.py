"""Memslots: which guest pages exist, and which host pages back them.

A slot maps guest pages ``[base_gfn, base_gfn + npages)`` to the host pages from
``userspace_addr`` on. Slots do not overlap in guest pages; two slots may share host pages.

Known limits: slots are added before the first vCPU runs (``memslot_life``: and may go).
Source: virt/kvm/kvm_main.c, include/linux/kvm_host.h.
"""

from __future__ import annotations

from mkold.kvm.arch import kvm_arch_create_memslot
from mkold.kvm.types import KVM_MEM_SLOTS, Kvm, MemorySlot
from mkold.lang import (
    BUG_ON,
    NULL,
    WRITE_ONCE,
    Ptr,
    addr,
    kernel,
    smp_load_acquire,
    smp_store_release,
    u64,
)


@kernel
def kvm_add_memslot(kvm: Ptr[Kvm], base_gfn: u64, npages: u64, hva: u64) -> u64:
    """Add a slot of base pages; its number, or all ones if there is no room, or no memory."""
    n = kvm.n_slots
    if n >= KVM_MEM_SLOTS:
        return ~0
    slot = addr(kvm.slots[n])
    slot.base_gfn = base_gfn
    slot.npages = npages
    slot.userspace_addr = hva
    slot.max_level = 0
    slot.dirty_bitmap = NULL
    if kvm_arch_create_memslot(kvm, slot):
        return ~0
    smp_store_release(kvm.n_slots, n + 1)
    return n


@kernel
def kvm_memslot_set_level(kvm: Ptr[Kvm], slot_id: u64, level: u64) -> None:
    """The host backs the slot with pages of ``level``: contiguous frames, aligned alike."""
    WRITE_ONCE(kvm.slots[slot_id].max_level, level)


@kernel
def kvm_memslot_set_dirty_bitmap(kvm: Ptr[Kvm], slot_id: u64, bitmap: Ptr[u64]) -> None:
    """Log dirty pages of the slot in ``bitmap`` (one bit a page), or stop with NULL."""
    WRITE_ONCE(kvm.slots[slot_id].dirty_bitmap, bitmap)


@kernel
def gfn_to_memslot(kvm: Ptr[Kvm], gfn: u64) -> Ptr[MemorySlot]:
    """The slot of ``gfn``, or NULL where the guest has no memory."""
    n = smp_load_acquire(kvm.n_slots)
    for i in range(n):
        slot = addr(kvm.slots[i])
        if gfn - slot.base_gfn < slot.npages:
            return slot
    return NULL


@kernel
def gfn_to_hva(slot: Ptr[MemorySlot], gfn: u64) -> u64:
    """The host page behind ``gfn``, which lies in ``slot``."""
    BUG_ON(gfn - slot.base_gfn >= slot.npages)
    return slot.userspace_addr + (gfn - slot.base_gfn)


@kernel
def hva_range_in_slot(slot: Ptr[MemorySlot], start: u64, end: u64) -> tuple[u64, u64]:
    """The guest pages of ``slot`` that host pages ``[start, end)`` back; empty: 0, 0."""
    first = max(start, slot.userspace_addr)
    last = min(end, slot.userspace_addr + slot.npages)
    if first >= last:
        return 0, 0
    offset = slot.base_gfn - slot.userspace_addr
    return first + offset, last + offset
