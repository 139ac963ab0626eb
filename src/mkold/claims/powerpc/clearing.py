"""Ways to clear the accessed bit, against the hardware, a fault, an unmap and each other:
claims 4, 5 and 14."""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Set, Setup, Split, Swap
from mkold.claims.powerpc.small_vm import ACCESSED, DIRTY, HVA, PRESENT, SMALL, Vm, make_vm
from mkold.claims.powerpc.switch import REVIEW
from mkold.kvm.memslots import kvm_memslot_set_dirty_bitmap
from mkold.kvm.notifier import (
    kvm_mmu_notifier_invalidate_range_end,
    kvm_mmu_notifier_invalidate_range_start,
    kvm_test_clear_young_slow,
)
from mkold.kvm.powerpc.radix.hw import mmu_walk_hw
from mkold.kvm.powerpc.radix.pte import _PAGE_ACCESSED, pte_mkold, pte_young
from mkold.kvm.powerpc.radix.pte_update import kvmppc_radix_update_pte, pte_xchg
from mkold.lang import READ_ONCE, Ptr, kernel, u64

NEW_PFN = 0x77


def one_page(m: Setup, *, young: bool = True, write: bool = False) -> Vm:
    """A VM with guest page 0 mapped, clean unless written; its entry is watched."""
    vm = make_vm(m)
    vm.map(0, write=write)
    if not young:
        vm.clear(0, ACCESSED)
    vm.watch(0)
    return vm


def never_other_bits(m: Setup, vm: Vm) -> None:
    before = m.peek(vm.entry(0)) & ~(ACCESSED | DIRTY)
    m.never(
        "other-bits",
        lambda end: end["pte0"] & ~(ACCESSED | DIRTY) != before,
        "Aging changes more of an entry than its accessed bit.",
    )


def age_hardware_unmap(m: Setup) -> None:
    vm = one_page(m)
    m.call(kvm_memslot_set_dirty_bitmap, vm.kvm, 0, m.words(1, "dirty_bitmap"))
    m.watch("dirty", m.names["dirty_bitmap"])
    vcpu = vm.vcpu("vcpu")
    m.thread("ager", vm.age())
    m.thread("hardware", (mmu_walk_hw, vm.kvm, vcpu, 0, 1))
    m.thread("unmap", (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA, HVA + 1))
    m.never(
        "brought-back",
        lambda end: bool(end["pte0"] & PRESENT),
        "An unmapped entry is present again.",
    )
    m.never(
        "dirty-lost",
        lambda end: end.result("hardware") == 1 and not end["dirty"] & 1,
        "The guest wrote to the page, and neither the entry nor the dirty log knows.",
    )


def age_remap(m: Setup) -> None:
    vm = one_page(m)
    new = vm.leaf(NEW_PFN)
    m.thread("ager", vm.age())
    m.thread(
        "host",
        (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA, HVA + 1),
        (kvm_mmu_notifier_invalidate_range_end, vm.kvm, HVA, HVA + 1),
        vm.sets(0, new, seq=1),
    )
    m.never(
        "stale-frame",
        lambda end: end["pte0"] & ~ACCESSED != new & ~ACCESSED,
        "The entry maps the frame that was taken away, not the new one.",
    )


def age_hardware(m: Setup) -> None:
    vm = one_page(m)
    vcpu = vm.vcpu("vcpu")
    m.thread("ager", vm.age())
    m.thread("hardware", (mmu_walk_hw, vm.kvm, vcpu, 0, 1))
    never_other_bits(m, vm)
    m.never(
        "dirty-lost",
        lambda end: not end["pte0"] & DIRTY,
        "The guest wrote to the page, and its entry is clean.",
    )
    m.never(
        "young-missed",
        lambda end: end.result("ager", -1, 1) == 0,
        "The page was young from the start, and the pass does not say so.",
    )


UNMAP = Scenario("age-vs-hardware-vs-unmap", age_hardware_unmap, SMALL)
REMAP = Scenario("age-vs-unmap-and-fault", age_remap, SMALL)
HARDWARE = Scenario("age-vs-hardware", age_hardware, SMALL)

BY_UPDATE = (Set("CLEAR_YOUNG", 1),)
BY_EXCHANGE = (Swap("pte_xchg:cmpxchg", "xchg"),)
BY_STORE = (Swap("pte_xchg:cmpxchg", "WRITE_ONCE"),)
BY_PLAIN_STORE = (Swap("pte_xchg:cmpxchg", "store"),)
BY_READ_AND_WRITE = (
    *BY_UPDATE,
    Split("kvmppc_radix_update_pte:atomic_fetch_andnot_relaxed"),
)

_SETTINGS = (
    ("hardware and unmap", UNMAP),
    ("unmap and fault", REMAP),
    ("hardware", HARDWARE),
)


def _cases(way: str, edits: tuple[Set | Split | Swap, ...], *, decides: bool) -> list[Case]:
    return [
        Case(f"{way}, against {what}", scenario, edits, decides=decides)
        for what, scenario in _SETTINGS
    ]


# -- claim 5: a lost race ---------------------------------------------------------------

CLEARED, LOST, OLD = 1, 0, 2


@kernel
def clear_by_pte_xchg(ptep: Ptr[u64]) -> u64:
    """One attempt of the fast path at one entry: CLEARED, LOST or OLD already."""
    pte = READ_ONCE(ptep.value)
    if not pte_young(pte):
        return OLD
    return pte_xchg(ptep, pte, pte_mkold(pte))


@kernel
def clear_by_update_pte(ptep: Ptr[u64]) -> u64:
    """The same by ``kvmppc_radix_update_pte``."""
    if not pte_young(READ_ONCE(ptep.value)):
        return OLD
    return (kvmppc_radix_update_pte(ptep, _PAGE_ACCESSED, 0) & _PAGE_ACCESSED) != 0


def _never_left_set(m: Setup) -> None:
    m.never(
        "left-set",
        lambda end: end.result("ager") == LOST,
        "The page was young, the pass tried to clear the bit, and the bit was never cleared.",
    )


def lose_by_pte_xchg(m: Setup) -> None:
    vm = one_page(m)
    m.thread("ager", (clear_by_pte_xchg, vm.entry(0)))
    m.thread("hardware", (mmu_walk_hw, vm.kvm, vm.vcpu("vcpu"), 0, 1))
    _never_left_set(m)


def lose_by_update_pte(m: Setup) -> None:
    vm = one_page(m)
    m.thread("ager", (clear_by_update_pte, vm.entry(0)))
    m.thread("hardware", (mmu_walk_hw, vm.kvm, vm.vcpu("vcpu"), 0, 1))
    _never_left_set(m)


def access_between_passes(m: Setup) -> None:
    vm = one_page(m, young=False)
    age = vm.age()
    m.thread("ager", age, age)
    m.thread("hardware", (mmu_walk_hw, vm.kvm, vm.vcpu("vcpu"), 0, 1))

    def unseen(end: End) -> bool:
        reported = end.result("ager", 0, 1) or end.result("ager", 1, 1)
        return not reported and not end["pte0"] & ACCESSED

    m.never(
        "access-lost",
        unseen,
        "The guest touched the page; no pass reported it, and the next one will not either.",
    )


XCHG_LOSES = Scenario("clear-once-by-pte_xchg", lose_by_pte_xchg, SMALL)
UPDATE_LOSES = Scenario("clear-once-by-update_pte", lose_by_update_pte, SMALL)
TWO_PASSES = Scenario("access-between-passes", access_between_passes, SMALL)
LEFT_SET = frozenset({"left-set"})


# -- claim 14: passes side by side ------------------------------------------------------


def _beside(m: Setup, *, locked: bool) -> None:
    vm = one_page(m)
    fast = vm.age()
    m.thread("first", fast)
    if locked:
        m.thread("second", (kvm_test_clear_young_slow, vm.kvm, HVA, HVA + 1, 1))
    else:
        m.thread("second", fast)
    m.thread("hardware", (mmu_walk_hw, vm.kvm, vm.vcpu("vcpu"), 0, 1))
    never_other_bits(m, vm)
    index = 0 if locked else 1
    m.never(
        "young-missed",
        lambda end: not end.result("first", -1, 1) and not end.result("second", -1, index),
        "The page was young from the start, and neither pass says so.",
    )
    m.never(
        "dirty-lost",
        lambda end: end.result("hardware") == 1 and not end["pte0"] & DIRTY,
        "The guest wrote to the page, and its entry is clean.",
    )


def two_lockless(m: Setup) -> None:
    _beside(m, locked=False)


def locked_and_lockless(m: Setup) -> None:
    _beside(m, locked=True)


TWO_LOCKLESS = Scenario("two-lockless-passes", two_lockless, SMALL)
LOCKED_AND_LOCKLESS = Scenario("locked-and-lockless-pass", locked_and_lockless, SMALL)

CLAIMS = [
    Claim(
        "4-ways-to-clear",
        "Clearing the accessed bit by pte_xchg (a compare-and-swap) or by "
        "kvmppc_radix_update_pte (an atomic clear) brings no unmapped entry back, loses no "
        "dirty bit and misses no young page.",
        f"Piggin and Zhao, {REVIEW}",
        (
            *_cases("pte_xchg", (), decides=True),
            *_cases("kvmppc_radix_update_pte", BY_UPDATE, decides=True),
            *_cases("a true exchange", BY_EXCHANGE, decides=False),
            *_cases("WRITE_ONCE", BY_STORE, decides=False),
            *_cases("a plain store", BY_PLAIN_STORE, decides=False),
            *_cases("read, then write", BY_READ_AND_WRITE, decides=False),
        ),
    ),
    Claim(
        "5a-cmpxchg-can-fail",
        "It can fail to clear the bit if the cmpxchg fails.",
        f"Piggin, {REVIEW}",
        (
            Case("pte_xchg", XCHG_LOSES, only=LEFT_SET),
            Case("kvmppc_radix_update_pte", UPDATE_LOSES, only=LEFT_SET, decides=False),
        ),
        asks="possible",
    ),
    Claim(
        "5b-nothing-is-lost",
        "A lost race is harmless: the page is reported young all the same, and an access is "
        "seen by this pass or the next.",
        f"Zhao, {REVIEW}",
        (
            Case("young page, pte_xchg", HARDWARE),
            Case("access between two passes, pte_xchg", TWO_PASSES),
            Case("access between two passes, kvmppc_radix_update_pte", TWO_PASSES, BY_UPDATE),
        ),
    ),
    Claim(
        "14-passes-side-by-side",
        "Locked and lockless aging may run at the same time, and so may two lockless passes.",
        f"implied by {REVIEW}",
        (
            Case("two lockless passes", TWO_LOCKLESS),
            Case("two lockless passes, kvmppc_radix_update_pte", TWO_LOCKLESS, BY_UPDATE),
            Case("a locked and a lockless pass", LOCKED_AND_LOCKLESS),
        ),
    ),
]
