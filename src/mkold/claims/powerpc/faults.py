"""Faults, invalidations and the TLB: claims 10 and 11.

The host's memory is one word here: the frame behind the page, or 0.
"""

from __future__ import annotations

from mkold.check import Case, Claim, Drop, End, Scenario, Set, Setup, Skip, Swap
from mkold.claims.generic.guest import guest_reads
from mkold.claims.powerpc.guest import GIVES_UP, mapped_frame, running_vcpu
from mkold.claims.powerpc.small_vm import HVA, PRESENT, SMALL, make_vm
from mkold.claims.powerpc.switch import REVIEW
from mkold.kvm.notifier import (
    kvm_mmu_notifier_invalidate_range_end,
    kvm_mmu_notifier_invalidate_range_start,
)
from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.powerpc.radix.fault import kvmppc_book3s_radix_page_fault
from mkold.kvm.powerpc.radix.hw import mmu_walk_hw
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    cast,
    kernel,
    poison,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.mm.mm_types import PFN_ERR_RETRY, Mm

KVM_DOC = "Documentation/virt/kvm/locking.rst and virt/kvm/kvm_main.c"
OLD_PFN, NEW_PFN = 0x51, 0x77
RPN_SHIFT = 12

# -- claim 10: a fault against an invalidation ----------------------------------------------


@kernel
def host_word(mm: Ptr[Mm], page: u64, write: u64) -> tuple[u64, u64]:
    """Stands for ``hva_to_pfn``: the one word that is the host's page table."""
    pfn = READ_ONCE(cast(Ptr[u64], mm).value)
    if pfn == 0:
        return PFN_ERR_RETRY, 0
    return pfn, 1


@kernel
def set_host_word(mm: Ptr[Mm], ptl: Ptr[u64], pfn: u64) -> None:
    """The host maps the page to another frame, under its page-table lock, as it must."""
    spin_lock(ptl.value)
    WRITE_ONCE(cast(Ptr[u64], mm).value, pfn)
    spin_unlock(ptl.value)


def fault_and_invalidate(m: Setup) -> None:
    vm = make_vm(m)
    vm.map(1)  # the tables are there, the page is not
    entry = vm.entry(1) - 1
    m.watch("pte0", entry)
    host = m.words(1, "host_page", value=OLD_PFN)
    m.poke(vm.kvm + Kvm.offset("mm"), host)
    vcpu = m.new(Vcpu, "vcpu")
    m.thread("fault", (kvmppc_book3s_radix_page_fault, vm.kvm, vcpu, 0, 1))
    m.thread(
        "host",
        (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA, HVA + 1),
        (set_host_word, host, m.words(1, "ptl"), NEW_PFN),
        (kvm_mmu_notifier_invalidate_range_end, vm.kvm, HVA, HVA + 1),
    )

    def stale(end: End) -> bool:
        pfn = (end["pte0"] & ((1 << 53) - 1)) >> RPN_SHIFT
        return bool(end["pte0"] & PRESENT) and pfn == OLD_PFN

    m.never("stale-mapping", stale, "The guest maps the frame that the host took away.")


FAULT = Scenario(
    "fault-vs-invalidate", fault_and_invalidate, SMALL, stand_ins={"hva_to_pfn": host_word}
)

# -- claim 11: a stale translation -----------------------------------------------------------


@kernel
def reuse_frame(frame: Ptr[u64]) -> None:
    """The host gives the frame to somebody else."""
    poison(frame.value, 1)


def stale_tlb(m: Setup) -> None:
    vm = make_vm(m)
    frame = mapped_frame(vm, value=7)
    vcpu = running_vcpu(vm)
    m.call(mmu_walk_hw, vm.kvm, vcpu, 0, 0)  # the TLB knows the page
    m.thread("guest", (guest_reads, vm.kvm, vcpu, 0))
    m.thread(
        "host",
        (kvm_mmu_notifier_invalidate_range_start, vm.kvm, HVA, HVA + 1),
        (reuse_frame, frame),
    )


STALE_TLB = Scenario(
    "stale-tlb-vs-frame-reuse",
    stale_tlb,
    SMALL,
    stand_ins=GIVES_UP,
)

BY_WRITE_ONCE = Swap("kvm_mmu_invalidate_end:smp_store_release", "WRITE_ONCE")
NO_PTL = (Drop("set_host_word:spin_lock"), Drop("set_host_word:spin_unlock"))

CLAIMS = [
    Claim(
        "10-retry-counter",
        "A fault never maps a frame that an invalidation took away while the fault was on "
        "its way.",
        f"{KVM_DOC} (mmu_invalidate_retry)",
        (
            Case("as written", FAULT),
            Case("no check of the counter", FAULT, (Set("CHECK_RETRY", 0),), decides=False),
            Case(
                "counter raised without release, host change under its page-table lock",
                FAULT,
                (BY_WRITE_ONCE,),
                decides=False,
            ),
            Case(
                "counter raised without release, host change under no lock",
                FAULT,
                (BY_WRITE_ONCE, *NO_PTL),
                decides=False,
            ),
            Case(
                "counter read after the frame may be",
                FAULT,
                (Drop("kvmppc_book3s_instantiate_page:smp_rmb"),),
                decides=False,
            ),
            Case(
                "counter read by a plain load",
                FAULT,
                (Swap("kvmppc_book3s_instantiate_page:READ_ONCE", "load"),),
                decides=False,
            ),
        ),
    ),
    Claim(
        "11-stale-tlb",
        "Once unmapped and flushed, a page's frame can be used again: no vCPU reaches it "
        "through a stale TLB entry.",
        f"{KVM_DOC} (IN_GUEST_MODE); {REVIEW}",
        (
            Case("as written", STALE_TLB),
            Case("no flush", STALE_TLB, (Skip("kvm_flush_remote_tlbs_range"),), decides=False),
            Case(
                "no barrier on the way into the guest",
                STALE_TLB,
                (Drop("kvm_vcpu_load:smp_mb"),),
                decides=False,
            ),
            Case(
                "out of the guest without release",
                STALE_TLB,
                (Swap("kvm_vcpu_put:smp_store_release", "WRITE_ONCE"),),
                decides=False,
            ),
        ),
    ),
]
