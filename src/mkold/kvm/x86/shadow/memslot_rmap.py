"""The words of the reverse map: for each memslot one a page, and one a large page.

Rules
-----
* A slot's words lie in a row, level by level: all base pages, then what level 2 covers, and so
  on; the first and the last of a level may be partial.
* Without a TDP MMU a slot has them from the start; with one, from the first shadow root on:
  they are allocated, then ``shadow_root_allocated`` is released. Who holds ``mmu_lock`` and
  whoever loads the flag by an acquire sees them. The lockless ager does neither
  (``RMAP_GATE``): it looks at ``indirect_shadow_pages``, then takes what pointer it finds.

Source: arch/x86/kvm/mmu/mmu.c (``mmu_first_shadow_root_alloc``, ``gfn_to_rmap``), mmu.h
(``kvm_memslots_have_rmaps``), x86.c (``memslot_rmap_alloc``).
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_memslot
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm
from mkold.kvm.x86.mmu.spte import PG_LEVEL_4K, level_shift
from mkold.kvm.x86.mmu.unsync import TDP_MMU_ENABLED
from mkold.lang import (
    BUG_ON,
    NULL,
    Ptr,
    addr,
    cast,
    kernel,
    parameter,
    smp_load_acquire,
    smp_store_release,
    u64,
)
from mkold.mm.page_alloc import memblock_alloc

# The largest leaf.
KVM_MAX_HUGEPAGE_LEVEL = parameter("KVM_MAX_HUGEPAGE_LEVEL", 3)


@kernel
def gfn_to_index(gfn: u64, base_gfn: u64, level: u64) -> u64:
    """The place of ``gfn`` among the slot's pages of ``level``."""
    shift = level_shift(level)
    return (gfn >> shift) - (base_gfn >> shift)


@kernel
def slot_pages(slot: Ptr[MemorySlot], level: u64) -> u64:
    """How many pages of ``level`` the slot has, partial ones too."""
    return gfn_to_index(slot.base_gfn + slot.npages - 1, slot.base_gfn, level) + 1


@kernel
def gfn_to_rmap(slot: Ptr[MemorySlot], gfn: u64, level: u64) -> Ptr[u64]:
    """The word of ``gfn``, a page of the slot, at ``level``."""
    rmap = slot.rmap
    for below in range(PG_LEVEL_4K, level):
        rmap += slot_pages(slot, below)
    return rmap + gfn_to_index(gfn, slot.base_gfn, level)


@kernel
def memslot_rmap_alloc(slot: Ptr[MemorySlot]) -> u64:
    """Give a slot its words; 0, or 1 if there is no memory."""
    n_words: u64 = 0
    for level in range(PG_LEVEL_4K, KVM_MAX_HUGEPAGE_LEVEL + 1):
        n_words += slot_pages(slot, level)
    rmap = cast(Ptr[u64], memblock_alloc(n_words))
    if rmap == NULL:
        return 1
    for i in range(n_words):
        rmap[i] = 0
    slot.rmap = rmap
    return 0


@kernel
def kvm_memslots_have_rmaps(kvm: Ptr[Kvm]) -> u64:
    """Whether slots have words; an acquire if they have."""
    return not TDP_MMU_ENABLED or smp_load_acquire(kvm.arch.shadow_root_allocated)


@kernel
def kvm_arch_create_memslot(kvm: Ptr[Kvm], slot: Ptr[MemorySlot]) -> u64:
    """A new slot; and how many tables the VM may have: 2% of its pages, 64 at least."""
    shadow = addr(kvm.arch.shadow)
    shadow.n_max_mmu_pages = max(64, shadow.n_max_mmu_pages + slot.npages // 50)
    if kvm_memslots_have_rmaps(kvm):
        return memslot_rmap_alloc(slot)
    return 0


@kernel
def mmu_first_shadow_root_alloc(kvm: Ptr[Kvm]) -> u64:
    """The VM is about to have its first shadow root: all slots get words; 0, or 1 if there is
    no memory. ``slots_arch_lock`` is held."""
    if kvm_memslots_have_rmaps(kvm):
        return 0
    for i in range(smp_load_acquire(kvm.n_slots)):
        slot = addr(kvm.slots[i])
        if slot.rmap == NULL and memslot_rmap_alloc(slot):
            return 1
    smp_store_release(kvm.arch.shadow_root_allocated, 1)
    return 0


@kernel
def rmap_of_gfn(kvm: Ptr[Kvm], gfn: u64, level: u64) -> Ptr[u64]:
    """The word of a guest page, which lies in a slot."""
    slot = gfn_to_memslot(kvm, gfn)
    BUG_ON(slot == NULL)
    return gfn_to_rmap(slot, gfn, level)
