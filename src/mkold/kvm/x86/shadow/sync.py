"""What follows the guest's own tables is brought into step with them.

Rules
-----
* On the way into the guest's guest all that is out of step is: first the pages of the guest's
  tables are write-protected, and TLBs flushed, then each table is read.
* An SPTE whose entry is not present any more, or was not used (A), or leads to another page, is
  dropped, young or not.
* Up to 6.3 every other SPTE of the table is made anew, for the frame that it has; since then
  only one whose access changed (e6722d9211b2).
* Nobody asked for what is made anew so: up to 6.12 it is old, and a page that was young is
  lost; since 6.13 it is young, though nobody may have used it.
* A write to a table above the leaves is emulated: the SPTE that follows the entry goes, the
  table below it stays, and is found again.

Source: arch/x86/kvm/mmu/mmu.c (``kvm_mmu_sync_roots``, ``mmu_sync_children``,
``kvm_mmu_track_write``), paging_tmpl.h (``FNAME(sync_spte)``, ``FNAME(sync_page)`` up to 6.3),
spte.c (``make_spte``).
Known limits: a table above the leaves that is written to often is not given up
(``detect_write_flooding``).
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.tlb import kvm_flush_remote_tlbs
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu, sp_spt
from mkold.kvm.x86.mmu.page_hash import kvm_first_sp_with_gptes, kvm_next_sp_with_gptes
from mkold.kvm.x86.mmu.spte import (
    LINUX_VERSION,
    SHADOW_HOST_WRITABLE_MASK,
    SPTE_BASE_ADDR_MASK,
    SPTE_BASE_SHIFT,
    SPTE_ENT_PER_PAGE,
    is_shadow_present_pte,
    mark_spte_for_access_track,
    spte_to_pfn,
)
from mkold.kvm.x86.shadow.guest_walk import gpte_access, gpte_present
from mkold.kvm.x86.shadow.map import make_indirect_spte
from mkold.kvm.x86.shadow.pages import (
    kvm_mmu_page_get_access,
    kvm_mmu_page_get_gfn,
    kvm_mmu_page_set_access,
    lru_sp,
)
from mkold.kvm.x86.shadow.spte_update import mmu_spte_update
from mkold.kvm.x86.shadow.write_protect import kvm_vcpu_write_protect_gfn
from mkold.kvm.x86.shadow.zap import (
    drop_spte,
    kvm_mmu_commit_zap_page,
    kvm_mmu_prepare_zap_page,
    mmu_page_zap_pte,
)
from mkold.lang import NULL, READ_ONCE, WRITE_ONCE, Ptr, addr, kernel, u64
from mkold.mm.fault.user import get_user_nofault


@kernel
def kvm_read_guest_atomic(kvm: Ptr[Kvm], gfn: u64, offset: u64) -> tuple[u64, u64]:
    """Word ``offset`` of the guest's page ``gfn``, if the host has it mapped: failed, word."""
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL:
        return 1, 0
    failed, word = get_user_nofault(kvm.mm, gfn_to_hva(slot, gfn), offset)
    return failed, word


@kernel
def synced_spte(kvm: Ptr[Kvm], gfn: u64, old: u64, access: u64) -> u64:
    """The SPTE ``old`` of ``gfn`` as it is if the guest's own entry allows ``access``."""
    writable: u64 = (old & SHADOW_HOST_WRITABLE_MASK) != 0
    slot = gfn_to_memslot(kvm, gfn)
    spte = make_indirect_spte(kvm, slot, gfn, spte_to_pfn(old), access, writable, 0)
    return spte if LINUX_VERSION >= 613 else mark_spte_for_access_track(spte)


@kernel
def sync_spte(kvm: Ptr[Kvm], sp: Ptr[KvmMmuPage], index: u64, gpte: u64) -> u64:
    """Leaf ``index`` of ``sp`` is as the guest's own entry says; 1 if the TLBs have to be
    flushed."""
    gfn = (gpte & SPTE_BASE_ADDR_MASK) >> SPTE_BASE_SHIFT
    if not gpte_present(gpte) or gfn != kvm_mmu_page_get_gfn(sp, index):
        drop_spte(kvm, sp, index)
        return 1
    access = gpte_access(gpte)
    if LINUX_VERSION >= 604 and kvm_mmu_page_get_access(sp, index) == access:
        return 0
    kvm_mmu_page_set_access(sp, index, access)
    sptep = sp_spt(sp) + index
    return mmu_spte_update(sptep, synced_spte(kvm, gfn, READ_ONCE(sptep.value), access))


@kernel
def kvm_sync_page(kvm: Ptr[Kvm], sp: Ptr[KvmMmuPage]) -> u64:
    """Bring a leaf table into step; 1 if the TLBs have to be flushed. If the guest's own cannot
    be read, it goes."""
    flush: u64 = 0
    WRITE_ONCE(sp.unsync, 0)
    for i in range(SPTE_ENT_PER_PAGE):
        if is_shadow_present_pte(READ_ONCE(sp_spt(sp)[i])):
            failed, gpte = kvm_read_guest_atomic(kvm, sp.gfn, i)
            if failed:
                kvm_mmu_prepare_zap_page(kvm, sp)
                return 1
            flush |= sync_spte(kvm, sp, i, gpte)
    return flush


@kernel
def protect_unsync_pages(kvm: Ptr[Kvm]) -> u64:
    """The guest can't write unseen to a table of which what follows it is out of step; whether
    there is any."""
    found: u64 = 0
    flush: u64 = 0
    at = kvm.arch.shadow.active_mmu_pages.next
    while at != addr(kvm.arch.shadow.active_mmu_pages):
        if READ_ONCE(lru_sp(at).unsync):
            found = 1
            flush |= kvm_vcpu_write_protect_gfn(kvm, lru_sp(at).gfn)
        at = at.next
    if flush:
        kvm_flush_remote_tlbs(kvm)
    return found


@kernel
def kvm_mmu_sync_roots(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> None:
    """Bring all tables into step. ``vcpu`` is out of guest mode."""
    flush: u64 = 0
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    if protect_unsync_pages(kvm):
        head = addr(kvm.arch.shadow.active_mmu_pages)
        at = head.next
        while at != head:
            sp = lru_sp(at)
            at = at.next
            if READ_ONCE(sp.unsync):
                flush |= kvm_sync_page(kvm, sp)
        if flush:
            kvm_flush_remote_tlbs(kvm)
        kvm_mmu_commit_zap_page(kvm)
    kvm_mmu_unlock(kvm)


@kernel
def kvm_mmu_track_write(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, index: u64) -> None:
    """A write to word ``index`` of the guest's page ``gfn`` was emulated. ``vcpu``, which
    wrote, is out of guest mode."""
    flush: u64 = 0
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    sp = kvm_first_sp_with_gptes(kvm, gfn)
    while sp != NULL:
        flush |= is_shadow_present_pte(READ_ONCE(sp_spt(sp)[index]))
        mmu_page_zap_pte(kvm, sp, index)
        sp = kvm_next_sp_with_gptes(sp.hash_next, gfn)
    if flush:
        kvm_flush_remote_tlbs(kvm)
    kvm_mmu_unlock(kvm)
