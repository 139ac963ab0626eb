"""The hardware: the MMU's walk of stage 2, the access flag, and the TLB fill.

Rules
-----
* The walk runs on the vCPU's thread in guest mode, lock free, while the host changes the
  tables.
* The accessed bit (AF) is set by one atomic update of the entry that orders nothing else. A CPU
  that can't (``STAGE2_HW_AF``) takes an access flag fault. CPUs of both kinds can run one VM.
* Dirty state is not managed by hardware: a write through an entry without W is a permission
  fault. AF may be set by an access that then permission-faults; here it always is.
* An entry whose AF is clear is never in a TLB, so setting AF needs no flush; one whose AF is
  cleared may stay in a TLB, and its page be used without AF being set again.
* A TLB may hold a translation that permission-faults: the fault comes again until it is
  invalidated. (Its level is looked up in the tables; a TLB would remember it.)
* A block fills the TLB one page at a time.

Where the model differs from the machine: the walk's reads and AF's update are a CPU's relaxed
accesses, in order by the address dependency alone. The machine's may be later than that for an
entry without a DSB behind it (the model allows that too), and AF may be set by speculation (a
walk that nobody asked for; here each is an access). The data access may come before AF is set
there; in LKMM too, as the update is relaxed.

Sources: Arm ARM D8.5 (rules LFTXR, LHQRX, FXTXY, HQBRF, QSPMS), D8.17, K11.5.
"""

from __future__ import annotations

from mkold.kvm.arm64.asm.kvm_host import (
    ESR_ELx_FSC_ACCESS,
    ESR_ELx_FSC_FAULT,
    ESR_ELx_FSC_PERM,
    Kvm,
    Vcpu,
)
from mkold.kvm.arm64.pgtable.geometry import kvm_granule_pages
from mkold.kvm.arm64.pgtable.pte import (
    S2_AF,
    S2AP_R,
    S2AP_W,
    kvm_pte_to_pfn,
    kvm_pte_valid,
)
from mkold.kvm.arm64.pgtable.walk import stage2_lookup
from mkold.kvm.tlb import tlb_fill
from mkold.kvm.types import TLB_BITS
from mkold.lang import NULL, READ_ONCE, Ptr, kernel, parameter, try_cmpxchg_relaxed, u64

HW_AF_NONE = 0
HW_AF_ALL = 1
HW_AF_MIXED = 2  # vCPUs of even numbers
STAGE2_HW_AF = parameter("STAGE2_HW_AF", HW_AF_ALL)


@kernel
def cpu_has_hw_af(vcpu: Ptr[Vcpu]) -> u64:
    """Whether the CPU that runs ``vcpu`` sets the accessed bit."""
    if STAGE2_HW_AF == HW_AF_MIXED:
        return (vcpu.vcpu_id & 1) == 0
    return STAGE2_HW_AF


@kernel
def stage2_fault(vcpu: Ptr[Vcpu], fsc: u64, level: u64) -> tuple[u64, u64]:
    """Give up, and say why."""
    vcpu.arch.fsc = fsc
    vcpu.arch.fault_level = level
    return 0, 0


@kernel
def tlb_holds(vcpu: Ptr[Vcpu], gfn: u64) -> u64:
    """Whether the vCPU's TLB has a translation of ``gfn``."""
    return vcpu.tlb[gfn & ((1 << TLB_BITS) - 1)].tag == gfn + 1


@kernel
def mmu_walk_s2(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> tuple[u64, u64]:
    """Translate an access of the guest that the TLB does not allow.

    Returns
    -------
    ok : 1 if translated, 0 if the hypervisor must handle a fault
    pfn : the frame
    """
    pgd = READ_ONCE(kvm.arch.mmu.pgd)
    if vcpu.arch.nested_pgd != NULL:
        pgd = vcpu.arch.nested_pgd
    if tlb_holds(vcpu, gfn) and pgd != NULL:
        _ptep, _pte, level = stage2_lookup(pgd, gfn)
        ok, pfn = stage2_fault(vcpu, ESR_ELx_FSC_PERM, level)
        return ok, pfn
    while pgd != NULL:
        ptep, pte, level = stage2_lookup(pgd, gfn)
        if not kvm_pte_valid(pte):
            break
        if not pte & S2_AF:
            if not cpu_has_hw_af(vcpu):
                ok, pfn = stage2_fault(vcpu, ESR_ELx_FSC_ACCESS, level)
                return ok, pfn
            done, _seen = try_cmpxchg_relaxed(ptep.value, pte, pte | S2_AF)
            if not done:
                continue
        pfn = kvm_pte_to_pfn(pte) + (gfn & (kvm_granule_pages(level) - 1))
        tlb_fill(vcpu, gfn, pfn, (pte & S2AP_W) != 0)
        if not pte & (S2AP_W if write else S2AP_R):
            ok, pfn = stage2_fault(vcpu, ESR_ELx_FSC_PERM, level)
            return ok, pfn
        return 1, pfn
    ok, pfn = stage2_fault(vcpu, ESR_ELx_FSC_FAULT, 0)
    return ok, pfn
