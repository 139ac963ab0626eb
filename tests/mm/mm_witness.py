"""A subscriber that counts what it hears: kernel Python that knows nothing of KVM."""

from __future__ import annotations

from mkold.lang import Array, Ptr, cast, kernel, poison, u64
from mkold.mm.mm_types import Mm
from mkold.mm.mmu_notifier import MmuNotifier, MmuNotifierOps, mmu_notifier_unregister

# Bits of a table's members, and places in ``Witness.heard``.
MEMBERS = (
    "test_clear_young", "clear_young", "clear_flush_young", "change_pte",
    "invalidate_range_start", "invalidate_range_end",
)  # fmt: skip


class Witness(MmuNotifier):
    """What was heard, by member; ``answer`` is what it says of age."""

    answer: u64
    pad: u64
    heard: Array[u64, 6]
    words: Array[u64, 6]  # the sum of all arguments, so that a mixed-up one shows


@kernel
def witness_hears(notifier: Ptr[MmuNotifier], member: u64, words: u64) -> u64:
    """Count a call."""
    witness = cast(Ptr[Witness], notifier)
    witness.heard[member] += 1
    witness.words[member] += words
    return witness.answer


@kernel
def witness_test_clear_young(
    notifier: Ptr[MmuNotifier], start: u64, end: u64, clear: u64, bitmap: Ptr[u64]
) -> u64:
    return witness_hears(notifier, 0, start + 3 * end + 9 * clear + 27 * cast(u64, bitmap))


@kernel
def witness_clear_young(notifier: Ptr[MmuNotifier], start: u64, end: u64) -> u64:
    return witness_hears(notifier, 1, start + 3 * end)


@kernel
def witness_clear_flush_young(notifier: Ptr[MmuNotifier], start: u64, end: u64) -> u64:
    return witness_hears(notifier, 2, start + 3 * end)


@kernel
def witness_change_pte(notifier: Ptr[MmuNotifier], page: u64, pfn: u64) -> None:
    witness_hears(notifier, 3, page + 3 * pfn)


@kernel
def witness_range_start(notifier: Ptr[MmuNotifier], start: u64, end: u64) -> None:
    witness_hears(notifier, 4, start + 3 * end)


@kernel
def witness_range_end(notifier: Ptr[MmuNotifier], start: u64, end: u64) -> None:
    witness_hears(notifier, 5, start + 3 * end)


@kernel
def witness_fill(ops: Ptr[MmuNotifierOps], members: u64) -> None:
    """Write a table that has the members whose bits are set."""
    if members & 1:
        ops.test_clear_young = witness_test_clear_young
    if members & 2:
        ops.clear_young = witness_clear_young
    if members & 4:
        ops.clear_flush_young = witness_clear_flush_young
    if members & 8:
        ops.change_pte = witness_change_pte
    if members & 16:
        ops.invalidate_range_start = witness_range_start
    if members & 32:
        ops.invalidate_range_end = witness_range_end


@kernel
def leave_and_free(notifier: Ptr[MmuNotifier], mm: Ptr[Mm], ops: Ptr[MmuNotifierOps]) -> None:
    """Unsubscribe, then free the table."""
    mmu_notifier_unregister(notifier, mm)
    poison(ops.test_clear_young, 6)
