"""powerpc's guests of the guest: L1's tree, the reverse map, and shadow trees.

* A scan is the fast path with the lockless reverse map: each young entry of L1's goes by a
  compare-and-swap, then its page's list is walked, and R of each shadow entry that it names
  goes likewise. ``GUESTS`` is how many guests of L1 map each page: of one the page's word has
  the entry itself, of more it has a list.
* A fault is one of L2's on a page that has a shadow entry: L1's table is walked through the
  host's memory, then R is set in both entries, under ``mmu_lock``. *Mapped* takes the shadow
  entry away before each, by a tlbie of L1's, so that the fault makes it anew.

Known limits: pages are mapped in order, so the nodes of a list lie in order too.
"""

from __future__ import annotations

from pathlib import Path

from aging.radix import SLOT, radix_fill_tree, radix_map, radix_read_table, radix_scan
from aging.subject import TABLE, Count, Faults, Scan, Subject
from mkold.ir.definition import Definition
from mkold.kvm.memslots import kvm_add_memslot
from mkold.kvm.powerpc.asm.kvm_host import Kvm, KvmNestedGuest, RmapNested, Vcpu
from mkold.kvm.powerpc.machine import machine
from mkold.kvm.powerpc.nested.enter import kvmhv_enable_nested, kvmhv_enter_nested_guest
from mkold.kvm.powerpc.nested.fault import kvmhv_nested_page_fault
from mkold.kvm.powerpc.nested.guest import NODES, kvmhv_find_nested, kvmhv_get_nested
from mkold.kvm.powerpc.nested.l1 import L2_LPID, l1_boot, l1_pages
from mkold.kvm.powerpc.nested.rmap import kvmhv_insert_nest_rmap, nest_rmap
from mkold.kvm.powerpc.nested.spread import nest_rmapp
from mkold.kvm.powerpc.nested.tlbie import kvmhv_emulate_tlbie_tlb_addr
from mkold.kvm.powerpc.radix.create import CREATED, map_leaf
from mkold.kvm.powerpc.radix.pte import _PAGE_PRESENT, _PAGE_PTE
from mkold.kvm.powerpc.radix.tables import alloc_table
from mkold.lang import NULL, READ_ONCE, WRITE_ONCE, Ptr, addr, cast, kernel, parameter, u64
from mkold.mm.slab import kmem_cache_alloc, kmem_cache_free
from mkold.run.layout import Place

PAGE_SHIFT = 9
NODE = 8  # words that the slab takes for a node
GUESTS = parameter("BENCH_NESTED_GUESTS", 1)


@kernel
def nested_map_table(kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest], gfn: u64) -> u64:
    """Make the shadow tables down to the leaf of ``gfn``; 0 if there was memory."""
    spare = cast(Ptr[u64], NULL)
    level: u64 = 0
    while True:
        leaf = _PAGE_PRESENT | _PAGE_PTE
        result, spare = map_leaf(kvm, gp, gfn, leaf, 0, spare, level)
        if result == CREATED:
            return 0
        level = result & 3
        spare = alloc_table(kvm, level)
        if spare == NULL:
            return 1


@kernel
def nested_link(kvm: Ptr[Kvm], number: u64, gfn: u64) -> u64:
    """Put guest ``number`` into the list of page ``gfn``; 0 if there was memory."""
    cache = addr(kvm.arch.nested_caches[NODES])
    node = cast(Ptr[RmapNested], kmem_cache_alloc(cache))
    if node == NULL:
        return 1
    node.cache = cache
    if not kvmhv_insert_nest_rmap(nest_rmapp(kvm, gfn), nest_rmap(number, gfn), node):
        kmem_cache_free(cache, cast(u64, node))
    return 0


@kernel
def nested_map(kvm: Ptr[Kvm], n: u64) -> u64:
    """``map``: L1's tables, the guests, their shadow tables, the reverse map."""
    if kvm_add_memslot(kvm, 0, n, 0) != 0 or kvmhv_enable_nested(kvm) or radix_map(kvm, n):
        return 1
    failed = 0
    for number in range(1, GUESTS + 1):
        gp = kvmhv_get_nested(kvm, number, 1)
        if gp == NULL:
            return 1
        for gfn in range(n):
            if gfn & (TABLE - 1) == 0:
                failed |= nested_map_table(kvm, gp, gfn)
            failed |= nested_link(kvm, number, gfn)
    return failed


@kernel
def nested_fill(kvm: Ptr[Kvm], n: u64, threshold: u64) -> u64:
    """``fill``: a young entry's shadow entries are young."""
    for number in range(1, GUESTS + 1):
        radix_fill_tree(kvmhv_find_nested(kvm, number).shadow_pgtable, n, threshold)
    return radix_fill_tree(kvm.arch.pgtable, n, threshold)


@kernel
def nested_ready(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n: u64) -> u64:
    """``ready``: L1 has tables for a guest, and the vCPU runs it."""
    return l1_boot(kvm, vcpu, n) or kvmhv_enter_nested_guest(kvm, vcpu, L2_LPID)


@kernel
def nested_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], page: u64) -> u64:
    """``bench_fault``: R is set."""
    return kvmhv_nested_page_fault(kvm, vcpu, page, 0)


@kernel
def nested_fault_mapped(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], page: u64) -> u64:
    """``bench_fault``: the entry is made anew."""
    kvmhv_emulate_tlbie_tlb_addr(kvm, L2_LPID, page, 1)
    return kvmhv_nested_page_fault(kvm, vcpu, page, 0)


@kernel
def nested_read(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n: u64, count: Ptr[Count]) -> u64:
    """``read``: L1's entries, and the shadow entries."""
    seen = 0
    gfn = 0
    while gfn < n and not READ_ONCE(count.stop):
        seen |= radix_read_table(kvm.arch.pgtable, gfn)
        seen |= radix_read_table(vcpu.arch.nested.shadow_pgtable, gfn)
        gfn += TABLE
    WRITE_ONCE(count.done, count.done + gfn)
    return seen


def scan_words(guests: int, n: int) -> int:
    """Trees, a word a page, nodes but for one guest's."""
    return 4_000_000 + (1 + guests) * (n // TABLE * SLOT) + n + guests * NODE * n


def fault_words(n: int) -> int:
    """Two trees, and a word a page."""
    return (1 << 20) + 2 * (-(-n // TABLE) * 544) + n


def roots(kvm: Place) -> list[int]:
    """The tree, the page's words, the guests by number."""
    slot = kvm.at + Kvm.offset("slots")
    guests = kvm.at + Kvm.layout.field("arch.kvm_nested_guest_idr").offset
    return [kvm["arch.pgtable"], int(kvm.words[slot + 5]), guests]


LOCKLESS = {"NESTED_LOCKLESS": 1}


def _scan(guests: int) -> Scan:
    return Scan(
        nested_map, nested_fill, radix_scan,
        words=lambda n: scan_words(guests, n),
        source=Path(__file__).with_name("nested.c"),
        peers={"age_entries": "C"},
        roots=roots,
        flags=(f"-DSHADOW_PGTABLE={KvmNestedGuest.offset('shadow_pgtable')}",),
        parameters=LOCKLESS | {"BENCH_NESTED_GUESTS": guests},
    )  # fmt: skip


def _faults(fault: Definition) -> Faults:
    return Faults(
        nested_ready, fault, nested_read,
        words=fault_words,
        own_pages=lambda n: l1_pages(n, PAGE_SHIFT),
        parameters=LOCKLESS | {"HW_SETS_RC": 0},
    )  # fmt: skip


ONE = Subject(
    "powerpc-nested",
    "a guest of the guest; its faults set R",
    machine,
    scan=_scan(1),
    faults=_faults(nested_fault),
)
LISTS = Subject(
    "powerpc-nested-lists",
    "three guests of the guest map each page",
    machine,
    scan=_scan(3),
)
MAPPED = Subject(
    "powerpc-nested-mapped",
    "a guest of the guest; a tlbie before each fault, which makes the entry anew",
    machine,
    faults=_faults(nested_fault_mapped),
)
