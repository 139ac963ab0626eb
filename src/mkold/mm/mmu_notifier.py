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
* A subscriber brings a table of operations; it does not hear of what its table has NULL for.
  The table is written before the subscription and lives as long.

Sources: include/linux/mmu_notifier.h, mm/mmu_notifier.c; test_clear_young: "mm/kvm: add
mmu_notifier_ops->test_clear_young()", lore 20230526234435.662652-2-yuzhao@google.com.
"""

from __future__ import annotations

from mkold.lang import (
    NULL,
    WRITE_ONCE,
    Array,
    Fn,
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
from mkold.mm.mm_types import Mm
from mkold.sync.srcu import SrcuStruct

# What ``mmu_notifier_test_clear_young`` returns; 0 is "nothing young".
MMU_NOTIFIER_RANGE_LOCKLESS = 1 << 1  # young, and found without a lock
MMU_NOTIFIER_RANGE_YOUNG = 1 << 2  # young, found by the slow path


class MmuNotifierOps(Struct):
    """``struct mmu_notifier_ops``: how a subscriber is called.

    ``test_clear_young(notifier, start, end, clear, bitmap)`` answers as
    ``mmu_notifier_test_clear_young``, ``clear_young`` and ``clear_flush_young`` 1 if any page
    was young. ``change_pte(notifier, page, pfn)`` comes inside an invalidation.
    """

    test_clear_young: Fn[[Ptr[MmuNotifier], u64, u64, u64, Ptr[u64]], u64]
    clear_young: Fn[[Ptr[MmuNotifier], u64, u64], u64]
    clear_flush_young: Fn[[Ptr[MmuNotifier], u64, u64], u64]
    change_pte: Fn[[Ptr[MmuNotifier], u64, u64], None]
    invalidate_range_start: Fn[[Ptr[MmuNotifier], u64, u64], None]
    invalidate_range_end: Fn[[Ptr[MmuNotifier], u64, u64], None]


class MmuNotifier(Struct):
    """``struct mmu_notifier``: one subscription; the subscriber embeds it first."""

    next: Ptr[MmuNotifier]
    ops: Ptr[MmuNotifierOps]


class MmuNotifierSubscriptions(Struct):
    """``struct mmu_notifier_subscriptions``, with the SRCU domain of its readers."""

    head: Ptr[MmuNotifier]
    lock: spinlock_t
    pad: Array[u64, 6]
    srcu: SrcuStruct


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
def mn_hlist_walk(
    mm: Ptr[Mm],
    call: Fn[[Ptr[MmuNotifierOps], Ptr[MmuNotifier], u64, u64, u64, Ptr[u64]], u64],
    start: u64, end: u64, word: u64, bitmap: Ptr[u64], until_young: u64,
) -> u64:  # fmt: skip
    """``call`` every subscriber; answers ORed, with ``until_young`` up to the first that is
    not 0. ``word`` and ``bitmap`` are handed on."""
    subscriptions = mm_subscriptions(mm)
    if subscriptions == NULL:
        return 0
    answer = 0
    index = srcu_read_lock(subscriptions.srcu)
    notifier = rcu_dereference(subscriptions.head)
    while notifier != NULL:
        answer |= call(notifier.ops, notifier, start, end, word, bitmap)
        if answer and until_young:
            break
        notifier = rcu_dereference(notifier.next)
    srcu_read_unlock(subscriptions.srcu, index)
    return answer


@kernel
def mn_test_clear_young(
    ops: Ptr[MmuNotifierOps], notifier: Ptr[MmuNotifier], start: u64, end: u64, clear: u64,
    bitmap: Ptr[u64],
) -> u64:  # fmt: skip
    """``ops->test_clear_young``."""
    if ops.test_clear_young == NULL:
        return 0
    return ops.test_clear_young(notifier, start, end, clear, bitmap)


@kernel
def mn_clear_young(
    ops: Ptr[MmuNotifierOps], notifier: Ptr[MmuNotifier], start: u64, end: u64, flush: u64,
    bitmap: Ptr[u64],
) -> u64:  # fmt: skip
    """``ops->clear_young``, or with ``flush`` ``ops->clear_flush_young``."""
    clear = ops.clear_young
    if flush:
        clear = ops.clear_flush_young
    if clear == NULL:
        return 0
    return clear(notifier, start, end)


@kernel
def mn_change_pte(
    ops: Ptr[MmuNotifierOps], notifier: Ptr[MmuNotifier], page: u64, end: u64, pfn: u64,
    bitmap: Ptr[u64],
) -> u64:  # fmt: skip
    """``ops->change_pte``."""
    if ops.change_pte != NULL:
        ops.change_pte(notifier, page, pfn)
    return 0


@kernel
def mn_invalidate_range_start(
    ops: Ptr[MmuNotifierOps], notifier: Ptr[MmuNotifier], start: u64, end: u64, word: u64,
    bitmap: Ptr[u64],
) -> u64:  # fmt: skip
    """``ops->invalidate_range_start``."""
    if ops.invalidate_range_start != NULL:
        ops.invalidate_range_start(notifier, start, end)
    return 0


@kernel
def mn_invalidate_range_end(
    ops: Ptr[MmuNotifierOps], notifier: Ptr[MmuNotifier], start: u64, end: u64, word: u64,
    bitmap: Ptr[u64],
) -> u64:  # fmt: skip
    """``ops->invalidate_range_end``."""
    if ops.invalidate_range_end != NULL:
        ops.invalidate_range_end(notifier, start, end)
    return 0


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
    return mn_hlist_walk(mm, mn_test_clear_young, start, end, clear, bitmap, not clear)


@kernel
def mmu_notifier_clear_young(mm: Ptr[Mm], start: u64, end: u64) -> u64:
    """Clear accessed bits by the slow path, without a TLB flush; 1 if any was set."""
    return mn_hlist_walk(mm, mn_clear_young, start, end, 0, NULL, 0)


@kernel
def mmu_notifier_clear_flush_young(mm: Ptr[Mm], start: u64, end: u64) -> u64:
    """As ``mmu_notifier_clear_young``, and flush, so that every later access is seen."""
    return mn_hlist_walk(mm, mn_clear_young, start, end, 1, NULL, 0)


@kernel
def mmu_notifier_change_pte(mm: Ptr[Mm], page: u64, pfn: u64) -> None:
    """The host maps ``page`` to another frame; call between range start and end."""
    mn_hlist_walk(mm, mn_change_pte, page, page + 1, pfn, NULL, 0)


@kernel
def mmu_notifier_invalidate_range_start(mm: Ptr[Mm], start: u64, end: u64) -> None:
    """No subscriber maps ``[start, end)``, nor will, until the matching end.

    Waits for vCPUs that may use a stale translation; call without ``mmu_lock`` and
    outside guest mode.
    """
    mn_hlist_walk(mm, mn_invalidate_range_start, start, end, 0, NULL, 0)


@kernel
def mmu_notifier_invalidate_range_end(mm: Ptr[Mm], start: u64, end: u64) -> None:
    """The range may be mapped again; faults that began before this try again."""
    mn_hlist_walk(mm, mn_invalidate_range_end, start, end, 0, NULL, 0)
