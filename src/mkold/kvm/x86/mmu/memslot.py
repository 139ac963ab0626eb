"""What a memslot lets KVM on x86 do: how large a leaf may be, and whether writes are logged.

``dirty_bitmap`` says whether a slot is logged. Whoever maps looks at it under ``mmu_lock``,
a fast page fault after its compare-and-swap; whoever starts to log writes it under
``mmu_lock`` and has a full barrier behind.

Source: arch/x86/kvm/mmu/mmu.c (``kvm_mmu_max_mapping_level``, ``kvm_mmu_hugepage_adjust``),
virt/kvm/kvm_main.c (``mark_page_dirty_in_slot``).
Known limits: the kernel makes a new memslot to start logging and waits for those who use the
old one (SRCU).
"""

from __future__ import annotations

from mkold.kvm.host_level import host_pfn_mapping_level
from mkold.kvm.memslots import gfn_to_hva
from mkold.kvm.types import Kvm, MemorySlot
from mkold.kvm.x86.mmu.spte import KVM_PAGES_PER_HPAGE, PG_LEVEL_4K
from mkold.lang import NULL, READ_ONCE, Ptr, atomic_or, kernel, u64
from mkold.mm.mm_types import TRANSPARENT_HUGEPAGE


@kernel
def kvm_slot_dirty_track_enabled(slot: Ptr[MemorySlot]) -> bool:
    """Whether writes to the slot are logged."""
    return READ_ONCE(slot.dirty_bitmap) != NULL


@kernel
def mark_page_dirty_in_slot(slot: Ptr[MemorySlot], gfn: u64) -> None:
    """The guest may have written to ``gfn`` of ``slot``."""
    bitmap = READ_ONCE(slot.dirty_bitmap)
    if bitmap != NULL:
        i = gfn - slot.base_gfn
        atomic_or(bitmap[i >> 6], 1 << (i & 63))


@kernel
def kvm_mmu_max_mapping_level(kvm: Ptr[Kvm], slot: Ptr[MemorySlot], gfn: u64) -> u64:
    """The largest level at which ``gfn`` can be mapped by one leaf: the host's memory is
    contiguous in pages of that level (``max_level``), guest and host addresses are aligned
    alike, and all of the leaf lies in the slot, which is not logged. With huge pages of the
    host (``TRANSPARENT_HUGEPAGE``) it must map the page by such a one at the moment."""
    level: u64 = PG_LEVEL_4K + READ_ONCE(slot.max_level)
    if level > PG_LEVEL_4K and kvm_slot_dirty_track_enabled(slot):
        return PG_LEVEL_4K
    while level > PG_LEVEL_4K:
        mask = KVM_PAGES_PER_HPAGE(level) - 1
        first = gfn & ~mask
        same = ((slot.base_gfn ^ slot.userspace_addr) & mask) == 0
        inside = first >= slot.base_gfn and first + mask < slot.base_gfn + slot.npages
        if same and inside:
            break
        level -= 1
    if TRANSPARENT_HUGEPAGE and level > PG_LEVEL_4K:
        host = PG_LEVEL_4K + host_pfn_mapping_level(kvm.mm, gfn_to_hva(slot, gfn))
        level = min(level, host)
    return level
