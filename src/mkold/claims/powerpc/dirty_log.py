"""The dirty log against a guest that writes and against an unmap: claim 18."""

from __future__ import annotations

from mkold.check import Case, Claim, End, Scenario, Setup
from mkold.claims.generic.guest import guest_writes
from mkold.claims.powerpc.guest import GIVES_UP, mapped_frame, running_vcpu
from mkold.claims.powerpc.small_vm import ACCESSED, DIRTY, HVA, SMALL, make_vm
from mkold.kvm.notifier import kvm_mmu_notifier_invalidate_range_start
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.radix.dirty import kvmppc_hv_get_dirty_log_radix
from mkold.kvm.powerpc.radix.hw import mmu_walk_hw
from mkold.kvm.types import MemorySlot
from mkold.lang import READ_ONCE, Ptr, kernel, u64

RADIX = "arch/powerpc/kvm/book3s_64_mmu_radix.c"
SLOT = Kvm.offset("slots")


@kernel
def harvest_and_copy(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], log: Ptr[u64], frame: Ptr[u64]
) -> u64:
    """What live migration does: fetch the dirty log, then copy the page."""
    kvmppc_hv_get_dirty_log_radix(kvm, slot, log)
    return READ_ONCE(frame.value)


def write_and_harvest(m: Setup) -> None:
    vm = make_vm(m)
    frame = mapped_frame(vm)
    slot, bitmap = vm.kvm + SLOT, m.words(1, "dirty_bitmap")
    m.poke(slot + MemorySlot.offset("npages"), 1)
    m.poke(slot + MemorySlot.offset("dirty_bitmap"), bitmap)
    vcpu = running_vcpu(vm)
    m.call(mmu_walk_hw, vm.kvm, vcpu, 0, 1)  # dirty, and the TLB knows it
    vm.watch(0)
    m.watch("frame0", frame)
    m.watch("dirty", bitmap)
    log = m.words(1, "log")
    m.watch("log", log)
    m.thread("guest", (guest_writes, vm.kvm, vcpu, 0))
    m.thread("migration", (harvest_and_copy, vm.kvm, slot, log, frame))
    m.never(
        "dirty-not-reported",
        lambda end: not end["log"] & 1,
        "The page was dirty, and the log that was fetched does not say so.",
    )

    def lost(end: End) -> bool:
        old_copy = end["frame0"] == 1 and end.result("migration") == 0
        return old_copy and not end["pte0"] & DIRTY and not end["dirty"] & 1

    m.never(
        "write-not-migrated",
        lost,
        "The guest wrote after the page was copied, and nothing says so.",
    )
    m.never(
        "accessed-lost",
        lambda end: not end["pte0"] & ACCESSED,
        "Harvesting the dirty bit cleared the accessed bit.",
    )


def unmap_and_harvest(m: Setup) -> None:
    """The log is fetched while a dirty page is unmapped, which logs it."""
    vm = make_vm(m)
    vm.map(0, write=False)
    vm.map(1)
    slot, bitmap, log = vm.kvm + SLOT, m.words(1, "dirty_bitmap"), m.words(1, "log")
    m.poke(bitmap, 1)  # page 0 was logged earlier
    m.poke(slot + MemorySlot.offset("npages"), 2)
    m.poke(slot + MemorySlot.offset("dirty_bitmap"), bitmap)
    m.watch("dirty", bitmap)
    m.watch("log", log)
    m.thread("unmap", (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA + 1, HVA + 2))
    m.thread("migration", (kvmppc_hv_get_dirty_log_radix, vm.kvm, slot, log))
    m.never(
        "dirty-lost",
        lambda end: (end["log"] | end["dirty"]) & 3 != 3,
        "A page was dirty, and neither what was fetched nor the log says so.",
    )


DIRTY_LOG = Scenario("guest-vs-dirty-log", write_and_harvest, SMALL, stand_ins=GIVES_UP)
HARVEST = Scenario("unmap-vs-dirty-log", unmap_and_harvest, SMALL)

CLAIMS = [
    Claim(
        "18-dirty-log",
        "No write of the guest escapes both the dirty log and the copy.",
        f"{RADIX} (kvmppc_hv_get_dirty_log_radix)",
        (
            Case("guest writes while the log is fetched", DIRTY_LOG),
            Case("unmap while the log is fetched", HARVEST),
        ),
    ),
]
