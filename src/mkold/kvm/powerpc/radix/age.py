"""Aging on the radix tree: the fast path without ``mmu_lock``, and the slow path with it.

``kvm_test_clear_young_hv`` is the fast path. Rules:

* It runs in an RCU read section, which keeps every table it can reach from being freed,
  and starts only if the mode flag says radix; ``smp_rmb`` orders the flag before the
  root (pairs with ``smp_wmb`` in ``kvmppc_switch_mmu_to_radix``).
* An entry's accessed bit is cleared by one atomic operation that touches no other bit. A
  compare-and-swap that loses leaves the bit set; the page is reported young all the same.
* Each entry is looked at once, whatever the alignment of the start: after an entry the
  walk goes on at the next multiple of what that entry covers. Holes are skipped by the
  size of the missing table.
* One accessed bit speaks for every page of a large leaf: a test marks all its pages that
  are in the range, a clear is done if any of them is wanted.
* A secure guest has no accessed bits to show: nothing is young, as on the slow path.
* A VM that runs guests of its own (L2) is refused, since their accesses are recorded in
  shadow tables that this walk does not see. ``NESTED_LOCKLESS`` 1 ages it by ``nested.age``.
* A base-page table is scanned ``SCAN_BLOCK`` entries at a time, and only those that have the
  accessed bit are looked at one by one. Before that the ``SCAN_AHEAD`` entries behind are
  asked for, as atomic operations hold up the loads that come after them; where nothing is
  young the hardware runs ahead by itself, and better.
* The TLB is not flushed: an access through a TLB entry does not set the bit again.

The reviewed patch differs in the points that ``AS_POSTED`` lists.

Sources: "KVM: powerpc: add kvm_test_clear_young_hv()", lore
20230526234435.662652-8-yuzhao@google.com, and its review of 20-21 June 2023;
arch/powerpc/kvm/book3s_64_mmu_radix.c (``kvm_age_radix``, ``kvm_test_age_radix``).
"""

from __future__ import annotations

from mkold.kvm.bitops import __ffs
from mkold.kvm.powerpc.asm.kvm_book3s_64 import (
    NESTED_LOCKLESS,
    kvmhv_test_clear_young,
    kvmhv_update_nest_rmap_rc_list,
)
from mkold.kvm.powerpc.asm.kvm_host import KVMPPC_SECURE_INIT_DONE, Kvm
from mkold.kvm.powerpc.radix.pte import (
    _PAGE_ACCESSED,
    level_pages,
    pte_leaf,
    pte_young,
    table_index,
)
from mkold.kvm.powerpc.radix.pte_update import kvmppc_radix_update_pte, pte_clear_young
from mkold.kvm.powerpc.radix.tables import PAGE_COUNT_WARNING, page_count
from mkold.kvm.powerpc.radix.walk import (
    find_kvm_secondary_pte,
    radix_walk_to_table,
    walk_boundary,
)
from mkold.kvm.young import kvm_should_clear_young
from mkold.lang import (
    NULL,
    READ_ONCE,
    READ_ONCE_WHICH,
    WARN_ON_ONCE,
    Ptr,
    kernel,
    parameter,
    prefetch,
    rcu_read_lock,
    rcu_read_unlock,
    smp_rmb,
    u64,
)

# How many entries one step of the scan looks at, and how far it asks ahead (0: it doesn't).
SCAN_BLOCK = parameter("SCAN_BLOCK", 32)
SCAN_AHEAD = parameter("SCAN_AHEAD", 128)
LINE_ENTRIES = 8  # of a cache line

# The points in which the posted patch differs, each a build parameter of its own.
PLAIN_RADIX_FLAG = parameter("PLAIN_RADIX_FLAG", 0)  # the mode flag read by a plain load
STEP_FROM_GFN = parameter("STEP_FROM_GFN", 0)  # a leaf's size from wherever the walk stands
NO_NESTED_TEST = parameter("NO_NESTED_TEST", 0)
NO_SECURE_TEST = parameter("NO_SECURE_TEST", 0)
AS_POSTED = {
    "PLAIN_RADIX_FLAG": 1,
    "STEP_FROM_GFN": 1,
    "NO_NESTED_TEST": 1,
    "NO_SECURE_TEST": 1,
    "TABLE_FREE": 1,
}


@kernel
def age_run(ptep: Ptr[u64], n: u64, clear: u64, bitmap: Ptr[u64], bit: u64) -> u64:
    """Test (and clear) ``n`` base-page entries; ``bit`` is the first one's in the bitmap.

    Returns
    -------
    Young entries found
    """
    young = 0
    for i in range(n):
        pte = READ_ONCE(ptep[i])
        if pte_young(pte):
            young += 1
            if kvm_should_clear_young(bitmap, bit - i, clear):
                pte_clear_young(ptep + i, pte)
    return young


@kernel
def prefetch_behind(ptep: Ptr[u64]) -> None:
    """Ask for the ``SCAN_AHEAD`` entries behind a block, a cache line at a time."""
    for i in range(SCAN_BLOCK, SCAN_BLOCK + SCAN_AHEAD, LINE_ENTRIES):
        prefetch(ptep + i)


@kernel
def age_accessed(ptep: Ptr[u64], accessed: u64, clear: u64, bitmap: Ptr[u64], bit: u64) -> u64:
    """``age_run`` for those of a block's entries that have a bit in ``accessed``."""
    prefetch_behind(ptep)
    young = 0
    while accessed:
        i = __ffs(accessed)
        young += age_run(ptep + i, 1, clear, bitmap, bit - i)
        accessed &= accessed - 1
    return young


@kernel
def age_table(ptep: Ptr[u64], n: u64, clear: u64, bitmap: Ptr[u64], bit: u64) -> u64:
    """``age_run`` over entries of one table, block by block as long as they are whole."""
    young = 0
    n_whole = n - n % SCAN_BLOCK
    i = 0
    while i < n_whole:
        accessed = READ_ONCE_WHICH(ptep[i], SCAN_BLOCK, _PAGE_ACCESSED)
        if accessed:
            young += age_accessed(ptep + i, accessed, clear, bitmap, bit - i)
        i += SCAN_BLOCK
    return young + age_run(ptep + i, n - i, clear, bitmap, bit - i)


@kernel
def age_leaf(ptep: Ptr[u64], pte: u64, n: u64, clear: u64, bitmap: Ptr[u64], bit: u64) -> u64:
    """Test (and clear) a large leaf of which ``n`` pages are in the range."""
    if not pte_young(pte):
        return 0
    should_clear = 0
    for i in range(n):
        should_clear |= kvm_should_clear_young(bitmap, bit - i, clear)
        if bitmap == NULL:
            break
    if should_clear:
        pte_clear_young(ptep, pte)
    return 1


@kernel
def next_gfn(gfn: u64, entry: u64, level: u64) -> u64:
    """Where the walk goes on after the table, leaf or hole it met at ``gfn``."""
    if STEP_FROM_GFN:
        if pte_leaf(entry):
            return gfn + level_pages(level)
        return gfn + 1
    if level == 0:
        return walk_boundary(gfn, 1)
    return walk_boundary(gfn, level)


@kernel
def age_radix_range(
    pgtable: Ptr[u64], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> u64:
    """Age guest pages ``[gfn, end)`` of one tree, without a lock; young entries found.

    ``last_bit`` is the bitmap's bit of page ``end - 1``. A test without a bitmap ends with
    the first table that holds a young entry.
    """
    young = 0
    while gfn < end:
        ptep, entry, level = radix_walk_to_table(pgtable, gfn)
        after = min(next_gfn(gfn, entry, level), end)
        bit = last_bit + (end - 1 - gfn)
        if level == 0:
            if PAGE_COUNT_WARNING:
                WARN_ON_ONCE(page_count(ptep - table_index(gfn, 0)) == 0)
            young += age_table(ptep, after - gfn, clear, bitmap, bit)
        elif pte_leaf(entry):
            n = 1 if STEP_FROM_GFN else after - gfn
            young += age_leaf(ptep, entry, n, clear, bitmap, bit)
        if young and not clear and bitmap == NULL:
            break
        gfn = after
    return young


@kernel
def radix_mode(kvm: Ptr[Kvm]) -> u64:
    """The mode flag."""
    if PLAIN_RADIX_FLAG:
        return kvm.arch.radix
    return READ_ONCE(kvm.arch.radix)


@kernel
def kvm_is_secure(kvm: Ptr[Kvm]) -> u64:
    """Whether the guest's memory is out of the hypervisor's sight."""
    return READ_ONCE(kvm.arch.secure_guest) & KVMPPC_SECURE_INIT_DONE


@kernel
def kvm_test_clear_young_hv(
    kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> tuple[u64, u64]:
    """``kvm_arch_test_clear_young`` for a VM of HV; see the hook.

    Ordering
    --------
    Enters an RCU read section; takes no lock and waits for nothing.
    """
    rcu_read_lock()
    if not radix_mode(kvm):
        rcu_read_unlock()
        return 1, 0
    nested = not NO_NESTED_TEST and READ_ONCE(kvm.arch.nested_guests) != 0
    if nested and not NESTED_LOCKLESS:
        rcu_read_unlock()
        return 1, 0
    if not NO_SECURE_TEST and kvm_is_secure(kvm):
        rcu_read_unlock()
        return 0, 0
    smp_rmb()  # pairs with smp_wmb() in kvmppc_switch_mmu_to_radix()
    pgtable = READ_ONCE(kvm.arch.pgtable)
    young = 0
    if NESTED_LOCKLESS and nested and pgtable != NULL:
        young = kvmhv_test_clear_young(kvm, gfn, end, clear, bitmap, last_bit)
    elif pgtable != NULL:
        young = age_radix_range(pgtable, gfn, end, clear, bitmap, last_bit)
    rcu_read_unlock()
    return pgtable == NULL, young


@kernel
def kvm_age_radix(kvm: Ptr[Kvm], gfn: u64) -> u64:
    """Slow path, one page, under ``mmu_lock``: clear its accessed bit, then those of its
    shadow entries; 1 if it was set."""
    ptep, shift = find_kvm_secondary_pte(kvm, gfn)
    if ptep == NULL or not pte_young(READ_ONCE(ptep.value)):
        return 0
    old = kvmppc_radix_update_pte(ptep, _PAGE_ACCESSED, 0)
    kvmhv_update_nest_rmap_rc_list(kvm, gfn, _PAGE_ACCESSED, old, 1 << shift)
    return 1


@kernel
def kvm_test_age_radix(kvm: Ptr[Kvm], gfn: u64) -> u64:
    """Slow path, one page, under ``mmu_lock``: whether its accessed bit is set."""
    ptep, _shift = find_kvm_secondary_pte(kvm, gfn)
    return ptep != NULL and pte_young(READ_ONCE(ptep.value))
