"""The reverse map of hash mode: a word for each guest page, and the rings of its HPTEs.

======  ===========  ====================================================================
bits    mask         name
======  ===========  ====================================================================
31:0    0xffffffff   ``KVMPPC_RMAP_INDEX``: an HPTE that maps the page, if there is one
32      1 << 32      ``KVMPPC_RMAP_PRESENT``: there is one
39      C << 32      ``KVMPPC_RMAP_CHANGED``: an HPTE that is gone had C
40      R << 32      ``KVMPPC_RMAP_REFERENCED``: an HPTE that is gone had R
43      1 << 43      the lock, for this word and the links of its ring
======  ===========  ====================================================================

An HPTE is in its page's ring while it is VALID. The bits are the host's view of R and C: what
an HPTE had when it went is kept here, and a new HPTE starts with those that are set.

Order: an HPTE's lock first, then the rmap's; who comes from the rmap only tries the HPTE's.

Source: arch/powerpc/include/asm/kvm_host.h, kvm_book3s_64.h; book3s_hv_rm_mmu.c
(``kvmppc_add_revmap_chain``, ``remove_revmap_chain``).
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_memslot
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.hash.hpte import HPTE_R_C, HPTE_R_R
from mkold.kvm.types import MemorySlot
from mkold.lang import (
    NULL,
    READ_ONCE,
    VAL,
    WRITE_ONCE,
    Ptr,
    addr,
    cast,
    clear_bit_unlock,
    kernel,
    smp_cond_load_relaxed,
    smp_load_acquire,
    test_and_set_bit_lock,
    u64,
)
from mkold.mm.page_alloc import memblock_alloc

KVMPPC_RMAP_LOCK_BIT = 43
KVMPPC_RMAP_LOCK = 1 << KVMPPC_RMAP_LOCK_BIT
KVMPPC_RMAP_RC_SHIFT = 32
KVMPPC_RMAP_REFERENCED = HPTE_R_R << KVMPPC_RMAP_RC_SHIFT
KVMPPC_RMAP_CHANGED = HPTE_R_C << KVMPPC_RMAP_RC_SHIFT
KVMPPC_RMAP_PRESENT = 1 << 32
KVMPPC_RMAP_INDEX = (1 << 32) - 1


@kernel
def lock_rmap(rmap: Ptr[u64]) -> None:
    """Take the lock."""
    while True:
        smp_cond_load_relaxed(rmap.value, not VAL & KVMPPC_RMAP_LOCK)
        if not test_and_set_bit_lock(rmap.value, KVMPPC_RMAP_LOCK_BIT):
            return


@kernel
def unlock_rmap(rmap: Ptr[u64]) -> None:
    """Let go: a release."""
    clear_bit_unlock(rmap.value, KVMPPC_RMAP_LOCK_BIT)


@kernel
def rmap_note_rc(rmap: Ptr[u64], rc: u64) -> None:
    """Locked: bits R and C of an HPTE go into the host's view."""
    WRITE_ONCE(rmap.value, READ_ONCE(rmap.value) | (rc << KVMPPC_RMAP_RC_SHIFT))


@kernel
def gfn_to_rmap(kvm: Ptr[Kvm], gfn: u64) -> Ptr[u64]:
    """The word of ``gfn``, or NULL where the guest has no memory."""
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL:
        return NULL
    return slot.rmap + (gfn - slot.base_gfn)


@kernel
def kvmppc_add_revmap_chain(kvm: Ptr[Kvm], rmap: Ptr[u64], index: u64) -> None:
    """Locked: HPTE ``index`` joins the ring, at its end."""
    rev = kvm.arch.hpt.rev
    word = READ_ONCE(rmap.value)
    if word & KVMPPC_RMAP_PRESENT:
        first = word & KVMPPC_RMAP_INDEX
        last = rev[first].back
        rev[index].forw = first
        rev[index].back = last
        rev[last].forw = index
        rev[first].back = index
    else:
        rev[index].forw = index
        rev[index].back = index
        WRITE_ONCE(rmap.value, (word & ~KVMPPC_RMAP_INDEX) | index | KVMPPC_RMAP_PRESENT)


@kernel
def unlink_revmap(kvm: Ptr[Kvm], rmap: Ptr[u64], index: u64) -> None:
    """Locked: HPTE ``index`` leaves the ring."""
    rev = kvm.arch.hpt.rev
    word = READ_ONCE(rmap.value)
    after = rev[index].forw
    before = rev[index].back
    if after == index:
        WRITE_ONCE(rmap.value, word & ~(KVMPPC_RMAP_PRESENT | KVMPPC_RMAP_INDEX))
        return
    rev[before].forw = after
    rev[after].back = before
    if (word & KVMPPC_RMAP_INDEX) == index:
        WRITE_ONCE(rmap.value, (word & ~KVMPPC_RMAP_INDEX) | after)


@kernel
def kvmppc_rmap_reset(kvm: Ptr[Kvm]) -> None:
    """Forget every ring, and with it R and C; whoever may add to one is stopped."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    n_slots = smp_load_acquire(kvm.n_slots)
    for i in range(n_slots):
        slot = addr(kvm.slots[i])
        for page in range(slot.npages):
            WRITE_ONCE(slot.rmap[page], 0)
    kvm_mmu_unlock(kvm)


@kernel
def kvm_arch_create_memslot(kvm: Ptr[Kvm], slot: Ptr[MemorySlot]) -> u64:
    """A word for each page of a new slot; 0, or 1 if there is no memory."""
    words = memblock_alloc(slot.npages)
    slot.rmap = cast(Ptr[u64], words)
    return words == 0
