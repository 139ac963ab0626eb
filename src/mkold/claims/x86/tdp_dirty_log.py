"""The dirty log against guests that write: claims 66, 76 to 78."""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Set, Setup, Skip
from mkold.claims.generic.guest import FRAME_SHIFT, guest_writes
from mkold.claims.x86.small_tdp import (
    AD,
    EXIT_QUALIFICATION,
    NOAD,
    NP,
    NULL,
    READ,
    WRITE,
    WRPROT_ONLY,
    Vm,
    make_vm,
    maps,
)
from mkold.claims.x86.tdp_guest import FAST_ALONE, frame
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.x86.hw import mmu_walk_tdp
from mkold.kvm.x86.tdp.age import kvm_tdp_mmu_age_lockless
from mkold.kvm.x86.tdp.dirty import (
    kvm_mmu_slot_start_logging,
    kvm_vm_ioctl_get_dirty_log,
)
from mkold.lang import (
    READ_ONCE,
    Ptr,
    kernel,
    u64,
)

GUEST_MODE = Vcpu.layout.field("arch.guest_mode").offset


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


BY_W = {**AD, "ENABLE_PML": 0}
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
            Case("EPT without A/D", NOAD_FAST_LOG, decides=False, heavy=True),
            Case("logging starts meanwhile", START, decides=False, heavy=True),
            Case(
                "marked before",
                FAST_LOG,
                (Set("MARK_DIRTY_AFTER", 0),),
                decides=False,
                heavy=True,
            ),
        ),
    ),
    Claim(
        "77-dirty-before-the-map",
        "A fault that maps a page marks it dirty before it is mapped, which is safe since "
        "whoever fetches the log holds mmu_lock for writing.",
        f"inferred from arch/x86/kvm/mmu/spte.c (make_spte); {KVM_LOG}",
        (
            Case("as written", SLOW_LOG),
            Case("mapped without mmu_lock", SLOW_LOG, NO_READ_LOCK, decides=False, heavy=True),
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
