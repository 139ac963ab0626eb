"""A small VM on the powerpc radix tree, built by running the system's own kernel Python.

Four levels with two entries each; guest pages 0 to 15; no host memory behind it: frames
are numbers. What a scenario leaves out of the way (counters of lock waits, wide scans) is
set by build parameters, which the machine that runs natively has too.
"""

from __future__ import annotations

from dataclasses import dataclass

from mkold.check import Setup
from mkold.check.setup import ThreadCall
from mkold.ir.boot import KVM_ARCH_MODULE, MEMBLOCK
from mkold.kvm.memslots import kvm_add_memslot
from mkold.kvm.powerpc.asm.kvm_host import Kvm, KvmppcModule, Vcpu
from mkold.kvm.powerpc.book3s_hv import kvmppc_book3s_init_hv
from mkold.kvm.powerpc.machine import machine
from mkold.kvm.powerpc.radix.age import kvm_test_clear_young_hv
from mkold.kvm.powerpc.radix.create import kvmppc_create_pte
from mkold.kvm.powerpc.radix.fault import leaf_bits
from mkold.kvm.powerpc.radix.pte import (
    _PAGE_ACCESSED,
    _PAGE_DIRTY,
    _PAGE_PRESENT,
    entry_table,
    pfn_pte,
    pte_leaf,
    pte_present,
    ptrs_per_table,
)
from mkold.kvm.powerpc.radix.pte_update import kvmppc_radix_update_pte
from mkold.kvm.powerpc.radix.tables import kvmppc_radix_init
from mkold.kvm.powerpc.radix.walk import find_kvm_secondary_pte_unlocked
from mkold.kvm.powerpc.switch import kvmppc_switch_mmu_to_radix
from mkold.kvm.types import TlbEntry
from mkold.kvm.vcpu import kvm_vcpu_init
from mkold.mm.page_alloc import memblock_init
from mkold.mm.slab import KmemCache, kmem_cache_alloc, kmem_cache_free

SMALL = {
    **machine.small,
    "LOCK_STAT": 0,
    "RCU_QHIMARK": 0,
    "SCAN_AHEAD": 0,
    "SCAN_BLOCK": 1,
    "TABLE_HEADER": 1,
    "TLB_BITS": 0,
    "SLAB_OBJECTS": 4,
}

HVA = 100  # host page of guest page 0
N_PAGES = 16
HEAP_WORDS = 4096
FIRST_PFN = 0x50
LEVELS = ("pte", "pmd", "pud", "pgd")

PRESENT, ACCESSED, DIRTY = _PAGE_PRESENT, _PAGE_ACCESSED, _PAGE_DIRTY
NULL = 0

__all__ = [
    "ACCESSED",
    "DIRTY",
    "FIRST_PFN",
    "HVA",
    "NULL",
    "PRESENT",
    "SMALL",
    "Vm",
    "make_vm",
]


@dataclass(frozen=True, slots=True)
class Vm:
    """A VM in a scenario: where its structs and its watched entries are."""

    m: Setup
    kvm: int
    name: str

    def map(
        self, gfn: int, *, pfn: int | None = None, level: int = 0, write: bool = True
    ) -> int:
        """Map a page by the fault path's own ``kvmppc_create_pte``; its entry's address."""
        frame = FIRST_PFN + gfn if pfn is None else pfn
        self.create(gfn, self.leaf(frame, write=write), level)
        return self.entry(gfn)

    def leaf(self, pfn: int, *, write: bool = False) -> int:
        """A writable young leaf that maps ``pfn``, dirty if its fault was a ``write``."""
        return self.m.call(pfn_pte, pfn, self.m.call(leaf_bits, int(write), 1))

    def create(self, gfn: int, pte: int, level: int = 0) -> None:
        """Set the leaf ``pte`` now."""
        seq = self.m.peek(self.kvm + Kvm.offset("mmu_invalidate_seq"))
        failed = self.m.call(*self.sets(gfn, pte, level=level, seq=seq))
        assert not failed
        self.name_tables()

    def sets(self, gfn: int, pte: int, *, level: int = 0, seq: int = 0) -> ThreadCall:
        """What sets the leaf ``pte``, for a thread; ``seq``: invalidations seen before."""
        waits = self.kvm + Kvm.offset("stat")
        return (kvmppc_create_pte, self.kvm, gfn, pte, level, seq, HVA + gfn, waits)

    def age(self, start: int = 0, end: int = 1, *, clear: bool = True) -> ThreadCall:
        """A lockless pass over guest pages ``[start, end)``, for a thread."""
        return (kvm_test_clear_young_hv, self.kvm, start, end, int(clear), NULL, 0)

    def name_tables(self) -> None:
        """Name the words of every table for pictures: ``pgd[0]``, ``pud[0]``, ``pte[1]``.

        A second table of a level is told from the first by its index in the level above:
        ``pte.1[0]``.
        """
        root = self.m.peek(self.kvm + PGTABLE)
        if root:
            self._name_table(root, 3, "")

    def _name_table(self, table: int, level: int, path: str) -> None:
        for i in range(self.m.call(ptrs_per_table, level)):
            self.m.name(f"{self.name}{LEVELS[level]}{path}[{i}]", table + i)
            entry = self.m.peek(table + i)
            if level and self.m.call(pte_present, entry) and not self.m.call(pte_leaf, entry):
                below = f"{path}.{i}" if i or path else ""
                self._name_table(self.m.call(entry_table, entry), level - 1, below)

    def entry(self, gfn: int) -> int:
        """Address of the leaf entry of ``gfn``."""
        return self.m.call(find_kvm_secondary_pte_unlocked, self.kvm, gfn)

    def watch(self, gfn: int) -> int:
        """Show the entry of ``gfn`` in final states, as ``pte0`` and so on; its address."""
        address = self.entry(gfn)
        self.m.watch(f"{self.name}pte{gfn}", address)
        return address

    def clear(self, gfn: int, bits: int) -> None:
        """Clear bits of an entry before anything runs."""
        self.m.call(kvmppc_radix_update_pte, self.entry(gfn), bits, 0)

    def vcpu(self, name: str) -> int:
        """A vCPU with an empty TLB."""
        vcpu = self.m.new(Vcpu, name)
        tlb = self.m.new(TlbEntry, f"{name}.tlb0")
        self.m.call(kvm_vcpu_init, self.kvm, vcpu, tlb)
        return vcpu

    def stock(self, cpu: int, levels: range = range(4)) -> None:
        """Let ``cpu`` find free tables in its own magazine, as on a machine long up."""
        for level in levels:
            cache = self.kvm + CACHES + level * KmemCache.size
            table = self.m.call(kmem_cache_alloc, cache, cpu=cpu)
            self.m.call(kmem_cache_free, cache, table, cpu=cpu)
            for i in range(self.m.call(ptrs_per_table, level)):
                entry = table + SMALL["TABLE_HEADER"] + i
                self.m.name(f"{self.name}new_{LEVELS[level]}[{i}]", entry)


HV_OPS = KVM_ARCH_MODULE + KvmppcModule.offset("kvmppc_hv_ops")
PGTABLE = Kvm.layout.field("arch.pgtable").offset
CACHES = Kvm.layout.field("arch.caches").offset


def make_vm(m: Setup, name: str = "", *, radix: bool = True) -> Vm:
    """A VM over no host memory, in radix mode with an empty tree (or in HPT mode)."""
    m.declare(SMALL)
    if not m.peek(MEMBLOCK):
        heap = m.words(HEAP_WORDS, align=8)
        m.call(memblock_init, heap, heap + HEAP_WORDS)
    m.bind(machine.hooks)
    m.call(kvmppc_book3s_init_hv)
    kvm = m.new(Kvm, f"{name}kvm")
    m.poke(kvm + Kvm.offset("arch.kvm_ops"), m.peek(HV_OPS))
    m.call(kvmppc_radix_init, kvm)
    m.call(kvm_add_memslot, kvm, 0, N_PAGES, HVA)
    if radix:
        m.call(kvmppc_switch_mmu_to_radix, kvm)
    vm = Vm(m, kvm, name)
    vm.name_tables()
    return vm
