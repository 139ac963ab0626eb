"""arm64's stage 2: the series' second version of aging, and faults on pages that are mapped."""

from __future__ import annotations

from pathlib import Path

from aging.subject import LINE_ENTRIES, TABLE, Count, Faults, Scan, Subject
from aging.young import bench_is_young
from mkold.kvm.arm64.asm.kvm_host import ESR_ELx_FSC_FAULT, ESR_ELx_FSC_PERM, Kvm, Vcpu
from mkold.kvm.arm64.machine import machine
from mkold.kvm.arm64.mmu import kvm_handle_guest_abort
from mkold.kvm.arm64.pgtable.age import stage2_test_clear_young_fast
from mkold.kvm.arm64.pgtable.map import kvm_pgtable_stage2_map
from mkold.kvm.arm64.pgtable.pte import (
    S2_AF,
    kvm_init_valid_leaf_pte,
    kvm_pte_valid,
    stage2_set_prot_attr,
)
from mkold.kvm.arm64.pgtable.tables import kvm_mmu_topup_memory_cache
from mkold.kvm.arm64.pgtable.walk import stage2_lookup, stage2_walk_to_table
from mkold.lang import NULL, READ_ONCE, WRITE_ONCE, Ptr, addr, kernel, u64

SLOT = 528  # words that the slab takes for a table


@kernel
def arm64_map(kvm: Ptr[Kvm], n: u64) -> u64:
    """``map``: the tables."""
    failed: u64 = 0
    attr = stage2_set_prot_attr(1)
    store = addr(kvm.arch.mmu.split_page_cache)
    data = addr(kvm.arch.mmu.walk)
    for gfn in range(0, n, TABLE):
        failed |= kvm_mmu_topup_memory_cache(kvm, store, 3)
        failed |= kvm_pgtable_stage2_map(kvm, data, gfn, 1, gfn, attr, store, 0)
    return failed


@kernel
def arm64_fill(kvm: Ptr[Kvm], n: u64, threshold: u64) -> u64:
    """``fill``."""
    young = 0
    table: Ptr[u64] = kvm.arch.mmu.pgd
    attr = stage2_set_prot_attr(1) & ~S2_AF
    for gfn in range(n):
        if gfn & (TABLE - 1) == 0:
            table, _entry, _level = stage2_walk_to_table(kvm.arch.mmu.pgd, gfn)
        pte = kvm_init_valid_leaf_pte(gfn, attr, 3)
        if bench_is_young(gfn, threshold):
            pte |= S2_AF
            young += 1
        table[gfn & (TABLE - 1)] = pte
    return young


@kernel
def arm64_scan(kvm: Ptr[Kvm], n: u64) -> u64:
    """``scan``: the fast path."""
    _failed, young = stage2_test_clear_young_fast(kvm, 0, n, 1, NULL, 0)
    return young


@kernel
def arm64_ready(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n: u64) -> u64:
    """``ready``: a VM begins like this."""
    return 0


@kernel
def arm64_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], page: u64) -> u64:
    """``fault``: a translation fault the first time, then permission faults: the memslot, the
    host's tables, ``mmu_lock`` for reading, the retry check, the walk to the entry."""
    _ptep, pte, level = stage2_lookup(kvm.arch.mmu.pgd, page)
    vcpu.arch.fsc = ESR_ELx_FSC_PERM if kvm_pte_valid(pte) else ESR_ELx_FSC_FAULT
    vcpu.arch.fault_level = level
    return kvm_handle_guest_abort(kvm, vcpu, page, 0)


@kernel
def arm64_read(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n: u64, count: Ptr[Count]) -> u64:
    """``read``."""
    seen = 0
    gfn = 0
    while gfn < n and not READ_ONCE(count.stop):
        table, _entry, level = stage2_walk_to_table(kvm.arch.mmu.pgd, gfn)
        if level == 3:
            for i in range(0, TABLE, LINE_ENTRIES):
                seen |= READ_ONCE(table[i])
        gfn += TABLE
    WRITE_ONCE(count.done, count.done + gfn)
    return seen


ARM64 = Subject(
    "arm64",
    "the stage-2 tables of a VM, 4K granule",
    machine,
    scan=Scan(
        arm64_map,
        arm64_fill,
        arm64_scan,
        words=lambda n: 2_000_000 + n // TABLE * SLOT,
        source=Path(__file__).with_name("arm64.c"),
        peers={"age_entries": "entries", "age_masks": "masks", "sum": "read"},
        roots=lambda kvm: [kvm["arch.mmu.pgd"]],
        parameters=machine.parameters,
    ),
    faults=Faults(
        arm64_ready,
        arm64_fault,
        arm64_read,
        words=lambda n: (1 << 19) + -(-n // TABLE) * 544 + n,
        parameters=machine.parameters,
    ),
)
