"""Fast page faults in shadow tables, and what guards them: claims 98, 100 and 101."""

from __future__ import annotations

from mkold.check import Case, Claim, Scenario, Set, Setup, Skip, Swap
from mkold.claims.x86.shadow_chains import MMU
from mkold.claims.x86.shadow_vm import (
    AD,
    NO_AD,
    SMALL,
    WRITABLE,
    make_vm,
    protect_table,
    zap_table,
)
from mkold.kvm.memslots import kvm_memslot_set_dirty_bitmap
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.mmu.memslot import mark_page_dirty_in_slot
from mkold.kvm.x86.shadow.write_protect import kvm_get_dirty_log_protect
from mkold.lang import Ptr, kernel, try_cmpxchg, u64

# -- claim 98: the walk's barrier against the freer -------------------------------------------


def fast_fault_and_zap(m: Setup) -> None:
    """The table that the fault walks goes."""
    vm = make_vm(m)
    vm.clear(vm.map(0), WRITABLE)
    m.thread("vcpu", vm.fast_fault(0))
    m.thread("zapper", (zap_table, vm.kvm, vm.table(0)))


ZAP = Scenario("fast-page-fault-vs-zap", fast_fault_and_zap, SMALL | AD)
ZAP_NO_AD = Scenario("fast-page-fault-vs-zap-noad", fast_fault_and_zap, SMALL | NO_AD)
BEGIN = "walk_shadow_page_lockless_begin:smp_store_mb"
END = "walk_shadow_page_lockless_end:smp_store_release"
POST = "kvm_make_request:try_cmpxchg[0]"

# -- claim 100: W by a fast page fault against write protection -------------------------------


def fast_fault_and_protect(m: Setup) -> None:
    """A page that is not writable now, but may be any time, is found to be a table."""
    vm = make_vm(m)
    vm.clear(vm.map(0), WRITABLE)
    vm.watch(0)
    m.thread("vcpu", vm.fast_fault(0))
    m.thread("host", (protect_table, vm.kvm, vm.slot, 0))
    m.never(
        "table-writable",
        lambda end: bool(end["spte0"] & WRITABLE),
        "The guest may write to a table of its own that is being followed.",
    )


PROTECT = Scenario("fast-page-fault-vs-protect", fast_fault_and_protect, SMALL | AD)

# -- claim 101: dirty after the compare-and-swap ----------------------------------------------


@kernel
def mark_first(slot: Ptr[MemorySlot], gfn: u64, sptep: Ptr[u64], old: u64, new: u64) -> bool:
    """``fast_pf_fix_direct_spte`` that tells the log before it changes the SPTE."""
    mark_page_dirty_in_slot(slot, gfn)
    ok, _seen = try_cmpxchg(sptep.value, old, new)
    return bool(ok)


def fast_fault_and_log(m: Setup) -> None:
    """The log is taken while a fast page fault gives W."""
    vm = make_vm(m)
    vm.clear(vm.map(0), WRITABLE)
    vm.watch(0)
    bitmap, log = m.words(1, "dirty", value=1), m.words(1, "log")
    m.call(kvm_memslot_set_dirty_bitmap, vm.kvm, 0, bitmap)
    m.watch("dirty", bitmap)
    m.thread("vcpu", vm.fast_fault(0))
    m.thread("host", (kvm_get_dirty_log_protect, vm.kvm, vm.slot, log))
    m.never(
        "unlogged",
        lambda end: bool(end["spte0"] & WRITABLE) and not end["dirty"] & 1,
        "The guest may write from here on, and the next log will not say so.",
    )


LOG = Scenario("fast-page-fault-vs-log", fast_fault_and_log, SMALL | AD)
MARK_FIRST = Scenario(
    "fast-page-fault-vs-log-marked-first", fast_fault_and_log, SMALL | AD,
    stand_ins={"fast_pf_fix_direct_spte": mark_first},
)  # fmt: skip

CLAIMS = [
    Claim(
        "98-walk-and-free",
        "The full barrier behind READING_SHADOW_PAGE_TABLES pairs with that of a flush "
        "request: no fast page fault touches a table that was freed.",
        f"{MMU} (walk_shadow_page_lockless_begin)",
        (
            Case("as written", ZAP),
            Case("as written, no A/D", ZAP_NO_AD),
            Case("no barrier in the walk", ZAP, (Swap(BEGIN, "WRITE_ONCE"),), decides=False),
            Case(
                "a release in the walk",
                ZAP,
                (Swap(BEGIN, "smp_store_release"),),
                decides=False,
                heavy=True,
            ),
            Case(
                "no barrier in the request",
                ZAP,
                (Swap(POST, "try_cmpxchg_relaxed"),),
                decides=False,
            ),
            Case(
                "the walk ends without release", ZAP, (Swap(END, "WRITE_ONCE"),), decides=False
            ),
            Case(
                "no flush before the table is freed",
                ZAP,
                (Skip("kvm_flush_remote_tlbs"),),
                decides=False,
                heavy=True,
            ),
            Case(
                "the freer does not wait",
                ZAP,
                (Skip("kvm_wait_for_vcpu"),),
                decides=False,
                heavy=True,
            ),
        ),
    ),
    Claim(
        "100-table-not-writable",
        "Once a page is write-protected as a table, no fast page fault gives W back.",
        f"{MMU} (spte_write_protect), 7c8a4742c4ab",
        (
            Case("as written", PROTECT),
            Case(
                "before 7c8a4742c4ab", PROTECT, (Set("PROTECT_MMU_WRITABLE", 0),), decides=False
            ),
        ),
    ),
    Claim(
        "101-dirty-after-cmpxchg",
        "A fast page fault tells the dirty log after its compare-and-swap, so no page is "
        "writable and unlogged.",
        f"{MMU} (fast_pf_fix_direct_spte)",
        (
            Case("as written", LOG),
            Case("the log told first", MARK_FIRST, decides=False),
        ),
    ),
]
