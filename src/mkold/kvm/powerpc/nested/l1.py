"""What an L1 hypervisor does to have a guest: a partition table, and a table of its memory.

It runs on one of the VM's vCPUs, in guest mode, and writes its tables as it writes anything.
The partition table is page 0 of L1's memory, the tables of the one guest's (L2's) memory are
the pages behind it, level by level from the root, and L2's page ``n`` is L1's page ``n`` behind
those. All of L2's entries allow everything and have R and C set.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.powerpc.nested.enter import kvmhv_enable_nested, kvmhv_set_partition_table
from mkold.kvm.powerpc.nested.l1_memory import ROOT_SHIFT
from mkold.kvm.powerpc.radix.fault import leaf_bits
from mkold.kvm.powerpc.radix.pte import _PAGE_PRESENT, RADIX_RPN_SHIFT, pfn_pte
from mkold.kvm.types import KVM_PFN_ERR
from mkold.kvm.vcpu import kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import WRITE_ONCE, Ptr, cast, kernel, u64
from mkold.mm.mm_types import PAGE_SHIFT

L2_LPID = 1


def l1_pages(n_pages: int, page_shift: int) -> int:
    """Pages of L1's memory that its tables for a guest of ``n_pages`` take."""
    pages, n = 1, n_pages
    while True:
        n = -(-n >> page_shift)
        pages += n
        if n == 1:
            return pages


@kernel
def l1_write(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, offset: u64, word: u64) -> u64:
    """L1 stores a word in a page of its memory; 0, or 1: it has no such page."""
    pfn = kvm_vcpu_access(kvm, vcpu, gfn, 1)
    if pfn >= KVM_PFN_ERR:
        return 1
    WRITE_ONCE(cast(Ptr[u64], (pfn << PAGE_SHIFT) + offset).value, word)
    return 0


@kernel
def l1_entry(gfn: u64, is_leaf: u64) -> u64:
    """An entry of L1's table: a page for L2, or the table in page ``gfn``."""
    if is_leaf:
        return pfn_pte(gfn, leaf_bits(1, 1))
    return _PAGE_PRESENT | (gfn << RADIX_RPN_SHIFT)


@kernel
def l1_fill_level(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], first: u64, below: u64, n_entries: u64, is_leaf: u64
) -> u64:
    """Fill the tables of one level, from page ``first`` on: entry after entry names page
    after page from ``below`` on. 0, or 1 if L1 lacks memory."""
    for i in range(n_entries):
        entry = l1_entry(below + i, is_leaf)
        offset = i & ((1 << PAGE_SHIFT) - 1)
        if l1_write(kvm, vcpu, first + (i >> PAGE_SHIFT), offset, entry):
            return 1
    return 0


@kernel
def l1_fill(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n_pages: u64) -> u64:
    """Write the table of an L2 guest of ``n_pages``, and the partition table."""
    levels = 1
    while n_pages > (1 << (levels * PAGE_SHIFT)):
        levels += 1
    if l1_write(kvm, vcpu, 0, L2_LPID, (1 << ROOT_SHIFT) | levels):
        return 1
    first = 1
    level: u64 = levels
    while level > 0:
        level -= 1
        shift = level * PAGE_SHIFT
        n_entries = (n_pages + (1 << shift) - 1) >> shift
        below = first + ((n_entries + (1 << PAGE_SHIFT) - 1) >> PAGE_SHIFT)
        if l1_fill_level(kvm, vcpu, first, below, n_entries, level == 0):
            return 1
        first = below
    return 0


@kernel
def l1_boot(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n_pages: u64) -> u64:
    """Make the VM an L1 with tables for an L2 of ``n_pages``; 0, or 1: no memory.

    Runs alone, on the thread of ``vcpu``, before any vCPU runs.
    """
    if kvmhv_enable_nested(kvm) or kvm_vcpu_load(kvm, vcpu):
        return 1
    failed = l1_fill(kvm, vcpu, n_pages)
    kvm_vcpu_put(vcpu)
    kvmhv_set_partition_table(kvm, 0)
    return failed
