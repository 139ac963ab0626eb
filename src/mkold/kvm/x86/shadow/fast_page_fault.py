"""A fast page fault in tables that are not freed by RCU.

Rules
-----
* While a vCPU walks, its mode is READING_SHADOW_PAGE_TABLES, set with a full barrier behind; it
  pairs with the full barrier of a flush request. Who frees tables unlinks them, posts the
  request, and waits until the mode is another: either the walk finds the table unlinked, or the
  freer finds the mode.
* What is done with the leaf is what the TDP MMU does (``tdp.fast_fault``).

Source: arch/x86/kvm/mmu/mmu.c (``fast_page_fault``, ``walk_shadow_page_lockless_begin``).
"""

from __future__ import annotations

from mkold.kvm.types import OUTSIDE_GUEST_MODE, READING_SHADOW_PAGE_TABLES, MemorySlot
from mkold.kvm.x86.asm.kvm_host import Vcpu
from mkold.kvm.x86.tdp.fast_fault import FAST_PF_TRIES, fast_pf_try, page_fault_can_be_fast
from mkold.kvm.x86.tdp.map import RET_PF_RETRY
from mkold.lang import Ptr, kernel, smp_store_mb, smp_store_release, u64


@kernel
def walk_shadow_page_lockless_begin(vcpu: Ptr[Vcpu]) -> None:
    """``vcpu``, which is out of guest mode, walks tables from here on.

    Ordering
    --------
    A full barrier; pairs with the one of ``kvm_make_request``.
    """
    smp_store_mb(vcpu.mode, READING_SHADOW_PAGE_TABLES)


@kernel
def walk_shadow_page_lockless_end(vcpu: Ptr[Vcpu]) -> None:
    """What the walk has found may not be touched any more: a release."""
    smp_store_release(vcpu.mode, OUTSIDE_GUEST_MODE)


@kernel
def shadow_fast_page_fault(vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64, write: u64) -> u64:
    """Give the access what it needs if that is a bit; RET_PF_*, RET_PF_RETRY: it could not."""
    if not page_fault_can_be_fast(vcpu, write):
        return RET_PF_RETRY
    result: u64 = RET_PF_RETRY
    walk_shadow_page_lockless_begin(vcpu)
    for _ in range(FAST_PF_TRIES):
        again, result = fast_pf_try(vcpu.arch.root, slot, gfn, write)
        if not again:
            break
    walk_shadow_page_lockless_end(vcpu)
    return result
