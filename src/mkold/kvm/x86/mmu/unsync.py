"""A table of the guest's own may be written to: what follows it falls out of step.

Rules
-----
* A page with a table of the guest's own is write-protected when something begins to follow it.
* A table above the leaves stays so: a write to it is emulated, and what follows the entry goes
  at once (``shadow.sync.kvm_mmu_track_write``).
* A leaf table may be written to from the first write on, which faults: the writes behind it are
  not seen. What follows it is *unsync* from there on, until the vCPU goes into the guest's
  guest again (``shadow.sync.kvm_mmu_sync_roots``).
* ``mmu_lock`` is held for reading by faults of the TDP MMU, so a lock of its own keeps them
  apart. Who brings tables into step holds ``mmu_lock`` for writing.

Source: arch/x86/kvm/mmu/mmu.c (``mmu_try_to_unsync_pages``, ``kvm_unsync_page``,
``kvm_gfn_is_write_tracked``).
Known limits: what is out of step is found by looking at all tables, not from its parents on.
"""

from __future__ import annotations

from mkold.kvm.x86.asm.kvm_host import Kvm
from mkold.kvm.x86.mmu.page_hash import kvm_first_sp_with_gptes, kvm_next_sp_with_gptes
from mkold.kvm.x86.mmu.spte import PG_LEVEL_4K
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    kernel,
    parameter,
    spin_lock,
    spin_unlock,
    u64,
)

# 0: every guest has shadow pages alone. 1: it has them for guests of its own.
TDP_MMU_ENABLED = parameter("TDP_MMU_ENABLED", 0)

CAN_UNSYNC = 1


@kernel
def kvm_gfn_is_write_tracked(kvm: Ptr[Kvm], gfn: u64) -> u64:
    """Whether ``gfn`` is a table of the guest's own above the leaves that is being followed."""
    if not READ_ONCE(kvm.arch.indirect_shadow_pages):
        return 0
    sp = kvm_first_sp_with_gptes(kvm, gfn)
    while sp != NULL:
        if sp.level > PG_LEVEL_4K:
            return 1
        sp = kvm_next_sp_with_gptes(sp.hash_next, gfn)
    return 0


@kernel
def mmu_try_to_unsync_pages(kvm: Ptr[Kvm], gfn: u64, can_unsync: u64) -> u64:
    """The guest is about to have ``gfn`` writable: what follows it may be out of step from here
    on; 1: it has to stay write-protected."""
    if not READ_ONCE(kvm.arch.indirect_shadow_pages):
        return 0
    if kvm_gfn_is_write_tracked(kvm, gfn):
        return 1
    sp = kvm_first_sp_with_gptes(kvm, gfn)
    if sp == NULL:
        return 0
    if not can_unsync:
        return 1
    spin_lock(kvm.arch.mmu_unsync_pages_lock)
    while sp != NULL:
        WRITE_ONCE(sp.unsync, 1)
        sp = kvm_next_sp_with_gptes(sp.hash_next, gfn)
    spin_unlock(kvm.arch.mmu_unsync_pages_lock)
    return 0
