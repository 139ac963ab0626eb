"""What a lockless ager of the shadow MMU does to an SPTE that others change: claims 95, 96."""

from __future__ import annotations

from mkold.check import Case, Claim, Scenario, Setup, Split, Swap
from mkold.claims.x86.shadow_chains import DROP, DROP_NO_AD, MMU
from mkold.claims.x86.shadow_vm import (
    ACCESSED,
    AD,
    DIRTY,
    MMU_WRITABLE,
    NO_AD,
    SMALL,
    WRITABLE,
    Vm,
    make_vm,
    protect_table,
)
from mkold.kvm.memslots import kvm_memslot_set_dirty_bitmap
from mkold.kvm.x86.hw import mmu_walk_tdp
from mkold.kvm.x86.shadow.write_protect import kvm_get_dirty_log_protect
from mkold.lang import Ptr, atomic_fetch_andnot, kernel, u64

AGING = f"{MMU} (kvm_rmap_age_gfn_range), af3b6a9eba48"

# -- claim 95: ways to age an SPTE ------------------------------------------------------------


def _one_page(m: Setup, *, clear: int) -> Vm:
    vm = make_vm(m)
    vm.clear(vm.map(0), clear)
    vm.watch(0)
    return vm


def age_and_write(m: Setup) -> None:
    """The hardware sets D of a page that is clean."""
    vm = _one_page(m, clear=DIRTY)
    m.thread("ager", vm.age())
    m.thread("hardware", (mmu_walk_tdp, vm.kvm, vm.vcpu, 0, 1))
    m.never(
        "dirty-lost",
        lambda end: end.result("hardware") == 1 and not end["spte0"] & DIRTY,
        "The guest has written to the page, and its SPTE is clean.",
    )
    m.never(
        "young-missed",
        lambda end: end.result("ager") == 0,
        "The page was young from the start, and the pass does not say so.",
    )


def age_and_protect(m: Setup) -> None:
    """The page is found to be a table of the guest's own."""
    vm = _one_page(m, clear=0)
    m.thread("ager", vm.age())
    m.thread("host", (protect_table, vm.kvm, vm.slot, 0))
    m.never(
        "protection-lost",
        lambda end: bool(end["spte0"] & (WRITABLE | MMU_WRITABLE)),
        "The guest may write to its table unseen, at once or after a fast page fault.",
    )
    m.never(
        "young-missed",
        lambda end: end.result("ager") == 0,
        "The page was young from the start, and the pass does not say so.",
    )


def age_and_fast_fault(m: Setup) -> None:
    """A fast page fault gives W, and tells the log."""
    vm = _one_page(m, clear=WRITABLE)
    before = m.peek(vm.entry(0)) >> 12 & 0xFFFF
    m.call(kvm_memslot_set_dirty_bitmap, vm.kvm, 0, m.words(1, "dirty"))
    m.watch("dirty", m.names["dirty"])
    m.thread("ager", vm.age())
    m.thread("vcpu", vm.fast_fault(0))
    m.never(
        "unlogged",
        lambda end: bool(end["spte0"] & WRITABLE) and not end["dirty"] & 1,
        "The guest may write, and the log does not know.",
    )
    m.never(
        "other-frame",
        lambda end: end["spte0"] >> 12 & 0xFFFF != before,
        "The SPTE maps another frame.",
    )


WRITE = Scenario("age-vs-hardware-write", age_and_write, SMALL | AD)
PROTECT = Scenario("age-vs-protect", age_and_protect, SMALL | AD)
PROTECT_NO_AD = Scenario("age-vs-protect-noad", age_and_protect, SMALL | NO_AD)
FAST = Scenario("age-vs-fast-page-fault", age_and_fast_fault, SMALL | AD)
FAST_NO_AD = Scenario("age-vs-fast-page-fault-noad", age_and_fast_fault, SMALL | NO_AD)

CLEAR, CHANGE = "age_spte_lockless:clear_bit", "age_spte_lockless:cmpxchg"

# -- claim 96: what the host's own plain store loses ------------------------------------------


def log_and_read(m: Setup) -> None:
    """The dirty log protects a dirty page while the hardware sets A."""
    vm = _one_page(m, clear=ACCESSED)
    bitmap, log = m.words(1, "dirty", value=1), m.words(1, "log")
    m.call(kvm_memslot_set_dirty_bitmap, vm.kvm, 0, bitmap)
    m.thread("host", (kvm_get_dirty_log_protect, vm.kvm, vm.slot, log))
    m.thread("hardware", (mmu_walk_tdp, vm.kvm, vm.vcpu, 0, 0))
    m.never(
        "young-lost",
        lambda end: end.result("hardware") == 1 and not end["spte0"] & ACCESSED,
        "The guest has read the page, and its SPTE is old.",
    )


@kernel
def protect_by_and(sptep: Ptr[u64], pt_protect: u64) -> u64:
    """``spte_write_protect`` that takes W away and touches no other bit."""
    return (atomic_fetch_andnot(sptep.value, WRITABLE) & WRITABLE) != 0


LOG = Scenario("log-vs-hardware-read", log_and_read, SMALL | AD)
LOG_BY_AND = Scenario(
    "log-by-and-vs-hardware-read", log_and_read, SMALL | AD,
    stand_ins={"spte_write_protect": protect_by_and},
)  # fmt: skip

CLAIMS = [
    Claim(
        "95-aging-an-spte",
        "Aging clears A by an atomic AND, or makes an SPTE without A access-tracked by one "
        "compare-and-swap, whose failure is ignored: no D, no protection and no removal is "
        "lost.",
        AGING,
        (
            Case("clear_bit, against a write", WRITE),
            Case("clear_bit, against protection", PROTECT),
            Case("clear_bit, against removal", DROP),
            Case("clear_bit, against a fast page fault", FAST),
            Case("no A/D: cmpxchg, against protection", PROTECT_NO_AD),
            Case("no A/D: cmpxchg, against removal", DROP_NO_AD),
            Case("no A/D: cmpxchg, against a fast page fault", FAST_NO_AD),
            Case("read, then write, against a write", WRITE, (Split(CLEAR),), decides=False),
            Case(
                "read, then write, against protection", PROTECT, (Split(CLEAR),), decides=False
            ),
            Case("read, then write, against removal", DROP, (Split(CLEAR),), decides=False),
            *(
                Case(
                    f"no A/D: {way}, against {what}", scenario, edits, decides=False, heavy=more
                )
                for way, edits, more in (
                    ("a true exchange", (Swap(CHANGE, "xchg"),), True),
                    ("WRITE_ONCE", (Swap(CHANGE, "WRITE_ONCE"),), False),
                    ("a plain store", (Swap(CHANGE, "store"),), True),
                    ("compare, then write", (Split(CHANGE),), False),
                )
                for what, scenario in (("protection", PROTECT_NO_AD), ("removal", DROP_NO_AD))
            ),
        ),
    ),
    Claim(
        "96-young-lost-by-the-host",
        "An accessed bit can be lost when the host changes an SPTE under mmu_lock; since 6.15 "
        "A alone does not even ask for an atomic update.",
        f"{MMU}, 61d65f2dc766 (spte_needs_atomic_update)",
        (
            Case("as written", LOG),
            Case("W cleared by an atomic AND", LOG_BY_AND, decides=False),
        ),
        asks="possible",
    ),
]
