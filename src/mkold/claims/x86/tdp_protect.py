"""Dirty bits and write protection: claims 63 to 66, 76 to 78.

Each fault of its time is a build parameter; the source as it is has the fix.
"""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Set, Setup, Skip, Split
from mkold.claims.x86.small_tdp import (
    AD,
    DIRTY,
    EXIT_QUALIFICATION,
    FIRST_PFN,
    HVA,
    LARGE,
    MMU_WRITABLE,
    NOAD,
    NP,
    NULL,
    PRESENT,
    READ,
    WRITE,
    WRPROT_ONLY,
    Vm,
    make_vm,
    maps,
)
from mkold.claims.x86.tdp_guest import FAST_ALONE, FRAME_SHIFT, frame, guest_writes
from mkold.kvm.mmu_lock import (
    kvm_mmu_lock,
    kvm_mmu_read_lock,
    kvm_mmu_read_unlock,
    kvm_mmu_unlock,
)
from mkold.kvm.notifier import kvm_mmu_notifier_invalidate_range_start
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu
from mkold.kvm.x86.fast_fault import fast_page_fault
from mkold.kvm.x86.hw import mmu_walk_tdp
from mkold.kvm.x86.tdp.age import kvm_tdp_mmu_age_lockless
from mkold.kvm.x86.tdp.dirty import (
    clear_dirty_gfn_range,
    kvm_mmu_slot_start_logging,
    kvm_tdp_mmu_write_protect_gfn,
    kvm_vm_ioctl_get_dirty_log,
)
from mkold.kvm.x86.tdp.iter import SHARED
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    cast,
    kernel,
    rcu_read_lock,
    rcu_read_unlock,
    u64,
)

GUEST_MODE = Vcpu.layout.field("arch.guest_mode").offset

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
    flush = kvm_tdp_mmu_write_protect_gfn(kvm, gfn)
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


# -- 66, 76 to 78: a write that no log has -----------------------------------------------------


@kernel
def harvest_and_copy(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], log: Ptr[u64], frame: Ptr[u64]
) -> u64:
    """What live migration does: fetch the dirty log, then copy the page."""
    kvm_vm_ioctl_get_dirty_log(kvm, slot, log)
    return READ_ONCE(frame.value)


@kernel
def maps_and_writes(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], pfn: u64) -> u64:
    """The end of a fault at page 0, and the write that it was for."""
    maps(kvm, vcpu, 0, pfn, 0, 1)
    return guest_writes(kvm, vcpu, 0)


def _migrates(m: Setup, vm: Vm, where: int) -> None:
    """Migration, and what must not come of it."""
    log = m.words(1, "log")
    m.watch("log", log)
    m.watch("frame0", where)
    m.thread("migration", (harvest_and_copy, vm.kvm, vm.slot, log, where))

    def lost(end: End) -> bool:
        old_copy = end["frame0"] == 1 and end.result("migration") == 0
        return old_copy and not end["dirty"] & 1

    m.never(
        "write-not-migrated",
        lost,
        "The guest wrote after the page was copied, and nothing says so.",
    )


def _logged(m: Setup, *, clear: int, dirty: int, set_: int = 0) -> tuple[Vm, int]:
    vm = make_vm(m)
    where = frame(vm)
    vm.change(0, clear=clear, set_=set_)
    m.poke(vm.log(), dirty)
    return vm, where


def write_and_harvest(m: Setup) -> None:
    """By D: the page is dirty, and the vCPU's TLB knows."""
    vm, where = _logged(m, clear=0, dirty=1)
    m.call(mmu_walk_tdp, vm.kvm, vm.vcpu, 0, 1)
    m.thread("guest", (guest_writes, vm.kvm, vm.vcpu, 0))
    _migrates(m, vm, where)


def write_age_and_harvest(m: Setup) -> None:
    write_and_harvest(m)
    kvm = m.names["kvm.n_slots"] - Kvm.offset("n_slots")
    m.thread("ager", (kvm_tdp_mmu_age_lockless, kvm, 0, 1, 1, NULL, 0))


def fast_fault_and_harvest(m: Setup) -> None:
    """By W: the write faults, and gets W by a fast page fault."""
    vm, where = _logged(m, clear=WRITE, dirty=0)
    m.poke(vm.vcpu + EXIT_QUALIFICATION, READ)
    m.thread("guest", (guest_writes, vm.kvm, vm.vcpu, 0))
    _migrates(m, vm, where)


def fault_and_harvest(m: Setup) -> None:
    """The page is not mapped, and its fault maps it writable."""
    vm, where = _logged(m, clear=~0, dirty=0, set_=NP)
    vm.map(1)
    m.thread("guest", (maps_and_writes, vm.kvm, vm.vcpu, where >> FRAME_SHIFT))
    _migrates(m, vm, where)


def l2_write_and_harvest(m: Setup) -> None:
    """A guest of the guest writes: the hardware logs nothing of that."""
    vm, where = _logged(m, clear=0, dirty=1, set_=WRPROT_ONLY)
    m.poke(vm.vcpu + GUEST_MODE, 1)
    m.thread("guest", (guest_writes, vm.kvm, vm.vcpu, 0))
    _migrates(m, vm, where)


def start_log_and_write(m: Setup) -> None:
    """Logging starts, then the page is copied, while a guest gets W by a fast page fault."""
    vm = make_vm(m)
    where = frame(vm)
    vm.change(0, clear=WRITE)
    m.poke(vm.vcpu + EXIT_QUALIFICATION, READ)
    bitmap = m.words(1, "dirty_bitmap")
    m.watch("dirty", bitmap)
    m.watch("frame0", where)
    m.thread("guest", (guest_writes, vm.kvm, vm.vcpu, 0))
    m.thread("migration", (start_and_copy, vm.kvm, vm.slot, bitmap, where))

    def lost(end: End) -> bool:
        old_copy = end["frame0"] == 1 and end.result("migration") == 0
        return old_copy and not end["dirty"] & 1

    m.never(
        "write-not-migrated",
        lost,
        "The guest wrote after the page was copied, and nothing says so.",
    )


@kernel
def start_and_copy(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], bitmap: Ptr[u64], frame: Ptr[u64]
) -> u64:
    """What live migration begins with: log, then copy the page."""
    kvm_mmu_slot_start_logging(kvm, slot, bitmap)
    return READ_ONCE(frame.value)


OLD = {**AD, "LINUX_VERSION": 612}
BY_W = {**AD, "ENABLE_PML": 0}
VOLATILE = Scenario(
    "tdp-unmap-vs-hardware", unmap_and_write, OLD, stand_ins={"kvm_set_pfn_dirty": note_dirty}
)
PROTECT = Scenario("tdp-protect-vs-fast-fault", protect_and_fast_fault, AD)
SPLIT = Scenario("tdp-log-vs-split", log_and_split, NOAD)
L2 = Scenario("tdp-l2-vs-dirty-log", l2_write_and_harvest, AD, stand_ins=FAST_ALONE)
FAST_LOG = Scenario("tdp-fast-fault-vs-dirty-log", fast_fault_and_harvest, BY_W,
                    stand_ins=FAST_ALONE)  # fmt: skip
NOAD_FAST_LOG = Scenario("noad-fast-fault-vs-dirty-log", fast_fault_and_harvest, NOAD,
                         stand_ins=FAST_ALONE)  # fmt: skip
SLOW_LOG = Scenario("tdp-fault-vs-dirty-log", fault_and_harvest, BY_W, stand_ins=FAST_ALONE)
BY_D = Scenario("tdp-guest-vs-dirty-log", write_and_harvest, AD, stand_ins=FAST_ALONE)
BY_D_AGED = Scenario("tdp-guest-vs-dirty-log-vs-age", write_age_and_harvest, AD,
                     stand_ins=FAST_ALONE)  # fmt: skip
START = Scenario("tdp-start-log-vs-fast-fault", start_log_and_write, BY_W, stand_ins=FAST_ALONE)

KVM_LOG = "virt/kvm/kvm_main.c (kvm_get_dirty_log_protect)"
NO_READ_LOCK = (Skip("kvm_mmu_read_lock"), Skip("kvm_mmu_read_unlock"))

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
    Claim(
        "66-unlogged-writes-protected",
        "Where the hardware does not log a write (a guest of the guest), W is cleared and not "
        "D, so that the log misses no write.",
        "commit 2673dfb591a3 (write-protect L2 SPTEs in TDP MMU when clearing dirty status)",
        (
            Case("as written", L2),
            Case(
                "D is cleared, as before the fix",
                L2,
                (Set("WRPROT_UNLOGGED", 0),),
                decides=False,
            ),
        ),
    ),
    Claim(
        "76-dirty-after-the-cas",
        "A fast page fault marks the page dirty after the compare-and-swap that gives W, and "
        "the log misses no write.",
        f"arch/x86/kvm/mmu/mmu.c (fast_pf_fix_direct_spte); {KVM_LOG}",
        (
            Case("as written", FAST_LOG),
            Case("EPT without A/D", NOAD_FAST_LOG),
            Case("logging starts meanwhile", START),
            Case("marked before", FAST_LOG, (Set("MARK_DIRTY_AFTER", 0),), decides=False),
        ),
    ),
    Claim(
        "77-dirty-before-the-map",
        "A fault that maps a page marks it dirty before it is mapped, which is safe since "
        "whoever fetches the log holds mmu_lock for writing.",
        f"inferred from arch/x86/kvm/mmu/spte.c (make_spte); {KVM_LOG}",
        (
            Case("as written", SLOW_LOG),
            Case("mapped without mmu_lock", SLOW_LOG, NO_READ_LOCK, decides=False),
        ),
    ),
    Claim(
        "78-log-by-dirty-bits",
        "Where the log is by D, no write of the guest escapes both log and copy, aged "
        "meanwhile or not.",
        KVM_LOG,
        (
            Case("as written", BY_D),
            Case("aged meanwhile", BY_D_AGED),
            Case("no flush", BY_D, (Skip("kvm_flush_remote_tlbs_unlocked"),), decides=False),
        ),
    ),
]
