"""The guest's kernel in hash mode: what Linux does when the hardware finds no HPTE.

It keeps an entry of its own for each page (its page table), and the HPT is a cache of those:

* ``BUSY`` is taken by one vCPU at a time, so that a page has one HPTE; others try again.
* A page that was only read is entered read-only; the first write makes it dirty in the
  guest's own entry and raises the HPTE by H_PROTECT.
* ``HASHPTE`` and a slot say where the HPTE was put. It may be gone: then it is entered anew.
* With ``HPT_ALIAS`` each page has a second name, with an entry and an HPTE of its own.
* Both groups full: a pseudo-random entry of one of them goes by H_REMOVE.

Source: arch/powerpc/mm/book3s64/hash_4k.c (``__hash_page_4K``), hash_utils.c
(``htab_convert_pte_flags``), arch/powerpc/platforms/pseries/lpar.c.
Known limits: pages are user pages, at the address that is their name; nothing is bolted;
the guest does not age by H_CLEAR_REF on its own.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.hash.hcall_change import kvmppc_do_h_remove, kvmppc_h_protect
from mkold.kvm.powerpc.hash.hcall_enter import (
    H_ANDCOND,
    H_AVPN,
    H_PTEG_FULL,
    H_SUCCESS,
    kvmppc_do_h_enter,
)
from mkold.kvm.powerpc.hash.hpt import guest_pte, hpt_group_mask
from mkold.kvm.powerpc.hash.hpte import (
    HPTE_GROUP_SHIFT,
    HPTE_R_C,
    HPTE_R_R,
    HPTE_R_RPN_SHIFT,
    HPTE_V_BOLTED,
    HPTE_V_SECONDARY,
    PP_RWRW,
    PP_RXRX,
    hpt_hash,
    hpt_vpn,
    hpte_encode_avpn,
    name_gfn,
)
from mkold.lang import (
    READ_ONCE,
    Ptr,
    cpu_relax,
    kernel,
    smp_processor_id,
    smp_store_release,
    try_cmpxchg,
    u64,
)

# The guest's own entry of a page.
GUEST_BUSY = 1
GUEST_HASHPTE = 2
GUEST_DIRTY = 4
GUEST_SLOT_SHIFT = 8


@kernel
def guest_insert(kvm: Ptr[Kvm], vpn: u64, ptel: u64) -> u64:
    """Enter the page in one of its groups, making room if both are full; the index."""
    avpn = hpte_encode_avpn(vpn)
    hash_ = hpt_hash(vpn)
    turn = smp_processor_id()
    while True:
        for secondary in range(2):
            group = (~hash_ if secondary else hash_) & hpt_group_mask(kvm)
            first = group << HPTE_GROUP_SHIFT
            pteh = avpn | (HPTE_V_SECONDARY if secondary else 0)
            failed, index = kvmppc_do_h_enter(kvm, 0, first, pteh, ptel)
            if failed == H_SUCCESS:
                return index
            turn = turn * 5 + 1
            if failed == H_PTEG_FULL and secondary:
                victim = first + (turn & ((1 << HPTE_GROUP_SHIFT) - 1))
                kvmppc_do_h_remove(kvm, H_ANDCOND, victim, HPTE_V_BOLTED)


@kernel
def guest_hash_page(kvm: Ptr[Kvm], gfn: u64, write: u64) -> None:
    """The guest's fault handler for its page ``gfn``; it tries the access again after it."""
    entry = guest_pte(kvm, gfn)
    old = READ_ONCE(entry.value)
    dirty = GUEST_DIRTY if write else old & GUEST_DIRTY
    if old & GUEST_BUSY:
        cpu_relax()
        return
    ok, _seen = try_cmpxchg(entry.value, old, old | GUEST_BUSY | dirty)
    if not ok:
        return
    vpn = hpt_vpn(gfn)
    index = old >> GUEST_SLOT_SHIFT
    protection = PP_RWRW if dirty else PP_RXRX
    there: u64 = 0
    if old & GUEST_HASHPTE:
        flags = H_AVPN | protection
        there = kvmppc_h_protect(kvm, flags, index, hpte_encode_avpn(vpn)) == H_SUCCESS
    if not there:
        ptel = (name_gfn(gfn) << HPTE_R_RPN_SHIFT) | protection | HPTE_R_R
        index = guest_insert(kvm, vpn, ptel | (HPTE_R_C if dirty else 0))
    smp_store_release(entry.value, (index << GUEST_SLOT_SHIFT) | GUEST_HASHPTE | dirty)
