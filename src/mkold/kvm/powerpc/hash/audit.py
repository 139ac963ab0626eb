"""The books of a VM in hash mode, looked through when nobody runs.

Rules
-----
* Nothing is locked, and no vCPU is counted as running.
* A ring holds VALID HPTEs of its page alone, linked both ways; every VALID HPTE is in one.
* A mapped HPTE has the frame that the host's page table has, and may write only if that may.
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.hash.host_pte import kvmppc_read_update_linux_pte
from mkold.kvm.powerpc.hash.hpt import hpt_entry, hpt_npte
from mkold.kvm.powerpc.hash.hpte import (
    HPTE_V_HVLOCK,
    HPTE_V_VALID,
    hpte_is_writable,
    hpte_rpn,
)
from mkold.kvm.powerpc.hash.rmap import (
    KVMPPC_RMAP_INDEX,
    KVMPPC_RMAP_LOCK,
    KVMPPC_RMAP_PRESENT,
    gfn_to_rmap,
)
from mkold.lang import NULL, Ptr, addr, kernel, u64

AUDIT_OK = 0
AUDIT_LOCKED = 1
AUDIT_NOT_OF_RING = 2
AUDIT_LINKS = 3
AUDIT_NOT_THE_FRAME = 4
AUDIT_NOT_IN_RING = 5


@kernel
def audit_mapping(kvm: Ptr[Kvm], gfn: u64, r: u64) -> u64:
    """Whether R of a mapped HPTE is what the host's page table allows."""
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL:
        return AUDIT_NOT_THE_FRAME
    pfn, writable = kvmppc_read_update_linux_pte(kvm.mm, gfn_to_hva(slot, gfn))
    wrong = pfn == 0 or pfn != hpte_rpn(r) or (hpte_is_writable(r) and not writable)
    return AUDIT_NOT_THE_FRAME if wrong else AUDIT_OK


@kernel
def audit_ring(kvm: Ptr[Kvm], gfn: u64, first: u64) -> tuple[u64, u64]:
    """One ring: what is wrong, and how many HPTEs it has."""
    rev = kvm.arch.hpt.rev
    at = first
    n: u64 = 0
    while True:
        hpte = hpt_entry(kvm, at)
        if not (hpte[0] & HPTE_V_VALID) or hpte_rpn(rev[at].guest_rpte) != gfn:
            return AUDIT_NOT_OF_RING, n
        after: u64 = rev[at].forw
        if rev[after].back != at or n > hpt_npte(kvm):
            return AUDIT_LINKS, n
        wrong = audit_mapping(kvm, gfn, hpte[1])
        if wrong:
            return wrong, n
        n += 1
        at = after
        if at == first:
            return AUDIT_OK, n


@kernel
def audit_rmaps(kvm: Ptr[Kvm]) -> tuple[u64, u64]:
    """All rings: what is wrong, and how many HPTEs they have."""
    total: u64 = 0
    for i in range(kvm.n_slots):
        slot = addr(kvm.slots[i])
        for gfn in range(slot.base_gfn, slot.base_gfn + slot.npages):
            word = gfn_to_rmap(kvm, gfn).value
            if word & KVMPPC_RMAP_LOCK:
                return AUDIT_LOCKED, total
            if word & KVMPPC_RMAP_PRESENT:
                wrong, n = audit_ring(kvm, gfn, word & KVMPPC_RMAP_INDEX)
                if wrong:
                    return wrong, total
                total += n
    return AUDIT_OK, total


@kernel
def kvm_hpt_audit(kvm: Ptr[Kvm]) -> u64:
    """The first rule that is broken (``AUDIT_*``), or 0; in radix mode no ring may be left."""
    wrong, in_rings = audit_rmaps(kvm)
    if wrong:
        return wrong
    valid: u64 = 0
    if kvm.arch.hpt.virt != NULL:
        for index in range(hpt_npte(kvm)):
            v = hpt_entry(kvm, index)[0]
            if v & HPTE_V_HVLOCK:
                return AUDIT_LOCKED
            valid += v & HPTE_V_VALID
    if kvm.arch.vcpus_running != 0:
        return AUDIT_LOCKED
    return AUDIT_OK if valid == in_rings else AUDIT_NOT_IN_RING
