"""Where the walk goes and what it may be asked: claims 7, 8, 9, 12, 13 and 21."""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Set, Setup
from mkold.claims.powerpc.clearing import BY_EXCHANGE, BY_READ_AND_WRITE, BY_STORE, BY_UPDATE
from mkold.claims.powerpc.small_vm import ACCESSED, FIRST_PFN, SMALL, make_vm
from mkold.claims.powerpc.switch import NO_GP, PATCH, REVIEW, walk_and_leave_radix
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.book3s import (
    kvm_arch_has_test_clear_young,
    radix_enabled_on_bare_metal,
)
from mkold.kvm.powerpc.radix.hw import mmu_walk_hw

# -- claim 7: a table used again while a walker is in it -----------------------------------

HUGE_PFN, OTHER_PFN = 0x60, 0x71


def walk_and_recycle(m: Setup) -> None:
    """Pages 0 and 1 turn into one huge leaf; their table becomes that of page 2."""
    vm = make_vm(m)
    vm.map(0)
    table_entry = vm.entry(0)
    huge = vm.leaf(HUGE_PFN)
    other = vm.leaf(OTHER_PFN)
    m.watch("recycled", table_entry)
    m.thread("walker", vm.age())
    m.thread(
        "host",
        vm.sets(0, huge, level=1),
        vm.sets(2, other),
    )
    m.never(
        "other-page-changed",
        lambda end: end["recycled"] & ~ACCESSED != other & ~ACCESSED if _mapped(end) else False,
        "The walker changed more of another page's entry than its accessed bit.",
    )
    m.never(
        "other-page-touched",
        lambda end: _mapped(end) and not end["recycled"] & ACCESSED,
        "The walker cleared the accessed bit of a page that it was never asked about.",
    )


def _mapped(end: End) -> bool:
    return end.result("host") == 0


TYPESAFE = {**SMALL, "TABLE_FREE": 1}
RECYCLE = Scenario("walk-vs-recycled-table", walk_and_recycle, TYPESAFE)
NOT_BY_RCU = Scenario("walk-vs-deferred-table", walk_and_recycle, SMALL)
CHANGED = frozenset({"other-page-changed", "data-race", "use-after-free", "use-before-init"})
TOUCHED = frozenset({"other-page-touched"})

# -- claim 8: the step of the walk -----------------------------------------------------------


def unaligned_start(m: Setup) -> None:
    """Pages 0 and 1 are one huge leaf, page 2 is small; the walk starts at page 1."""
    vm = make_vm(m)
    vm.create(0, vm.leaf(HUGE_PFN), level=1)
    vm.map(2)
    vm.watch(2)
    m.thread("walker", vm.age(1, 4))
    m.never(
        "page-skipped",
        lambda end: bool(end["pte2"] & ACCESSED),
        "Page 2 is young and in the range, and its accessed bit was not cleared.",
    )


STEP = Scenario("walk-from-inside-a-huge-page", unaligned_start, SMALL)

# -- claim 9: the page-count warning ---------------------------------------------------------

WARN = {**SMALL, "PAGE_COUNT_WARNING": 1, "TABLE_HEADER": 2}
WARN_SWITCH = Scenario("warning-vs-to-hpt", walk_and_leave_radix, WARN)
WARN_REMAP = Scenario("warning-vs-huge-page", walk_and_recycle, WARN)
AS_POSTED = {**WARN, "TABLE_FREE": 1}
WARN_TYPESAFE = Scenario("warning-vs-recycled-table", walk_and_recycle, AS_POSTED)
WARN_AT_ONCE = Scenario("warning-vs-freed-table", walk_and_recycle, {**WARN, "TABLE_FREE": 2})
WARNS = frozenset({"warn-on"})

# -- claim 12: the capability gate -----------------------------------------------------------

# Machines by (hypervisor mode, ISA 3.0, radix on); radix needs ISA 3.0.
PLATFORMS = {
    "POWER8, bare metal, hash": (1, 0, 0),
    "POWER8, guest of PowerVM or KVM, hash": (0, 0, 0),
    "POWER9 or later, bare metal, radix": (1, 1, 1),
    "POWER9 or later, bare metal, hash": (1, 1, 0),
    "POWER9 or later, guest (kvmhv_on_pseries), radix": (0, 1, 1),
    "POWER9 or later, guest, hash": (0, 1, 0),
}


def ask_both_gates(m: Setup) -> None:
    m.thread("posted", (kvm_arch_has_test_clear_young,))
    m.thread("reviewer", (radix_enabled_on_bare_metal,))
    m.never(
        "gates-differ",
        lambda end: bool(end.result("posted")) != bool(end.result("reviewer")),
        "One gate opens the fast path on this machine and the other does not.",
    )


def _gate_case(name: str, hv: int, isa300: int, radix: int) -> Case:
    params = {"CPU_FTR_HVMODE": hv, "CPU_FTR_ARCH_300": isa300, "MMU_FTR_TYPE_RADIX": radix}
    return Case(name, Scenario(f"gates-{hv}{isa300}{radix}", ask_both_gates, params))


# -- claim 13: guests of the guest -----------------------------------------------------------

NESTED_GUESTS = Kvm.layout.field("arch.nested_guests").offset


def l2_access(m: Setup) -> None:
    """An L2 guest touches the page through its shadow tree; aging sees the L1 tree only."""
    vm = make_vm(m)
    vm.map(0)
    vm.clear(0, ACCESSED)
    vm.watch(0)
    shadow = make_vm(m, "shadow.")
    shadow.map(5, pfn=FIRST_PFN)
    shadow.clear(5, ACCESSED)
    m.poke(vm.kvm + NESTED_GUESTS, 1)
    m.thread("ager", vm.age())
    m.thread("L2", (mmu_walk_hw, shadow.kvm, shadow.vcpu("vcpu"), 5, 1))

    def missed(end: End) -> bool:
        answered = end.result("ager", 0, 0) == 0
        seen = end.result("ager", 0, 1) or end["pte0"] & ACCESSED
        return answered and not seen

    m.never(
        "l2-access-missed",
        missed,
        "The L2 guest used the page; the fast path answered, and neither it nor the L1 entry "
        "knows of the use.",
    )


L2 = Scenario("l2-guest", l2_access, SMALL)

# -- claim 21: the range --------------------------------------------------------------------


def part_of_a_table(m: Setup) -> None:
    """Pages 0 to 3 are young; pages 1 and 2, of two tables, are asked for."""
    vm = make_vm(m)
    for gfn in range(4):
        vm.map(gfn)
        vm.watch(gfn)
    m.thread("ager", vm.age(1, 3))
    m.never(
        "outside-cleared",
        lambda end: not (end["pte0"] & ACCESSED and end["pte3"] & ACCESSED),
        "The accessed bit of a page outside the range was cleared.",
    )
    m.never(
        "inside-missed",
        lambda end: (
            bool((end["pte1"] | end["pte2"]) & ACCESSED) or end.result("ager", 0, 1) != 2
        ),
        "A young page of the range was missed.",
    )


RANGE = Scenario("part-of-a-table", part_of_a_table, SMALL)

CLAIMS = [
    Claim(
        "7a-recycled-table-harmless",
        "A table from a typesafe-by-RCU slab that is used again within a grace period is "
        "harmless: of another page's entry at most the accessed bit changes.",
        f"implied by v2 06/10 and {PATCH}",
        (
            Case("pte_xchg", RECYCLE, only=CHANGED),
            Case("kvmppc_radix_update_pte", RECYCLE, BY_UPDATE, only=CHANGED),
            Case("a true exchange", RECYCLE, BY_EXCHANGE, decides=False, only=CHANGED),
            Case("WRITE_ONCE", RECYCLE, BY_STORE, decides=False, only=CHANGED),
            Case("read, then write", RECYCLE, BY_READ_AND_WRITE, decides=False, only=CHANGED),
        ),
    ),
    Claim(
        "7b-recycled-table-touched",
        "The walker may clear the accessed bit of a page it was never asked about, through a "
        "recycled table.",
        f"implied by v2 06/10 and {PATCH}",
        (
            Case("typesafe slab, kvmppc_radix_update_pte", RECYCLE, BY_UPDATE, only=TOUCHED),
            Case("typesafe slab, pte_xchg", RECYCLE, only=TOUCHED),
            Case("freed by RCU", NOT_BY_RCU, BY_UPDATE, only=TOUCHED, decides=False),
        ),
        asks="possible",
    ),
    Claim(
        "8-step-skips-a-page",
        "From an unaligned start inside a huge page, the walk as posted can skip a small page.",
        f"observed in {PATCH}",
        (
            Case("stepping as posted", STEP, (Set("STEP_FROM_GFN", 1),)),
            Case("as written here", STEP, decides=False),
        ),
        asks="possible",
    ),
    Claim(
        "9-page-count-warning",
        "The warning that the page of a table being walked has no references can never fire.",
        f'"mm enforces this kind of thing", Piggin, {REVIEW}',
        (
            Case("against the switch to HPT", WARN_SWITCH, only=WARNS),
            Case("against a huge page, tables freed by RCU", WARN_REMAP, only=WARNS),
            Case("against a huge page, typesafe slab", WARN_TYPESAFE, only=WARNS),
            Case(
                "switch without synchronize_rcu()",
                WARN_SWITCH,
                (NO_GP,),
                decides=False,
                only=WARNS,
            ),
            Case("tables freed at once", WARN_AT_ONCE, decides=False, only=WARNS),
        ),
    ),
    Claim(
        "12-gates-agree",
        "The posted gate is the same as radix_enabled() && !kvmhv_on_pseries().",
        f"Piggin, {REVIEW}",
        tuple(_gate_case(name, *features) for name, features in PLATFORMS.items()),
    ),
    Claim(
        "13-nested-guest-missed",
        "Seen only through the L1 table, the accesses of an L2 guest are missed.",
        f"implied by {PATCH}, which tests for a nested host only",
        (
            Case("as posted: no test for L2 guests", L2, (Set("NO_NESTED_TEST", 1),)),
            Case("as written here: refused, so the slow path decides", L2, decides=False),
        ),
        asks="possible",
    ),
    Claim(
        "21-the-range-and-no-more",
        "A pass clears every young page of its range and none outside it.",
        "Documentation of mmu_notifier_test_clear_young (this project's mm/mmu_notifier.py)",
        (Case("a range that ends within tables", RANGE),),
    ),
]
