"""The hardware in hash mode: the search of the two groups, R and C, and the TLB fill.

Rules
-----
* The walk runs on the vCPU's thread in guest mode, lock free. It reads V, and if V is what it
  looks for, R behind it (``smp_rmb`` pairs with the eieio of whoever enters an HPTE).
* R is set by every walk, C by a walk for a write, each by a store of its byte: no atomic
  operation, and what other bits of that byte were when R was read is written back.
* A walk ends before the vCPU takes a flush request. So who turns VALID off and has done its
  tlbie has the last word on R and C.
* A write needs C known set: the first write after a read walks again.

Sources: Power ISA 2.07B, Book III-S, 5.7.7 to 5.7.9; Linux commit 9308ab8e2da9.
Known limits: LKMM knows one size of access, so for the model a store of a byte is a change of
the whole word; it cannot be torn from what lies beside it.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.hash.hpt import hpt_entry, hpt_group_mask
from mkold.kvm.powerpc.hash.hpte import (
    HPTE_GROUP_SHIFT,
    HPTE_R_C,
    HPTE_R_R,
    HPTE_V_AVPN,
    HPTE_V_SECONDARY,
    HPTE_V_VALID,
    hpt_hash,
    hpt_vpn,
    hpte_encode_avpn,
    hpte_is_writable,
    hpte_rpn,
)
from mkold.kvm.tlb import tlb_fill
from mkold.kvm.types import Vcpu
from mkold.lang import NULL, READ_ONCE, WRITE_ONCE, Ptr, byte, kernel, smp_rmb, u64

HPTE_V_COMPARED = HPTE_V_AVPN | HPTE_V_SECONDARY | HPTE_V_VALID


@kernel
def hpt_search(kvm: Ptr[Kvm], gfn: u64) -> Ptr[u64]:
    """The valid HPTE of the page, in its primary group or its secondary one, or NULL."""
    vpn = hpt_vpn(gfn)
    want = hpte_encode_avpn(vpn) | HPTE_V_VALID
    hash_ = hpt_hash(vpn)
    for secondary in range(2):
        group = (~hash_ if secondary else hash_) & hpt_group_mask(kvm)
        first = group << HPTE_GROUP_SHIFT
        wanted = want | (HPTE_V_SECONDARY if secondary else 0)
        for i in range(1 << HPTE_GROUP_SHIFT):
            hpte = hpt_entry(kvm, first + i)
            if (READ_ONCE(hpte[0]) & HPTE_V_COMPARED) == wanted:
                return hpte
    return NULL


@kernel
def set_rc_bytes(hpte: Ptr[u64], r: u64, write: u64) -> u64:
    """Set R, and C for a write, in R as it was read; R as it is now."""
    if not r & HPTE_R_R:
        WRITE_ONCE(byte(hpte[1], 1), (r | HPTE_R_R) >> 8)
    if write and not r & HPTE_R_C:
        WRITE_ONCE(byte(hpte[1], 0), r | HPTE_R_C)
        return r | HPTE_R_C
    return r


@kernel
def mmu_walk_hpt(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> tuple[u64, u64]:
    """Translate an access of the guest; as ``radix.hw.mmu_walk_hw``."""
    hpte = hpt_search(kvm, gfn)
    if hpte == NULL:
        return 0, 0
    smp_rmb()  # V first, then R
    r = READ_ONCE(hpte[1])
    may_write = hpte_is_writable(r)
    if write and not may_write:
        return 0, 0
    r = set_rc_bytes(hpte, r, write)
    tlb_fill(vcpu, gfn, hpte_rpn(r), may_write and (r & HPTE_R_C) != 0)
    return 1, hpte_rpn(r)
