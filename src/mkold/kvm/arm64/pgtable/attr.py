"""Changing attributes: permissions and the accessed bit of one leaf, write protection of a
range.

Rules
-----
* A leaf is changed as a whole word from what was read: by compare-and-swap in a shared walk, so
  that an accessed bit that the hardware sets is not lost; by a plain store in one that is
  alone, which may undo it. The kernel accepts that: nothing but age depends on it.
* ``relax_perms`` lets the vCPU's own TLB forget the page, also if it lost the race: the TLB may
  hold the translation that faulted.

Source: arch/arm64/kvm/hyp/pgtable.c (``stage2_attr_walker``, ``kvm_pgtable_stage2_wrprotect``,
``_mkyoung``, ``_relax_perms``).
"""

from __future__ import annotations

from mkold.kvm.arm64.asm.kvm_host import Kvm, Vcpu, WalkData
from mkold.kvm.arm64.pgtable.pte import S2_AF, S2AP_W, kvm_pte_valid
from mkold.kvm.arm64.pgtable.tlb import __kvm_tlb_flush_vmid_ipa_nsh
from mkold.kvm.arm64.pgtable.update import stage2_try_set_pte
from mkold.kvm.arm64.pgtable.walk import (
    EAGAIN,
    KVM_PGTABLE_WALK_HANDLE_FAULT,
    KVM_PGTABLE_WALK_LEAF,
    KVM_PGTABLE_WALK_SHARED,
    kvm_pgtable_walk,
)
from mkold.lang import Ptr, addr, kernel, parameter, u64

# 1, as before commit be097997a273: who loses the race keeps the stale translation.
LOSER_KEEPS_TLB = parameter("LOSER_KEEPS_TLB", 0)
# 1: write protection by compare-and-swap too.
WRPROTECT_SHARED = parameter("WRPROTECT_SHARED", 0)


@kernel
def stage2_attr_walker(
    kvm: Ptr[Kvm], ptep: Ptr[u64], old: u64, level: u64, gfn: u64, flags: u64,
    data: Ptr[WalkData],
) -> u64:  # fmt: skip
    """Set ``data.attr`` and clear ``data.clear``; EAGAIN if there is no leaf, or a race
    lost."""
    if not kvm_pte_valid(old):
        return EAGAIN
    data.leaf = old
    new = (old & ~data.clear) | data.attr
    if new != old and not stage2_try_set_pte(ptep, old, new, flags):
        return EAGAIN
    return 0


@kernel
def stage2_update_leaf_attrs(
    kvm: Ptr[Kvm], data: Ptr[WalkData], gfn: u64, end: u64, set_: u64, clear: u64, flags: u64
) -> u64:
    """Set and clear bits of the leaves of ``[gfn, end)``."""
    data.leaf = 0
    data.attr = set_
    data.clear = clear
    flags |= KVM_PGTABLE_WALK_LEAF
    return kvm_pgtable_walk(kvm, gfn, end, flags, stage2_attr_walker, data)


@kernel
def kvm_pgtable_stage2_wrprotect(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Under ``mmu_lock`` for writing: no leaf of ``[gfn, end)`` may be written through; the
    caller flushes."""
    flags: u64 = 0
    if WRPROTECT_SHARED:
        flags = KVM_PGTABLE_WALK_SHARED
    data = addr(kvm.arch.mmu.walk)
    return stage2_update_leaf_attrs(kvm, data, gfn, end, 0, S2AP_W, flags)


@kernel
def kvm_pgtable_stage2_mkyoung(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> u64:
    """Under ``mmu_lock`` for reading: set the accessed bit of the leaf of ``gfn``; what it was
    before, 0 if there is none."""
    flags = KVM_PGTABLE_WALK_HANDLE_FAULT | KVM_PGTABLE_WALK_SHARED
    data = addr(vcpu.arch.walk)
    stage2_update_leaf_attrs(kvm, data, gfn, gfn + 1, S2_AF, 0, flags)
    return data.leaf


@kernel
def kvm_pgtable_stage2_relax_perms(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, perms: u64) -> u64:
    """Under ``mmu_lock`` for reading: allow ``perms`` besides."""
    flags = KVM_PGTABLE_WALK_HANDLE_FAULT | KVM_PGTABLE_WALK_SHARED
    data = addr(vcpu.arch.walk)
    ret = stage2_update_leaf_attrs(kvm, data, gfn, gfn + 1, perms, 0, flags)
    if ret == 0 or (ret == EAGAIN and not LOSER_KEEPS_TLB):
        __kvm_tlb_flush_vmid_ipa_nsh(vcpu, gfn)
    return ret
