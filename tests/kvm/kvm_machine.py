"""A small machine for KVM tests: one VM, driven from Python, its memory open to view.

``Leaf`` and ``Tree`` are a second, deliberately plain model of what the radix tree should
hold: a dictionary of leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from mkold.ir import boot
from mkold.ir.nodes import Function
from mkold.ir.variant import Edit, apply
from mkold.kvm import main, memslots, tlb, vcpu
from mkold.kvm.powerpc import book3s, mmu_hv, switch
from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.powerpc.machine import machine as powerpc
from mkold.kvm.powerpc.radix import age, create, dirty, fault, hw, pte_update, tables
from mkold.kvm.powerpc.radix.pte import _PAGE_ACCESSED, _PAGE_DIRTY, _PAGE_PRESENT, _PAGE_PTE
from mkold.kvm.types import MemorySlot, TlbEntry
from mkold.lang import Ptr, cast, kernel, rcu_read_lock, rcu_read_unlock, u64
from mkold.mm import mmu_notifier, page_alloc, slab
from mkold.mm.mm_types import Folio, Mm, Node
from mkold.mm.mmu_notifier import (
    MmuNotifier,
    MmuNotifierOps,
    MmuNotifierSubscriptions,
    mmu_notifier_register,
)
from mkold.native import Image, Memory, build
from mkold.sync import rcu

Functions = dict[str, Function]

# Two index bits a level but the root's: 4 pages a table, 16 a PMD entry's worth, 64 a PUD's.
SMALL = {
    "RADIX_PTE_INDEX_SIZE": 2,
    "RADIX_PMD_INDEX_SIZE": 2,
    "RADIX_PUD_INDEX_SIZE": 2,
    "RADIX_PGD_INDEX_SIZE": 1,
    "HPT_ORDER": 12,
    "HPT_AVPN_DROPPED": 0,
    "TLB_BITS": 4,
    "SCAN_BLOCK": 4,
    "SCAN_AHEAD": 2,
    "SLAB_OBJECTS": 8,
}
N_GFNS = 128
LEVEL_PAGES = (1, 4, 16)
# Room for structs, and for tables.
OWN_WORDS, SLAB_WORDS = 1 << 14, 1 << 16
R, C, W = _PAGE_ACCESSED, _PAGE_DIRTY, 0x2


@kernel
def reader_enter() -> None:
    """Begin an RCU read section that lasts until ``reader_leave`` on the same CPU."""
    rcu_read_lock()


@kernel
def reader_leave() -> None:
    """End it."""
    rcu_read_unlock()


class Second(MmuNotifier):
    """A subscriber that is no VM: it says ``answer`` of age, and counts."""

    answer: u64
    asked: u64


@kernel
def second_is_asked(
    notifier: Ptr[MmuNotifier], start: u64, end: u64, clear: u64, bitmap: Ptr[u64]
) -> u64:
    """Its ``test_clear_young``."""
    second = cast(Ptr[Second], notifier)
    second.asked += 1
    return second.answer


@kernel
def second_subscribes(second: Ptr[Second], ops: Ptr[MmuNotifierOps], mm: Ptr[Mm]) -> None:
    """Subscribe it, with a table that has the one member."""
    ops.test_clear_young = second_is_asked
    second.ops = ops
    mmu_notifier_register(second, mm)


# What aging and unmapping take; a build of it costs little.
BASE = [
    reader_enter,
    reader_leave,
    second_subscribes,
    pte_update.pte_clear_young,
    main.kvm_init,
    main.kvm_create_vm,
    main.kvm_destroy_vm,
    memslots.kvm_add_memslot,
    memslots.kvm_memslot_set_level,
    memslots.kvm_memslot_set_dirty_bitmap,
    vcpu.kvm_vcpu_init,
    vcpu.kvm_vcpu_load,
    vcpu.kvm_vcpu_put,
    create.kvmppc_create_pte,
    create.map_leaf,
    tables.alloc_table,
    mmu_hv.kvm_unmap_gfn_range_hv,
    age.kvm_test_clear_young_hv,
    book3s.kvm_arch_has_test_clear_young,
    book3s.radix_enabled_on_bare_metal,
    dirty.kvmppc_hv_get_dirty_log_radix,
    switch.kvmhv_configure_mmu,
    hw.mmu_walk_hw,
    tlb.kvm_flush_remote_tlbs,
    page_alloc.memblock_init,
    slab.kmem_cache_nr_free,
    rcu.rcu_do_batch,
    mmu_notifier.mmu_notifier_subscriptions_init,
    mmu_notifier.mmu_notifier_test_clear_young,
    mmu_notifier.mmu_notifier_clear_young,
    mmu_notifier.mmu_notifier_clear_flush_young,
    mmu_notifier.mmu_notifier_change_pte,
    mmu_notifier.mmu_notifier_invalidate_range_start,
    mmu_notifier.mmu_notifier_invalidate_range_end,
]

# The vCPU too: its faults bring all of the host's memory along.
ENTRIES = [
    *BASE,
    vcpu.kvm_vcpu_access,
    fault.kvmppc_book3s_radix_page_fault,
    fault.kvmppc_hv_handle_set_rc,
    fault.fault_level,
]

Variant = Edit | Callable[[Functions], Functions]


@cache
def _image(
    variants: tuple[Variant, ...], params: tuple[tuple[str, int], ...], guest: bool
) -> Image:
    settings = {**SMALL, **dict(params)}
    edits = tuple(v for v in variants if not callable(v))
    changes = [v for v in variants if callable(v)]

    def edit(functions: Functions, values: Mapping[str, int]) -> Functions:
        for change in changes:
            functions = change(functions)
        return apply(functions, values, edits)

    entries = ENTRIES if guest else BASE
    return build(
        entries,
        settings,
        hooks=powerpc.hooks,
        checked=True,
        optimised=False,
        edit=edit if variants else None,
    )


def built(*variants: Variant, guest: bool = False, **params: int) -> Image:
    """The system with ``params`` over ``SMALL`` and the variants made, one build each.

    With ``guest``, vCPUs can run. All addresses, and reads of freed words, are checked.
    """
    return _image(variants, tuple(sorted(params.items())), guest)


@dataclass
class Machine:
    """One VM with one memslot of all ``N_GFNS`` pages, host page = guest page + ``hva``."""

    image: Image
    hva: int = 1000
    n_vcpus: int = 1
    slots: tuple[tuple[int, int, int], ...] = ()
    memory: Memory = field(init=False)

    def __post_init__(self) -> None:
        slabs = boot.BOOT_WORDS + OWN_WORDS
        self.memory = Memory(slabs + SLAB_WORDS)
        self.words = self.memory.words
        self._next = boot.BOOT_WORDS
        self("memblock_init", slabs, slabs + SLAB_WORDS)
        self.mm = self.new(Mm.size)
        self.subscriptions = self.new(MmuNotifierSubscriptions.size)
        self.kvm = self.new(Kvm.size)
        self.waits = self.new(8)
        self("mmu_notifier_subscriptions_init", self.mm, self.subscriptions)
        self("kvm_init")
        assert self("kvm_create_vm", self.kvm, self.mm) == 0
        for base, n, hva in self.slots or ((0, N_GFNS, self.hva),):
            self("kvm_add_memslot", self.kvm, base, n, hva)
        self.vcpus = [self.new_vcpu() for _ in range(self.n_vcpus)]

    def new(self, n_words: int) -> int:
        """Zeroed words of our own, on a cache line."""
        at = self._next
        self._next += -(-n_words // 8) * 8
        return at

    def new_vcpu(self) -> int:
        """A vCPU with a TLB."""
        vcpu = self.new(Vcpu.size)
        self("kvm_vcpu_init", self.kvm, vcpu, self.new(TlbEntry.size << 4))
        return vcpu

    def __call__(self, name: str, *args: int, cpu: int = 0) -> int | tuple[int, ...] | None:
        return self.image.call(name, self.memory, cpu, *args)

    def word(self, address: int, struct: type = Kvm, name: str = "") -> int:
        """A word of memory, or a field of the struct at ``address``."""
        return int(self.words[address + (struct.offset(name) if name else 0)])

    def arch(self, name: str) -> int:
        """Address of a field of ``kvm.arch``."""
        return self.kvm + Kvm.layout.field(f"arch.{name}").offset

    def slot(self, i: int = 0) -> int:
        """Address of memslot ``i``."""
        return self.kvm + Kvm.offset("slots") + i * MemorySlot.size

    def create(self, gfn: int, pfn: int, level: int = 0, bits: int = R) -> int:
        """Map ``gfn`` as a fault would."""
        pte = _PAGE_PRESENT | _PAGE_PTE | pfn << 12 | 0x5 | bits
        seq = self.word(self.kvm, Kvm, "mmu_invalidate_seq")
        return self("kvmppc_create_pte", self.kvm, gfn, pte, level, seq, self.hva + gfn,
                    self.waits)  # type: ignore[return-value]  # fmt: skip

    def process(self, pfn: int, n: int = 128) -> int:
        """The process has ``n`` pages from the guest's memory on, and ``2 * n`` frames from
        ``pfn`` on have folios; the address of its table, which is empty."""
        table, pmd = self.new(512), self.new(8)
        node, folios = self.new(Node.size), self.new(2 * n * Folio.size)
        self.words[pmd] = table
        for name, value in (("start_pfn", pfn), ("n_frames", 2 * n), ("folios", folios)):
            self.words[node + Node.offset(name)] = value
        memory = (("vma_start", self.hva), ("vma_pages", n), ("pmd", pmd), ("node", node))
        for name, value in memory:
            self.words[self.mm + Mm.offset(name)] = value
        return table

    def young(self, start: int, end: int, clear: int, bitmap: int = 0) -> int:
        """Ask the notifier about guest pages ``[start, end)`` of the one slot."""
        return self("mmu_notifier_test_clear_young", self.mm, self.hva + start,
                    self.hva + end, clear, bitmap)  # type: ignore[return-value]  # fmt: skip

    def leaves(self) -> dict[tuple[int, int], int]:
        """``(level, first gfn)`` to address, by a walk of our own over the memory."""
        root = self.word(self.arch("pgtable"))
        found: dict[tuple[int, int], int] = {}
        if root:
            self._collect(root, 3, 0, found)
        return found

    def _collect(
        self, table: int, level: int, gfn: int, found: dict[tuple[int, int], int]
    ) -> None:
        pages = 4**level
        for i in range(2 if level == 3 else 4):
            entry = int(self.words[table + i])
            if entry & _PAGE_PRESENT and entry & _PAGE_PTE:
                found[level, gfn + i * pages] = table + i
            elif entry & _PAGE_PRESENT:
                below = (entry & ((1 << 62) - 1)) >> 8
                self._collect(below, level - 1, gfn + i * pages, found)

    def state(self) -> dict[tuple[int, int], int]:
        """``(level, first gfn)`` to entry."""
        return {at: int(self.words[address]) for at, address in self.leaves().items()}

    def snapshot(self) -> np.ndarray:
        """All words but those that locks, RCU and SRCU keep for themselves."""
        words = self.words.copy()
        words[: boot.BOOT_WORDS] = 0
        words[self.subscriptions : self.subscriptions + MmuNotifierSubscriptions.size] = 0
        return words


@dataclass(frozen=True)
class Leaf:
    """One mapping to make: ``index`` counts leaves of its level."""

    level: int
    index: int
    bits: int

    @property
    def gfn(self) -> int:
        return self.index * LEVEL_PAGES[self.level]


class Tree:
    """What the tree should hold after a list of creations: a dictionary of leaves."""

    def __init__(self, leaves: Iterable[Leaf] = ()) -> None:
        self.entries: dict[tuple[int, int], int] = {}
        for leaf in leaves:
            self.create(leaf)

    def create(self, leaf: Leaf) -> None:
        key = (leaf.level, leaf.gfn)
        pages = range(leaf.gfn, leaf.gfn + LEVEL_PAGES[leaf.level])
        for other in [k for k in self.entries if k != key]:
            first = other[1]
            if first < pages.stop and pages.start < first + LEVEL_PAGES[other[0]]:
                del self.entries[other]
        self.entries[key] = self.entries.get(key, 0) | leaf.bits

    def young(self, start: int, end: int) -> dict[tuple[int, int], range]:
        """Young leaves to the pages of theirs in ``[start, end)``, if there are any."""
        found = {}
        for (level, gfn), bits in self.entries.items():
            pages = range(max(gfn, start), min(gfn + LEVEL_PAGES[level], end))
            if bits & R and len(pages):
                found[level, gfn] = pages
        return found


def filled(machine: Machine, leaves: Iterable[Leaf]) -> Machine:
    """Create ``leaves`` in order; the frame follows from the page, as a VMM's would."""
    for leaf in leaves:
        assert machine.create(leaf.gfn, 64 + leaf.gfn, leaf.level, leaf.bits) == 0
    return machine
