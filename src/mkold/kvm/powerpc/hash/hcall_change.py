"""H_REMOVE, H_PROTECT, H_CLEAR_REF: the guest changes entries that it has.

Rules
-----
* Each locks the HPTE; R and C of a mapped one are read after VALID is off and the tlbie is
  done, and go into both views: the guest's (``guest_rpte``) and the host's (the rmap word,
  and C to the dirty log).
* H_PROTECT never lets the guest write where the HPTE does not: what the host forbade stays
  forbidden, and a write faults.
* H_CLEAR_REF is the guest's own aging: the bit goes from the guest's view and stays in the
  host's.

Source: arch/powerpc/kvm/book3s_hv_rm_mmu.c (``kvmppc_do_h_remove``, ``kvmppc_h_protect``,
``kvmppc_h_clear_ref``).
Known limits: no H_BULK_REMOVE, H_READ, H_CLEAR_MOD.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.hash.hcall_enter import (
    H_ANDCOND,
    H_AVPN,
    H_NOT_FOUND,
    H_PARAMETER,
    H_SUCCESS,
    IN_USE,
    RC,
)
from mkold.kvm.powerpc.hash.hpt import hpt_entry, hpt_npte
from mkold.kvm.powerpc.hash.hpte import (
    HPTE_GR_MODIFIED,
    HPTE_R_C,
    HPTE_R_OTHERS,
    HPTE_R_PROTECTION,
    HPTE_R_R,
    HPTE_V_ABSENT,
    HPTE_V_AVPN,
    HPTE_V_VALID,
    hpte_is_writable,
    hpte_make_readonly,
    hpte_rpn,
)
from mkold.kvm.powerpc.hash.hvlock import lock_hpte, unlock_hpte
from mkold.kvm.powerpc.hash.rmap import (
    gfn_to_rmap,
    lock_rmap,
    rmap_note_rc,
    unlink_revmap,
    unlock_rmap,
)
from mkold.kvm.powerpc.hash.tlbie import kvmppc_clear_ref_hpte, kvmppc_invalidate_hpte
from mkold.kvm.powerpc.radix.unmap import kvmppc_update_dirty_map
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, kernel, s64, smp_wmb, u64


@kernel
def hpte_is_another(v: u64, flags: u64, avpn: u64) -> u64:
    """Whether an hcall with these flags and ``avpn`` does not mean the HPTE ``v``."""
    if not v & IN_USE:
        return 1
    if (flags & H_AVPN) and (v & HPTE_V_AVPN) != (avpn & HPTE_V_AVPN):
        return 1
    return (flags & H_ANDCOND) and (v & avpn) != 0


@kernel
def lock_named_hpte(kvm: Ptr[Kvm], flags: u64, index: u64, avpn: u64) -> s64:
    """Lock HPTE ``index`` if it is the one meant: H_SUCCESS, or why not."""
    if index >= hpt_npte(kvm):
        return H_PARAMETER
    hpte = hpt_entry(kvm, index)
    lock_hpte(hpte)
    v = READ_ONCE(hpte[0])
    if hpte_is_another(v, flags, avpn):
        unlock_hpte(hpte, v)
        return H_NOT_FOUND
    return H_SUCCESS


@kernel
def remove_revmap_chain(kvm: Ptr[Kvm], index: u64, gfn: u64, rc: u64) -> None:
    """HPTE ``index`` of ``gfn`` had ``rc`` when it went: out of the ring, into the host's view
    and the dirty log."""
    rmap = gfn_to_rmap(kvm, gfn)
    lock_rmap(rmap)
    unlink_revmap(kvm, rmap, index)
    rmap_note_rc(rmap, rc)
    if rc & HPTE_R_C:
        kvmppc_update_dirty_map(kvm, gfn, 1)
    unlock_rmap(rmap)


@kernel
def kvmppc_do_h_remove(
    kvm: Ptr[Kvm], flags: u64, index: u64, avpn: u64
) -> tuple[s64, u64, u64]:
    """Remove HPTE ``index`` if it is the one meant.

    Returns
    -------
    H_SUCCESS, H_NOT_FOUND or H_PARAMETER; V as it was; R in the guest's view
    """
    failed = lock_named_hpte(kvm, flags, index, avpn)
    if failed != H_SUCCESS:
        return failed, 0, 0
    hpte = hpt_entry(kvm, index)
    rev = kvm.arch.hpt.rev + index
    v = READ_ONCE(hpte[0])
    guest = rev.guest_rpte
    if v & HPTE_V_VALID:
        rc = kvmppc_invalidate_hpte(kvm, hpte, index, 0) & RC
        guest |= rc
        remove_revmap_chain(kvm, index, hpte_rpn(guest), rc)
    unlock_hpte(hpte, 0)
    return H_SUCCESS, v, guest & ~HPTE_GR_MODIFIED


@kernel
def kvmppc_h_protect(kvm: Ptr[Kvm], flags: u64, index: u64, avpn: u64) -> s64:
    """Give HPTE ``index`` the protection that the low bits of ``flags`` say."""
    failed = lock_named_hpte(kvm, flags, index, avpn)
    if failed != H_SUCCESS:
        return failed
    hpte = hpt_entry(kvm, index)
    rev = kvm.arch.hpt.rev + index
    v = READ_ONCE(hpte[0])
    bits = flags & HPTE_R_PROTECTION
    rev.guest_rpte = (rev.guest_rpte & HPTE_R_OTHERS) | bits | HPTE_GR_MODIFIED
    if v & HPTE_V_VALID:
        may_write = hpte_is_writable(READ_ONCE(hpte[1]))
        old = kvmppc_invalidate_hpte(kvm, hpte, index, HPTE_V_ABSENT)
        r = (old & HPTE_R_OTHERS) | bits
        if not may_write:
            r = hpte_make_readonly(r)
        WRITE_ONCE(hpte[1], r)
        smp_wmb()  # eieio: R before V, for the hardware
    unlock_hpte(hpte, v)
    return H_SUCCESS


@kernel
def kvmppc_h_clear_ref(kvm: Ptr[Kvm], index: u64) -> tuple[s64, u64]:
    """Clear R in the guest's view; H_SUCCESS or why not, and that view as it was."""
    failed = lock_named_hpte(kvm, 0, index, 0)
    if failed != H_SUCCESS:
        return failed, 0
    hpte = hpt_entry(kvm, index)
    rev = kvm.arch.hpt.rev + index
    v = READ_ONCE(hpte[0])
    guest = rev.guest_rpte
    rev.guest_rpte = guest & ~HPTE_R_R
    if v & HPTE_V_VALID:
        r = READ_ONCE(hpte[1])
        guest |= r & RC
        if r & HPTE_R_R:
            kvmppc_clear_ref_hpte(kvm, hpte, index)
            rmap = gfn_to_rmap(kvm, hpte_rpn(guest))
            lock_rmap(rmap)
            rmap_note_rc(rmap, HPTE_R_R)
            unlock_rmap(rmap)
    unlock_hpte(hpte, v)
    return H_SUCCESS, guest & ~HPTE_GR_MODIFIED
