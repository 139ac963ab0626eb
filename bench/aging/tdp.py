"""x86's TDP MMU: lockless aging as Linux 6.15 does it, over a range, and faults that find the
page mapped.

Known limits: Linux 6.15 is asked page by page; the scan is what one call for all pages takes.
"""

from __future__ import annotations

from pathlib import Path

from aging.subject import LINE_ENTRIES, TABLE, Count, Faults, Scan, Subject
from aging.young import bench_is_young
from mkold.kvm.machine import Architecture
from mkold.kvm.memslots import kvm_add_memslot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu, sp_spt
from mkold.kvm.x86.fault import kvm_tdp_page_fault
from mkold.kvm.x86.machine import machine, noad
from mkold.kvm.x86.mmu.spte import (
    KVM_AD_ENABLED,
    PG_LEVEL_4K,
    SHADOW_ACCESSED_MASK,
    make_leaf_spte,
)
from mkold.kvm.x86.tdp.age import kvm_tdp_mmu_age_lockless
from mkold.kvm.x86.tdp.iter import tdp_walk
from mkold.kvm.x86.tdp.map import kvm_tdp_mmu_map
from mkold.kvm.x86.tdp.roots import kvm_mmu_reload, tdp_mmu_add_root
from mkold.lang import NULL, READ_ONCE, WRITE_ONCE, Ptr, addr, kernel, u64
from mkold.run.layout import Place

SLOT = 544  # words that the slab takes for a table


@kernel
def tdp_map(kvm: Ptr[Kvm], n: u64) -> u64:
    """``map``: a root, and a page of each table."""
    if kvm_add_memslot(kvm, 0, n, 0) != 0:
        return 1
    root = tdp_mmu_add_root(kvm)
    if root == NULL:
        return 1
    failed: u64 = 0
    for gfn in range(0, n, TABLE):
        mapped = kvm_tdp_mmu_map(kvm, root, addr(kvm.slots[0]), gfn, gfn, PG_LEVEL_4K, 0, 1)
        failed |= mapped != 1
    return failed


@kernel
def tdp_fill(kvm: Ptr[Kvm], n: u64, threshold: u64) -> u64:
    """``fill``."""
    young: u64 = 0
    spt = sp_spt(kvm.arch.tdp_mmu_roots)
    table = spt
    for gfn in range(n):
        if gfn & (TABLE - 1) == 0:
            table, _spte, _level = tdp_walk(spt, gfn, PG_LEVEL_4K)
        spte = make_leaf_spte(not KVM_AD_ENABLED, gfn, PG_LEVEL_4K, 1)
        if bench_is_young(gfn, threshold):
            young += 1
        else:
            spte &= ~SHADOW_ACCESSED_MASK
        table[gfn & (TABLE - 1)] = spte
    return young


@kernel
def tdp_scan(kvm: Ptr[Kvm], n: u64) -> u64:
    """``scan``."""
    return kvm_tdp_mmu_age_lockless(kvm, 0, n, 1, NULL, 0)


@kernel
def tdp_ready(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n: u64) -> u64:
    """``ready``: the vCPU has a root."""
    return kvm_mmu_reload(kvm, vcpu)


@kernel
def tdp_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], page: u64) -> u64:
    """``bench_fault``: memslot, the host's tables, ``mmu_lock`` for reading, the retry check,
    the walk to the entry."""
    return kvm_tdp_page_fault(kvm, vcpu, page, 0)


@kernel
def tdp_read(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n: u64, count: Ptr[Count]) -> u64:
    """``read``."""
    seen: u64 = 0
    gfn: u64 = 0
    while gfn < n and not READ_ONCE(count.stop):
        table, _spte, level = tdp_walk(sp_spt(vcpu.arch.root), gfn, PG_LEVEL_4K)
        if level == PG_LEVEL_4K:
            for i in range(0, TABLE, LINE_ENTRIES):
                seen |= READ_ONCE(table[i])
        gfn += TABLE
    WRITE_ONCE(count.done, count.done + gfn)
    return seen


def roots(kvm: Place) -> list[int]:
    """The root table, behind its book."""
    return [kvm["arch.tdp_mmu_roots"] + KvmMmuPage.size]


def _built(arch: Architecture) -> dict[str, int]:
    """Of its parameters those that are used here: nobody writes."""
    return {key: n for key, n in arch.parameters.items() if key != "ENABLE_PML"}


def _scan(arch: Architecture, *flags: str) -> Scan:
    return Scan(
        tdp_map, tdp_fill, tdp_scan,
        words=lambda n: 2_000_000 + n // TABLE * SLOT,
        source=Path(__file__).with_name("tdp.c"),
        peers={"age_entries": "entries", "age_masks": "masks", "sum": "read"},
        roots=roots,
        flags=flags,
        parameters=_built(arch),
    )  # fmt: skip


def _faults(arch: Architecture) -> Faults:
    return Faults(
        tdp_ready, tdp_fault, tdp_read,
        words=lambda n: (1 << 19) + -(-n // TABLE) * SLOT + n,
        parameters=_built(arch),
    )  # fmt: skip


TDP = Subject(
    "x86", "the TDP MMU's tables of a VM", machine, scan=_scan(machine), faults=_faults(machine)
)
NOAD = Subject(
    "x86-noad",
    "the same where the hardware has no accessed bit",
    noad,
    scan=_scan(noad, "-DTRACKED"),
    faults=_faults(noad),
)
