"""Invalidating HPTEs: VALID off, and no vCPU uses the translation any more.

A tlbie names a virtual page. It ends when every vCPU in guest mode has taken the request, and
with it finished any walk that it was in: R and C that a walk had to write are in the HPTE
then. So R and C are read after the tlbie.

Flushes of hash mode need no ``mmu_lock``; one at a time goes through ``tlbie_lock``, the
innermost lock, under which they are counted too.

R is cleared by a store of its byte, which leaves C to the hardware.

Source: arch/powerpc/kvm/book3s_hv_rm_mmu.c (``do_tlbies``, ``kvmppc_invalidate_hpte``).
Known limits: that aging issues its tlbie without a ptesync before it has no counterpart here,
since a request is a full barrier.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.hash.hpte import HPTE_R_R, HPTE_V_VALID, hpte_vpn, vpn_gfn
from mkold.kvm.tlb import flush_request, kvm_make_all_request
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    byte,
    kernel,
    parameter,
    spin_lock,
    spin_unlock,
    u64,
)

# 1: R and C are read before the tlbie, as before Linux commit 1e5bf454f587.
HPT_RC_BEFORE_TLBIE = parameter("HPT_RC_BEFORE_TLBIE", 0)


@kernel
def do_tlbies(kvm: Ptr[Kvm], v: u64, index: u64) -> None:
    """No vCPU uses a translation made from the HPTE ``v`` at ``index`` before the call."""
    spin_lock(kvm.arch.tlbie_lock)
    kvm.arch.tlbies += 1
    kvm_make_all_request(kvm, flush_request(vpn_gfn(hpte_vpn(v, index)), 1))
    spin_unlock(kvm.arch.tlbie_lock)


@kernel
def kvmppc_invalidate_hpte(kvm: Ptr[Kvm], hpte: Ptr[u64], index: u64, bits: u64) -> u64:
    """Locked by HVLOCK: VALID off and ``bits`` on, then the tlbie; R as it stays from here."""
    early = READ_ONCE(hpte[1]) if HPT_RC_BEFORE_TLBIE else 0
    v = (READ_ONCE(hpte[0]) & ~HPTE_V_VALID) | bits
    WRITE_ONCE(hpte[0], v)
    do_tlbies(kvm, v, index)
    return early if HPT_RC_BEFORE_TLBIE else READ_ONCE(hpte[1])


@kernel
def kvmppc_clear_ref_hpte(kvm: Ptr[Kvm], hpte: Ptr[u64], index: u64) -> None:
    """Locked by HVLOCK: R off by a store of its byte, then the tlbie."""
    WRITE_ONCE(byte(hpte[1], 1), (READ_ONCE(hpte[1]) & ~HPTE_R_R) >> 8)
    do_tlbies(kvm, READ_ONCE(hpte[0]), index)
