"""x86's shadow MMU: lockless aging by the reverse map, and faults that find the page mapped.

* A scan is the walk of Linux 6.15 over the words of all base pages: the bit, the chain, A of
  each SPTE that is present and young cleared by an atomic AND, the bit given back. ``MAPS``
  tables map each page: with one the word has the SPTE itself, with more a chain of descs.
* A fault is a read of a page that another vCPU has mapped: memslot, the host's tables,
  ``mmu_lock`` for writing, retry check, the walk down, the SPTE compared.

Known limits: pages are mapped in order, so the descs lie in order too.
"""

from __future__ import annotations

from pathlib import Path

from aging.subject import LINE_ENTRIES, TABLE, Count, Faults, Scan, Subject
from aging.young import bench_is_young
from mkold.kvm.memslots import kvm_add_memslot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu, sp_spt
from mkold.kvm.x86.machine import shadow
from mkold.kvm.x86.mmu.spte import PG_LEVEL_4K, SHADOW_ACCESSED_MASK, make_leaf_spte
from mkold.kvm.x86.shadow.age import kvm_rmap_age
from mkold.kvm.x86.shadow.fault import (
    kvm_mmu_load,
    kvm_shadow_page_fault,
    mmu_topup_memory_caches,
)
from mkold.kvm.x86.shadow.memslot_rmap import gfn_to_rmap
from mkold.kvm.x86.shadow.pages import (
    kvm_mmu_find_shadow_page,
    kvm_mmu_get_shadow_page,
    role_of,
)
from mkold.kvm.x86.shadow.rmap_zap import rmap_add
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, addr, cast, kernel, parameter, u64
from mkold.mm.page_alloc import memblock_alloc
from mkold.run.layout import Place

MAPS = parameter("BENCH_SHADOW_MAPS", 1)
SLOT = 544  # words that the slab takes for a table
DESC = 24  # and for a desc


@kernel
def shadow_map(kvm: Ptr[Kvm], n: u64) -> u64:
    """``map``: the rmap words, ``MAPS`` tables for each page, the chains."""
    if kvm_add_memslot(kvm, 0, n, 0) != 0:
        return 1
    vcpu = cast(Ptr[Vcpu], memblock_alloc(Vcpu.size))
    slot = addr(kvm.slots[0])
    for number in range(MAPS):
        for first in range(0, n, TABLE):
            if mmu_topup_memory_caches(kvm, vcpu):
                return 1
            sp = kvm_mmu_get_shadow_page(kvm, vcpu, first, PG_LEVEL_4K, role_of(1, number))
            for i in range(TABLE):
                if mmu_topup_memory_caches(kvm, vcpu):
                    return 1
                rmap_add(vcpu, slot, sp_spt(sp) + i, first + i, PG_LEVEL_4K)
    return 0


@kernel
def shadow_fill_table(sp: Ptr[KvmMmuPage], threshold: u64) -> u64:
    """Fill one table; how many entries are young."""
    young: u64 = 0
    for i in range(TABLE):
        spte = make_leaf_spte(0, sp.gfn + i, PG_LEVEL_4K, 1)
        if bench_is_young(sp.gfn + i, threshold):
            young += 1
        else:
            spte &= ~SHADOW_ACCESSED_MASK
        sp_spt(sp)[i] = spte
    return young


@kernel
def shadow_fill(kvm: Ptr[Kvm], n: u64, threshold: u64) -> u64:
    """``fill``: a page is young by all of its SPTEs."""
    young: u64 = 0
    for number in range(MAPS):
        young = 0
        for first in range(0, n, TABLE):
            sp = kvm_mmu_find_shadow_page(kvm, first, PG_LEVEL_4K, role_of(1, number))
            young += shadow_fill_table(sp, threshold)
    return young


@kernel
def shadow_scan(kvm: Ptr[Kvm], n: u64) -> u64:
    """``scan``: page by page."""
    young: u64 = 0
    rmap = gfn_to_rmap(addr(kvm.slots[0]), 0, PG_LEVEL_4K)
    for gfn in range(n):
        young += kvm_rmap_age(rmap + gfn, 1)
    return young


@kernel
def shadow_ready(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n: u64) -> u64:
    """``ready``: the vCPU has a root, and the VM may have all the tables that it needs."""
    kvm.arch.shadow.n_max_mmu_pages = n
    return kvm_mmu_load(kvm, vcpu)


@kernel
def shadow_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], page: u64) -> u64:
    """``bench_fault``."""
    return kvm_shadow_page_fault(kvm, vcpu, page, 0)


@kernel
def shadow_read(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n: u64, count: Ptr[Count]) -> u64:
    """``read``: the rmap words, and an SPTE of each cache line."""
    seen: u64 = 0
    gfn: u64 = 0
    while gfn < n and not READ_ONCE(count.stop):
        for page in range(gfn, min(gfn + TABLE, n), LINE_ENTRIES):
            word = READ_ONCE(kvm.slots[0].rmap[page])
            if word != 0:
                seen |= READ_ONCE(cast(Ptr[u64], word >> 2).value)
        gfn += TABLE
    WRITE_ONCE(count.done, count.done + gfn)
    return seen


def scan_words(maps: int, n: int) -> int:
    """Tables, a word a page, a desc a page but for one table's."""
    return 4_000_000 + maps * (n // TABLE * SLOT) + 2 * n + (DESC * n if maps > 1 else 0)


def roots(kvm: Place) -> list[int]:
    """The words of the base pages."""
    return [int(kvm.words[kvm.at + Kvm.offset("slots") + 5])]


def _scan(maps: int) -> Scan:
    return Scan(
        shadow_map, shadow_fill, shadow_scan,
        words=lambda n: scan_words(maps, n),
        source=Path(__file__).with_name("shadow.c"),
        peers={"age_entries": "C"},
        roots=roots,
        parameters={"BENCH_SHADOW_MAPS": maps},
    )  # fmt: skip


SHADOW = Subject(
    "x86-shadow",
    "the shadow MMU's reverse map, one SPTE a page",
    shadow,
    scan=_scan(1),
    faults=Faults(
        shadow_ready,
        shadow_fault,
        shadow_read,
        words=lambda n: (1 << 20) + -(-n // TABLE) * SLOT + 3 * n,
        parameters={"KVM_HAVE_MMU_RWLOCK": 1},
    ),
)
CHAINS = Subject(
    "x86-shadow-chains",
    "three tables map each page: chains of descs",
    shadow,
    scan=_scan(3),
)
