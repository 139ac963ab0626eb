"""Aging: testing and clearing the accessed bits of a range.

``AGE_MODE`` says what it holds:

========== ====== ==========================================================================
AGE_BY_RCU 0      the series' second version: nothing but an RCU read section; shared
AGE_READ   1      its third: ``mmu_lock`` for reading; shared
AGE_WRITE  2      upstream: ``mmu_lock`` for writing; alone. There is no fast path
========== ====== ==========================================================================

Rules
-----
* A leaf's accessed bit is cleared by replacing the whole entry, by compare-and-swap if the walk
  is shared. One that fails is not tried again: the page was young, and is reported.
* An entry that is not valid is never young: a locked one has the same bit.
* Of the second version's gate: the hardware sets the accessed bit, and the hypervisor is not
  protected (pKVM: the tables are its own, out of the host's reach).
* Each entry is looked at once; holes and blocks are stepped over by their size. One accessed
  bit speaks for every page of a block.
* A table of pages is scanned ``SCAN_BLOCK`` entries at a time and only those that have the bit
  are visited one by one; the kernel's walk visits each.
* The TLB is not flushed.

Sources: "KVM: arm64: add kvm_arch_test_clear_young()", lore
20230526234435.662652-6-yuzhao@google.com; lore 20240401232946.1837665-1-jthoughton@google.com
(v3); arch/arm64/kvm/hyp/pgtable.c (``stage2_age_walker``).
"""

from __future__ import annotations

from mkold.kvm.arm64.asm.kvm_host import Kvm
from mkold.kvm.arm64.pgtable.geometry import walk_boundary
from mkold.kvm.arm64.pgtable.pte import S2_AF, stage2_pte_young
from mkold.kvm.arm64.pgtable.update import stage2_try_set_pte
from mkold.kvm.arm64.pgtable.walk import KVM_PGTABLE_WALK_SHARED, stage2_walk_to_table
from mkold.kvm.bitops import __ffs
from mkold.kvm.mmu_lock import kvm_mmu_read_lock, kvm_mmu_read_unlock
from mkold.kvm.young import kvm_should_clear_young
from mkold.lang import (
    NULL,
    READ_ONCE,
    READ_ONCE_WHICH,
    Ptr,
    addr,
    atomic_fetch_andnot_relaxed,
    kernel,
    parameter,
    prefetch,
    rcu_read_lock,
    rcu_read_unlock,
    smp_processor_id,
    u64,
)

AGE_BY_RCU = 0
AGE_READ = 1
AGE_WRITE = 2
AGE_MODE = parameter("AGE_MODE", AGE_BY_RCU)

# How a shared walk clears: 0 by compare-and-swap, 1 the bit alone (wrong: the marker is that
# bit).
STAGE2_CLEAR_YOUNG = parameter("STAGE2_CLEAR_YOUNG", 0)
# 1, as before commit df6556adf27b (Linux 6.1): of a range, the first page's leaf.
AGE_ONE_LEAF = parameter("AGE_ONE_LEAF", 0)

# How many entries one step of the scan looks at, and how far it asks ahead (0: it doesn't).
SCAN_BLOCK = parameter("SCAN_BLOCK", 32)
SCAN_AHEAD = parameter("SCAN_AHEAD", 128)
LINE_ENTRIES = 8  # of a cache line


@kernel
def stage2_clear_young(ptep: Ptr[u64], pte: u64, flags: u64) -> None:
    """Clear the accessed bit of an entry just read as ``pte``, if it is that still."""
    if STAGE2_CLEAR_YOUNG == 1 and (flags & KVM_PGTABLE_WALK_SHARED):
        atomic_fetch_andnot_relaxed(ptep.value, S2_AF)
    else:
        stage2_try_set_pte(ptep, pte, pte & ~S2_AF, flags)


@kernel
def age_run(ptep: Ptr[u64], n: u64, clear: u64, bitmap: Ptr[u64], bit: u64, flags: u64) -> u64:
    """Test (and clear) ``n`` entries of pages; ``bit`` is the first one's in the bitmap.

    Returns
    -------
    Young entries found
    """
    young = 0
    for i in range(n):
        pte = READ_ONCE(ptep[i])
        if stage2_pte_young(pte):
            young += 1
            if kvm_should_clear_young(bitmap, bit - i, clear):
                stage2_clear_young(ptep + i, pte, flags)
    return young


@kernel
def prefetch_behind(ptep: Ptr[u64]) -> None:
    """Ask for the ``SCAN_AHEAD`` entries behind a block, a cache line at a time."""
    for i in range(SCAN_BLOCK, SCAN_BLOCK + SCAN_AHEAD, LINE_ENTRIES):
        prefetch(ptep + i)


@kernel
def age_accessed(
    ptep: Ptr[u64], accessed: u64, clear: u64, bitmap: Ptr[u64], bit: u64, flags: u64
) -> u64:
    """``age_run`` for those of a block's entries that have a bit in ``accessed``."""
    prefetch_behind(ptep)
    young = 0
    while accessed:
        i = __ffs(accessed)
        young += age_run(ptep + i, 1, clear, bitmap, bit - i, flags)
        accessed &= accessed - 1
    return young


@kernel
def age_table(
    ptep: Ptr[u64], n: u64, clear: u64, bitmap: Ptr[u64], bit: u64, flags: u64
) -> u64:
    """``age_run`` over entries of one table, block by block as long as they are whole."""
    young = 0
    n_whole = n - n % SCAN_BLOCK
    i = 0
    while i < n_whole:
        accessed = READ_ONCE_WHICH(ptep[i], SCAN_BLOCK, S2_AF)
        if accessed:
            young += age_accessed(ptep + i, accessed, clear, bitmap, bit - i, flags)
        i += SCAN_BLOCK
    return young + age_run(ptep + i, n - i, clear, bitmap, bit - i, flags)


@kernel
def age_block(
    ptep: Ptr[u64], pte: u64, n: u64, clear: u64, bitmap: Ptr[u64], bit: u64, flags: u64
) -> u64:
    """Test (and clear) a block of which ``n`` pages are in the range."""
    if not stage2_pte_young(pte):
        return 0
    should_clear = 0
    for i in range(n):
        should_clear |= kvm_should_clear_young(bitmap, bit - i, clear)
        if bitmap == NULL:
            break
    if should_clear:
        stage2_clear_young(ptep, pte, flags)
    return 1


@kernel
def stage2_age_range(
    pgd: Ptr[u64], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64, flags: u64
) -> u64:
    """Age pages ``[gfn, end)``; young entries found.

    ``last_bit`` is the bitmap's bit of page ``end - 1``. A test without a bitmap ends with the
    first table that holds a young entry.
    """
    young = 0
    if AGE_ONE_LEAF:
        end = min(gfn + 1, end)
    while gfn < end:
        ptep, entry, level = stage2_walk_to_table(pgd, gfn)
        after = min(walk_boundary(gfn, 2 if level == 3 else level), end)
        bit = last_bit + (end - 1 - gfn)
        if level == 3:
            young += age_table(ptep, after - gfn, clear, bitmap, bit, flags)
        else:
            young += age_block(ptep, entry, after - gfn, clear, bitmap, bit, flags)
        if young and not clear and bitmap == NULL:
            break
        gfn = after
    return young


@kernel
def kvm_pgtable_stage2_test_clear_young(
    kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64, flags: u64
) -> u64:
    """Age pages ``[gfn, end)`` of the VM; young entries found."""
    pgd = READ_ONCE(kvm.arch.mmu.pgd)
    if pgd == NULL:
        return 0
    return stage2_age_range(pgd, gfn, end, clear, bitmap, last_bit, flags)


@kernel
def age_by_rcu(
    kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> u64:
    """A shared walk in a read section."""
    rcu_read_lock()
    young = kvm_pgtable_stage2_test_clear_young(
        kvm, gfn, end, clear, bitmap, last_bit, KVM_PGTABLE_WALK_SHARED
    )
    rcu_read_unlock()
    return young


@kernel
def stage2_test_clear_young_fast(
    kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> tuple[u64, u64]:
    """``kvm_arch_test_clear_young``; see the hook.

    Ordering
    --------
    Enters an RCU read section; the third version waits for ``mmu_lock`` before.
    """
    if AGE_MODE != AGE_READ:
        return 0, age_by_rcu(kvm, gfn, end, clear, bitmap, last_bit)
    kvm_mmu_read_lock(kvm, addr(kvm.arch.age_waits[8 * smp_processor_id()]))
    young = age_by_rcu(kvm, gfn, end, clear, bitmap, last_bit)
    kvm_mmu_read_unlock(kvm)
    return 0, young
