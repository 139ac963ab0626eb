"""MMU notifiers: who else maps this memory, and must hear of changes and answer for age.

Rules
-----
* Addresses are *host pages* (virtual address / page size); ranges are half-open.
* Subscriptions hang on the mm in a list. Callers walk it inside an SRCU read section, so
  a callback may take locks; ``mmu_notifier_unregister`` unlinks, then waits for readers.
* ``invalidate_range_start`` returns when no subscriber maps the range any more;
  until the matching ``invalidate_range_end`` none may map it again.
* ``test_clear_young``: with no bitmap, tests (and clears, if ``clear``) the accessed bits
  of the range, by the fast path if there is one and by the slow path otherwise. With a
  bitmap only the fast path is tried: testing sets a bit for each young page, clearing
  touches only pages whose bit is set. The bitmap runs backwards: page ``p`` is bit
  ``end - p - 1``, bit 0 the last page of the range.
* Answers of all subscribers are ORed. A test without ``clear`` stops at the first young.

The language has no function pointers, so ``mmu_notifier_ops`` is a set of declared
functions that the one kind of subscriber, KVM, defines (``mkold.kvm.notifier``).

Sources: include/linux/mmu_notifier.h, mm/mmu_notifier.c; test_clear_young: "mm/kvm: add
mmu_notifier_ops->test_clear_young()", lore 20230526234435.662652-2-yuzhao@google.com.
"""

from __future__ import annotations

from mkold.lang import (
    NULL,
    WRITE_ONCE,
    Array,
    Ptr,
    Struct,
    addr,
    cast,
    kernel,
    rcu_assign_pointer,
    rcu_dereference,
    smp_load_acquire,
    smp_store_release,
    spin_lock,
    spin_unlock,
    spinlock_t,
    srcu_read_lock,
    srcu_read_unlock,
    synchronize_srcu,
    u64,
)
from mkold.lang.declare import declare
from mkold.mm.mm_types import Mm
from mkold.sync.srcu import SrcuStruct

# What ``mmu_notifier_test_clear_young`` returns; 0 is "nothing young".
MMU_NOTIFIER_RANGE_LOCKLESS = 1 << 1  # young, and found without a lock
MMU_NOTIFIER_RANGE_YOUNG = 1 << 2  # young, found by the slow path


class MmuNotifier(Struct):
    """``struct mmu_notifier``: one subscription; the subscriber embeds it first."""

    next: Ptr[MmuNotifier]


class MmuNotifierSubscriptions(Struct):
    """``struct mmu_notifier_subscriptions``, with the SRCU domain of its readers."""

    head: Ptr[MmuNotifier]
    lock: spinlock_t
    pad: Array[u64, 6]
    srcu: SrcuStruct


@declare("mkold.kvm.notifier:kvm_mmu_notifier_test_clear_young")
def notify_test_clear_young(
    notifier: Ptr[MmuNotifier], start: u64, end: u64, clear: u64, bitmap: Ptr[u64]
) -> u64:
    """``ops->test_clear_young``."""


@declare("mkold.kvm.notifier:kvm_mmu_notifier_clear_young")
def notify_clear_young(notifier: Ptr[MmuNotifier], start: u64, end: u64, flush: u64) -> u64:
    """``ops->clear_young``, and with ``flush`` ``ops->clear_flush_young``."""


@declare("mkold.kvm.notifier:kvm_mmu_notifier_change_pte")
def notify_change_pte(notifier: Ptr[MmuNotifier], page: u64, pfn: u64) -> None:
    """``ops->change_pte``."""


@declare("mkold.kvm.notifier:kvm_mmu_notifier_invalidate_range_start")
def notify_invalidate_range_start(notifier: Ptr[MmuNotifier], start: u64, end: u64) -> None:
    """``ops->invalidate_range_start``."""


@declare("mkold.kvm.notifier:kvm_mmu_notifier_invalidate_range_end")
def notify_invalidate_range_end(notifier: Ptr[MmuNotifier], start: u64, end: u64) -> None:
    """``ops->invalidate_range_end``."""


@kernel
def mm_subscriptions(mm: Ptr[Mm]) -> Ptr[MmuNotifierSubscriptions]:
    """The mm's subscriptions, or NULL while nobody ever subscribed."""
    return cast(Ptr[MmuNotifierSubscriptions], smp_load_acquire(mm.notifier_subscriptions))


@kernel
def mmu_notifier_subscriptions_init(
    mm: Ptr[Mm], subscriptions: Ptr[MmuNotifierSubscriptions]
) -> None:
    """Hang empty ``subscriptions`` (zeroed words of the caller's) on ``mm``."""
    smp_store_release(mm.notifier_subscriptions, subscriptions)


@kernel
def mmu_notifier_register(notifier: Ptr[MmuNotifier], mm: Ptr[Mm]) -> None:
    """Subscribe; callbacks may come before this returns."""
    subscriptions = mm_subscriptions(mm)
    spin_lock(subscriptions.lock)
    WRITE_ONCE(notifier.next, rcu_dereference(subscriptions.head))
    rcu_assign_pointer(subscriptions.head, notifier)
    spin_unlock(subscriptions.lock)


@kernel
def mmu_notifier_unregister(notifier: Ptr[MmuNotifier], mm: Ptr[Mm]) -> None:
    """Unsubscribe; no callback runs after this returned."""
    subscriptions = mm_subscriptions(mm)
    spin_lock(subscriptions.lock)
    link = addr(subscriptions.head)
    seen = rcu_dereference(link.value)
    while seen != notifier and seen != NULL:
        link = addr(seen.next)
        seen = rcu_dereference(link.value)
    if seen != NULL:
        rcu_assign_pointer(link.value, rcu_dereference(notifier.next))
    spin_unlock(subscriptions.lock)
    synchronize_srcu(subscriptions.srcu)


@kernel
def mmu_notifier_test_clear_young(
    mm: Ptr[Mm], start: u64, end: u64, clear: u64, bitmap: Ptr[u64]
) -> u64:
    """Ask every subscriber for the age of host pages ``[start, end)``.

    Parameters
    ----------
    clear : clear the accessed bits found set (with a bitmap: only of pages in it)
    bitmap : NULL, or at least ``end - start`` bits, in reversed order

    Returns
    -------
    0 nothing young, or ``MMU_NOTIFIER_RANGE_LOCKLESS`` / ``MMU_NOTIFIER_RANGE_YOUNG``

    Ordering
    --------
    None is promised against the guest's accesses; sleeps neither on ``mmu_lock`` nor at
    all when the fast path works.
    """
    subscriptions = mm_subscriptions(mm)
    if subscriptions == NULL:
        return 0
    young = 0
    index = srcu_read_lock(subscriptions.srcu)
    notifier = rcu_dereference(subscriptions.head)
    while notifier != NULL:
        young |= notify_test_clear_young(notifier, start, end, clear, bitmap)
        if young and not clear:
            break
        notifier = rcu_dereference(notifier.next)
    srcu_read_unlock(subscriptions.srcu, index)
    return young


@kernel
def clear_young_notify(mm: Ptr[Mm], start: u64, end: u64, flush: u64) -> u64:
    """Ask every subscriber to clear; 1 if any page was young."""
    subscriptions = mm_subscriptions(mm)
    if subscriptions == NULL:
        return 0
    young = 0
    index = srcu_read_lock(subscriptions.srcu)
    notifier = rcu_dereference(subscriptions.head)
    while notifier != NULL:
        young |= notify_clear_young(notifier, start, end, flush)
        notifier = rcu_dereference(notifier.next)
    srcu_read_unlock(subscriptions.srcu, index)
    return young


@kernel
def mmu_notifier_clear_young(mm: Ptr[Mm], start: u64, end: u64) -> u64:
    """Clear accessed bits by the slow path, without a TLB flush; 1 if any was set."""
    return clear_young_notify(mm, start, end, 0)


@kernel
def mmu_notifier_clear_flush_young(mm: Ptr[Mm], start: u64, end: u64) -> u64:
    """As ``mmu_notifier_clear_young``, and flush, so that every later access is seen."""
    return clear_young_notify(mm, start, end, 1)


@kernel
def mmu_notifier_change_pte(mm: Ptr[Mm], page: u64, pfn: u64) -> None:
    """The host maps ``page`` to another frame; call between range start and end."""
    subscriptions = mm_subscriptions(mm)
    if subscriptions == NULL:
        return
    index = srcu_read_lock(subscriptions.srcu)
    notifier = rcu_dereference(subscriptions.head)
    while notifier != NULL:
        notify_change_pte(notifier, page, pfn)
        notifier = rcu_dereference(notifier.next)
    srcu_read_unlock(subscriptions.srcu, index)


@kernel
def mmu_notifier_invalidate_range_start(mm: Ptr[Mm], start: u64, end: u64) -> None:
    """No subscriber maps ``[start, end)``, nor will, until the matching end.

    Waits for vCPUs that may use a stale translation; call without ``mmu_lock`` and
    outside guest mode.
    """
    subscriptions = mm_subscriptions(mm)
    if subscriptions == NULL:
        return
    index = srcu_read_lock(subscriptions.srcu)
    notifier = rcu_dereference(subscriptions.head)
    while notifier != NULL:
        notify_invalidate_range_start(notifier, start, end)
        notifier = rcu_dereference(notifier.next)
    srcu_read_unlock(subscriptions.srcu, index)


@kernel
def mmu_notifier_invalidate_range_end(mm: Ptr[Mm], start: u64, end: u64) -> None:
    """The range may be mapped again; faults that began before this try again."""
    subscriptions = mm_subscriptions(mm)
    if subscriptions == NULL:
        return
    index = srcu_read_lock(subscriptions.srcu)
    notifier = rcu_dereference(subscriptions.head)
    while notifier != NULL:
        notify_invalidate_range_end(notifier, start, end)
        notifier = rcu_dereference(notifier.next)
    srcu_read_unlock(subscriptions.srcu, index)
