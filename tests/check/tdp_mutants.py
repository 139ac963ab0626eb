"""Seeded faults of the TDP MMU; see ``mutants``."""

from __future__ import annotations

from dataclasses import dataclass

from mkold.check import Case, Drop, Scenario, Set, Skip, Split, Swap
from mkold.claims.x86.tdp_clearing import HARDWARE, HARDWARE_UNMAP, NOAD_FAST, NOAD_UNMAP, UNMAP
from mkold.claims.x86.tdp_dirty_log import BY_D, BY_D_AGED, FAST_LOG, L2, SLOW_LOG, START
from mkold.claims.x86.tdp_frozen import DEAD_LEAF, OLD_WALKED
from mkold.claims.x86.tdp_life import (
    AGE_ROOT,
    AGE_TABLE,
    AGE_ZAP,
    FAST_TABLE,
    HARDWARE_TABLE,
    RETRY,
)
from mkold.claims.x86.tdp_protect import PROTECT, SPLIT, VOLATILE
from mkold.claims.x86.tdp_roots import (
    ALL_ROOTS,
    FLUSH_RANGE,
    NO_FLUSH,
    OBSOLETE,
    YIELD_FLUSH,
    YIELD_ROOT,
    YIELD_STEP,
)
from mkold.ir.variant import Edit


@dataclass(frozen=True, slots=True)
class TdpMutant:
    """A fault: ``what`` is wrong, in ``scenario``, made by ``edits``. ``params`` are what the
    source is to be where it has no fault."""

    what: str
    scenario: Scenario
    edits: tuple[Edit, ...]
    params: tuple[Edit, ...] = ()

    @property
    def case(self) -> Case:
        """The question."""
        return Case(self.what, self.scenario, (*self.params, *self.edits))


CAS = "__tdp_mmu_set_spte_atomic:try_cmpxchg"
FAST = "fast_pf_fix_direct_spte:try_cmpxchg"
AGE = "kvm_tdp_mmu_age_lockless"
NO_READER = (Drop(f"{AGE}:rcu_read_lock"), Drop(f"{AGE}:rcu_read_unlock"))
NO_FAST_READER = (
    Drop("fast_page_fault:rcu_read_lock"),
    Drop("fast_page_fault:rcu_read_unlock"),
)
NO_MMU_LOCK = (Skip("kvm_mmu_lock"), Skip("kvm_mmu_unlock"))
MERGED = (Set("FROZEN_BITS", 0x498),)

TDP_MUTANTS = [
    # aging
    TdpMutant(
        "aging reads, then writes", HARDWARE, (Split("kvm_tdp_mmu_age_spte:atomic_fetch_and"),)
    ),
    TdpMutant("tracking by an exchange", NOAD_UNMAP, (Swap(CAS, "xchg"),)),
    TdpMutant("tracking without looking", NOAD_FAST, (Set("AGE_SPTE", 2),)),
    TdpMutant("no read section for the ager", AGE_TABLE, NO_READER),
    TdpMutant("no read section for the ager, a root goes", AGE_ROOT, NO_READER),
    TdpMutant("roots read plainly", AGE_ROOT, (Swap(f"{AGE}:rcu_dereference[0]", "load"),)),
    TdpMutant("role.invalid read plainly", AGE_ZAP, (Swap(f"{AGE}:READ_ONCE", "load"),)),
    TdpMutant("entries read plainly", UNMAP, (Swap("age_run:READ_ONCE", "load"),)),
    # tables and roots
    TdpMutant("tables freed at once", AGE_TABLE, (Set("TABLE_FREE", 1),)),
    TdpMutant("roots freed at once", AGE_ROOT, (Set("TABLE_FREE", 1),)),
    TdpMutant("no read section for the fast page fault", FAST_TABLE, NO_FAST_READER),
    TdpMutant("tables linked without order", OLD_WALKED, (Swap(CAS, "try_cmpxchg_relaxed"),)),
    TdpMutant("tables linked by an acquire", OLD_WALKED, (Swap(CAS, "try_cmpxchg_acquire"),)),
    TdpMutant("tables linked by a release", OLD_WALKED, (Swap(CAS, "try_cmpxchg_release"),)),
    TdpMutant("entries of dead tables stay", DEAD_LEAF, (Skip("freeze_removed_spte"),), MERGED),
    TdpMutant("frozen entries count as empty", DEAD_LEAF, (Skip("is_frozen_spte"),), MERGED),
    TdpMutant(
        "a root unlinked plainly",
        AGE_ROOT,
        (Swap("tdp_mmu_unlink_root:WRITE_ONCE[0]", "store"),),
    ),
    TdpMutant(
        "roots made invalid plainly",
        AGE_ZAP,
        (Swap("kvm_tdp_mmu_invalidate_roots:WRITE_ONCE[1]", "store"),),
    ),
    TdpMutant("no reference while it yields", YIELD_ROOT, (Set("ROOT_REFERENCED", 0),)),
    TdpMutant(
        "unmapped from valid roots alone", ALL_ROOTS, (Set("UNMAP_VALID_ROOTS_ONLY", 1),)
    ),
    TdpMutant("a fault maps into an obsolete root", OBSOLETE, (Set("CHECK_OBSOLETE_ROOT", 0),)),
    # yields and flushes
    TdpMutant("a page skipped after a yield", YIELD_STEP, (Set("SAME_PAGE_AFTER_YIELD", 0),)),
    TdpMutant("a flush forgotten at a yield", YIELD_FLUSH, (Set("FLUSH_BEFORE_YIELD", 0),)),
    TdpMutant("part of an entry flushed", FLUSH_RANGE, (Set("FLUSH_WHOLE_ENTRY", 0),)),
    TdpMutant("no flush where a table goes", FLUSH_RANGE, (Skip("kvm_flush_remote_tlbs_gfn"),)),
    TdpMutant(
        "flushed behind the read section", HARDWARE_TABLE, (Set("FLUSH_BEFORE_FREE", 0),)
    ),
    TdpMutant("vCPUs told, not waited for", NO_FLUSH, (Set("RELOAD_WAITS", 0),)),
    TdpMutant("vCPUs not told", NO_FLUSH, (Skip("kvm_make_all_request"),)),
    # faults
    TdpMutant("no check of the retry counter", RETRY, (Set("CHECK_RETRY", 0),)),
    TdpMutant("the counter read too late", RETRY, (Drop("kvm_tdp_page_fault:smp_rmb"),)),
    TdpMutant(
        "mapped without the lock",
        RETRY,
        (Skip("kvm_mmu_read_lock"), Skip("kvm_mmu_read_unlock")),
    ),
    TdpMutant("the fast page fault writes", PROTECT, (Swap(FAST, "WRITE_ONCE"),)),
    TdpMutant("the fast page fault exchanges", PROTECT, (Swap(FAST, "xchg"),)),
    TdpMutant("the fast page fault reads, then writes", PROTECT, (Split(FAST),)),
    TdpMutant("what may become writable is skipped", PROTECT, (Set("WRPROT_MMU_WRITABLE", 0),)),
    # dirty bits and the log
    TdpMutant("what changes by itself is stored to", VOLATILE, (Set("XCHG_VOLATILE", 0),)),
    TdpMutant(
        "D is set by a store",
        HARDWARE_UNMAP,
        (Swap("hw_read_entry:try_cmpxchg_relaxed", "WRITE_ONCE"),),
    ),
    TdpMutant("tables count as leaves", SPLIT, (Set("CLEAR_DIRTY_OF_LEAVES", 0),)),
    TdpMutant("D cleared where nothing logs", L2, (Set("WRPROT_UNLOGGED", 0),)),
    TdpMutant("dirty before the compare-and-swap", FAST_LOG, (Set("MARK_DIRTY_AFTER", 0),)),
    TdpMutant(
        "the fast page fault marks nothing", FAST_LOG, (Skip("mark_page_dirty_in_slot"),)
    ),
    TdpMutant(
        "the fast page fault's swap has no order",
        FAST_LOG,
        (Swap(FAST, "try_cmpxchg_relaxed"),),
    ),
    TdpMutant("a map marks nothing", SLOW_LOG, (Skip("mark_page_dirty_in_slot"),)),
    TdpMutant("the log is fetched without the lock", SLOW_LOG, NO_MMU_LOCK),
    TdpMutant(
        "the log is fetched without a flush", BY_D, (Skip("kvm_flush_remote_tlbs_unlocked"),)
    ),
    TdpMutant("D is not cleared", BY_D, (Skip("tdp_mmu_clear_spte_bits"),)),
    TdpMutant("D cleared by a store", BY_D_AGED, (Set("XCHG_VOLATILE", 0),)),
    TdpMutant(
        "logging starts without a barrier", START, (Drop("kvm_mmu_slot_start_logging:smp_mb"),)
    ),
    TdpMutant("logging starts, nothing protected", START, (Skip("clear_dirty_gfn_range"),)),
]
