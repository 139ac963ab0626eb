"""Seeded faults of guests of the guest; see ``mutants``."""

from __future__ import annotations

from dataclasses import dataclass

from mkold.check import Case, Drop, Scenario, Set, Skip, Split, Swap
from mkold.claims.powerpc.nested import (
    ALL,
    BETWEEN,
    BY_HARDWARE,
    FIRST,
    INSIDE,
    LOCKED,
    TAKEN,
)
from mkold.claims.powerpc.nested_lockless import (
    ANOTHER,
    END,
    FLUSH,
    GROWS,
    NEXT,
    TO_LIST,
    UNMAP,
)
from mkold.claims.powerpc.nested_lockless import FIRST as FIRST_ACCESS
from mkold.ir.variant import Edit


@dataclass(frozen=True, slots=True)
class NestedMutant:
    """A fault: ``what`` is wrong, in ``scenario``, made by ``edits``."""

    what: str
    scenario: Scenario
    edits: tuple[Edit, ...]

    @property
    def case(self) -> Case:
        """The question."""
        return Case(self.what, self.scenario, self.edits)


NO_MMU_LOCK = (Skip("kvm_mmu_lock"), Skip("kvm_mmu_unlock"))
RECHECK, RETRY = Set("SHADOW_RECHECK", 0), Set("CHECK_RETRY", 0)
PUBLISH = "kvmhv_insert_nest_rmap:smp_store_release"

NESTED_MUTANTS = [
    # the reverse map
    NestedMutant("node published plainly", TO_LIST, (Swap(PUBLISH, "store"),)),
    NestedMutant("next node published without release", GROWS, (Swap(PUBLISH, "WRITE_ONCE"),)),
    NestedMutant("next node published plainly", GROWS, (Swap(PUBLISH, "store"),)),
    NestedMutant("the list is read plainly", GROWS, (Swap("rmap_has:READ_ONCE", "load"),)),
    NestedMutant("no entry is made", FIRST_ACCESS, (Skip("kvmhv_insert_nest_rmap"),)),
    NestedMutant("the second guest has no entry", LOCKED, (Skip("kvmhv_insert_nest_rmap"),)),
    NestedMutant(
        "the list read, then cleared", TAKEN, (Split("kvmhv_remove_nest_rmap_list:xchg"),)
    ),
    # the lock
    NestedMutant("locked aging without the lock", BETWEEN, NO_MMU_LOCK),
    NestedMutant("taking a page without the lock", TAKEN, NO_MMU_LOCK),
    NestedMutant("a guest's references without the lock", ALL, NO_MMU_LOCK),
    NestedMutant(
        "tlbies without tlb_lock",
        ALL,
        (
            Drop("kvmhv_emulate_tlbie_gp:mutex_lock"),
            Drop("kvmhv_emulate_tlbie_gp:mutex_unlock"),
        ),
    ),
    # what happens to L1's entry happens to the shadow entry
    NestedMutant(
        "unmapping leaves shadow entries", TAKEN, (Skip("kvmhv_remove_nest_rmap_range"),)
    ),
    NestedMutant(
        "locked aging leaves shadow entries", LOCKED, (Skip("kvmhv_update_nest_rmap_rc_list"),)
    ),
    NestedMutant(
        "inside a huge leaf: not spread", INSIDE, (Skip("kvmhv_update_nest_rmap_rc_list"),)
    ),
    NestedMutant("a fault checks nothing", TAKEN, (RECHECK, RETRY)),
    NestedMutant("a fault does not look again at L1's entry", LOCKED, (RECHECK,)),
    NestedMutant("the hardware sets R", BY_HARDWARE, (Set("HW_SETS_RC", 1),)),
    # the first guest
    NestedMutant("no guest is counted", FIRST, (Skip("count_nested"),)),
    NestedMutant("the count is not looked at", FIRST, (Set("NO_NESTED_TEST", 1),)),
    NestedMutant(
        "walkers without a read section",
        FIRST,
        (
            Drop("kvm_test_clear_young_hv:rcu_read_lock"),
            *(Drop(f"kvm_test_clear_young_hv:rcu_read_unlock[{i}]") for i in range(4)),
        ),
    ),
    # aging without the lock
    NestedMutant("shadow R cleared by a read and a write", NEXT, (Split("pte_xchg:cmpxchg"),)),
    NestedMutant(
        "compare-and-swap relaxed", NEXT, (Swap("pte_xchg:cmpxchg", "cmpxchg_relaxed"),)
    ),
    NestedMutant(
        "compare-and-swap an acquire", NEXT, (Swap("pte_xchg:cmpxchg", "cmpxchg_acquire"),)
    ),
    NestedMutant(
        "first access: compare-and-swap relaxed",
        FIRST_ACCESS,
        (Swap("pte_xchg:cmpxchg", "cmpxchg_relaxed"),),
    ),
    NestedMutant(
        "first access: compare-and-swap an acquire",
        FIRST_ACCESS,
        (Swap("pte_xchg:cmpxchg", "cmpxchg_acquire"),),
    ),
    NestedMutant("first access: no smp_wmb", FIRST_ACCESS, (Drop("set_l1_rc:smp_wmb"),)),
    NestedMutant("next access: no smp_wmb", NEXT, (Drop("set_both_rc:smp_wmb"),)),
    NestedMutant("shadow entries left alone", ANOTHER, (Skip("kvmhv_clear_shadow_young"),)),
    NestedMutant(
        "next access: shadow entries left alone", NEXT, (Skip("kvmhv_clear_shadow_young"),)
    ),
    NestedMutant(
        "unmapping: no read section",
        UNMAP,
        (
            Drop("kvm_test_clear_young_hv:rcu_read_lock"),
            *(Drop(f"kvm_test_clear_young_hv:rcu_read_unlock[{i}]") for i in range(4)),
        ),
    ),
    NestedMutant(
        "L1 flushes: no read section",
        FLUSH,
        (
            Drop("kvm_test_clear_young_hv:rcu_read_lock"),
            *(Drop(f"kvm_test_clear_young_hv:rcu_read_unlock[{i}]") for i in range(4)),
        ),
    ),
    NestedMutant(
        "a guest goes without a grace period",
        END,
        (Drop("kvmhv_release_nested:synchronize_rcu"),),
    ),
    NestedMutant(
        "a guest is looked up plainly", END, (Swap("kvmhv_find_nested:READ_ONCE", "load"),)
    ),
]
