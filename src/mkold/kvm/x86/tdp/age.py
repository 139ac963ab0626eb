"""Aging by the TDP MMU, as four kernels have done it.

=======  ==========  =========================================================================
kernel   ``mmu_lock``  how a young leaf is made old
=======  ==========  =========================================================================
6.1      for writing   exchanged if others may change it, else stored; then the books
6.12     for writing   A: atomically cleared if others may change the leaf, else stored; tracked
                       form: exchanged or stored
6.15     not held      A: an atomic AND; tracked form: one compare-and-swap, and if it is lost
                       the leaf stays as it is
v2       not held      A: ``clear_bit``; refused where there is no accessed bit, or once a
shadow
                       root was allocated
=======  ==========  =========================================================================

Rules
-----
* Without the lock it runs in an RCU read section, over the valid roots, whose references it
  does not take.
* A young page is reported, whether or not its leaf could be made old.
* A base page's leaves are looked at ``SCAN_BLOCK`` at a time, and those that have the accessed
  bit one by one; 6.13 made it a bit of all leaves, whatever the hardware does with it.
* No TLB is flushed: a page in a TLB is used without its leaf being made young again.

Sources: arch/x86/kvm/mmu/tdp_mmu.c (``__kvm_tdp_mmu_age_gfn_range``, ``kvm_tdp_mmu_age_spte``),
Linux 6.1, 6.12, 6.18; commit b146a9b34aed; v2: lore 20230526234435.662652-9-yuzhao@google.com.
"""

from __future__ import annotations

from mkold.kvm.bitops import __ffs
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, sp_spt
from mkold.kvm.x86.mmu.spte import (
    LINUX_VERSION,
    PG_LEVEL_2M,
    PG_LEVEL_4K,
    PT_ACCESS_MASK,
    SHADOW_ACC_TRACK_SAVED_BITS_MASK,
    SHADOW_ACC_TRACK_SAVED_BITS_SHIFT,
    SHADOW_ACCESSED_MASK,
    is_accessed_spte,
    is_large_pte,
    is_shadow_present_pte,
    is_writable_pte,
    mark_spte_for_access_track,
    spte_ad_enabled,
    spte_index,
    spte_to_child_pt,
    spte_to_pfn,
)
from mkold.kvm.x86.tdp.change import (
    __handle_changed_spte,
    __tdp_mmu_set_spte_atomic,
    kvm_set_pfn_dirty,
    kvm_tdp_mmu_write_spte,
    tdp_mmu_clear_spte_bits,
)
from mkold.kvm.x86.tdp.iter import gfn_behind, is_leaf, tdp_walk
from mkold.kvm.x86.tdp.roots import tdp_mmu_next_root
from mkold.kvm.young import kvm_should_clear_young
from mkold.lang import (
    NULL,
    READ_ONCE,
    READ_ONCE_WHICH,
    Ptr,
    atomic_and,
    atomic_fetch_and,
    atomic_or,
    cast,
    kernel,
    parameter,
    prefetch,
    rcu_dereference,
    rcu_read_lock,
    rcu_read_unlock,
    u64,
)

V2 = 604
# How the lockless pass makes a leaf old: as its kernel does, by a compare-and-swap where that
# has an atomic AND, by clearing what an access needs without looking (wrong), by clearing the
# accessed bit alone where the hardware has none (nobody sets it again).
AGE_AS_KERNEL = 0
AGE_BY_CMPXCHG = 1
AGE_BLINDLY = 2
AGE_ACCESSED_BIT_ALONE = 3
AGE_SPTE = parameter("AGE_SPTE", AGE_AS_KERNEL)

SCAN_BLOCK = parameter("SCAN_BLOCK", 32)
SCAN_AHEAD = parameter("SCAN_AHEAD", 128)
LINE_ENTRIES = 8


@kernel
def track_blindly(sptep: Ptr[u64], spte: u64) -> None:
    """Clear what an access needs, and save it, in an entry seen as ``spte``, whatever it is by
    now."""
    saved = spte & SHADOW_ACC_TRACK_SAVED_BITS_MASK
    atomic_and(sptep.value, ~(PT_ACCESS_MASK | SHADOW_ACCESSED_MASK))
    atomic_or(sptep.value, saved << SHADOW_ACC_TRACK_SAVED_BITS_SHIFT)


@kernel
def kvm_tdp_mmu_age_spte(sptep: Ptr[u64], spte: u64) -> None:
    """Without ``mmu_lock``: make a young leaf old that was seen as ``spte``."""
    if AGE_SPTE == AGE_BLINDLY and not spte_ad_enabled(spte):
        track_blindly(sptep, spte)
    elif AGE_SPTE == AGE_BY_CMPXCHG or (
        AGE_SPTE != AGE_ACCESSED_BIT_ALONE and not spte_ad_enabled(spte)
    ):
        __tdp_mmu_set_spte_atomic(sptep, spte, mark_spte_for_access_track(spte))
    elif LINUX_VERSION == V2:
        atomic_and(sptep.value, ~SHADOW_ACCESSED_MASK)
    else:
        atomic_fetch_and(sptep.value, ~SHADOW_ACCESSED_MASK)


@kernel
def age_run(sptep: Ptr[u64], n: u64, clear: u64, bitmap: Ptr[u64], bit: u64) -> u64:
    """Test (and age) ``n`` base-page entries; ``bit`` is the first one's in the bitmap; young
    leaves found."""
    young: u64 = 0
    for i in range(n):
        spte = READ_ONCE(sptep[i])
        if is_shadow_present_pte(spte) and is_accessed_spte(spte):
            young += 1
            if kvm_should_clear_young(bitmap, bit - i, clear):
                kvm_tdp_mmu_age_spte(sptep + i, spte)
    return young


@kernel
def prefetch_behind(sptep: Ptr[u64]) -> None:
    """Ask for the ``SCAN_AHEAD`` entries behind a block, a cache line at a time."""
    for i in range(SCAN_BLOCK, SCAN_BLOCK + SCAN_AHEAD, LINE_ENTRIES):
        prefetch(sptep + i)


@kernel
def age_accessed(sptep: Ptr[u64], accessed: u64, clear: u64, bitmap: Ptr[u64], bit: u64) -> u64:
    """``age_run`` for those of a block's entries that have a bit in ``accessed``."""
    prefetch_behind(sptep)
    young: u64 = 0
    while accessed:
        i = __ffs(accessed)
        young += age_run(sptep + i, 1, clear, bitmap, bit - i)
        accessed &= accessed - 1
    return young


@kernel
def age_table(sptep: Ptr[u64], n: u64, clear: u64, bitmap: Ptr[u64], bit: u64) -> u64:
    """``age_run`` over entries of one table, block by block as long as they are whole."""
    young: u64 = 0
    n_whole = n - n % SCAN_BLOCK
    i: u64 = 0
    while i < n_whole:
        accessed = READ_ONCE_WHICH(sptep[i], SCAN_BLOCK, SHADOW_ACCESSED_MASK)
        if accessed:
            young += age_accessed(sptep + i, accessed, clear, bitmap, bit - i)
        i += SCAN_BLOCK
    return young + age_run(sptep + i, n - i, clear, bitmap, bit - i)


@kernel
def age_large(
    sptep: Ptr[u64], spte: u64, n: u64, clear: u64, bitmap: Ptr[u64], bit: u64
) -> u64:
    """Test (and age) a large leaf of which ``n`` pages are in the range."""
    if not is_accessed_spte(spte):
        return 0
    should_clear: u64 = 0
    for i in range(n):
        should_clear |= kvm_should_clear_young(bitmap, bit - i, clear)
        if bitmap == NULL:
            break
    if should_clear:
        kvm_tdp_mmu_age_spte(sptep, spte)
    return 1


@kernel
def age_root(
    root: Ptr[KvmMmuPage], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> u64:
    """Age guest pages ``[gfn, end)`` of one root; young leaves found."""
    young: u64 = 0
    while gfn < end:
        sptep, spte, level = tdp_walk(sp_spt(root), gfn, PG_LEVEL_2M)
        bit = last_bit + (end - 1 - gfn)
        after = min(gfn_behind(gfn, level), end)
        if is_leaf(spte, level):
            young += age_large(sptep, spte, after - gfn, clear, bitmap, bit)
        elif is_shadow_present_pte(spte) and not is_large_pte(spte):
            table = spte_to_child_pt(spte) + spte_index(gfn, PG_LEVEL_4K)
            young += age_table(table, after - gfn, clear, bitmap, bit)
        if young and not clear and bitmap == NULL:
            break
        gfn = after
    return young


@kernel
def kvm_tdp_mmu_age_lockless(
    kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> u64:
    """Age guest pages ``[gfn, end)`` of all valid roots; young leaves found.

    Ordering
    --------
    Enters an RCU read section; takes no lock and waits for nothing.
    """
    young: u64 = 0
    rcu_read_lock()
    root = rcu_dereference(kvm.arch.tdp_mmu_roots)
    while root != NULL:
        if not READ_ONCE(root.invalid):
            young += age_root(root, gfn, end, clear, bitmap, last_bit)
            if young and not clear and bitmap == NULL:
                break
        root = rcu_dereference(root.link)
    rcu_read_unlock()
    return young


@kernel
def age_spte_locked(kvm: Ptr[Kvm], sptep: Ptr[u64], spte: u64, level: u64) -> None:
    """As 6.1 and 6.12, under ``mmu_lock`` held for writing: make a young leaf old that was seen
    as ``spte``."""
    new = mark_spte_for_access_track(spte)
    if LINUX_VERSION < 612:
        old = kvm_tdp_mmu_write_spte(sptep, spte, new, level)
        __handle_changed_spte(kvm, old, new, level, 0)
    elif spte_ad_enabled(spte):
        tdp_mmu_clear_spte_bits(sptep, spte, SHADOW_ACCESSED_MASK, level)
    else:
        if is_writable_pte(spte):
            kvm_set_pfn_dirty(spte_to_pfn(spte))
        kvm_tdp_mmu_write_spte(sptep, spte, new, level)


@kernel
def age_root_locked(
    kvm: Ptr[Kvm], root: Ptr[KvmMmuPage], start: u64, end: u64, clear: u64
) -> u64:
    """As 6.1 and 6.12, under ``mmu_lock`` held for writing, of one root; 1 if any was young."""
    young: u64 = 0
    gfn = start
    rcu_read_lock()
    while gfn < end:
        sptep, spte, level = tdp_walk(sp_spt(root), gfn, PG_LEVEL_4K)
        if is_leaf(spte, level) and is_accessed_spte(spte):
            young = 1
            if not clear:
                break
            age_spte_locked(kvm, sptep, spte, level)
        gfn = gfn_behind(gfn, level)
    rcu_read_unlock()
    return young


@kernel
def kvm_tdp_mmu_age_locked(kvm: Ptr[Kvm], start: u64, end: u64, clear: u64) -> u64:
    """Under ``mmu_lock`` held for writing: age guest pages ``[start, end)``; 1 if any was
    young. From 6.15 on it is what is done without the lock."""
    if LINUX_VERSION >= 615:
        null = cast(Ptr[u64], NULL)
        return kvm_tdp_mmu_age_lockless(kvm, start, end, clear, null, 0) != 0
    young: u64 = 0
    only_valid: u64 = LINUX_VERSION >= 613
    root = tdp_mmu_next_root(kvm, cast(Ptr[KvmMmuPage], NULL), only_valid)
    while root != NULL:
        young |= age_root_locked(kvm, root, start, end, clear)
        root = tdp_mmu_next_root(kvm, root, only_valid)
    return young
