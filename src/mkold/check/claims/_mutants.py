"""Seeded faults: one change each, and the scenario in which it should be noticed.

Whether it is noticed is for the checker to say; what is expected stands in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass

from mkold.check import Case, Drop, Exchange, Scenario, Set, Skip, Split, Swap
from mkold.check.claims import _more as more
from mkold.check.claims.clearing import BY_UPDATE, HARDWARE, REMAP, TWO_LOCKLESS, UNMAP
from mkold.check.claims.faults import FAULT, STALE_TLB
from mkold.check.claims.locks import RCU_1, SPIN_2
from mkold.check.claims.switch import TO_HPT, TO_RADIX
from mkold.check.claims.walking import RECYCLE, STEP
from mkold.ir.variant import Edit


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault: ``what`` is wrong, in ``scenario``, made by ``edits``."""

    what: str
    scenario: Scenario
    edits: tuple[Edit, ...]

    @property
    def case(self) -> Case:
        """The question."""
        return Case(self.what, self.scenario, self.edits)


WALKER, SWITCH = "kvm_arch_test_clear_young", "kvmppc_switch_mmu_to_"
NO_READ_SECTION = (
    Drop(f"{WALKER}:rcu_read_lock"),
    *(Drop(f"{WALKER}:rcu_read_unlock[{i}]") for i in range(4)),
)
NO_SRCU = (
    Drop("mmu_notifier_test_clear_young:srcu_read_lock"),
    Drop("mmu_notifier_test_clear_young:srcu_read_unlock"),
)
NO_MMU_LOCK = (Skip("kvm_mmu_lock"), Skip("kvm_mmu_unlock"))
UPDATE = "kvmppc_radix_update_pte:atomic_fetch_andnot_relaxed"
END = "kvm_mmu_invalidate_end"
UNREGISTER = "mmu_notifier_unregister"
FLUSH_WAIT = "kvm_wait_for_vcpu:smp_load_acquire"


def _swap(place: str, prim: str) -> tuple[Edit, ...]:
    return (Swap(place, prim),)


def _drop(place: str) -> tuple[Edit, ...]:
    return (Drop(place),)


MUTANTS = [
    # leaving radix mode
    Mutant("walk without a read section", TO_HPT, NO_READ_SECTION),
    Mutant("no grace period", TO_HPT, _drop(f"{SWITCH}hpt:synchronize_rcu")),
    Mutant("smp_mb for the grace period", TO_HPT,
           _swap(f"{SWITCH}hpt:synchronize_rcu", "smp_mb")),
    Mutant("flag never cleared", TO_HPT, _drop("set_radix_mode:WRITE_ONCE")),
    Mutant("flag read plainly", TO_HPT, (Set("PLAIN_RADIX_FLAG", 1),)),
    Mutant("flag written plainly", TO_HPT, _swap("set_radix_mode:WRITE_ONCE", "store")),
    Mutant("flag written with no lock", TO_HPT, NO_MMU_LOCK),
    Mutant("root left behind", TO_HPT, _drop("kvmppc_free_radix:WRITE_ONCE")),
    Mutant("guest: no barrier on entry", more.STOP, _drop("kvm_vcpu_load:smp_mb")),
    Mutant("switch: no barrier before asking", more.STOP, (
        Drop("kvm_stop_vcpus:smp_mb"), Swap("kvm_make_request:try_cmpxchg[0]",
                                            "try_cmpxchg_relaxed"))),
    Mutant("switch: vCPUs not stopped", more.STOP, (Skip("kvm_stop_vcpus"),)),
    Mutant("switch: mode of the vCPU without acquire", more.STOP,
           _swap("kvm_stop_vcpus:smp_load_acquire[1]", "READ_ONCE")),
    # entering radix mode
    Mutant("no smp_wmb", TO_RADIX, _drop(f"{SWITCH}radix:smp_wmb")),
    Mutant("no smp_rmb", TO_RADIX, _drop(f"{WALKER}:smp_rmb")),
    Mutant("smp_rmb for smp_wmb", TO_RADIX, _swap(f"{SWITCH}radix:smp_wmb", "smp_rmb")),
    Mutant("smp_wmb for smp_rmb", TO_RADIX, _swap(f"{WALKER}:smp_rmb", "smp_wmb")),
    Mutant("root not zeroed", TO_RADIX, (Skip("zero_table"),)),
    Mutant("root read plainly", TO_RADIX, _swap(f"{WALKER}:READ_ONCE[1]", "load")),
    # tables that come and go
    Mutant("table published without release", more.CREATE,
           _swap("map_leaf:smp_store_release", "WRITE_ONCE")),
    Mutant("table published by a plain store", more.CREATE,
           _swap("map_leaf:smp_store_release", "store")),
    Mutant("table published before it is zeroed", more.CREATE, (Skip("zero_table"),)),
    Mutant("table published without release, to the hardware", more.HW_CREATE,
           _swap("map_leaf:smp_store_release", "WRITE_ONCE")),
    Mutant("leaf published without release", more.NEW_FRAME,
           _swap("set_leaf:smp_store_release", "WRITE_ONCE")),
    Mutant("leaf read plainly by the hardware", more.NEW_FRAME,
           _swap("radix_walk:READ_ONCE", "load")),
    Mutant("leaf published by a plain store", more.CREATE,
           _swap("set_leaf:smp_store_release", "store")),
    *(Mutant(f"walk: entry {i} read plainly", more.CREATE,
             _swap(f"radix_walk_to_table:READ_ONCE[{i}]", "load")) for i in range(3)),
    Mutant("scan reads plainly", more.CREATE, _swap("age_run:READ_ONCE", "load")),
    Mutant("table freed before it is unlinked", more.COLLAPSE,
           _drop("kvmppc_unlink_table:WRITE_ONCE")),
    Mutant("table freed at once", more.COLLAPSE, (Set("TABLE_FREE", 2),)),
    Mutant("table unlinked by a plain store", more.COLLAPSE,
           _swap("kvmppc_unlink_table:WRITE_ONCE", "store")),
    Mutant("collapse: walk without a read section", more.COLLAPSE, NO_READ_SECTION),
    Mutant("collapse: no flush before the free", more.GUEST_COLLAPSE,
           (Skip("kvm_flush_tlb_range"), Set("TABLE_FREE", 2))),
    Mutant("recycled table cleared by a true exchange", RECYCLE,
           _swap("pte_xchg:cmpxchg", "xchg")),
    Mutant("step from inside a huge page", STEP, (Set("STEP_FROM_GFN", 1),)),
    Mutant("one entry too far", more.ONE_MORE, ()),
    Mutant("one entry short", more.ONE_LESS, ()),
    # clearing the accessed bit
    Mutant("a true exchange", UNMAP, _swap("pte_xchg:cmpxchg", "xchg")),
    Mutant("a store", UNMAP, _swap("pte_xchg:cmpxchg", "WRITE_ONCE")),
    Mutant("a plain store", HARDWARE, _swap("pte_xchg:cmpxchg", "store")),
    Mutant("compare, then store", UNMAP, (Split("pte_xchg:cmpxchg"),)),
    Mutant("read, then write", UNMAP, (*BY_UPDATE, Split(UPDATE))),
    Mutant("read, then write, at a new mapping", REMAP, (*BY_UPDATE, Split(UPDATE))),
    Mutant("two passes: read, then write", TWO_LOCKLESS, (*BY_UPDATE, Split(UPDATE))),
    Mutant("compare-and-swap relaxed", UNMAP, _swap("pte_xchg:cmpxchg", "cmpxchg_relaxed")),
    Mutant("hardware: compare, then store", UNMAP, (Split("mmu_walk_hw:try_cmpxchg_relaxed"),)),
    Mutant("unmap: read, then write", UNMAP, (Split(UPDATE),)),
    # faults and the retry counter
    Mutant("counter not checked", FAULT, (Set("CHECK_RETRY", 0),)),
    Mutant("frame may be read before the counter", FAULT,
           _drop("kvmppc_book3s_instantiate_page:smp_rmb")),
    Mutant("counter read plainly", FAULT,
           _swap("kvmppc_book3s_instantiate_page:READ_ONCE", "load")),
    Mutant("counter never raised", FAULT, _drop(f"{END}:smp_store_release")),
    Mutant("counter raised without release", FAULT,
           (Swap(f"{END}:smp_store_release", "WRITE_ONCE"),
            Drop("set_host_word:spin_lock"), Drop("set_host_word:spin_unlock"))),
    Mutant("in_progress never raised", FAULT,
           (Skip("kvm_mmu_invalidate_begin"),)),
    Mutant("no smp_wmb between counter and in_progress", FAULT, _drop(f"{END}:smp_wmb")),
    Mutant("no smp_rmb between in_progress and counter", FAULT,
           _drop("mmu_invalidate_retry:smp_rmb")),
    Mutant("no mmu_lock", FAULT, NO_MMU_LOCK),
    Mutant("two faults with no mmu_lock", more.TWO_FAULTS, NO_MMU_LOCK),
    # the TLB
    Mutant("flush before clear", more.FLUSH_FIRST, ()),
    Mutant("no flush", STALE_TLB, (Skip("kvm_flush_tlb_range"),)),
    Mutant("no wait for the vCPU", STALE_TLB, (Skip("kvm_wait_for_vcpu"),)),
    Mutant("no barrier on the way in", STALE_TLB, _drop("kvm_vcpu_load:smp_mb")),
    Mutant("out without release", STALE_TLB,
           _swap("kvm_vcpu_put:smp_store_release", "WRITE_ONCE")),
    Mutant("request posted without a barrier", STALE_TLB,
           _swap("kvm_make_request:try_cmpxchg[0]", "try_cmpxchg_relaxed")),
    Mutant("answer looked for without acquire", more.SWAP_OUT,
           _swap(f"{FLUSH_WAIT}[0]", "READ_ONCE")),
    Mutant("mode looked at without acquire", STALE_TLB, _swap(f"{FLUSH_WAIT}[1]", "READ_ONCE")),
    Mutant("request taken without a barrier", STALE_TLB,
           _swap("kvm_vcpu_take_request:xchg", "xchg_relaxed")),
    # the dirty log
    Mutant("C cleared without a flush", more.DIRTY_LOG, (Skip("kvm_flush_tlb_range"),)),
    Mutant("page not logged", more.DIRTY_LOG, _drop("kvmppc_update_dirty_map:atomic_or")),
    Mutant("log fetched by a read and a write", more.HARVEST,
           (Split("kvmppc_hv_get_dirty_log_radix:xchg"),)),
    Mutant("page logged by a read and a write", more.HARVEST,
           (Split("kvmppc_update_dirty_map:atomic_or"),)),
    # notifiers
    Mutant("no synchronize_srcu", more.UNSUBSCRIBE, _drop(f"{UNREGISTER}:synchronize_srcu")),
    Mutant("callbacks outside SRCU", more.UNSUBSCRIBE, NO_SRCU),
    Mutant("never unlinked", more.UNSUBSCRIBE, _drop(f"{UNREGISTER}:rcu_assign_pointer")),
    Mutant("unlinked after the grace period", more.UNSUBSCRIBE,
           (Exchange(f"{UNREGISTER}:spin_unlock", f"{UNREGISTER}:synchronize_srcu"),
            Drop(f"{UNREGISTER}:synchronize_srcu"))),
    Mutant("subscribed without release", more.SUBSCRIBE,
           _swap("mmu_notifier_register:rcu_assign_pointer", "WRITE_ONCE")),
    Mutant("subscribed before the VM is written", more.SUBSCRIBE,
           (Exchange("mmu_notifier_register:WRITE_ONCE",
                     "mmu_notifier_register:rcu_assign_pointer"),)),
    # mkold's own locks
    Mutant("spinlock: release lost", SPIN_2,
           _swap("queued_spin_unlock:atomic_fetch_andnot_release",
                 "atomic_fetch_andnot_relaxed")),
    Mutant("RCU: no barrier on entry", RCU_1, _drop("__rcu_read_lock:smp_mb")),
    Mutant("RCU: no barrier on exit", RCU_1, _drop("__rcu_read_unlock:smp_mb")),
]  # fmt: skip
