"""A small VM on arm64's stage 2, built by running the system's own kernel Python.

Two levels with two entries each: guest pages 0 to 3, blocks of two pages; no host memory behind
it: frames are numbers. ``THREE_LEVELS`` has one level more, and pages 0 to 7.
"""

from __future__ import annotations

from dataclasses import dataclass

from mkold.check import Setup
from mkold.check.setup import ThreadCall
from mkold.ir.boot import MEMBLOCK
from mkold.kvm.arm64.arm import kvm_arch_init_vm
from mkold.kvm.arm64.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.arm64.machine import machine
from mkold.kvm.arm64.pgtable.age import stage2_test_clear_young_fast
from mkold.kvm.arm64.pgtable.geometry import STAGE2_TABLE_SHIFT, stage2_pgtable_levels
from mkold.kvm.arm64.pgtable.map import kvm_pgtable_stage2_map
from mkold.kvm.arm64.pgtable.pte import (
    KVM_PTE_VALID,
    S2_AF,
    S2AP_W,
    kvm_pte_follow,
    kvm_pte_table,
    stage2_set_prot_attr,
)
from mkold.kvm.arm64.pgtable.tables import (
    HEADER_COUNT,
    STAGE2_TABLE_HEADER,
    kvm_mmu_topup_memory_cache,
)
from mkold.kvm.arm64.pgtable.walk import (
    KVM_PGTABLE_WALK_HANDLE_FAULT,
    KVM_PGTABLE_WALK_SHARED,
    stage2_lookup,
)
from mkold.kvm.memslots import kvm_add_memslot
from mkold.kvm.mmu_lock import kvm_mmu_read_lock, kvm_mmu_read_unlock
from mkold.kvm.notifier import (
    kvm_mmu_notifier_invalidate_range_end,
    kvm_mmu_notifier_invalidate_range_start,
    kvm_test_clear_young_slow,
)
from mkold.kvm.types import IN_GUEST_MODE, TlbEntry
from mkold.kvm.vcpu import kvm_vcpu_init
from mkold.lang import Ptr, addr, cast, kernel, poison, u64
from mkold.mm.page_alloc import memblock_init
from mkold.mm.slab import KmemCache

SMALL = {
    **machine.parameters,
    **machine.small,
    "LOCK_STAT": 0,
    "RCU_QHIMARK": 0,
    "SCAN_AHEAD": 0,
    "SCAN_BLOCK": 1,
    "STAGE2_TABLE_HEADER": 3,
    "TLB_BITS": 0,
    "SLAB_OBJECTS": 4,
}
THREE_LEVELS = {"STAGE2_IA_BITS": 15}


def tables_of(kernel: str) -> dict[str, int]:
    """The build parameters of a kernel that are about its tables: no host memory lies behind
    them, so that nothing is marked as used."""
    parameters = machine.kernels[kernel].parameters
    return {name: parameters[name] for name in ("AGE_MODE", "UNMAP_FREE")}


V3 = tables_of("v3")
UPSTREAM = tables_of("6.15")

HVA = 100  # host page of guest page 0
HEAP_WORDS = 2048
FIRST_PFN = 0x50
VALID, AF, W = KVM_PTE_VALID, S2_AF, S2AP_W
PFN_SHIFT = 12
NULL = 0

PGD = Kvm.layout.field("arch.mmu.pgd").offset
WALK = Kvm.layout.field("arch.mmu.walk").offset
STORE = Kvm.layout.field("arch.mmu.split_page_cache").offset
VCPU_STORE = Vcpu.layout.field("arch.mmu_page_cache").offset


@kernel
def fault_maps(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, pages: u64, pfn: u64) -> u64:
    """The last part of a fault: map ``pages`` pages by leaves as large as fit."""
    flags = KVM_PGTABLE_WALK_SHARED | KVM_PGTABLE_WALK_HANDLE_FAULT
    kvm_mmu_read_lock(kvm, addr(vcpu.stat.lock_waits))
    ret = kvm_pgtable_stage2_map(
        kvm, addr(vcpu.arch.walk), gfn, pages, pfn, stage2_set_prot_attr(1),
        addr(vcpu.arch.mmu_page_cache), flags,
    )  # fmt: skip
    kvm_mmu_read_unlock(kvm)
    return ret


@kernel
def free_words(cache: Ptr[KmemCache], object: u64) -> None:
    """Stands for ``kmem_cache_free``: the words are freed, and nobody gets them again."""
    poison(cast(Ptr[u64], object).value, STAGE2_TABLE_HEADER + (1 << STAGE2_TABLE_SHIFT))


# Where nobody takes a table that another has freed.
FREES = {"kmem_cache_free": free_words}


@kernel
def shares(kvm: Ptr[Kvm], waits: Ptr[u64]) -> None:
    """Stands for ``kvm_mmu_read_lock``."""


@kernel
def shared(kvm: Ptr[Kvm]) -> None:
    """Stands for ``kvm_mmu_read_unlock``."""


# Where nobody takes mmu_lock for writing, so that it keeps nobody out.
ALL_SHARE = {"kvm_mmu_read_lock": shares, "kvm_mmu_read_unlock": shared}


@dataclass(frozen=True, slots=True)
class Vm:
    """A VM in a scenario."""

    m: Setup
    kvm: int
    name: str

    def map(
        self, gfn: int, *, pfn: int | None = None, pages: int = 1, write: bool = True
    ) -> int:
        """Map pages as a fault would, now; their entry's address."""
        frame = FIRST_PFN + gfn if pfn is None else pfn
        attr = self.m.call(stage2_set_prot_attr, int(write))
        store = self.kvm + STORE
        assert not self.m.call(kvm_mmu_topup_memory_cache, self.kvm, store, 3)
        failed = self.m.call(
            kvm_pgtable_stage2_map, self.kvm, self.kvm + WALK, gfn, pages, frame, attr, store, 0
        )
        assert not failed
        self.name_tables()
        return self.entry(gfn)

    def age(self, start: int = 0, end: int = 1, *, clear: bool = True) -> ThreadCall:
        """A lockless pass over guest pages ``[start, end)``, for a thread."""
        return (stage2_test_clear_young_fast, self.kvm, start, end, int(clear), NULL, 0)

    def age_locked(self, start: int = 0, end: int = 1) -> ThreadCall:
        """A pass as upstream has it, with ``mmu_lock`` for writing."""
        return (kvm_test_clear_young_slow, self.kvm, HVA + start, HVA + end, 1)

    def unmap(self, start: int = 0, end: int = 1) -> ThreadCall:
        """The host takes pages away."""
        first, last = HVA + start, HVA + end
        return (kvm_mmu_notifier_invalidate_range_start, self.kvm, first, last)

    def unmap_end(self, start: int = 0, end: int = 1) -> ThreadCall:
        """It has."""
        return (kvm_mmu_notifier_invalidate_range_end, self.kvm, HVA + start, HVA + end)

    def maps(self, vcpu: int, gfn: int, pages: int = 1, pfn: int | None = None) -> ThreadCall:
        """A fault of ``vcpu`` maps pages, for a thread."""
        return (fault_maps, self.kvm, vcpu, gfn, pages, FIRST_PFN + gfn if pfn is None else pfn)

    def vcpu(self, name: str, *, stock: int = 1, running: bool = False) -> int:
        """A vCPU with an empty TLB and ``stock`` tables in its store."""
        vcpu = self.m.new(Vcpu, name)
        self.m.call(kvm_vcpu_init, self.kvm, vcpu, self.m.new(TlbEntry, f"{name}.tlb0"))
        if stock:
            store = vcpu + VCPU_STORE
            assert not self.m.call(kvm_mmu_topup_memory_cache, self.kvm, store, stock)
        if running:
            self.m.poke(vcpu + Vcpu.offset("mode"), IN_GUEST_MODE)
        return vcpu

    def entry(self, gfn: int) -> int:
        """Address of the leaf entry of ``gfn``, or of where it would be."""
        return self.m.call(stage2_lookup, self.m.peek(self.kvm + PGD), gfn)

    def table(self, gfn: int) -> int:
        """Address of the table at level 3 that maps ``gfn``."""
        return self.entry(gfn) - gfn % 2

    def root(self) -> int:
        """Address of the root."""
        return self.m.peek(self.kvm + PGD)

    def watch(self, gfn: int) -> int:
        """Show the entry of ``gfn`` in final states, as ``pte0`` and so on; its address."""
        address = self.entry(gfn)
        self.m.watch(f"{self.name}pte{gfn}", address)
        return address

    def watch_count(self, table: int, name: str) -> None:
        """Show a table's count of references in final states."""
        self.m.watch(name, table - SMALL["STAGE2_TABLE_HEADER"] + HEADER_COUNT)

    def clear(self, gfn: int, bits: int) -> None:
        """Clear bits of an entry before anything runs."""
        entry = self.entry(gfn)
        self.m.poke(entry, self.m.peek(entry) & ~bits)

    def name_tables(self) -> None:
        """Name the words of tables for pictures: ``pgd[0]``, ``pte.0[1]``."""
        self._name_table(self.root(), 1 if self._three() else 2, "")

    def _three(self) -> bool:
        return self.m.call(stage2_pgtable_levels) == 3

    def _name_table(self, table: int, level: int, path: str) -> None:
        for i in range(2):
            self.m.name(f"{self.name}{'pgd' if not path else 'pte' + path}[{i}]", table + i)
            entry = self.m.peek(table + i)
            if self.m.call(kvm_pte_table, entry, level):
                self._name_table(self.m.call(kvm_pte_follow, entry), level + 1, f"{path}.{i}")


def make_vm(m: Setup, name: str = "") -> Vm:
    """A VM over no host memory, with an empty tree."""
    m.declare({*SMALL, *V3, *UPSTREAM})
    if not m.peek(MEMBLOCK):
        heap = m.words(HEAP_WORDS, align=8)
        m.call(memblock_init, heap, heap + HEAP_WORDS)
    m.bind(machine.hooks)
    kvm = m.new(Kvm, f"{name}kvm")
    assert not m.call(kvm_arch_init_vm, kvm)
    m.call(kvm_add_memslot, kvm, 0, 4, HVA)
    return Vm(m, kvm, name)
