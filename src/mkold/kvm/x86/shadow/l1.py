"""What a guest does to have a guest of its own (L1 and L2): EPT or NPT tables; entering it, and
leaving.

L1 runs on one of the VM's vCPUs, in guest mode, and writes its tables as it writes anything; a
write to one above the leaves that is followed, L0 emulates. They are the first pages of its
memory, level by level from the root, of as many levels as KVM's own; L2's page ``n`` is L1's
page ``n`` behind those.

Source: arch/x86/kvm/mmu/mmu.c (``kvm_init_shadow_ept_mmu``), vmx/nested.c
(``nested_vmx_enter_non_root_mode``), svm/nested.c (``nested_svm_transition_tlb_flush``).
Known limits: one guest; L1 has no TLB flush of its own, as each entry of L2 has one.
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.tlb import kvm_make_request
from mkold.kvm.types import KVM_PFN_ERR, REQ_TLB_FLUSH_ALL
from mkold.kvm.vcpu import kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put
from mkold.kvm.x86.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.x86.mmu.spte import (
    PT_ACCESS_MASK,
    ROOT_LEVEL,
    SPTE_BASE_SHIFT,
    SPTE_ENT_PER_PAGE,
    SPTE_LEVEL_BITS,
    level_shift,
)
from mkold.kvm.x86.mmu.unsync import kvm_gfn_is_write_tracked
from mkold.kvm.x86.shadow.fault import kvm_mmu_load
from mkold.kvm.x86.shadow.pages import kvm_mmu_put_root
from mkold.kvm.x86.shadow.sync import kvm_mmu_sync_roots, kvm_mmu_track_write
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, addr, cast, kernel, u64
from mkold.mm.fault.user import put_user
from mkold.mm.mm_types import PAGE_SHIFT

# A table has as many entries as any machine models words of a page.
L1_BITS, L1_LEVELS = 3, 8
L1_GEOMETRY = {"SPTE_LEVEL_BITS": L1_BITS, "PT64_ROOT_LEVEL": L1_LEVELS}


def l1_pages(n_pages: int, page_shift: int) -> int:
    """Pages of L1's memory that its tables for a guest of ``n_pages`` take."""
    return sum(-(-n_pages >> L1_BITS * level) for level in range(1, L1_LEVELS + 1))


@kernel
def page_fault_handle_page_track(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> u64:
    """Whether a write to ``gfn`` has to be emulated. ``vcpu`` is out of guest mode."""
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    tracked = kvm_gfn_is_write_tracked(kvm, gfn)
    kvm_mmu_unlock(kvm)
    return tracked


@kernel
def emulate_write(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, offset: u64, word: u64) -> u64:
    """L0 stores a word in L1's place; 0, or 1: the host has no such page."""
    if put_user(kvm.mm, gfn_to_hva(gfn_to_memslot(kvm, gfn), gfn), offset, word):
        return 1
    kvm_mmu_track_write(kvm, vcpu, gfn, offset)
    return 0


@kernel
def l1_write(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, offset: u64, word: u64) -> u64:
    """L1 stores a word in a page of its memory; 0, or 1: it has no such page."""
    if READ_ONCE(kvm.arch.indirect_shadow_pages):
        kvm_vcpu_put(vcpu)
        tracked = page_fault_handle_page_track(kvm, vcpu, gfn)
        failed: u64 = 0
        if tracked:
            failed = emulate_write(kvm, vcpu, gfn, offset, word)
        if kvm_vcpu_load(kvm, vcpu) or tracked:
            return failed
    pfn = kvm_vcpu_access(kvm, vcpu, gfn, 1)
    if pfn >= KVM_PFN_ERR:
        return 1
    WRITE_ONCE(cast(Ptr[u64], (pfn << PAGE_SHIFT) + offset).value, word)
    return 0


@kernel
def l1_fill(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n_pages: u64) -> u64:
    """Write the tables of an L2 of ``n_pages``; 0, or 1 if L1 lacks memory."""
    first: u64 = 0
    for level in range(ROOT_LEVEL, 0, -1):
        n_entries = (n_pages + (1 << level_shift(level)) - 1) >> level_shift(level)
        below = first + ((n_entries + SPTE_ENT_PER_PAGE - 1) >> SPTE_LEVEL_BITS)
        for i in range(n_entries):
            entry = PT_ACCESS_MASK | ((below + i) << SPTE_BASE_SHIFT)
            offset = i & (SPTE_ENT_PER_PAGE - 1)
            if l1_write(kvm, vcpu, first + (i >> SPTE_LEVEL_BITS), offset, entry):
                return 1
        first = below
    return 0


@kernel
def l1_boot(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n_pages: u64) -> u64:
    """Make the VM an L1 with tables for an L2 of ``n_pages``; 0, or 1: no memory.

    Runs alone, on the thread of ``vcpu``, before any vCPU runs. The VM may have all the tables
    that this takes (KVM_SET_NR_MMU_PAGES).
    """
    kvm.arch.shadow.n_max_mmu_pages = n_pages + 64
    if n_pages > 1 << level_shift(ROOT_LEVEL + 1) or kvm_vcpu_load(kvm, vcpu):
        return 1
    failed = l1_fill(kvm, vcpu, n_pages)
    kvm_vcpu_put(vcpu)
    return failed


@kernel
def nested_enter(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], number: u64) -> u64:
    """``vcpu``, which is out of guest mode, runs L2 from here on; 0, or 1: no memory."""
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    kvm_mmu_put_root(vcpu)
    kvm_mmu_unlock(kvm)
    vcpu.arch.guest_mode = 1
    kvm_make_request(vcpu, REQ_TLB_FLUSH_ALL)
    if kvm_mmu_load(kvm, vcpu):
        return 1
    kvm_mmu_sync_roots(kvm, vcpu)
    return 0


@kernel
def nested_exit(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> None:
    """``vcpu``, which is out of guest mode, runs L1 from here on. L2's tables stay."""
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    kvm_mmu_put_root(vcpu)
    kvm_mmu_unlock(kvm)
    vcpu.arch.guest_mode = 0
    kvm_make_request(vcpu, REQ_TLB_FLUSH_ALL)
