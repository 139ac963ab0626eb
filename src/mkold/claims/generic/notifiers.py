"""Subscribing to the mm's notifiers and leaving again, against a pass: claim 19."""

from __future__ import annotations

from mkold.check import Case, Claim, Scenario, Setup
from mkold.ir.program import POISON
from mkold.kvm.types import Kvm
from mkold.lang import READ_ONCE, Ptr, cast, kernel, poison, u64
from mkold.mm.mm_types import Mm
from mkold.mm.mmu_notifier import (
    MmuNotifier,
    MmuNotifierOps,
    MmuNotifierSubscriptions,
    mmu_notifier_register,
    mmu_notifier_subscriptions_init,
    mmu_notifier_test_clear_young,
    mmu_notifier_unregister,
)

NULL = 0


@kernel
def look_at_vm(
    notifier: Ptr[MmuNotifier], start: u64, end: u64, clear: u64, bitmap: Ptr[u64]
) -> u64:
    """The subscriber's callback: it touches the VM."""
    return READ_ONCE(cast(Ptr[Kvm], notifier).n_slots)


@kernel
def fill_ops(ops: Ptr[MmuNotifierOps]) -> None:
    """The subscriber's table."""
    ops.test_clear_young = look_at_vm


@kernel
def subscribe(kvm: Ptr[Kvm], notifier: Ptr[MmuNotifier], mm: Ptr[Mm]) -> None:
    """A new VM: written, then subscribed."""
    kvm.n_slots = 1
    mmu_notifier_register(notifier, mm)


@kernel
def unsubscribe_and_free(kvm: Ptr[Kvm], notifier: Ptr[MmuNotifier], mm: Ptr[Mm]) -> None:
    """The VM goes: unsubscribed, then freed."""
    mmu_notifier_unregister(notifier, mm)
    poison(kvm.notifier.next, 1)
    poison(kvm.n_slots, 1)


def _mm(m: Setup) -> tuple[int, int]:
    mm, kvm = m.new(Mm, "mm"), m.new(Kvm, "kvm")
    m.call(mmu_notifier_subscriptions_init, mm, m.new(MmuNotifierSubscriptions, "subs"))
    ops = m.new(MmuNotifierOps, "ops")
    m.call(fill_ops, ops)
    m.poke(kvm + Kvm.offset("notifier.ops"), ops)
    return mm, kvm


def walk_and_unsubscribe(m: Setup) -> None:
    mm, kvm = _mm(m)
    m.call(subscribe, kvm, kvm, mm)
    m.thread("aging", (mmu_notifier_test_clear_young, mm, 0, 1, 1, NULL))
    m.thread("destroy", (unsubscribe_and_free, kvm, kvm, mm))


def walk_and_subscribe(m: Setup) -> None:
    mm, kvm = _mm(m)
    m.poke(kvm, POISON)  # as it comes from the allocator
    m.poke(kvm + Kvm.offset("n_slots"), POISON)
    m.thread("aging", (mmu_notifier_test_clear_young, mm, 0, 1, 1, NULL))
    m.thread("create", (subscribe, kvm, kvm, mm))


UNSUBSCRIBE = Scenario("aging-vs-unsubscribe", walk_and_unsubscribe)
SUBSCRIBE = Scenario("aging-vs-subscribe", walk_and_subscribe)

CLAIMS = [
    Claim(
        "19-notifier-life",
        "No callback runs on a VM that is not written yet or is gone.",
        "mm/mmu_notifier.c",
        (
            Case("aging while a VM subscribes", SUBSCRIBE),
            Case("aging while a VM unsubscribes", UNSUBSCRIBE),
        ),
    ),
]
