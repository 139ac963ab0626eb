"""Ways to make a leaf old, with and without an accessed bit of the hardware's: 60 to 62."""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Set, Setup, Split, Swap
from mkold.claims.x86.small_tdp import (
    ACCESSED,
    AD,
    DIRTY,
    EXIT_QUALIFICATION,
    FIRST_PFN,
    HVA,
    NOAD,
    NP,
    READ,
    RWX,
    SAVED,
    WRITE,
    make_vm,
    pfn_of,
)
from mkold.ir.variant import Edit
from mkold.kvm.notifier import (
    kvm_mmu_notifier_invalidate_range_end,
    kvm_mmu_notifier_invalidate_range_start,
)
from mkold.kvm.x86.hw import mmu_walk_tdp
from mkold.kvm.x86.tdp.age import AGE_ACCESSED_BIT_ALONE, AGE_BLINDLY, AGE_BY_CMPXCHG
from mkold.kvm.x86.tdp.fast_fault import fast_page_fault

REVIEW = "the review of lore 20230526234435.662652-8-yuzhao@google.com, 20-21 June 2023"
TDP = "arch/x86/kvm/mmu/tdp_mmu.c (kvm_tdp_mmu_age_spte), commit b146a9b34aed"
NEW_PFN = 0x77


def _never_brought_back(m: Setup) -> None:
    m.never(
        "brought-back",
        lambda end: end["pte0"] != NP,
        "An entry that was zapped is not what a zapped entry is.",
    )


def age_and_unmap(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(0)
    vm.watch(0)
    m.thread("ager", vm.age())
    m.thread("unmap", (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA, HVA + 1))
    _never_brought_back(m)


def age_and_remap(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(0)
    vm.watch(0)
    m.thread("ager", vm.age())
    m.thread(
        "host",
        (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA, HVA + 1),
        (kvm_mmu_notifier_invalidate_range_end, vm.kvm, HVA, HVA + 1),
        vm.maps(0, NEW_PFN, seq=1),
    )
    m.never(
        "stale-frame",
        lambda end: pfn_of(end["pte0"]) != NEW_PFN,
        "The entry maps the frame that was taken away, not the new one.",
    )


def _never_half(m: Setup) -> None:
    def half(end: End) -> bool:
        spte = end["pte0"]
        writes_unread = bool(spte & WRITE) and not spte & READ
        unreachable = not spte & RWX and not spte & SAVED
        return writes_unread or unreachable

    m.never(
        "half-an-entry",
        half,
        "The entry can be written to and not read, which the hardware refuses, or neither its "
        "rights nor what was saved of them are there.",
    )


def age_and_fast_fault(m: Setup) -> None:
    """A write fault gives W back while the page is aged."""
    vm = make_vm(m)
    vm.map(0)
    vm.change(0, clear=WRITE)
    vm.watch(0)
    m.poke(vm.vcpu + EXIT_QUALIFICATION, READ)
    m.thread("ager", vm.age())
    m.thread("fault", (fast_page_fault, vm.vcpu, vm.slot, 0, 1))
    _never_half(m)
    m.never("other-frame", lambda end: pfn_of(end["pte0"]) != FIRST_PFN, "The frame changed.")


def age_hardware_unmap(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(0)
    vm.change(0, clear=DIRTY)
    vm.watch(0)
    vm.log()
    m.thread("ager", vm.age())
    m.thread("hardware", (mmu_walk_tdp, vm.kvm, vm.vcpu, 0, 1))
    m.thread("unmap", (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA, HVA + 1))
    _never_brought_back(m)
    m.never(
        "dirty-lost",
        lambda end: end.result("hardware") == 1 and not end["dirty"] & 1,
        "The guest wrote to the page, and the dirty log does not know.",
    )


def age_and_hardware(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(0)
    before = vm.change(0, clear=DIRTY)
    vm.watch(0)
    m.thread("ager", vm.age())
    m.thread("hardware", (mmu_walk_tdp, vm.kvm, vm.vcpu, 0, 1))
    m.never(
        "dirty-lost",
        lambda end: not end["pte0"] & DIRTY,
        "The guest wrote to the page, and its entry is clean.",
    )
    m.never(
        "other-bits",
        lambda end: (end["pte0"] ^ before) & ~(ACCESSED | DIRTY) != 0,
        "Aging changes more of an entry than its accessed bit.",
    )
    m.never(
        "young-missed",
        lambda end: end.result("ager") == 0,
        "The page was young from the start, and the pass does not say so.",
    )


UNMAP = Scenario("tdp-age-vs-unmap", age_and_unmap, AD)
REMAP = Scenario("tdp-age-vs-unmap-and-fault", age_and_remap, AD)
HARDWARE = Scenario("tdp-age-vs-hardware", age_and_hardware, AD)
HARDWARE_UNMAP = Scenario("tdp-age-vs-hardware-vs-unmap", age_hardware_unmap, AD)
NOAD_UNMAP = Scenario("noad-age-vs-unmap", age_and_unmap, NOAD)
NOAD_REMAP = Scenario("noad-age-vs-unmap-and-fault", age_and_remap, NOAD)
NOAD_FAST = Scenario("noad-age-vs-fast-fault", age_and_fast_fault, NOAD)

CAS = "__tdp_mmu_set_spte_atomic:try_cmpxchg"
AND = "kvm_tdp_mmu_age_spte:atomic_fetch_and"
BLIND = (Set("AGE_SPTE", AGE_BLINDLY),)
BIT_ALONE = (Set("AGE_SPTE", AGE_ACCESSED_BIT_ALONE),)
BY_CMPXCHG = (Set("AGE_SPTE", AGE_BY_CMPXCHG),)
V2 = (Set("LINUX_VERSION", 604),)
EXCHANGE = (Swap(CAS, "xchg"),)
STORE = (Swap(CAS, "WRITE_ONCE"),)
PLAIN = (Swap(CAS, "store"),)

TRACKED = (("unmap", NOAD_UNMAP), ("unmap and fault", NOAD_REMAP), ("fast fault", NOAD_FAST))
BY_HARDWARE = (
    ("unmap", UNMAP),
    ("unmap and fault", REMAP),
    ("hardware", HARDWARE),
    ("hardware and unmap", HARDWARE_UNMAP),
)


def _cases(
    way: str,
    edits: tuple[Edit, ...],
    settings: tuple[tuple[str, Scenario], ...],
    *,
    decides: bool = True,
    heavy: bool = False,
) -> tuple[Case, ...]:
    return tuple(
        Case(f"{way}, against {what}", scenario, edits, decides=decides, heavy=heavy)
        for what, scenario in settings
    )


CLAIMS = [
    Claim(
        "60-tracked-blindly",
        "Aging without the lock may not work for EPT without the accessed bit, where read "
        "and execute say whether a page is old: these can't be cleared blindly.",
        f"Zhao, {REVIEW}",
        (
            *_cases("a blind clear", BLIND, (TRACKED[0], TRACKED[2])),
            *_cases("an exchange", EXCHANGE, TRACKED[:1]),
            *_cases("an exchange", EXCHANGE, TRACKED[1:2], decides=False, heavy=True),
            *_cases("WRITE_ONCE", STORE, TRACKED[:2], decides=False, heavy=True),
            *_cases("a plain store", PLAIN, TRACKED[:2], decides=False, heavy=True),
        ),
        asks="possible",
    ),
    Claim(
        "61-tracked-by-one-cas",
        "One compare-and-swap to the tracked form is safe there: no zapped entry comes back, "
        "no frame changes, and no entry is left without its rights.",
        TDP,
        (
            *_cases("one compare-and-swap", (), TRACKED),
            *_cases("a blind clear", BLIND, TRACKED[:1], decides=False),
            *_cases("a blind clear", BLIND, TRACKED[1:], decides=False, heavy=True),
        ),
    ),
    Claim(
        "62-just-the-accessed-bit",
        "Clearing just the accessed bit is safe: nothing comes back, nothing written is lost, "
        "and no other bit changes.",
        f"Zhao, {REVIEW}; {TDP}",
        (
            *_cases("an atomic AND (6.15)", (), BY_HARDWARE),
            *_cases("a compare-and-swap", BY_CMPXCHG, BY_HARDWARE, decides=False, heavy=True),
            *_cases("clear_bit (v2)", V2, BY_HARDWARE[1:3]),
            *_cases("EPT without the bit, by an AND", BIT_ALONE, TRACKED),
            *_cases("read, then write", (Split(AND),), BY_HARDWARE[2:3], decides=False),
            *_cases(
                "an exchange",
                (*BY_CMPXCHG, *EXCHANGE),
                BY_HARDWARE,
                decides=False,
                heavy=True,
            ),
            *_cases(
                "WRITE_ONCE", (*BY_CMPXCHG, *STORE), BY_HARDWARE, decides=False, heavy=True
            ),
        ),
    ),
]
