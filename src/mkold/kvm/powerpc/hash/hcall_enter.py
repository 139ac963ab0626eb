"""H_ENTER: the guest puts an entry into the table.

Order: the retry counter, then (``smp_rmb``) the host's entry; a free slot, locked; the page's
rmap word, locked: is the host's entry still right? If not, the HPTE is ABSENT and in no ring,
and the guest's first access faults. Else it joins the ring; then R, a barrier, and V, which
unlocks it.

* The guest's view of R and C is what it gave; the HPTE starts with those of them that the
  host's view has too.
* A page that the host lets nobody write is entered read-only.

Source: arch/powerpc/kvm/book3s_hv_rm_mmu.c (``kvmppc_do_h_enter``).
Known limits: no MMIO pages, no large pages.
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.hash.host_pte import kvmppc_read_update_linux_pte
from mkold.kvm.powerpc.hash.hpt import hpt_entry, hpt_npte
from mkold.kvm.powerpc.hash.hpte import (
    HPTE_GR_MODIFIED,
    HPTE_GROUP_SHIFT,
    HPTE_R_C,
    HPTE_R_R,
    HPTE_R_RPN,
    HPTE_R_RPN_SHIFT,
    HPTE_V_ABSENT,
    HPTE_V_HVLOCK,
    HPTE_V_VALID,
    hpte_make_readonly,
    hpte_rpn,
)
from mkold.kvm.powerpc.hash.hvlock import __unlock_hpte, lock_hpte, try_lock_hpte
from mkold.kvm.powerpc.hash.rmap import (
    KVMPPC_RMAP_RC_SHIFT,
    gfn_to_rmap,
    kvmppc_add_revmap_chain,
    lock_rmap,
    unlock_rmap,
)
from mkold.kvm.retry import mmu_invalidate_retry_unlocked
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    kernel,
    parameter,
    s64,
    smp_mb,
    smp_rmb,
    smp_wmb,
    u64,
)

H_SUCCESS = 0
H_PARAMETER = -4
H_PTEG_FULL = -6
H_NOT_FOUND = -7

# Flags of the hcalls.
H_EXACT = 1 << 24
H_AVPN = 1 << 32
H_ANDCOND = 1 << 33

NO_HPTE = (1 << 64) - 1
RC = HPTE_R_R | HPTE_R_C
IN_USE = HPTE_V_VALID | HPTE_V_ABSENT

# 0 leaves out the check of the retry counter: a seeded fault for the tests.
HASH_CHECK_RETRY = parameter("HASH_CHECK_RETRY", 1)


@kernel
def hpte_retry(kvm: Ptr[Kvm], mmu_seq: u64) -> u64:
    """Under the rmap lock: whether what the host said since ``mmu_seq`` may be stale."""
    return HASH_CHECK_RETRY and mmu_invalidate_retry_unlocked(kvm, mmu_seq)


@kernel
def lock_if_free(kvm: Ptr[Kvm], index: u64) -> u64:
    """Lock HPTE ``index``, waiting for its lock; 0, and unlocked, if it is in use."""
    hpte = hpt_entry(kvm, index)
    lock_hpte(hpte)
    v = READ_ONCE(hpte[0])
    if v & IN_USE:
        __unlock_hpte(hpte, v)
        return 0
    return 1


@kernel
def lock_free_hpte(kvm: Ptr[Kvm], flags: u64, index: u64) -> u64:
    """The index of a free HPTE, locked, or NO_HPTE: ``index``, or one of its group.

    A slot that was locked for a moment may be free all the same; so after a round that only
    tries, there is one that waits.
    """
    if flags & H_EXACT:
        return index if lock_if_free(kvm, index) else NO_HPTE
    n = 1 << HPTE_GROUP_SHIFT
    first = index & ~(n - 1)
    for i in range(n):
        if try_lock_hpte(hpt_entry(kvm, first + i), HPTE_V_HVLOCK | IN_USE):
            return first + i
    for i in range(n):
        if lock_if_free(kvm, first + i):
            return first + i
    return NO_HPTE


@kernel
def host_view(kvm: Ptr[Kvm], ptel: u64) -> tuple[u64, u64]:
    """R as the host has it: its frame, and its permission to write.

    Returns
    -------
    present : whether the host has a frame there now
    r : R to enter
    """
    gfn = hpte_rpn(ptel)
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL:
        return 0, ptel
    pfn, writable = kvmppc_read_update_linux_pte(kvm.mm, gfn_to_hva(slot, gfn))
    if pfn == 0:
        return 0, ptel
    r = (ptel & ~HPTE_R_RPN) | (pfn << HPTE_R_RPN_SHIFT)
    return 1, r if writable else hpte_make_readonly(r)


@kernel
def join_ring(
    kvm: Ptr[Kvm], rmap: Ptr[u64], index: u64, r: u64, mmu_seq: u64
) -> tuple[u64, u64]:
    """Locked by HVLOCK: HPTE ``index`` joins its page's ring, if the host's entry still holds.

    Returns
    -------
    joined : whether it did
    r : R with what the host's view knows of R and C
    """
    lock_rmap(rmap)
    if hpte_retry(kvm, mmu_seq):
        unlock_rmap(rmap)
        return 0, r
    kvmppc_add_revmap_chain(kvm, rmap, index)
    unlock_rmap(rmap)
    rc = READ_ONCE(rmap.value) >> KVMPPC_RMAP_RC_SHIFT
    return 1, r & (rc | ~RC)


@kernel
def kvmppc_do_h_enter(
    kvm: Ptr[Kvm], flags: u64, index: u64, pteh: u64, ptel: u64
) -> tuple[s64, u64]:
    """Enter ``pteh``, ``ptel`` (which names a guest page) at ``index`` or in its group.

    Returns
    -------
    H_SUCCESS, H_PTEG_FULL, H_PARAMETER; and the index

    Ordering
    --------
    The vCPU is outside guest mode and counted in ``vcpus_running``.
    """
    if index >= hpt_npte(kvm):
        return H_PARAMETER, 0
    ptel = ptel & ~HPTE_GR_MODIFIED
    mmu_seq = READ_ONCE(kvm.mmu_invalidate_seq)
    smp_rmb()  # pairs with kvm_mmu_invalidate_end: seq first, then the host's entry
    present, r = host_view(kvm, ptel)
    found = lock_free_hpte(kvm, flags, index)
    if found == NO_HPTE:
        return H_PTEG_FULL, 0
    hpte = hpt_entry(kvm, found)
    kvm.arch.hpt.rev[found].guest_rpte = ptel
    if present:
        present, r = join_ring(kvm, gfn_to_rmap(kvm, hpte_rpn(ptel)), found, r, mmu_seq)
    WRITE_ONCE(hpte[1], r)
    smp_wmb()  # eieio: R before V, for the hardware
    v = (pteh & ~(IN_USE | HPTE_V_HVLOCK)) | (HPTE_V_VALID if present else HPTE_V_ABSENT)
    __unlock_hpte(hpte, v)
    smp_mb()  # ptesync: the guest's next access finds it
    return H_SUCCESS, found
