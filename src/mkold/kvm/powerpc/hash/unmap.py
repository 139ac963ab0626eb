"""Taking a guest page away from the guest: every HPTE of its ring goes ABSENT.

Rules
-----
* Runs under ``mmu_lock``. From the ring's side: the rmap's lock first, then an HPTE's by
  trying; who fails lets go of the rmap, waits for the HPTE and starts over.
* R and C as they are after the tlbie go into the rmap word, the guest's view and the dirty
  log.
* An entry stays the guest's: its next access faults, and the fault maps it again.

Source: arch/powerpc/kvm/book3s_64_mmu_hv.c (``kvm_unmap_rmapp``, ``kvmppc_unmap_hpte``).
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.hash.hcall_enter import RC
from mkold.kvm.powerpc.hash.hpt import hpt_entry
from mkold.kvm.powerpc.hash.hpte import (
    HPTE_GR_MODIFIED,
    HPTE_R_C,
    HPTE_V_ABSENT,
    HPTE_V_HVLOCK,
    HPTE_V_VALID,
    hpte_rpn,
)
from mkold.kvm.powerpc.hash.hvlock import try_lock_hpte, unlock_after_update, wait_hpte
from mkold.kvm.powerpc.hash.rmap import (
    KVMPPC_RMAP_INDEX,
    KVMPPC_RMAP_PRESENT,
    gfn_to_rmap,
    lock_rmap,
    rmap_note_rc,
    unlink_revmap,
    unlock_rmap,
)
from mkold.kvm.powerpc.hash.tlbie import kvmppc_invalidate_hpte
from mkold.kvm.powerpc.radix.unmap import kvmppc_update_dirty_map
from mkold.lang import READ_ONCE, Ptr, kernel, u64


@kernel
def kvmppc_unmap_hpte(kvm: Ptr[Kvm], rmap: Ptr[u64], gfn: u64, index: u64) -> None:
    """Both locks held: HPTE ``index`` leaves the ring of ``gfn`` and goes ABSENT."""
    hpte = hpt_entry(kvm, index)
    rev = kvm.arch.hpt.rev + index
    unlink_revmap(kvm, rmap, index)
    guest = rev.guest_rpte
    if not (READ_ONCE(hpte[0]) & HPTE_V_VALID) or hpte_rpn(guest) != gfn:
        return
    rc = kvmppc_invalidate_hpte(kvm, hpte, index, HPTE_V_ABSENT) & RC
    kvm.stat.unmapped += 1
    rmap_note_rc(rmap, rc)
    if rc & HPTE_R_C:
        kvmppc_update_dirty_map(kvm, gfn, 1)
    if rc & ~guest:
        rev.guest_rpte = guest | rc | HPTE_GR_MODIFIED


@kernel
def kvm_unmap_one(kvm: Ptr[Kvm], rmap: Ptr[u64], gfn: u64) -> u64:
    """Take away the first HPTE of the ring; 0 if the ring is empty."""
    lock_rmap(rmap)
    word = READ_ONCE(rmap.value)
    if not word & KVMPPC_RMAP_PRESENT:
        unlock_rmap(rmap)
        return 0
    index = word & KVMPPC_RMAP_INDEX
    hpte = hpt_entry(kvm, index)
    if not try_lock_hpte(hpte, HPTE_V_HVLOCK):
        unlock_rmap(rmap)
        wait_hpte(hpte)
        return 1
    kvmppc_unmap_hpte(kvm, rmap, gfn, index)
    unlock_rmap(rmap)
    unlock_after_update(hpte)
    return 1


@kernel
def kvm_unmap_rmapp(kvm: Ptr[Kvm], gfn: u64) -> None:
    """No HPTE maps ``gfn`` any more; ``mmu_lock`` is held."""
    rmap = gfn_to_rmap(kvm, gfn)
    while kvm_unmap_one(kvm, rmap, gfn):
        pass
