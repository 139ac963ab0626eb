"""Seeded faults: one change each, and the scenario in which it should be noticed.

Whether it is noticed is for the checker to say; what is expected stands in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mkold.check import Case, Drop, Exchange, Scenario, Set, Skip, Split, Swap
from mkold.claims.generic.locks import RCU_1, SPIN_2
from mkold.claims.generic.notifiers import SUBSCRIBE, UNSUBSCRIBE
from mkold.claims.powerpc.clearing import BY_UPDATE, HARDWARE, REMAP, TWO_LOCKLESS, UNMAP
from mkold.claims.powerpc.dirty_log import DIRTY_LOG, HARVEST
from mkold.claims.powerpc.faults import FAULT, STALE_TLB
from mkold.claims.powerpc.switch import STOP, TO_HPT, TO_RADIX
from mkold.claims.powerpc.tables import (
    COLLAPSE,
    CREATE,
    GUEST_COLLAPSE,
    HW_CREATE,
    NEW_FRAME,
    SWAP_OUT,
    TWO_FAULTS,
)
from mkold.claims.powerpc.walking import RANGE, RECYCLE, STEP
from mkold.ir.variant import Edit
from mkold.kvm.powerpc.asm.kvm_host import Kvm, KvmNestedGuest
from mkold.kvm.powerpc.radix.age import age_run
from mkold.kvm.powerpc.radix.pte_update import kvmppc_radix_update_pte
from mkold.kvm.tlb import kvm_flush_remote_tlbs_range
from mkold.lang import Ptr, kernel, u64


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


# Faults that are no edit: a function that stands in the place of another.


@kernel
def flush_then_clear(
    kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest], ptep: Ptr[u64], gfn: u64, level: u64
) -> None:
    """``kvmppc_unmap_pte`` in the wrong order."""
    kvm_flush_remote_tlbs_range(kvm, gfn, 1)
    kvmppc_radix_update_pte(ptep, ~0, 0)


@kernel
def age_one_more(ptep: Ptr[u64], n: u64, clear: u64, bitmap: Ptr[u64], bit: u64) -> u64:
    """``age_table``, one entry too far."""
    return age_run(ptep, n + 1, clear, bitmap, bit)


@kernel
def age_one_less(ptep: Ptr[u64], n: u64, clear: u64, bitmap: Ptr[u64], bit: u64) -> u64:
    """``age_table``, one entry short."""
    return age_run(ptep, n - 1, clear, bitmap, bit)


ONE_MORE = replace(RANGE, name="one-more", stand_ins={"age_table": age_one_more})
ONE_LESS = replace(RANGE, name="one-less", stand_ins={"age_table": age_one_less})
FLUSH_FIRST = replace(
    STALE_TLB,
    name="stale-tlb-flush-first",
    stand_ins={**STALE_TLB.stand_ins, "kvmppc_unmap_pte": flush_then_clear},
)

WALKER, SWITCH = "kvm_test_clear_young_hv", "kvmppc_switch_mmu_to_"
NO_READ_SECTION = (
    Drop(f"{WALKER}:rcu_read_lock"),
    *(Drop(f"{WALKER}:rcu_read_unlock[{i}]") for i in range(4)),
)
NO_SRCU = (
    Drop("mn_hlist_walk:srcu_read_lock"),
    Drop("mn_hlist_walk:srcu_read_unlock"),
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
    Mutant("guest: no barrier on entry", STOP, _drop("kvm_vcpu_load:smp_mb")),
    Mutant("switch: no barrier before asking", STOP, (
        Drop("kvm_stop_vcpus:smp_mb"), Swap("kvm_make_request:try_cmpxchg[0]",
                                            "try_cmpxchg_relaxed"))),
    Mutant("switch: vCPUs not stopped", STOP, (Skip("kvm_stop_vcpus"),)),
    Mutant("switch: mode of the vCPU without acquire", STOP,
           _swap("kvm_stop_vcpus:smp_load_acquire[1]", "READ_ONCE")),
    # entering radix mode
    Mutant("no smp_wmb", TO_RADIX, _drop(f"{SWITCH}radix:smp_wmb")),
    Mutant("no smp_rmb", TO_RADIX, _drop(f"{WALKER}:smp_rmb")),
    Mutant("smp_rmb for smp_wmb", TO_RADIX, _swap(f"{SWITCH}radix:smp_wmb", "smp_rmb")),
    Mutant("smp_wmb for smp_rmb", TO_RADIX, _swap(f"{WALKER}:smp_rmb", "smp_wmb")),
    Mutant("root not zeroed", TO_RADIX, (Skip("zero_table"),)),
    Mutant("root read plainly", TO_RADIX, _swap(f"{WALKER}:READ_ONCE[1]", "load")),
    # tables that come and go
    Mutant("table published without release", CREATE,
           _swap("map_leaf:smp_store_release", "WRITE_ONCE")),
    Mutant("table published by a plain store", CREATE,
           _swap("map_leaf:smp_store_release", "store")),
    Mutant("table published before it is zeroed", CREATE, (Skip("zero_table"),)),
    Mutant("table published without release, to the hardware", HW_CREATE,
           _swap("map_leaf:smp_store_release", "WRITE_ONCE")),
    Mutant("leaf published without release", NEW_FRAME,
           _swap("set_leaf:smp_store_release", "WRITE_ONCE")),
    Mutant("leaf read plainly by the hardware", NEW_FRAME,
           _swap("radix_walk:READ_ONCE", "load")),
    Mutant("leaf published by a plain store", CREATE,
           _swap("set_leaf:smp_store_release", "store")),
    *(Mutant(f"walk: entry {i} read plainly", CREATE,
             _swap(f"radix_walk_to_table:READ_ONCE[{i}]", "load")) for i in range(3)),
    Mutant("scan reads plainly", UNMAP, _swap("age_run:READ_ONCE", "load")),
    Mutant("table freed before it is unlinked", COLLAPSE,
           _drop("kvmppc_unlink_table:WRITE_ONCE")),
    Mutant("table freed at once", COLLAPSE, (Set("TABLE_FREE", 2),)),
    Mutant("table unlinked by a plain store", COLLAPSE,
           _swap("kvmppc_unlink_table:WRITE_ONCE", "store")),
    Mutant("collapse: walk without a read section", COLLAPSE, NO_READ_SECTION),
    Mutant("collapse: no flush before the free", GUEST_COLLAPSE,
           (Skip("kvm_flush_remote_tlbs_range"), Set("TABLE_FREE", 2))),
    Mutant("recycled table cleared by a true exchange", RECYCLE,
           _swap("pte_xchg:cmpxchg", "xchg")),
    Mutant("step from inside a huge page", STEP, (Set("STEP_FROM_GFN", 1),)),
    Mutant("one entry too far", ONE_MORE, ()),
    Mutant("one entry short", ONE_LESS, ()),
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
    Mutant("two faults with no mmu_lock", TWO_FAULTS, NO_MMU_LOCK),
    # the TLB
    Mutant("flush before clear", FLUSH_FIRST, ()),
    Mutant("no flush", STALE_TLB, (Skip("kvm_flush_remote_tlbs_range"),)),
    Mutant("no wait for the vCPU", STALE_TLB, (Skip("kvm_wait_for_vcpu"),)),
    Mutant("no barrier on the way in", STALE_TLB, _drop("kvm_vcpu_load:smp_mb")),
    Mutant("out without release", STALE_TLB,
           _swap("kvm_vcpu_put:smp_store_release", "WRITE_ONCE")),
    Mutant("request posted without a barrier", STALE_TLB,
           _swap("kvm_make_request:try_cmpxchg[0]", "try_cmpxchg_relaxed")),
    Mutant("answer looked for without acquire", SWAP_OUT,
           _swap(f"{FLUSH_WAIT}[0]", "READ_ONCE")),
    Mutant("mode looked at without acquire", STALE_TLB, _swap(f"{FLUSH_WAIT}[1]", "READ_ONCE")),
    Mutant("request taken without a barrier", STALE_TLB,
           _swap("kvm_vcpu_take_request:xchg", "xchg_relaxed")),
    # the dirty log
    Mutant("C cleared without a flush", DIRTY_LOG, (Skip("kvm_flush_remote_tlbs_range"),)),
    Mutant("page not logged", DIRTY_LOG, _drop("kvmppc_update_dirty_map:atomic_or")),
    Mutant("log fetched by a read and a write", HARVEST,
           (Split("kvmppc_hv_get_dirty_log_radix:xchg"),)),
    Mutant("page logged by a read and a write", HARVEST,
           (Split("kvmppc_update_dirty_map:atomic_or"),)),
    # notifiers
    Mutant("no synchronize_srcu", UNSUBSCRIBE, _drop(f"{UNREGISTER}:synchronize_srcu")),
    Mutant("callbacks outside SRCU", UNSUBSCRIBE, NO_SRCU),
    Mutant("never unlinked", UNSUBSCRIBE, _drop(f"{UNREGISTER}:rcu_assign_pointer")),
    Mutant("unlinked after the grace period", UNSUBSCRIBE,
           (Exchange(f"{UNREGISTER}:spin_unlock", f"{UNREGISTER}:synchronize_srcu"),
            Drop(f"{UNREGISTER}:synchronize_srcu"))),
    Mutant("subscribed without release", SUBSCRIBE,
           _swap("mmu_notifier_register:rcu_assign_pointer", "WRITE_ONCE")),
    Mutant("subscribed before the VM is written", SUBSCRIBE,
           (Exchange("mmu_notifier_register:WRITE_ONCE",
                     "mmu_notifier_register:rcu_assign_pointer"),)),
    # mkold's own locks
    Mutant("spinlock: release lost", SPIN_2,
           _swap("queued_spin_unlock:atomic_fetch_andnot_release",
                 "atomic_fetch_andnot_relaxed")),
    Mutant("RCU: no barrier on entry", RCU_1, _drop("__rcu_read_lock:smp_mb")),
    Mutant("RCU: no barrier on exit", RCU_1, _drop("__rcu_read_unlock:smp_mb")),
]  # fmt: skip
