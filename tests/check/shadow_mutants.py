"""Seeded faults of the shadow MMU; see ``mutants``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mkold.check import Case, Drop, Scenario, Set, Skip, Split, Swap
from mkold.claims.x86.shadow_chains import (
    DROP,
    DROP_NO_AD,
    FIRST,
    GROW,
    LIST,
    NO_WRITERS_BIT,
    READER_LETS_GO,
    READERS,
    TAKE,
    USE_LISTED_FIRST,
    WRITER_LETS_GO,
    ZAP,
    ZAP_NO_AD,
    ZAP_ONE,
)
from mkold.claims.x86.shadow_clearing import CHANGE, CLEAR, FAST, PROTECT_NO_AD, WRITE
from mkold.claims.x86.shadow_gate import BEGIN as GATE
from mkold.claims.x86.shadow_gate import ODD
from mkold.claims.x86.shadow_indirect import LARGE, TABLE
from mkold.claims.x86.shadow_walking import BEGIN, END, LOG, POST, PROTECT
from mkold.claims.x86.shadow_walking import ZAP as WALK
from mkold.ir.variant import Edit


@dataclass(frozen=True, slots=True)
class ShadowMutant:
    """A fault: ``what`` is wrong, in ``scenario``, made by ``edits``."""

    what: str
    scenario: Scenario
    edits: tuple[Edit, ...] = ()

    @property
    def case(self) -> Case:
        """The question."""
        return Case(self.what, self.scenario, self.edits)


NO_MMU_LOCK = (Skip("kvm_mmu_lock"), Skip("kvm_mmu_unlock"))
BARE_GROW = replace(GROW, name="grow-bare-writer", stand_ins=NO_WRITERS_BIT)

SHADOW_MUTANTS = [
    # the bit
    ShadowMutant("bit taken relaxed", ZAP, (Swap(TAKE, "try_cmpxchg_relaxed"),)),
    ShadowMutant("bit taken by a release", ZAP_ONE, (Swap(TAKE, "try_cmpxchg_release"),)),
    ShadowMutant("bit taken by a read and a write", READERS, (Split(TAKE),)),
    ShadowMutant("reader lets go plainly", ZAP, (Swap(READER_LETS_GO, "store"),)),
    ShadowMutant("reader lets go without release", ZAP, (Swap(READER_LETS_GO, "WRITE_ONCE"),)),
    ShadowMutant("reader never lets go", ZAP, (Drop(READER_LETS_GO),)),
    ShadowMutant("writer lets go plainly", LIST, (Swap(WRITER_LETS_GO, "store"),)),
    ShadowMutant("writer never lets go", ZAP_ONE, (Drop(WRITER_LETS_GO),)),
    ShadowMutant("writer without the bit, a chain grows", BARE_GROW),
    # the chain
    ShadowMutant("the new entry is not listed", LIST, (Skip("rmap_add"),)),
    ShadowMutant("a zapped entry stays listed", ZAP, (Skip("pte_list_remove"),)),
    ShadowMutant("a zapped entry stays listed, no A/D", ZAP_NO_AD, (Skip("pte_list_remove"),)),
    ShadowMutant("desc not emptied", GROW, (Skip("pte_list_desc_push"),)),
    ShadowMutant(
        "a page that is dropped stays present", DROP, (Skip("mmu_spte_clear_track_bits"),)
    ),
    ShadowMutant(
        "table published without release",
        FIRST,
        (Swap("mmu_spte_set:smp_store_release", "WRITE_ONCE"),),
    ),
    # aging
    ShadowMutant("A cleared by a read and a write", DROP, (Split(CLEAR),)),
    ShadowMutant("D lost by a read and a write", WRITE, (Split(CLEAR),)),
    ShadowMutant("no A/D: an exchange", DROP_NO_AD, (Swap(CHANGE, "xchg"),)),
    ShadowMutant("no A/D: compare, then store", PROTECT_NO_AD, (Split(CHANGE),)),
    ShadowMutant("SPTEs read plainly", DROP, (Swap("age_listed:READ_ONCE", "load"),)),
    ShadowMutant(
        "no full lock, listed first", USE_LISTED_FIRST, (Swap(WRITER_LETS_GO, "WRITE_ONCE"),)
    ),
    # the gate
    ShadowMutant("gate: count alone", GATE, (Set("RMAP_GATE", 0),)),
    ShadowMutant(
        "gate: flag without acquire",
        GATE,
        (Swap("kvm_may_have_shadow_mmu_sptes:smp_load_acquire", "READ_ONCE"),),
    ),
    ShadowMutant(
        "gate: flag without release",
        GATE,
        (Swap("mmu_first_shadow_root_alloc:smp_store_release", "WRITE_ONCE"),),
    ),
    ShadowMutant("large pages from an odd start", ODD, (Set("RMAP_STEP_FROM_START", 1),)),
    # fast page faults
    ShadowMutant("walk: no barrier", WALK, (Swap(BEGIN, "WRITE_ONCE"),)),
    ShadowMutant("walk: mode written plainly", WALK, (Swap(BEGIN, "store"),)),
    ShadowMutant("walk: end without release", WALK, (Swap(END, "WRITE_ONCE"),)),
    ShadowMutant("free: request relaxed", WALK, (Swap(POST, "try_cmpxchg_relaxed"),)),
    ShadowMutant(
        "free: mode read without acquire",
        WALK,
        (Swap("kvm_wait_for_vcpu:smp_load_acquire[1]", "READ_ONCE"),),
    ),
    ShadowMutant("free: no flush", WALK, (Skip("kvm_flush_remote_tlbs"),)),
    ShadowMutant("freed before it is unlinked", WALK, (Skip("kvm_mmu_unlink_parents"),)),
    ShadowMutant(
        "W given by compare, then store",
        PROTECT,
        (Split("fast_pf_fix_direct_spte:try_cmpxchg"),),
    ),
    ShadowMutant("W given, and not logged", LOG, (Skip("mark_page_dirty_in_slot"),)),
    ShadowMutant(
        "W given, and not logged, against aging", FAST, (Skip("mark_page_dirty_in_slot"),)
    ),
    ShadowMutant(
        "protection passes over what is MMU-writable",
        PROTECT,
        (Set("PROTECT_MMU_WRITABLE", 0),),
    ),
    ShadowMutant("the host's lock left out", PROTECT_NO_AD, NO_MMU_LOCK),
    # tables below an entry
    ShadowMutant("child of another page", LARGE, (Set("CHILD_CHECK", 0),)),
    ShadowMutant("child of another role", TABLE, (Set("CHILD_CHECK", 1),)),
]
