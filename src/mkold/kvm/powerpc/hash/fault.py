"""Guest faults at an HPTE that is there: ABSENT, or read-only where the guest may write.

Order: V, R and the guest's view as they were when it faulted; the retry counter, then
(``smp_rmb``) the frame, with no lock held; the HPTE's lock: is it still the same? the rmap's
lock: is the frame still right? Then a mapped HPTE goes ABSENT for the tlbie and keeps what R
and C were set; one that was not joins the ring. At last R, a barrier, and V, which unlocks it.

Whatever does not fit is left to the next fault: the guest tries again.

Source: arch/powerpc/kvm/book3s_64_mmu_hv.c (``kvmppc_book3s_hv_page_fault``).
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.hash.hcall_enter import RC, hpte_retry
from mkold.kvm.powerpc.hash.hpt import hpt_entry
from mkold.kvm.powerpc.hash.hpte import (
    HPTE_GR_MODIFIED,
    HPTE_R_RPN,
    HPTE_R_RPN_SHIFT,
    HPTE_V_ABSENT,
    HPTE_V_HVLOCK,
    HPTE_V_VALID,
    hpte_make_readonly,
    hpte_rpn,
)
from mkold.kvm.powerpc.hash.hvlock import __unlock_hpte, lock_hpte, unlock_hpte
from mkold.kvm.powerpc.hash.rmap import (
    KVMPPC_RMAP_RC_SHIFT,
    gfn_to_rmap,
    kvmppc_add_revmap_chain,
    lock_rmap,
    unlock_rmap,
)
from mkold.kvm.powerpc.hash.tlbie import kvmppc_invalidate_hpte
from mkold.kvm.types import RESUME_GUEST, RESUME_HOST, Vcpu
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    cpu_relax,
    kernel,
    smp_mb,
    smp_rmb,
    smp_wmb,
    u64,
)
from mkold.mm.fault.memory import hva_to_pfn
from mkold.mm.mm_types import PFN_ERR, PFN_ERR_RETRY


@kernel
def map_locked_hpte(
    kvm: Ptr[Kvm], hpte: Ptr[u64], index: u64, guest: u64, new: u64, mmu_seq: u64
) -> u64:
    """Locked by HVLOCK: make the HPTE VALID with R ``new``; 0 if the frame may be stale.

    ``guest`` is the guest's view of R; the HPTE stays locked.
    """
    rmap = gfn_to_rmap(kvm, hpte_rpn(guest))
    lock_rmap(rmap)
    if hpte_retry(kvm, mmu_seq):
        unlock_rmap(rmap)
        return 0
    rc = READ_ONCE(rmap.value) >> KVMPPC_RMAP_RC_SHIFT
    r = new & (rc | ~RC)
    if READ_ONCE(hpte[0]) & HPTE_V_VALID:
        unlock_rmap(rmap)
        r |= kvmppc_invalidate_hpte(kvm, hpte, index, HPTE_V_ABSENT) & RC
    else:
        kvmppc_add_revmap_chain(kvm, rmap, index)
        unlock_rmap(rmap)
    WRITE_ONCE(hpte[1], r)
    smp_wmb()  # eieio: R before V, for the hardware
    return 1


@kernel
def update_faulted_hpte(
    kvm: Ptr[Kvm], index: u64, v: u64, r: u64, guest: u64, new: u64, mmu_seq: u64
) -> u64:
    """Put ``new`` into the HPTE if it still is as it was when the guest faulted; 1 if done."""
    hpte = hpt_entry(kvm, index)
    lock_hpte(hpte)
    now = READ_ONCE(hpte[0]) & ~HPTE_V_HVLOCK
    same = now == v and READ_ONCE(hpte[1]) == r
    same = same and kvm.arch.hpt.rev[index].guest_rpte == guest
    if not same or not READ_ONCE(kvm.arch.mmu_ready):
        unlock_hpte(hpte, now)
        return 0
    if not map_locked_hpte(kvm, hpte, index, guest, new, mmu_seq):
        unlock_hpte(hpte, now)
        return 0
    __unlock_hpte(hpte, (v | HPTE_V_VALID) & ~HPTE_V_ABSENT)
    smp_mb()  # ptesync: the guest's next access finds it
    return 1


@kernel
def kvmppc_book3s_hv_page_fault(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], index: u64, v: u64, r: u64, guest: u64, write: u64
) -> u64:
    """Map the page of HPTE ``index``, which was ``v``, ``r`` and ``guest`` when it faulted.

    Returns
    -------
    RESUME_GUEST: try the access again; RESUME_HOST: there is no memory behind the page
    """
    gfn = hpte_rpn(guest)
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL:
        return RESUME_HOST
    mmu_seq = READ_ONCE(kvm.mmu_invalidate_seq)
    smp_rmb()  # pairs with kvm_mmu_invalidate_end: seq first, then the frame
    pfn, writable = hva_to_pfn(kvm.mm, gfn_to_hva(slot, gfn), write)
    if pfn >= PFN_ERR:
        if pfn == PFN_ERR_RETRY:
            cpu_relax()
            return RESUME_GUEST
        return RESUME_HOST
    new = (guest & ~(HPTE_R_RPN | HPTE_GR_MODIFIED)) | (pfn << HPTE_R_RPN_SHIFT)
    if not writable:
        new = hpte_make_readonly(new)
    if not update_faulted_hpte(kvm, index, v, r, guest, new, mmu_seq):
        vcpu.stat.retries += 1
        cpu_relax()
    return RESUME_GUEST
