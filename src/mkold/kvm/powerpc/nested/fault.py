"""L2's page faults.

The steps, of which each may end it:

1. Walk L1's table of L2's memory. It has no such page, or does not allow the access: the
   fault is L1's. A shadow leaf that is there all the same goes.
2. The shadow leaf is there and allows the access: only R or C is missing. If L1's own entry
   has them not set either, the fault is L1's, who sets them; else they are set in the shadow
   entry and in the VM's entry for L1's page, in one section under ``mmu_lock``.
3. Look up the memslot, and the retry counter.
4. Copy the VM's entry for L1's page, which a fault like L1's own makes if need be.
5. The shadow entry is that, less what L1 does not allow; R if both have it, C if both have it
   and the access is a write; as large as the smaller of both leaves.
6. Put it in, and into the reverse map (``create``).

So a shadow entry has R only where the VM's entry has it, which is all that aging asks. That
holds only as long as no hardware sets R by itself (``HW_SETS_RC`` 0).

A fault that is L1's to handle is tried again until L1 has changed its table: L1's kernel is
not run from here.

Source: arch/powerpc/kvm/book3s_hv_nested.c (``__kvmhv_nested_page_fault``,
``kvmhv_handle_nested_set_rc``).
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.powerpc.asm.kvm_host import Kvm, KvmNestedGuest, ShadowFault, Vcpu
from mkold.kvm.powerpc.nested.create import kvmhv_create_shadow_pte
from mkold.kvm.powerpc.nested.guest import kvmhv_find_nested
from mkold.kvm.powerpc.nested.l1_memory import (
    WALK_FOUND,
    WALK_RETRY,
    kvmppc_mmu_walk_radix_tree,
)
from mkold.kvm.powerpc.nested.shadow import (
    find_kvm_nested_guest_pte,
    kvmhv_invalidate_shadow_pte,
)
from mkold.kvm.powerpc.radix.create import CREATED, ENOMEM
from mkold.kvm.powerpc.radix.fault import kvmppc_book3s_instantiate_page
from mkold.kvm.powerpc.radix.hw import HW_SETS_RC
from mkold.kvm.powerpc.radix.pte import (
    _PAGE_ACCESSED,
    _PAGE_DIRTY,
    _PAGE_EXEC,
    _PAGE_READ,
    _PAGE_WRITE,
    level_pages,
    level_shift,
    pfn_pte,
    pte_leaf,
    pte_pfn,
)
from mkold.kvm.powerpc.radix.pte_update import kvmppc_radix_update_pte
from mkold.kvm.powerpc.radix.walk import radix_walk
from mkold.kvm.types import RESUME_GUEST, RESUME_HOST
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    addr,
    cpu_relax,
    kernel,
    mutex_lock,
    mutex_unlock,
    parameter,
    smp_rmb,
    smp_wmb,
    u64,
)
from mkold.sync.rcu import rcu_core

# 1 is Linux, where aging holds the lock.
SET_L1_FIRST = parameter("SET_L1_FIRST", 0)
PERMISSIONS = _PAGE_READ | _PAGE_WRITE | _PAGE_EXEC


@kernel
def allowed(pte: u64, write: u64) -> u64:
    """Whether ``pte`` is a leaf that allows the access."""
    return pte_leaf(pte) and (pte & (_PAGE_WRITE if write else _PAGE_READ)) != 0


@kernel
def wanted_rc(write: u64) -> u64:
    """What L1's own entry must have: nothing, where the hardware sets R and C."""
    if HW_SETS_RC:
        return 0
    return _PAGE_ACCESSED | (_PAGE_DIRTY if write else 0)


@kernel
def kvmhv_reflect(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gp: Ptr[KvmNestedGuest], n_gfn: u64) -> u64:
    """The fault is L1's; no shadow entry may say otherwise."""
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    kvmhv_invalidate_shadow_pte(kvm, gp, n_gfn)
    kvm_mmu_unlock(kvm)
    vcpu.stat.retries += 1
    cpu_relax()
    return RESUME_GUEST


@kernel
def set_both_rc(ptep: Ptr[u64], n_ptep: Ptr[u64], bits: u64) -> None:
    """Set bits in the VM's entry ``ptep`` and in the shadow entry ``n_ptep``.

    Aging clears the VM's first. So the shadow's is set first: where aging takes no lock,
    setting them in its order could leave the shadow's alone set.
    """
    if SET_L1_FIRST:
        kvmppc_radix_update_pte(ptep, 0, bits)
        kvmppc_radix_update_pte(n_ptep, 0, bits)
    else:
        kvmppc_radix_update_pte(n_ptep, 0, bits)
        smp_wmb()  # pairs with pte_xchg() in kvmhv_age_page()
        kvmppc_radix_update_pte(ptep, 0, bits)


@kernel
def kvmhv_handle_nested_set_rc(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gp: Ptr[KvmNestedGuest], n_gfn: u64, gfn: u64, write: u64
) -> u64:
    """Step 2, where L1's own entry has the bits: 1 if that is all it needed."""
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    done = 0
    n_ptep, n_pte, _n_level = find_kvm_nested_guest_pte(gp, n_gfn)
    if allowed(n_pte, write):
        ptep, pte, _level = radix_walk(READ_ONCE(kvm.arch.pgtable), gfn)
        if allowed(pte, write):
            set_both_rc(ptep, n_ptep, _PAGE_ACCESSED | (_PAGE_DIRTY if write else 0))
            done = 1
        else:
            kvmhv_invalidate_shadow_pte(kvm, gp, n_gfn)
    kvm_mmu_unlock(kvm)
    return done


@kernel
def copy_l1_entry(kvm: Ptr[Kvm], gfn: u64, waits: Ptr[u64]) -> tuple[u64, u64]:
    """Step 4: the VM's own entry for ``gfn``, and its level; 0 if there is no tree."""
    pte = 0
    level = 0
    kvm_mmu_lock(kvm, waits)
    if READ_ONCE(kvm.arch.radix):
        _ptep, pte, level = radix_walk(READ_ONCE(kvm.arch.pgtable), gfn)
    kvm_mmu_unlock(kvm)
    return pte, level


@kernel
def shadow_level(gfn: u64, n_gfn: u64, l1_level: u64, l2_shift: u64) -> u64:
    """The largest leaf that lies in both of L1's and maps both ends aligned alike."""
    level: u64 = l1_level
    while level > 0:
        aligned = ((gfn ^ n_gfn) & (level_pages(level) - 1)) == 0
        if level_shift(level) <= l2_shift and aligned:
            break
        level -= 1
    return level


@kernel
def shadow_leaf(fault: Ptr[ShadowFault], l2_pte: u64, write: u64) -> u64:
    """Step 5: the shadow entry, where L1's own table says ``l2_pte``."""
    both = fault.l1_pte & l2_pte
    bits = both & (PERMISSIONS | _PAGE_ACCESSED)
    if write:
        bits |= both & _PAGE_DIRTY
    pfn = pte_pfn(fault.l1_pte) + (fault.gfn & (level_pages(fault.l1_level) - 1))
    return pfn_pte(pfn - (fault.n_gfn & (level_pages(fault.level) - 1)), bits)


@kernel
def kvmhv_map_shadow(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gp: Ptr[KvmNestedGuest],
    l2_pte: u64, l2_shift: u64, write: u64,
) -> u64:  # fmt: skip
    """Steps 3 to 6."""
    fault = addr(vcpu.arch.fault)
    slot = gfn_to_memslot(kvm, fault.gfn)
    if slot == NULL:
        return RESUME_HOST
    fault.hva = gfn_to_hva(slot, fault.gfn)
    fault.mmu_seq = READ_ONCE(kvm.mmu_invalidate_seq)
    smp_rmb()  # pairs with the lock in kvm_mmu_invalidate_end: seq first, then the entry
    waits = addr(vcpu.stat.lock_waits)
    pte, level = copy_l1_entry(kvm, fault.gfn, waits)
    if not allowed(pte, write):
        result = kvmppc_book3s_instantiate_page(kvm, vcpu, slot, fault.gfn, write)
        if result != RESUME_GUEST:
            return result
        pte, level = copy_l1_entry(kvm, fault.gfn, waits)
        if not allowed(pte, write):
            return RESUME_GUEST
    fault.l1_pte = pte
    fault.l1_level = level
    fault.level = shadow_level(fault.gfn, fault.n_gfn, level, l2_shift)
    fault.pte = shadow_leaf(fault, l2_pte, write)
    result = kvmhv_create_shadow_pte(kvm, gp, fault, waits)
    if result == ENOMEM:
        return RESUME_HOST
    if result != CREATED:
        vcpu.stat.retries += 1
        cpu_relax()
    return RESUME_GUEST


@kernel
def kvmhv_locked_page_fault(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gp: Ptr[KvmNestedGuest], n_gfn: u64, write: u64
) -> u64:
    """All steps, under ``tlb_lock``. A guest that has lost its number, which it does for good,
    ends here: its vCPU goes back to L1."""
    if kvmhv_find_nested(kvm, gp.l1_lpid) != gp:
        return RESUME_HOST
    found, l2_pte, l2_shift = kvmppc_mmu_walk_radix_tree(kvm, gp.l1_gr_to_hr, n_gfn)
    if found == WALK_RETRY:
        return RESUME_GUEST
    want: u64 = wanted_rc(write)
    if found != WALK_FOUND or not allowed(l2_pte, write) or (l2_pte & want) != want:
        return kvmhv_reflect(kvm, vcpu, gp, n_gfn)
    gfn = pte_pfn(l2_pte) + (n_gfn & ((1 << l2_shift) - 1))
    if kvmhv_handle_nested_set_rc(kvm, vcpu, gp, n_gfn, gfn, write):
        return RESUME_GUEST
    vcpu.arch.fault.n_gfn = n_gfn
    vcpu.arch.fault.gfn = gfn
    return kvmhv_map_shadow(kvm, vcpu, gp, l2_pte, l2_shift, write)


@kernel
def kvmhv_nested_page_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n_gfn: u64, write: u64) -> u64:
    """Handle a fault of ``vcpu``, which runs an L2 guest and is outside guest mode.

    Returns
    -------
    as ``kvm_arch_vcpu_page_fault``
    """
    rcu_core()
    vcpu.stat.faults += 1
    gp = vcpu.arch.nested
    mutex_lock(gp.tlb_lock)
    result = kvmhv_locked_page_fault(kvm, vcpu, gp, n_gfn, write)
    mutex_unlock(gp.tlb_lock)
    return result
