"""The guest and the process touch pages.

Rules
-----
* The process's own load or store faults until its entry allows it; then the hardware sets the
  accessed bit, and for a store the dirty bit.
* A store leaves something other than zero.
* Between two steps the guest is outside; entering again it finds no translation of before
  (QEMU drops them at a world switch).
"""

from __future__ import annotations

from mkold.base.errors import MkoldError
from mkold.kvm.tlb import kvm_make_request
from mkold.kvm.types import KVM_PFN_ERR, REQ_TLB_FLUSH_ALL, Kvm, Vcpu
from mkold.kvm.vcpu import kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import WRITE_ONCE, Ptr, atomic_or, cast, kernel, u64
from mkold.mm.contpte import contpte_access_fault
from mkold.mm.fault.memory import faultin_page
from mkold.mm.mm_types import PAGE_SHIFT, PFN_ERR, PTE_ACCESSED, PTE_DIRTY, Mm
from mkold.mm.pgtable import find_host_pte, pmd_mkyoung
from mkold.validate.pages import pages_of, pages_text
from mkold.validate.real import Real
from mkold.validate.step import Step
from mkold.validate.system import BASE_GFN, System
from mkold.validate.topic import Kind, Topic


@kernel
def store_word(pfn: u64) -> None:
    """What a store does to the content of its frame."""
    WRITE_ONCE(cast(Ptr[u64], pfn << PAGE_SHIFT).value, 1)


@kernel
def process_access(mm: Ptr[Mm], page: u64, write: u64) -> u64:
    """One load or store of the process to host page ``page``; 1: it has no memory there."""
    pfn, _writable = faultin_page(mm, page, write)
    if pfn >= PFN_ERR:
        return 1
    bits: u64 = PTE_ACCESSED
    if write:
        bits |= PTE_DIRTY
    pmd_mkyoung(mm, page)
    ptep = find_host_pte(mm, page)
    contpte_access_fault(ptep)
    atomic_or(ptep.value, bits)
    if write:
        store_word(pfn)
    return 0


@kernel
def guest_enter(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """Enter guest mode with an empty TLB; 1: it was not entered."""
    kvm_make_request(vcpu, REQ_TLB_FLUSH_ALL)
    return kvm_vcpu_load(kvm, vcpu)


@kernel
def guest_access(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """One load or store of the guest, in guest mode; 1: it has no memory there."""
    pfn = kvm_vcpu_access(kvm, vcpu, gfn, write)
    if pfn >= KVM_PFN_ERR:
        return 1
    if write:
        store_word(pfn)
    return 0


@kernel
def guest_leave(vcpu: Ptr[Vcpu]) -> None:
    """Leave guest mode."""
    kvm_vcpu_put(vcpu)


def real(real: Real, step: Step) -> None:
    """``guest w 3-5``."""
    who, access = step.name.split("-")
    real.ask(f"{who} {access[0]} {pages_text(step.pages)}")


def guest_touches(system: System, access: str, pages: int, write: int) -> int:
    """The guest enters, makes the kernel function ``access`` of each page, and leaves; not 0:
    it has no memory somewhere."""
    failed = system.call("guest_enter", system.kvm, system.vcpu)
    for page in pages_of(pages & ~system.gone):
        failed |= system.call(access, system.kvm, system.vcpu, BASE_GFN + page, write)
    system.call("guest_leave", system.vcpu)
    return failed


def system(system: System, step: Step) -> None:
    """Page by page."""
    who, access = step.name.split("-")
    write = int(access == "write")
    if who == "host":
        for page in pages_of(step.pages):
            if system.call("process_access", system.mm.at, system.hva(page), write):
                raise MkoldError("the system's process was refused its own memory")
        return
    if guest_touches(system, "guest_access", step.pages, write):
        raise MkoldError("the system's guest was refused its own memory")


ACCESS = Topic(
    kinds={
        "guest-read": Kind(False, 20, guest=True),
        "guest-write": Kind(False, 16, guest=True),
        "host-read": Kind(False, 6),
        "host-write": Kind(False, 8),
    },
    real=real,
    system=system,
    entries=(process_access, guest_enter, guest_access, guest_leave),
)
