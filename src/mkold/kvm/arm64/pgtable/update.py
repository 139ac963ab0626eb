"""How an entry is changed.

Rules
-----
* A shared walk changes an entry by compare-and-swap from what it read; one that is alone by a
  plain store (``WRITE_ONCE``).
* **Break before make**: an entry whose frame or size changes is locked (not valid, with the
  marker), the TLBs forget it, and only then the new entry is written. Whoever meets a locked
  entry leaves it alone.
* The marker has no reference to the table: who locks an entry gives back the old one's, who
  makes it takes the new one's.
* The new entry is written by a release store, which puts what a new table holds before it.

Source: arch/arm64/kvm/hyp/pgtable.c (``stage2_try_set_pte``, ``stage2_try_break_pte``,
``stage2_make_pte``).
"""

from __future__ import annotations

from mkold.kvm.arm64.asm.kvm_host import Kvm
from mkold.kvm.arm64.pgtable.geometry import kvm_granule_pages
from mkold.kvm.arm64.pgtable.pte import (
    KVM_INVALID_PTE_LOCKED,
    kvm_pte_table,
    kvm_pte_valid,
    stage2_pte_is_counted,
    stage2_pte_is_locked,
)
from mkold.kvm.arm64.pgtable.tables import get_page, put_page, table_of
from mkold.kvm.arm64.pgtable.tlb import __kvm_tlb_flush_vmid_ipa, kvm_tlb_flush_vmid_range
from mkold.kvm.arm64.pgtable.walk import KVM_PGTABLE_WALK_SHARED
from mkold.lang import (
    WARN_ON_ONCE,
    WRITE_ONCE,
    Ptr,
    cmpxchg,
    kernel,
    parameter,
    smp_store_release,
    u64,
)

# 0: a broken entry is empty, and nobody sees that it is being changed.
BBM_MARKER = parameter("BBM_MARKER", 1)
# 1, as before commit 3a0b870e3448: a table that gives way is flushed as one page.
COLLAPSE_FLUSHES_PAGE = parameter("COLLAPSE_FLUSHES_PAGE", 0)


@kernel
def stage2_try_set_pte(ptep: Ptr[u64], old: u64, new: u64, flags: u64) -> u64:
    """Replace ``old`` by ``new``; 0 if somebody was faster."""
    if not flags & KVM_PGTABLE_WALK_SHARED:
        WRITE_ONCE(ptep.value, new)
        return 1
    return cmpxchg(ptep.value, old, new) == old


@kernel
def flush_broken(kvm: Ptr[Kvm], old: u64, gfn: u64, level: u64) -> None:
    """TLBs forget what the entry of ``gfn`` at ``level`` was."""
    if kvm_pte_table(old, level):
        pages = kvm_granule_pages(level)
        if COLLAPSE_FLUSHES_PAGE:
            kvm_tlb_flush_vmid_range(kvm, gfn, 1)
        else:
            kvm_tlb_flush_vmid_range(kvm, gfn & ~(pages - 1), pages)
    elif kvm_pte_valid(old):
        __kvm_tlb_flush_vmid_ipa(kvm, gfn, level)


@kernel
def stage2_try_break_pte(
    kvm: Ptr[Kvm], ptep: Ptr[u64], old: u64, gfn: u64, level: u64, flags: u64
) -> u64:
    """Lock the entry and flush it; 0 if somebody was faster."""
    if stage2_pte_is_locked(old):
        WARN_ON_ONCE(not flags & KVM_PGTABLE_WALK_SHARED)
        return 0
    if not stage2_try_set_pte(ptep, old, KVM_INVALID_PTE_LOCKED if BBM_MARKER else 0, flags):
        return 0
    flush_broken(kvm, old, gfn, level)
    if stage2_pte_is_counted(old):
        put_page(table_of(ptep, gfn, level))
    return 1


@kernel
def stage2_make_pte(ptep: Ptr[u64], new: u64, gfn: u64, level: u64) -> None:
    """Write the entry that was broken."""
    if stage2_pte_is_counted(new):
        get_page(table_of(ptep, gfn, level))
    smp_store_release(ptep.value, new)
