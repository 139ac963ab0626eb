"""Seeded faults of hash mode; see ``mutants``."""

from __future__ import annotations

from dataclasses import dataclass

from mkold.check import Case, Drop, Scenario, Set, Skip, Split, Swap
from mkold.claims.powerpc.hash_faults import ENTER, ENTER_WALK, FAULT, PROTECT
from mkold.claims.powerpc.hash_locks import CLEAR_REF_AGE, REMOVED, TWO_ENTERS
from mkold.claims.powerpc.hash_rc import (
    GOING_AGE,
    LAST_HARVEST,
    TOUCH_REMOVE,
    TOUCH_UNMAP,
    WRITE_HARVEST,
    WRITE_REMOVE,
    WRITE_UNMAP,
)
from mkold.claims.powerpc.hash_tables import (
    AGE_TO_RADIX,
    FAULT_TO_RADIX,
    FREED,
    GUEST_TO_RADIX,
    UNMAP_REORDER,
    UNMAP_RESET,
)
from mkold.ir.variant import Edit


@dataclass(frozen=True, slots=True)
class HashMutant:
    """A fault: ``what`` is wrong, in ``scenario``, made by ``edits``."""

    what: str
    scenario: Scenario
    edits: tuple[Edit, ...]
    only: frozenset[str] = frozenset()

    @property
    def case(self) -> Case:
        """The question."""
        return Case(self.what, self.scenario, self.edits, only=self.only)


TRY, TAS = "try_lock_hpte:try_cmpxchg_acquire", "lock_rmap:test_and_set_bit_lock"
STALE = frozenset({"stale-mapping"})
NO_MMU_LOCK = (Skip("kvm_mmu_lock"), Skip("kvm_mmu_unlock"))
NO_RMAP_LOCK = (Skip("lock_rmap"), Skip("unlock_rmap"))
NO_RETRY = (Set("HASH_CHECK_RETRY", 0),)

HASH_MUTANTS = [
    # the locks
    HashMutant("HPTE locked without acquire", REMOVED, (Swap(TRY, "try_cmpxchg_relaxed"),)),
    HashMutant("HPTE locked by a read and a write", CLEAR_REF_AGE, (Split(TRY),)),
    HashMutant("HPTE let go without release", CLEAR_REF_AGE,
               (Swap("unlock_hpte:smp_store_release", "WRITE_ONCE"),)),
    HashMutant("HPTE let go bare after an update", REMOVED, (Set("HPT_BARE_UNLOCK", 1),)),
    HashMutant("rmap locked by a read and a write", TWO_ENTERS, (Split(TAS),)),
    HashMutant("rmap let go without release", TWO_ENTERS,
               (Swap("unlock_rmap:clear_bit_unlock", "clear_bit"),)),
    HashMutant("rmap not locked", TWO_ENTERS, NO_RMAP_LOCK),
    HashMutant("rmap not locked while an entry goes", GOING_AGE, NO_RMAP_LOCK),
    # entering
    HashMutant("H_ENTER: counter not checked", ENTER, NO_RETRY, STALE),
    HashMutant("fault: counter not checked", FAULT, NO_RETRY, STALE),
    HashMutant("H_ENTER: no smp_rmb", ENTER, (Drop("kvmppc_do_h_enter:smp_rmb"),), STALE),
    HashMutant("H_ENTER: no eieio", ENTER_WALK, (Drop("kvmppc_do_h_enter:smp_wmb"),)),
    HashMutant("H_ENTER: V stored plainly", ENTER_WALK,
               (Swap("__unlock_hpte:WRITE_ONCE", "store"),)),
    HashMutant("hardware: V and R in any order", ENTER_WALK, (Drop("mmu_walk_hpt:smp_rmb"),)),
    HashMutant("H_ENTER: not in the ring", ENTER, (Skip("kvmppc_add_revmap_chain"),)),
    HashMutant("H_PROTECT: what the host forbade is given", PROTECT,
               (Skip("hpte_make_readonly"),)),
    # R and C
    HashMutant("unmapping: no tlbie", TOUCH_UNMAP, (Skip("do_tlbies"),)),
    HashMutant("unmapping: VALID stays", WRITE_UNMAP,
               (Drop("kvmppc_invalidate_hpte:WRITE_ONCE"),)),
    HashMutant("unmapping: C not logged", WRITE_UNMAP, (Skip("kvmppc_update_dirty_map"),)),
    HashMutant("unmapping: R and C read before the tlbie", WRITE_UNMAP,
               (Set("HPT_RC_BEFORE_TLBIE", 1),)),
    HashMutant("H_REMOVE: no tlbie", WRITE_REMOVE, (Skip("do_tlbies"),)),
    HashMutant("H_REMOVE: R not kept", TOUCH_REMOVE, (Skip("rmap_note_rc"),)),
    HashMutant("aging: what went is not asked for", GOING_AGE, (Skip("rmap_note_rc"),)),
    HashMutant("hardware: R not set", TOUCH_UNMAP, (Drop("set_rc_bytes:WRITE_ONCE[0]"),)),
    HashMutant("hardware: C not set", WRITE_REMOVE, (Drop("set_rc_bytes:WRITE_ONCE[1]"),)),
    HashMutant("dirty log: no tlbie", WRITE_HARVEST, (Skip("do_tlbies"),)),
    HashMutant("dirty log: C = 0 trusted", LAST_HARVEST, (Set("HPT_TRUST_C", 1),)),
    HashMutant("dirty log: no eieio", WRITE_HARVEST, (Drop("harvest_locked_hpte:smp_wmb"),)),
    HashMutant("dirty log: C not cleared", WRITE_HARVEST,
               (Drop("harvest_locked_hpte:WRITE_ONCE"),)),
    # the table's life
    HashMutant("another size: freed first", UNMAP_REORDER, (Set("HPT_FREED_FIRST", 1),), FREED),
    HashMutant("the same size: emptied first", UNMAP_RESET, (Set("HPT_FREED_FIRST", 1),)),
    HashMutant("another size: rmap words not reset", UNMAP_REORDER,
               (Skip("kvmppc_rmap_reset"),), FREED),
    HashMutant("to radix: rmap words not reset", AGE_TO_RADIX, (Skip("kvmppc_rmap_reset"),)),
    HashMutant("to radix: no mmu_lock", AGE_TO_RADIX, NO_MMU_LOCK, FREED),
    HashMutant("to radix: vCPUs not stopped", GUEST_TO_RADIX, (Skip("kvm_stop_vcpus"),)),
    HashMutant("to radix: a fault does not look again", FAULT_TO_RADIX,
               (Drop("kvmppc_hash_page_fault:smp_mb"),)),
    HashMutant("to radix: no barrier before asking for faults", FAULT_TO_RADIX, (
        Drop("kvm_stop_vcpus:smp_mb"),
        Swap("kvm_make_request:try_cmpxchg[0]", "try_cmpxchg_relaxed"))),
    HashMutant("to radix: a fault ends without release", FAULT_TO_RADIX,
               (Swap("kvmppc_hash_page_fault:atomic_fetch_sub_release",
                     "atomic_fetch_sub_relaxed"),)),
]  # fmt: skip
