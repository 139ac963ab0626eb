"""Dirty bits and write protection: claims 63 to 65.

Each fault of its time is a build parameter; the source as it is has the fix.
"""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Set, Setup, Split
from mkold.claims.generic.guest import FRAME_SHIFT
from mkold.claims.x86.small_tdp import (
    AD,
    DIRTY,
    EXIT_QUALIFICATION,
    FIRST_PFN,
    HVA,
    LARGE,
    MMU_WRITABLE,
    NOAD,
    PRESENT,
    READ,
    WRITE,
    make_vm,
)
from mkold.claims.x86.tdp_guest import frame
from mkold.kvm.mmu_lock import (
    kvm_mmu_lock,
    kvm_mmu_read_lock,
    kvm_mmu_read_unlock,
    kvm_mmu_unlock,
)
from mkold.kvm.notifier import kvm_mmu_notifier_invalidate_range_start
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage
from mkold.kvm.x86.hw import mmu_walk_tdp
from mkold.kvm.x86.mmu.spte import PG_LEVEL_4K
from mkold.kvm.x86.tdp.dirty import (
    clear_dirty_gfn_range,
    kvm_tdp_mmu_write_protect_gfn,
)
from mkold.kvm.x86.tdp.fast_fault import fast_page_fault
from mkold.kvm.x86.tdp.iter import SHARED
from mkold.lang import (
    WRITE_ONCE,
    Ptr,
    addr,
    cast,
    kernel,
    rcu_read_lock,
    rcu_read_unlock,
    u64,
)

# -- 63: what changes by itself is exchanged (ba3a6120a4e7) -----------------------------------


@kernel
def note_dirty(pfn: u64) -> None:
    """Stands for the host's idea of a frame: its first word says that it was written to."""
    WRITE_ONCE(cast(Ptr[u64], pfn << FRAME_SHIFT).value, 1)


def unmap_and_write(m: Setup) -> None:
    vm = make_vm(m)
    where = frame(vm)
    vm.change(0, clear=DIRTY)
    m.watch("frame_dirty", where)
    vm.watch(0)
    m.thread("hardware", (mmu_walk_tdp, vm.kvm, vm.vcpu, 0, 1))
    m.thread("unmap", (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA, HVA + 1))
    m.never(
        "dirty-lost",
        lambda end: end.result("hardware") == 1 and not end["frame_dirty"],
        "The guest wrote to the page, and the host thinks that its frame is clean.",
    )


# -- 64: write protection (7c8a4742c4ab) -------------------------------------------------------


@kernel
def tracks_page(kvm: Ptr[Kvm], gfn: u64) -> u64:
    """The page becomes one that the guest may not write to unseen."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    flush = kvm_tdp_mmu_write_protect_gfn(kvm, gfn, PG_LEVEL_4K)
    kvm_mmu_unlock(kvm)
    return flush


def protect_and_fast_fault(m: Setup) -> None:
    """The leaf is not writable, but may become so by a fast page fault."""
    vm = make_vm(m)
    vm.map(0)
    vm.change(0, clear=WRITE)
    vm.watch(0)
    m.poke(vm.vcpu + EXIT_QUALIFICATION, READ)
    m.thread("fault", (fast_page_fault, vm.vcpu, vm.slot, 0, 1))
    m.thread("tracker", (tracks_page, vm.kvm, 0))
    m.never(
        "writable",
        lambda end: bool(end["pte0"] & (WRITE | MMU_WRITABLE)),
        "The page is tracked, and the guest may write to it, or get the right to.",
    )


# -- 65: a leaf, and not what has taken its place (45a61ebb2211) -------------------------------


@kernel
def starts_to_log(kvm: Ptr[Kvm], root: Ptr[KvmMmuPage]) -> None:
    """Clear D or W of all leaves with ``mmu_lock`` held for reading, as since 5.12."""
    kvm_mmu_read_lock(kvm, addr(kvm.stat.lock_waits))
    rcu_read_lock()
    clear_dirty_gfn_range(kvm, root, 0, 1, SHARED, addr(kvm.stat.lock_waits))
    rcu_read_unlock()
    kvm_mmu_read_unlock(kvm)


def log_and_split(m: Setup) -> None:
    """Page 0 is mapped by a large leaf when logging starts, and a fault needs page 1 alone."""
    vm = make_vm(m)
    vm.large()
    vm.map(0)
    vm.log()
    vm.watch(0, 2)
    m.thread("log", (starts_to_log, vm.kvm, vm.root))
    m.thread("fault", vm.maps(1, FIRST_PFN + 1, write=0))

    def table_changed(end: End) -> bool:
        spte = end["pmd0"]
        return bool(spte & PRESENT) and not spte & LARGE and not spte & WRITE

    m.never(
        "table-not-writable",
        table_changed,
        "An entry that points to a table is not writable: nothing below it is.",
    )


OLD = {**AD, "LINUX_VERSION": 612}
VOLATILE = Scenario(
    "tdp-unmap-vs-hardware", unmap_and_write, OLD, stand_ins={"kvm_set_pfn_dirty": note_dirty}
)
PROTECT = Scenario("tdp-protect-vs-fast-fault", protect_and_fast_fault, AD)
SPLIT = Scenario("tdp-log-vs-split", log_and_split, NOAD)

CLAIMS = [
    Claim(
        "63-exchange-what-changes",
        "Whoever holds mmu_lock for writing exchanges a leaf that the hardware or a fast page "
        "fault may change: nothing that the guest wrote is lost.",
        "commit ba3a6120a4e7 (use atomic XCHG to write TDP MMU SPTEs with volatile bits)",
        (
            Case("as written", VOLATILE),
            Case(
                "a store, as before the fix",
                VOLATILE,
                (Set("XCHG_VOLATILE", 0),),
                decides=False,
            ),
        ),
    ),
    Claim(
        "64-write-protection",
        "A page that is write-protected to be tracked stays so: no fast page fault gives W "
        "back.",
        "commit 7c8a4742c4ab (write-protection of PTs mapped by the TDP MMU)",
        (
            Case("as written", PROTECT),
            Case(
                "what is not writable is skipped, as before the fix",
                PROTECT,
                (Set("WRPROT_MMU_WRITABLE", 0),),
                decides=False,
            ),
            Case(
                "fast page fault by read, then write",
                PROTECT,
                (Split("fast_pf_fix_direct_spte:try_cmpxchg"),),
                decides=False,
                heavy=True,
            ),
        ),
    ),
    Claim(
        "65-clear-dirty-of-leaves",
        "Clearing D or W while leaves are split changes no entry that points to a table.",
        "commit 45a61ebb2211 (check for leaf SPTE when clearing dirty bit)",
        (
            Case("as written", SPLIT),
            Case(
                "no check, as before the fix",
                SPLIT,
                (Set("CLEAR_DIRTY_OF_LEAVES", 0),),
                decides=False,
            ),
        ),
    ),
]
