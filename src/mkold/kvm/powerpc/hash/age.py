"""Aging in hash mode: always under ``mmu_lock``, page by page.

Rules
-----
* A page's R is the OR of its ring's HPTEs and of what the rmap word kept of those that went.
* Clearing takes the rmap's lock and tries each HPTE's, only where R is set; who fails lets go,
  waits and starts over, with what was found kept.
* R goes by a store of its byte, then the tlbie: the next access sets it again, unlike on the
  radix tree. The guest's view keeps R.
* A test looks at the rmap word before it takes any lock.

Source: arch/powerpc/kvm/book3s_64_mmu_hv.c (``kvm_age_rmapp``, ``kvm_test_age_rmapp``).
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.hash.hpt import hpt_entry
from mkold.kvm.powerpc.hash.hpte import (
    HPTE_GR_MODIFIED,
    HPTE_R_R,
    HPTE_V_HVLOCK,
    HPTE_V_VALID,
)
from mkold.kvm.powerpc.hash.hvlock import try_lock_hpte, unlock_after_update, wait_hpte
from mkold.kvm.powerpc.hash.rmap import (
    KVMPPC_RMAP_INDEX,
    KVMPPC_RMAP_PRESENT,
    KVMPPC_RMAP_REFERENCED,
    gfn_to_rmap,
    lock_rmap,
    unlock_rmap,
)
from mkold.kvm.powerpc.hash.tlbie import kvmppc_clear_ref_hpte
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, kernel, u64


@kernel
def age_locked_hpte(kvm: Ptr[Kvm], index: u64) -> u64:
    """Both locks held: clear R of HPTE ``index``; 1 if it was set."""
    hpte = hpt_entry(kvm, index)
    rev = kvm.arch.hpt.rev + index
    if not (READ_ONCE(hpte[0]) & HPTE_V_VALID) or not (READ_ONCE(hpte[1]) & HPTE_R_R):
        return 0
    kvmppc_clear_ref_hpte(kvm, hpte, index)
    if not rev.guest_rpte & HPTE_R_R:
        rev.guest_rpte = rev.guest_rpte | HPTE_R_R | HPTE_GR_MODIFIED
    return 1


@kernel
def age_ring(kvm: Ptr[Kvm], first: u64) -> tuple[u64, u64]:
    """The rmap's lock held: clear R round the ring, as far as HPTEs can be locked.

    Returns
    -------
    young : 1 if any R was set
    busy : the index of the HPTE that somebody has locked, or all ones
    """
    young: u64 = 0
    at = first
    while True:
        hpte = hpt_entry(kvm, at)
        after: u64 = kvm.arch.hpt.rev[at].forw
        if READ_ONCE(hpte[1]) & HPTE_R_R:
            if not try_lock_hpte(hpte, HPTE_V_HVLOCK):
                return young, at
            young |= age_locked_hpte(kvm, at)
            unlock_after_update(hpte)
        if after == first:
            return young, ~0
        at = after


@kernel
def kvm_age_rmapp(kvm: Ptr[Kvm], gfn: u64) -> u64:
    """Clear R of ``gfn``, under ``mmu_lock``; 1 if it was set."""
    rmap = gfn_to_rmap(kvm, gfn)
    young: u64 = 0
    while True:
        lock_rmap(rmap)
        word = READ_ONCE(rmap.value)
        if word & KVMPPC_RMAP_REFERENCED:
            WRITE_ONCE(rmap.value, word & ~KVMPPC_RMAP_REFERENCED)
            young = 1
        if not word & KVMPPC_RMAP_PRESENT:
            unlock_rmap(rmap)
            return young
        found, busy = age_ring(kvm, word & KVMPPC_RMAP_INDEX)
        young |= found
        unlock_rmap(rmap)
        if busy == ~0:
            return young
        wait_hpte(hpt_entry(kvm, busy))


@kernel
def kvm_test_age_rmapp(kvm: Ptr[Kvm], gfn: u64) -> u64:
    """Whether R of ``gfn`` is set, under ``mmu_lock``."""
    rmap = gfn_to_rmap(kvm, gfn)
    if READ_ONCE(rmap.value) & KVMPPC_RMAP_REFERENCED:
        return 1
    lock_rmap(rmap)
    word = READ_ONCE(rmap.value)
    young: u64 = (word & KVMPPC_RMAP_REFERENCED) != 0
    if word & KVMPPC_RMAP_PRESENT and not young:
        first = word & KVMPPC_RMAP_INDEX
        at = first
        while True:
            young |= (READ_ONCE(hpt_entry(kvm, at)[1]) & HPTE_R_R) != 0
            at = kvm.arch.hpt.rev[at].forw
            if at == first or young:
                break
    unlock_rmap(rmap)
    return young
