"""KVM as a subscriber to the MMU notifiers: the callbacks, and fast path or slow path.

``kvm_mmu_notifier_test_clear_young`` decides between the fast path and the slow one:

1. If the machine has a fast path, ask it, memslot by memslot, without ``mmu_lock``.
2. If it could not, and the caller gave no bitmap, take ``mmu_lock`` and go page by page.
3. With a bitmap there is no slow path: the answer is 0, and the bitmap stays empty (a
   slot that was done before the failure may have left its bits).

Invalidations take ``mmu_lock``, move the retry counter (``mkold.kvm.retry``) and unmap.

Sources: virt/kvm/kvm_main.c; "mm/kvm: add mmu_notifier_ops->test_clear_young()", lore
20230526234435.662652-2-yuzhao@google.com.
"""

from __future__ import annotations

from mkold.ir.boot import KVM_MODULE
from mkold.kvm.arch import (
    kvm_age_gfn,
    kvm_arch_has_test_clear_young,
    kvm_arch_test_clear_young,
    kvm_set_spte_gfn,
    kvm_test_age_gfn,
    kvm_unmap_gfn_range,
)
from mkold.kvm.memslots import hva_range_in_slot
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.retry import kvm_mmu_invalidate_begin, kvm_mmu_invalidate_end
from mkold.kvm.tlb import kvm_flush_remote_tlbs
from mkold.kvm.types import KVM_ELIDE_TLB_FLUSH_IF_YOUNG, Kvm
from mkold.lang import (
    NULL,
    Ptr,
    Struct,
    addr,
    atomic_inc,
    cast,
    kernel,
    smp_load_acquire,
    u64,
)
from mkold.mm.mmu_notifier import (
    MMU_NOTIFIER_RANGE_LOCKLESS,
    MMU_NOTIFIER_RANGE_YOUNG,
    MmuNotifier,
    MmuNotifierOps,
    mmu_notifier_register,
)


@kernel
def kvm_test_clear_young_fast(
    kvm: Ptr[Kvm], start: u64, end: u64, clear: u64, bitmap: Ptr[u64]
) -> tuple[u64, u64]:
    """The fast path over every slot that host pages ``[start, end)`` back.

    Returns
    -------
    failed, young
    """
    young = 0
    n_slots = smp_load_acquire(kvm.n_slots)
    for i in range(n_slots):
        slot = addr(kvm.slots[i])
        gfn, gfn_end = hva_range_in_slot(slot, start, end)
        if gfn != gfn_end:
            last_hva = slot.userspace_addr + (gfn_end - 1 - slot.base_gfn)
            failed, found = kvm_arch_test_clear_young(
                kvm, gfn, gfn_end, clear, bitmap, end - 1 - last_hva
            )
            if failed:
                return 1, 0
            young |= found != 0
            if young and not clear and bitmap == NULL:
                break
    return 0, young


@kernel
def kvm_test_clear_young_slow(kvm: Ptr[Kvm], start: u64, end: u64, clear: u64) -> u64:
    """The slow path over host pages ``[start, end)``; 1 if any page was young."""
    young = 0
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    n_slots = smp_load_acquire(kvm.n_slots)
    for i in range(n_slots):
        gfn, gfn_end = hva_range_in_slot(addr(kvm.slots[i]), start, end)
        if gfn != gfn_end and clear:
            young |= kvm_age_gfn(kvm, gfn, gfn_end)
        elif gfn != gfn_end and not young:
            young = kvm_test_age_gfn(kvm, gfn, gfn_end)
    kvm_mmu_unlock(kvm)
    return young


@kernel
def kvm_mmu_notifier_test_clear_young(
    notifier: Ptr[MmuNotifier], start: u64, end: u64, clear: u64, bitmap: Ptr[u64]
) -> u64:
    """``mmu_notifier_ops.test_clear_young``; see ``mmu_notifier_test_clear_young``."""
    kvm = cast(Ptr[Kvm], notifier)
    if kvm_arch_has_test_clear_young():
        failed, young = kvm_test_clear_young_fast(kvm, start, end, clear, bitmap)
        if not failed:
            return MMU_NOTIFIER_RANGE_LOCKLESS if young else 0
        atomic_inc(kvm.stat.fast_refused)
    if bitmap != NULL:
        return 0
    if kvm_test_clear_young_slow(kvm, start, end, clear):
        return MMU_NOTIFIER_RANGE_YOUNG
    return 0


@kernel
def kvm_mmu_notifier_clear_young(notifier: Ptr[MmuNotifier], start: u64, end: u64) -> u64:
    """``clear_young``: always the slow path."""
    return kvm_test_clear_young_slow(cast(Ptr[Kvm], notifier), start, end, 1)


@kernel
def kvm_mmu_notifier_clear_flush_young(notifier: Ptr[MmuNotifier], start: u64, end: u64) -> u64:
    """``clear_flush_young``: as ``clear_young``; if any was young, a flush, unless elided."""
    kvm = cast(Ptr[Kvm], notifier)
    young = kvm_test_clear_young_slow(kvm, start, end, 1)
    if young and not KVM_ELIDE_TLB_FLUSH_IF_YOUNG:
        kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
        kvm_flush_remote_tlbs(kvm)
        kvm_mmu_unlock(kvm)
    return young


@kernel
def kvm_unmap_hva_range(kvm: Ptr[Kvm], start: u64, end: u64) -> None:
    """Under ``mmu_lock``: no guest page backed by host pages ``[start, end)`` is mapped."""
    flush = 0
    n_slots = smp_load_acquire(kvm.n_slots)
    for i in range(n_slots):
        gfn, gfn_end = hva_range_in_slot(addr(kvm.slots[i]), start, end)
        if gfn != gfn_end:
            flush |= kvm_unmap_gfn_range(kvm, gfn, gfn_end)
    if flush:
        kvm_flush_remote_tlbs(kvm)


@kernel
def kvm_set_spte_hva(kvm: Ptr[Kvm], page: u64, pfn: u64) -> None:
    """Under ``mmu_lock``: host page ``page`` is in frame ``pfn`` from now on."""
    flush = 0
    n_slots = smp_load_acquire(kvm.n_slots)
    for i in range(n_slots):
        gfn, gfn_end = hva_range_in_slot(addr(kvm.slots[i]), page, page + 1)
        if gfn != gfn_end:
            flush |= kvm_set_spte_gfn(kvm, gfn, pfn)
    if flush:
        kvm_flush_remote_tlbs(kvm)


@kernel
def kvm_mmu_notifier_invalidate_range_start(
    notifier: Ptr[MmuNotifier], start: u64, end: u64
) -> None:
    """``invalidate_range_start``: unmap, and let no fault map until the end."""
    kvm = cast(Ptr[Kvm], notifier)
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    kvm_mmu_invalidate_begin(kvm, start, end)
    kvm_unmap_hva_range(kvm, start, end)
    kvm_mmu_unlock(kvm)


@kernel
def kvm_mmu_notifier_invalidate_range_end(
    notifier: Ptr[MmuNotifier], start: u64, end: u64
) -> None:
    """``invalidate_range_end``: faults that began before this try again."""
    kvm = cast(Ptr[Kvm], notifier)
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    kvm_mmu_invalidate_end(kvm)
    kvm_mmu_unlock(kvm)


@kernel
def kvm_mmu_notifier_change_pte(notifier: Ptr[MmuNotifier], page: u64, pfn: u64) -> None:
    """``change_pte``: the host maps ``page`` to frame ``pfn``."""
    kvm = cast(Ptr[Kvm], notifier)
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    kvm_set_spte_hva(kvm, page, pfn)
    kvm_mmu_unlock(kvm)


class KvmModule(Struct):
    """What the module keeps for all VMs."""

    mmu_notifier_ops: MmuNotifierOps


@kernel
def kvm_mmu_notifier_ops() -> Ptr[MmuNotifierOps]:
    """KVM's table of operations, the same for all VMs."""
    return addr(cast(Ptr[KvmModule], KVM_MODULE).mmu_notifier_ops)


@kernel
def kvm_fill_mmu_notifier_ops() -> None:
    """Write the table, before there is a VM."""
    ops = kvm_mmu_notifier_ops()
    ops.test_clear_young = kvm_mmu_notifier_test_clear_young
    ops.clear_young = kvm_mmu_notifier_clear_young
    ops.clear_flush_young = kvm_mmu_notifier_clear_flush_young
    ops.change_pte = kvm_mmu_notifier_change_pte
    ops.invalidate_range_start = kvm_mmu_notifier_invalidate_range_start
    ops.invalidate_range_end = kvm_mmu_notifier_invalidate_range_end


@kernel
def kvm_init_mmu_notifier(kvm: Ptr[Kvm]) -> None:
    """Subscribe a VM to its mm."""
    kvm.notifier.ops = kvm_mmu_notifier_ops()
    mmu_notifier_register(addr(kvm.notifier), kvm.mm)
