"""What a lockless atomic AND may hit that is no leaf any more: claims 73 to 75, 83.

Since 6.15 aging clears the accessed bit by an AND of an entry that it has read before. By then
the entry may be frozen, point to a table, or say that a page is MMIO.
"""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Set, Setup
from mkold.claims.generic.guest import FRAME_SHIFT, guest_reads, reuse_frame
from mkold.claims.x86.small_tdp import (
    ACCESSED,
    AD,
    FIRST_PFN,
    FROZEN,
    HVA,
    LARGE,
    NP,
    PRESENT,
    RWX,
    Vm,
    make_vm,
)
from mkold.claims.x86.tdp_guest import GIVES_UP
from mkold.kvm.mmu_lock import kvm_mmu_read_lock, kvm_mmu_read_unlock
from mkold.kvm.notifier import kvm_mmu_notifier_invalidate_range_start
from mkold.kvm.retry import mmu_invalidate_retry
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu, sp_spt
from mkold.kvm.x86.hw import mmu_walk_tdp
from mkold.kvm.x86.mmu.spte import PG_LEVEL_4K
from mkold.kvm.x86.tdp.age import AGE_BY_CMPXCHG
from mkold.kvm.x86.tdp.iter import tdp_walk
from mkold.kvm.x86.tdp.map import kvm_tdp_mmu_map
from mkold.kvm.x86.x86 import kvm_arch_test_clear_young
from mkold.lang import Ptr, addr, kernel, try_cmpxchg, u64

LARGE_PFN = 0x60
MMIO = NP | 0x7F8  # a generation in bits 3 to 10, and nothing that the hardware calls present


@kernel
def maps_at(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, pfn: u64, level: u64) -> u64:
    """The end of a fault that maps ``gfn`` at ``level``: an instruction fetch takes base pages
    where large ones may not be executed, a data access a large one."""
    kvm_mmu_read_lock(kvm, addr(vcpu.stat.lock_waits))
    result = kvm_tdp_mmu_map(kvm, vcpu.arch.root, addr(kvm.slots[0]), gfn, pfn, level, 0, 1)
    kvm_mmu_read_unlock(kvm)
    return result


@kernel
def maps_mmio(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, spte: u64) -> u64:
    """The end of a fault at a page that is a device's now."""
    kvm_mmu_read_lock(kvm, addr(vcpu.stat.lock_waits))
    sptep, old, _level = tdp_walk(sp_spt(vcpu.arch.root), gfn, PG_LEVEL_4K)
    ok, _seen = try_cmpxchg(sptep.value, old, spte)
    kvm_mmu_read_unlock(kvm)
    return ok


# -- 73: a frozen entry ------------------------------------------------------------------------


def _dead_table(m: Setup) -> Vm:
    """Page 0 is young and mapped by a table, which is to give way to a large leaf."""
    vm = make_vm(m)
    vm.map(0)
    vm.watch(0)
    vm.watch(0, 2)
    return vm


def unfreeze(m: Setup) -> None:
    vm = _dead_table(m)
    m.thread("data fault", (maps_at, vm.kvm, vm.vcpu, 1, LARGE_PFN + 1, 2))
    m.thread("ager", vm.age())
    m.never(
        "unfrozen",
        lambda end: bool(end["pmd0"] & LARGE) and end["pte0"] == FROZEN & ~ACCESSED,
        "The table is gone, and its entry is not frozen any more.",
    )


def unfreeze_and_map(m: Setup) -> None:
    """And a fetch faults at page 0, in the table that goes."""
    vm = _dead_table(m)
    other = vm.new_vcpu("other")
    m.thread("data fault", (maps_at, vm.kvm, vm.vcpu, 1, LARGE_PFN + 1, 2))
    m.thread("ager", vm.age())
    m.thread("fetch", (maps_at, vm.kvm, other, 0, LARGE_PFN, 1))

    def maps(end: End) -> bool:
        return bool(end["pmd0"] & LARGE) and bool(end["pte0"] & PRESENT)

    m.never(
        "mapped-in-a-dead-table",
        maps,
        "A table that is gone maps a page; the leaf was counted, and nobody will take it off.",
    )


def unfreeze_and_link(m: Setup) -> None:
    """Three levels: a table of leaves of two pages gives way to one of four, and the fetch puts
    a table in the place of the entry that is not frozen."""
    vm = make_vm(m)
    m.call(maps_at, vm.kvm, vm.vcpu, 0, LARGE_PFN, 2)
    vm.name_tables()
    vm.watch(0, 3)
    vm.watch(0, 2)
    other = vm.new_vcpu("other")
    m.thread("data fault", (maps_at, vm.kvm, vm.vcpu, 1, LARGE_PFN + 1, 3))
    m.thread("ager", vm.age())
    m.thread("fetch", (maps_at, vm.kvm, other, 0, LARGE_PFN, 1))

    def leaks(end: End) -> bool:
        points = bool(end["pmd0"] & PRESENT) and not end["pmd0"] & LARGE
        return bool(end["pud0"] & LARGE) and points

    m.never(
        "table-leaked",
        leaks,
        "A table that is gone points to a new one, which no root reaches: nobody will free it.",
    )


@kernel
def maps_if_fresh(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, pfn: u64, level: u64) -> None:
    """As ``maps_at``, if no invalidation has come between."""
    kvm_mmu_read_lock(kvm, addr(vcpu.stat.lock_waits))
    if not mmu_invalidate_retry(kvm, 0, HVA, HVA + 2):
        kvm_tdp_mmu_map(kvm, vcpu.arch.root, addr(kvm.slots[0]), gfn, pfn, level, 0, 1)
    kvm_mmu_read_unlock(kvm)


def unfreeze_and_unmap(m: Setup) -> None:
    """A guest uses the page after its fetch, and the host takes the frame in the end."""
    vm = make_vm(m)
    where = m.words(2 << FRAME_SHIFT, "frame", value=7, align=2 << FRAME_SHIFT)
    pfn = where >> FRAME_SHIFT
    vm.map(0, pfn)
    vm.change(0, clear=RWX)
    other = vm.new_vcpu("other")
    m.thread("data fault", (maps_if_fresh, vm.kvm, vm.vcpu, 1, pfn + 1, 2))
    m.thread("ager", vm.age())
    m.thread(
        "guest",
        (maps_if_fresh, vm.kvm, other, 0, pfn, 1),
        (guest_reads, vm.kvm, other, 0),
    )
    m.thread(
        "host",
        (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA, HVA + 2),
        (reuse_frame, where),
    )


@kernel
def later(sp: Ptr[KvmMmuPage]) -> None:
    """Stands for the freeing of a table: some time later than the end of the scenario."""


# -- 74: an entry that was split ---------------------------------------------------------------


def age_and_split(m: Setup) -> None:
    """Page 0's large leaf is split by a fetch while it is aged."""
    vm = make_vm(m)
    vm.large()
    vm.map(0)
    vm.watch(0, 2)
    m.thread("fetch", (maps_at, vm.kvm, vm.vcpu, 1, FIRST_PFN + 1, 1))
    m.thread("ager", vm.age())
    m.never(
        "table-made-old",
        lambda end: not end["pmd0"] & LARGE and not end["pmd0"] & ACCESSED,
        "An entry that points to a table lost its accessed bit.",
    )


def age_split_and_walk(m: Setup) -> None:
    """And the hardware walks through it."""
    vm = make_vm(m)
    vm.large()
    vm.map(0)
    vm.watch(0, 2)
    other = vm.new_vcpu("other")
    m.thread("fetch", (maps_at, vm.kvm, vm.vcpu, 1, FIRST_PFN + 1, 1))
    m.thread("ager", vm.age())
    m.thread("hardware", (mmu_walk_tdp, vm.kvm, other, 0, 0))
    m.never(
        "no-translation",
        lambda end: not end.result("hardware") or end.result("hardware", -1, 1) != FIRST_PFN,
        "The hardware finds no translation, or another frame.",
    )
    m.never(
        "other-bits",
        lambda end: not end["pmd0"] & PRESENT or end["pmd0"] & RWX != RWX,
        "The entry lost more than its accessed bit.",
    )


# -- 75: an entry that says MMIO ---------------------------------------------------------------


def age_and_mmio(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(0)
    vm.watch(0)
    m.thread("ager", vm.age())
    m.thread(
        "host",
        (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA, HVA + 1),
        (maps_mmio, vm.kvm, vm.vcpu, 0, MMIO),
    )
    m.never(
        "generation-changed",
        lambda end: end["pte0"] == MMIO & ~ACCESSED,
        "An MMIO entry lost a bit of its generation.",
    )
    m.never(
        "other-bits",
        lambda end: (end["pte0"] | ACCESSED) != MMIO,
        "An MMIO entry lost more than that bit.",
    )


# -- 83: the series' own gate ------------------------------------------------------------------


def shadow_root(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(0)
    vm.watch(0)
    m.poke(vm.kvm + SHADOW_ROOT, 1)
    m.thread("ager", (kvm_arch_test_clear_young, vm.kvm, 0, 1, 1, 0, 0))
    m.never(
        "answered",
        lambda end: end.result("ager", -1, 0) == 0,
        "The pass answers for a VM that has shadow roots, whose leaves it does not look at.",
    )


SHADOW_ROOT = Kvm.layout.field("arch.shadow_root_allocated").offset
LATER = {"tdp_mmu_free_sp_after_readers": later}
UNFREEZE = Scenario("tdp-unfreeze", unfreeze, AD, stand_ins=LATER)
DEAD_TABLE = Scenario(
    "tdp-table-in-a-dead-table",
    unfreeze_and_link,
    {**AD, "PT64_ROOT_LEVEL": 3},
    stand_ins=LATER,
)
DEAD_LEAF = Scenario("tdp-leaf-in-a-dead-table", unfreeze_and_map, AD, stand_ins=LATER)
DEAD_UNMAP = Scenario("tdp-dead-table-vs-unmap", unfreeze_and_unmap, AD, stand_ins=GIVES_UP)
OLD_TABLE = Scenario("tdp-age-vs-split", age_and_split, AD)
OLD_WALKED = Scenario("tdp-age-vs-split-vs-hardware", age_split_and_walk, AD)
OLD_MMIO = Scenario("tdp-age-vs-mmio", age_and_mmio, AD)
GATE = Scenario("tdp-v2-gate", shadow_root, AD)

MERGED = Set("FROZEN_BITS", 0x498)
BY_CMPXCHG = Set("AGE_SPTE", AGE_BY_CMPXCHG)
V2 = Set("LINUX_VERSION", 604)
AGING = "commit b146a9b34aed (age TDP MMU SPTEs without mmu_lock), in 6.15"
RFC = "lore 20240801183453.57199-6-seanjc@google.com"

CLAIMS = [
    Claim(
        "73a-unfrozen",
        "An atomic AND that clears the accessed bit can un-freeze an entry of a table that "
        "was taken down, as 0x5a0 contains that bit.",
        f"inferred from {AGING}; {RFC}",
        (
            Case("0x5a0", UNFREEZE),
            Case("0x498, as was proposed", UNFREEZE, (MERGED,), decides=False),
            Case(
                "aged by a compare-and-swap", UNFREEZE, (BY_CMPXCHG,), decides=False, heavy=True
            ),
        ),
        asks="possible",
    ),
    Claim(
        "73b-mapped-in-a-dead-table",
        "A fault that is in that table then maps its page there: a leaf that is counted for "
        "ever.",
        f"inferred from {AGING}; {RFC}",
        (
            Case("0x5a0", DEAD_LEAF),
            Case("0x498, as was proposed", DEAD_LEAF, (MERGED,), decides=False),
            Case(
                "aged by a compare-and-swap",
                DEAD_LEAF,
                (BY_CMPXCHG,),
                decides=False,
                heavy=True,
            ),
        ),
        asks="possible",
    ),
    Claim(
        "74a-table-made-old",
        "The AND can clear the accessed bit of an entry that points to a table, split "
        "meanwhile.",
        f"inferred from {AGING}",
        (
            Case("by an atomic AND", OLD_TABLE),
            Case("by a compare-and-swap", OLD_TABLE, (BY_CMPXCHG,), decides=False),
        ),
        asks="possible",
    ),
    Claim(
        "74b-table-made-old-is-harmless",
        "That harms nobody: the hardware goes through it and sets the bit again.",
        f"inferred from {AGING}",
        (Case("as written", OLD_WALKED),),
    ),
    Claim(
        "75-mmio-generation",
        "The AND can clear a bit of the generation of an MMIO entry, and no other.",
        f"inferred from {AGING}",
        (
            Case("by an atomic AND", OLD_MMIO, only=frozenset({"generation-changed"})),
            Case("no other bit", OLD_MMIO, only=frozenset({"other-bits"}), decides=False),
            Case("by a compare-and-swap", OLD_MMIO, (BY_CMPXCHG,), decides=False, heavy=True),
        ),
        asks="possible",
    ),
    Claim(
        "83-refused-with-shadow-roots",
        "The series' pass refuses a VM once a shadow root was allocated.",
        "lore 20230526234435.662652-9-yuzhao@google.com",
        (
            Case("v2", GATE, (V2,)),
            Case("6.15, which looks at shadow entries beside", GATE, decides=False),
        ),
    ),
]
