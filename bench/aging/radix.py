"""powerpc's radix tree: the fast path of aging, and faults on pages that are mapped."""

from __future__ import annotations

from pathlib import Path

from aging.subject import LINE_ENTRIES, TABLE, Count, Faults, Scan, Subject
from aging.young import bench_is_young
from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.powerpc.machine import machine
from mkold.kvm.powerpc.radix.age import kvm_test_clear_young_hv
from mkold.kvm.powerpc.radix.create import kvmppc_create_pte
from mkold.kvm.powerpc.radix.fault import kvmppc_book3s_radix_page_fault
from mkold.kvm.powerpc.radix.pte import (
    _PAGE_ACCESSED,
    _PAGE_PRESENT,
    _PAGE_PTE,
    RADIX_RPN_SHIFT,
)
from mkold.kvm.powerpc.radix.walk import radix_walk_to_table
from mkold.lang import NULL, READ_ONCE, WRITE_ONCE, Ptr, addr, kernel, u64

SLOT = 528  # words that the slab takes for a table


@kernel
def radix_map(kvm: Ptr[Kvm], n: u64) -> u64:
    """``map``: the tables."""
    failed = 0
    waits = addr(kvm.stat.lock_waits)
    for gfn in range(0, n, TABLE):
        leaf = _PAGE_PRESENT | _PAGE_PTE
        failed |= kvmppc_create_pte(kvm, gfn, leaf, 0, 0, gfn, waits)
    return failed


@kernel
def radix_fill_tree(root: Ptr[u64], n: u64, threshold: u64) -> u64:
    """``fill`` of one tree."""
    young = 0
    table = root
    for gfn in range(n):
        if gfn & (TABLE - 1) == 0:
            table, _entry, _level = radix_walk_to_table(root, gfn)
        pte = _PAGE_PRESENT | _PAGE_PTE | 7 | (gfn << RADIX_RPN_SHIFT)
        if bench_is_young(gfn, threshold):
            pte |= _PAGE_ACCESSED
            young += 1
        table[gfn & (TABLE - 1)] = pte
    return young


@kernel
def radix_fill(kvm: Ptr[Kvm], n: u64, threshold: u64) -> u64:
    """``fill``."""
    return radix_fill_tree(kvm.arch.pgtable, n, threshold)


@kernel
def radix_scan(kvm: Ptr[Kvm], n: u64) -> u64:
    """``scan``: the fast path."""
    _failed, young = kvm_test_clear_young_hv(kvm, 0, n, 1, NULL, 0)
    return young


@kernel
def radix_ready(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n: u64) -> u64:
    """``ready``: a VM begins like this."""
    return 0


@kernel
def radix_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], page: u64) -> u64:
    """``fault``: memslot, the host's tables, ``mmu_lock``, retry check, the entry."""
    return kvmppc_book3s_radix_page_fault(kvm, vcpu, page, 0)


@kernel
def radix_read_table(root: Ptr[u64], gfn: u64) -> u64:
    """Read one entry a cache line of the table of ``gfn``."""
    seen = 0
    table, _entry, _level = radix_walk_to_table(root, gfn)
    for i in range(0, TABLE, LINE_ENTRIES):
        seen |= READ_ONCE(table[i])
    return seen


@kernel
def radix_read(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n: u64, count: Ptr[Count]) -> u64:
    """``read``."""
    seen = 0
    gfn = 0
    while gfn < n and not READ_ONCE(count.stop):
        seen |= radix_read_table(kvm.arch.pgtable, gfn)
        gfn += TABLE
    WRITE_ONCE(count.done, count.done + gfn)
    return seen


RADIX = Subject(
    "powerpc",
    "the radix tree of a VM",
    machine,
    scan=Scan(
        radix_map,
        radix_fill,
        radix_scan,
        words=lambda n: 2_000_000 + n // TABLE * SLOT,
        source=Path(__file__).with_name("radix.c"),
        peers={"age_entries": "entries", "age_masks": "masks", "sum": "read"},
        roots=lambda kvm: [kvm["arch.pgtable"]],
    ),
    faults=Faults(
        radix_ready,
        radix_fault,
        radix_read,
        words=lambda n: (1 << 19) + -(-n // TABLE) * 544 + n,  # and a word of the slot each
    ),
)
