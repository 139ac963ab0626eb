"""Seeded faults of arm64's stage 2; see ``mutants``."""

from __future__ import annotations

from dataclasses import dataclass

from mkold.check import Case, Drop, Scenario, Set, Setup, Skip, Split, Swap
from mkold.claims.arm64.aging import (
    FAULT_UNMAP,
    HARDWARE,
    RELAX,
    UNMAP,
    one_page,
)
from mkold.claims.arm64.break_make import AGE_ONE, STALE, STALE_TABLE, TWO_FAULTS, WALKED
from mkold.claims.arm64.faults import FAULT, FAULTS, WRITES
from mkold.claims.arm64.fixed import COLLAPSE, DESTROY, TWO_PERMS
from mkold.claims.arm64.guest import guest_walks
from mkold.claims.arm64.small_vm import SMALL
from mkold.claims.arm64.tables import COLLAPSE as AGE_COLLAPSE
from mkold.claims.arm64.tables import NEW_ALONE, NEW_TABLE, UNMAP_V3
from mkold.claims.arm64.tables import UNMAP as AGE_UNMAP
from mkold.ir.variant import Edit


@dataclass(frozen=True, slots=True)
class Arm64Mutant:
    """A fault: ``what`` is wrong, in ``scenario``, made by ``edits``."""

    what: str
    scenario: Scenario
    edits: tuple[Edit, ...]

    @property
    def case(self) -> Case:
        """The question."""
        return Case(self.what, self.scenario, self.edits)


def hardware_and_unmap(m: Setup) -> None:
    """The hardware sets AF of an old page that the host takes away."""
    vm = one_page(m, young=False)
    vcpu = vm.vcpu("vcpu", stock=0)
    m.thread("guest", (guest_walks, vm.kvm, vcpu, 0))
    m.thread("host", vm.unmap())
    m.never(
        "brought-back", lambda end: end["pte0"] != 0, "An unmapped entry is something again."
    )


HW_UNMAP = Scenario("hardware-vs-unmap", hardware_and_unmap, SMALL)
SET_PTE = "stage2_try_set_pte:cmpxchg"
NO_READ_LOCK = (Skip("kvm_mmu_read_lock"), Skip("kvm_mmu_read_unlock"))
NO_WRITE_LOCK = (Skip("kvm_mmu_lock"), Skip("kvm_mmu_unlock"))

ARM64_MUTANTS = [
    # tables
    Arm64Mutant(
        "aging without a read section",
        AGE_COLLAPSE,
        (Drop("age_by_rcu:rcu_read_lock"), Drop("age_by_rcu:rcu_read_unlock")),
    ),
    Arm64Mutant("an unmapped table is freed at once", AGE_UNMAP, (Set("UNMAP_FREE", 1),)),
    Arm64Mutant("third version without the lock", UNMAP_V3, NO_READ_LOCK),
    Arm64Mutant("unmapping without the lock", UNMAP_V3, NO_WRITE_LOCK),
    Arm64Mutant(
        "a new table published plainly",
        NEW_TABLE,
        (Swap("stage2_make_pte:smp_store_release", "store"),),
    ),
    Arm64Mutant(
        "a new table published without release, by a fault",
        NEW_TABLE,
        (Swap("stage2_make_pte:smp_store_release", "WRITE_ONCE"),),
    ),
    Arm64Mutant(
        "a new table published without release, alone",
        NEW_ALONE,
        (Swap("stage2_make_pte:smp_store_release", "WRITE_ONCE"),),
    ),
    Arm64Mutant(
        "entries are read plainly",
        NEW_TABLE,
        (Swap("stage2_walk_to_table:READ_ONCE[2]", "load"),),
    ),
    # references
    Arm64Mutant("a made entry is not counted", COLLAPSE, (Skip("get_page"),)),
    Arm64Mutant("a broken entry stays counted", COLLAPSE, (Skip("put_page"),)),
    Arm64Mutant("a table goes twice", DESTROY, (Set("DESTROY_PUTS_TABLES", 1),)),
    # break before make
    Arm64Mutant("break by a store", TWO_FAULTS, (Swap(SET_PTE, "WRITE_ONCE"),)),
    Arm64Mutant("break by an exchange", TWO_FAULTS, (Swap(SET_PTE, "xchg"),)),
    Arm64Mutant("what is broken is not flushed", STALE_TABLE, (Skip("flush_broken"),)),
    Arm64Mutant("an unmapped leaf is not flushed", STALE, (Skip("__kvm_tlb_flush_vmid_ipa"),)),
    Arm64Mutant(
        "an unmapped table is not flushed", WALKED, (Skip("kvm_tlb_flush_vmid_range"),)
    ),
    Arm64Mutant("the flush does not wait", WALKED, (Skip("kvm_wait_for_vcpu"),)),
    # the accessed bit
    Arm64Mutant("cleared by an exchange", UNMAP, (Swap(SET_PTE, "xchg"),)),
    Arm64Mutant("cleared by a read and a write", UNMAP, (Split(SET_PTE),)),
    Arm64Mutant("cleared by an exchange, against permissions", RELAX, (Swap(SET_PTE, "xchg"),)),
    Arm64Mutant("cleared by a store, against a fault", AGE_ONE, (Swap(SET_PTE, "WRITE_ONCE"),)),
    Arm64Mutant("a relaxed clear", HARDWARE, (Swap(SET_PTE, "cmpxchg_relaxed"),)),
    Arm64Mutant(
        "the hardware sets AF by a read and a write",
        HW_UNMAP,
        (Split("mmu_walk_s2:try_cmpxchg_relaxed"),),
    ),
    Arm64Mutant("an access flag fault without the lock", FAULT_UNMAP, NO_READ_LOCK),
    # faults and the log
    Arm64Mutant("no local flush", TWO_PERMS, (Skip("__kvm_tlb_flush_vmid_ipa_nsh"),)),
    Arm64Mutant("no invalidation is begun", FAULT, (Skip("kvm_mmu_invalidate_begin"),)),
    Arm64Mutant(
        "the log read, then cleared", FAULTS, (Split("kvm_get_dirty_log_protect:xchg"),)
    ),
    Arm64Mutant(
        "a page marked by a read and a write",
        FAULTS,
        (Split("mark_page_dirty_in_slot:atomic_or"),),
    ),
    Arm64Mutant("a log without protection", WRITES, (Skip("kvm_pgtable_stage2_wrprotect"),)),
    Arm64Mutant("protection without the lock", FAULTS, NO_WRITE_LOCK),
]
