"""Seeded faults of POWER guests with a hash table or a guest, which only their recordings
catch."""

from __future__ import annotations

from validate_mutants import Mutant

from mkold.ir.variant import Set, Skip
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.hash.age import age_locked_hpte, age_ring
from mkold.kvm.powerpc.hash.hpt import hpt_entry
from mkold.kvm.powerpc.hash.hpte import HPTE_R_R, HPTE_V_HVLOCK
from mkold.kvm.powerpc.hash.hvlock import try_lock_hpte, unlock_after_update
from mkold.kvm.powerpc.hash.rmap import (
    KVMPPC_RMAP_INDEX,
    KVMPPC_RMAP_PRESENT,
    KVMPPC_RMAP_RC_SHIFT,
    KVMPPC_RMAP_REFERENCED,
    gfn_to_rmap,
    lock_rmap,
    unlock_rmap,
)
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    kernel,
    smp_load_acquire,
    u64,
)
from mkold.mm.mglru.generations import folio_add_lru
from mkold.mm.mm_types import PTE_PRESENT, PTE_WRITE, Folio, Mm
from mkold.mm.pgtable import pte_offset, pte_pfn, vma_contains


@kernel
def age_first_of_ring(kvm: Ptr[Kvm], first: u64) -> tuple[u64, u64]:
    """``age_ring`` that forgets all behind the first."""
    hpte = hpt_entry(kvm, first)
    young: u64 = 0
    if READ_ONCE(hpte[1]) & HPTE_R_R and try_lock_hpte(hpte, HPTE_V_HVLOCK):
        young = age_locked_hpte(kvm, first)
        unlock_after_update(hpte)
    return young, ~0


@kernel
def note_c_alone(rmap: Ptr[u64], rc: u64) -> None:
    """``rmap_note_rc`` that forgets R."""
    WRITE_ONCE(rmap.value, READ_ONCE(rmap.value) | ((rc & ~HPTE_R_R) << KVMPPC_RMAP_RC_SHIFT))


@kernel
def enter_without_young(mm: Ptr[Mm], hva: u64) -> tuple[u64, u64]:
    """``kvmppc_read_update_linux_pte`` that only reads."""
    if not vma_contains(mm, hva) or pte_offset(mm, hva) == NULL:
        return 0, 0
    pte = READ_ONCE(pte_offset(mm, hva).value)
    if not pte & PTE_PRESENT:
        return 0, 0
    return pte_pfn(pte), (pte & PTE_WRITE) != 0


@kernel
def age_keeps_rmap_word(kvm: Ptr[Kvm], gfn: u64) -> u64:
    """``kvm_age_rmapp`` that leaves R in the rmap word."""
    rmap = gfn_to_rmap(kvm, gfn)
    lock_rmap(rmap)
    word = READ_ONCE(rmap.value)
    young: u64 = (word & KVMPPC_RMAP_REFERENCED) != 0
    if word & KVMPPC_RMAP_PRESENT:
        found, _busy = age_ring(kvm, word & KVMPPC_RMAP_INDEX)
        young |= found
    unlock_rmap(rmap)
    return young


@kernel
def reset_keeps_r(kvm: Ptr[Kvm]) -> None:
    """``kvmppc_rmap_reset`` that forgets the rings alone."""
    for i in range(smp_load_acquire(kvm.n_slots)):
        slot = addr(kvm.slots[i])
        for page in range(slot.npages):
            WRITE_ONCE(slot.rmap[page], slot.rmap[page] & KVMPPC_RMAP_REFERENCED)


@kernel
def add_locked_too(
    mm: Ptr[Mm], page: u64, folio: Ptr[Folio], from_swap: u64, write: u64
) -> None:
    """``folio_add_lru_vma`` that looks not at the VMA."""
    folio_add_lru(mm.node, folio, from_swap, write)


HASH = "power9-hash-6.12"
NESTED = "power9-nested-6.12"
NESTED_EVICT = "power9-nested-6.12-evict"
POWER_MUTANTS = (
    Mutant(
        "a ring's end is forgotten", stand_in=("age_ring", age_first_of_ring), recording=HASH
    ),
    Mutant("R stays in the HPTE", (Skip("kvmppc_clear_ref_hpte"),), recording=HASH),
    Mutant(
        "R stays in the rmap word",
        stand_in=("kvm_age_rmapp", age_keeps_rmap_word),
        recording=HASH,
    ),
    Mutant("R goes with the HPTE", stand_in=("rmap_note_rc", note_c_alone), recording=HASH),
    Mutant(
        "H_ENTER leaves the process's entry old",
        stand_in=("kvmppc_read_update_linux_pte", enter_without_young),
        recording=HASH,
    ),
    Mutant("a switch keeps R", stand_in=("kvmppc_rmap_reset", reset_keeps_r), recording=HASH),
    Mutant(
        "shadow entries stay when L1's page goes",
        (Skip("kvmhv_remove_nest_rmap_range"),),
        recording=NESTED,
    ),
    Mutant(
        "L1's tlbie is not heard", (Skip("kvmhv_emulate_tlbie_tlb_addr"),), recording=NESTED
    ),
    Mutant(
        "what L1 keeps for itself is on a list",
        stand_in=("folio_add_lru_vma", add_locked_too),
        recording=NESTED_EVICT,
    ),
    Mutant(
        "eviction looks not around a page of a guest that has a guest",
        (Set("NESTED_LOCKLESS", 0),),
        way="lockless",
        recording=NESTED_EVICT,
    ),
)
