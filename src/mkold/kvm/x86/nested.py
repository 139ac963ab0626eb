"""The hooks of KVM on x86 where the TDP MMU maps the guest, and the shadow MMU its own guest.

Rules
-----
* A page of the guest's is mapped by the TDP MMU, and for each table of L2's that leads to it by
  an SPTE in its rmap word: what unmaps does both. What ages does both; a test stops with the
  first that says young.
* Entries of the TDP MMU for L1's tables are write-protected as long as these are in step with
  what follows them (``mmu.unsync``, ``shadow.sync``).
* The rmap words are there from the first shadow root on. Until then nothing of this is looked
  at; the lockless ager goes by the number of indirect tables (``shadow.age``).
* The series' second version refuses from the first shadow root on (``x86``). Any version does
  if it is to fill a bitmap: by rmap words there is no way to.

Source: arch/x86/kvm/mmu/mmu.c (``kvm_unmap_gfn_range``, ``kvm_age_gfn``, ``kvm_test_age_gfn``,
``mmu_alloc_shadow_roots``).
Known limits: the vCPUs of a VM that have L2's root share it with no other of L1's guests.
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_memslot
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.tlb import kvm_make_request, kvm_vcpu_of
from mkold.kvm.types import REQ_TLB_FLUSH_ALL
from mkold.kvm.x86 import x86
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu, sp_spt
from mkold.kvm.x86.audit import kvm_tdp_mmu_audit
from mkold.kvm.x86.fault import kvm_tdp_page_fault
from mkold.kvm.x86.mmu.page_hash import sp_direct
from mkold.kvm.x86.mmu.spte import (
    LINUX_VERSION,
    PG_LEVEL_4K,
    is_mmu_writable_spte,
    is_writable_pte,
)
from mkold.kvm.x86.shadow.age import (
    kvm_age_rmap_range,
    kvm_may_have_shadow_mmu_sptes,
    kvm_rmap_age_gfn_range,
)
from mkold.kvm.x86.shadow.audit import kvm_shadow_mmu_audit
from mkold.kvm.x86.shadow.fault import kvm_mmu_load, kvm_shadow_page_fault
from mkold.kvm.x86.shadow.memslot_rmap import (
    kvm_arch_create_memslot,
    kvm_memslots_have_rmaps,
    mmu_first_shadow_root_alloc,
)
from mkold.kvm.x86.shadow.pages import kvm_mmu_init_shadow, kvm_mmu_put_root, lru_sp
from mkold.kvm.x86.shadow.rmap_zap import kvm_rmap_zap_gfn_range
from mkold.kvm.x86.shadow.sync import kvm_mmu_sync_roots
from mkold.kvm.x86.shadow.zap import kvm_mmu_zap_oldest_mmu_pages
from mkold.kvm.x86.tdp.iter import is_leaf, tdp_walk
from mkold.kvm.x86.tdp.roots import kvm_tdp_mmu_put_root
from mkold.lang import NULL, Ptr, addr, cast, kernel, u64

# Audits of the shadow MMU begin here, those of the TDP MMU are below.
AUDIT_SHADOW = 100
# What follows one of L1's tables is in step with it, and L1 can write to that unseen.
AUDIT_WRITABLE_TABLE = 99


@kernel
def kvm_arch_init_vm(kvm: Ptr[Kvm]) -> u64:
    """A VM without a table."""
    return x86.kvm_arch_init_vm(kvm) or kvm_mmu_init_shadow(kvm)


@kernel
def kvm_arch_destroy_vm(kvm: Ptr[Kvm]) -> None:
    """Both MMUs' tables go."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    for i in range(kvm.n_vcpus):
        vcpu = cast(Ptr[Vcpu], kvm_vcpu_of(kvm, i))
        if vcpu.arch.guest_mode:
            kvm_mmu_put_root(vcpu)
    kvm_mmu_zap_oldest_mmu_pages(kvm, ~0)
    kvm_mmu_unlock(kvm)
    x86.kvm_arch_destroy_vm(kvm)


@kernel
def kvm_unmap_gfn_range(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Unmap ``[gfn, end)``, pages of one slot; 1 if the caller has to flush."""
    flush = x86.kvm_unmap_gfn_range(kvm, gfn, end)
    if kvm_memslots_have_rmaps(kvm):
        flush |= kvm_rmap_zap_gfn_range(kvm, gfn_to_memslot(kvm, gfn), gfn, end)
    return flush


@kernel
def kvm_set_spte_gfn(kvm: Ptr[Kvm], gfn: u64, pfn: u64) -> u64:
    """The page is unmapped, and mapped anew by the next fault; ``pfn`` is not needed."""
    return kvm_unmap_gfn_range(kvm, gfn, gfn + 1)


@kernel
def age_rmaps(kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64) -> u64:
    """The shadow MMU's part, as the kernel's version does it; under ``mmu_lock`` up to 6.12."""
    slot = gfn_to_memslot(kvm, gfn)
    if LINUX_VERSION >= 615:
        if not kvm_may_have_shadow_mmu_sptes(kvm):
            return 0
        return kvm_rmap_age_gfn_range(slot, gfn, end, clear)
    if not kvm_memslots_have_rmaps(kvm):
        return 0
    return kvm_age_rmap_range(slot, gfn, end, clear)


@kernel
def kvm_age_gfn(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Age ``[gfn, end)``, pages of one slot."""
    return x86.kvm_age_gfn(kvm, gfn, end) | age_rmaps(kvm, gfn, end, 1)


@kernel
def kvm_test_age_gfn(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """As ``kvm_age_gfn``, without changing anything."""
    return x86.kvm_test_age_gfn(kvm, gfn, end) or age_rmaps(kvm, gfn, end, 0)


@kernel
def kvm_arch_test_clear_young(
    kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> tuple[u64, u64]:
    """Without the lock."""
    if bitmap != NULL and kvm_memslots_have_rmaps(kvm):
        return 1, 0
    failed, young = x86.kvm_arch_test_clear_young(kvm, gfn, end, clear, bitmap, last_bit)
    if not failed and (clear or not young):
        young |= age_rmaps(kvm, gfn, end, clear)
    return failed, young


@kernel
def kvm_arch_vcpu_page_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """A fault of the guest's, or of a guest of its own."""
    if vcpu.arch.guest_mode:
        return kvm_shadow_page_fault(kvm, vcpu, gfn, write)
    return kvm_tdp_page_fault(kvm, vcpu, gfn, write)


@kernel
def nested_enter(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], number: u64) -> u64:
    """``vcpu``, which is out of guest mode, runs L2 from here on; 0, or 1: no memory. Whoever
    enters the first holds what ``mmu_first_shadow_root_alloc`` wants: here nobody else runs."""
    root = vcpu.arch.root
    if root != NULL:
        vcpu.arch.root = cast(Ptr[KvmMmuPage], NULL)
        kvm_tdp_mmu_put_root(kvm, root)
    vcpu.arch.guest_mode = 1
    kvm_make_request(vcpu, REQ_TLB_FLUSH_ALL)
    if mmu_first_shadow_root_alloc(kvm) or kvm_mmu_load(kvm, vcpu):
        return 1
    kvm_mmu_sync_roots(kvm, vcpu)
    return 0


@kernel
def audit_protected(kvm: Ptr[Kvm], gfn: u64) -> u64:
    """Whether no root lets L1 write to its page ``gfn`` unseen."""
    root: Ptr[KvmMmuPage] = kvm.arch.tdp_mmu_roots
    while root != NULL:
        _sptep, spte, level = tdp_walk(sp_spt(root), gfn, PG_LEVEL_4K)
        if is_leaf(spte, level) and (is_writable_pte(spte) or is_mmu_writable_spte(spte)):
            return AUDIT_WRITABLE_TABLE
        root = root.link
    return 0


@kernel
def audit_l1_tables(kvm: Ptr[Kvm]) -> u64:
    """Whether L1's tables are protected that something is in step with."""
    at = kvm.arch.shadow.active_mmu_pages.next
    while at != addr(kvm.arch.shadow.active_mmu_pages):
        sp = lru_sp(at)
        if not sp_direct(sp) and not sp.unsync and audit_protected(kvm, sp.gfn):
            return AUDIT_WRITABLE_TABLE
        at = at.next
    return 0


@kernel
def kvm_nested_audit(kvm: Ptr[Kvm]) -> u64:
    """The books of both MMUs: the first rule that is broken, or 0."""
    wrong = kvm_tdp_mmu_audit(kvm)
    if not wrong:
        wrong = audit_l1_tables(kvm)
    if wrong:
        return wrong
    wrong = kvm_shadow_mmu_audit(kvm)
    return AUDIT_SHADOW + wrong if wrong else 0


NESTED_HOOKS = {
    "kvm_arch_init_vm": kvm_arch_init_vm,
    "kvm_arch_destroy_vm": kvm_arch_destroy_vm,
    "kvm_arch_create_memslot": kvm_arch_create_memslot,
    "kvm_unmap_gfn_range": kvm_unmap_gfn_range,
    "kvm_set_spte_gfn": kvm_set_spte_gfn,
    "kvm_age_gfn": kvm_age_gfn,
    "kvm_test_age_gfn": kvm_test_age_gfn,
    "kvm_arch_test_clear_young": kvm_arch_test_clear_young,
    "kvm_arch_vcpu_page_fault": kvm_arch_vcpu_page_fault,
}
