"""A small VM whose tables are the TDP MMU's, built by running the system's own kernel Python.

Two levels with two entries each, so guest pages 0 to 3 and leaves of one page or two; no host
memory behind it: frames are numbers. What a scenario leaves out of the way (counters, wide
scans, yielding) is set by build parameters, which the machine that runs natively has too.
"""

from __future__ import annotations

from dataclasses import dataclass

from mkold.check import Setup
from mkold.check.setup import ThreadCall
from mkold.ir.boot import MEMBLOCK
from mkold.kvm.memslots import kvm_add_memslot, kvm_memslot_set_dirty_bitmap
from mkold.kvm.types import Kvm as GenericKvm
from mkold.kvm.types import MemorySlot, TlbEntry
from mkold.kvm.vcpu import kvm_vcpu_init
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu
from mkold.kvm.x86.fault import direct_map
from mkold.kvm.x86.machine import machine, noad
from mkold.kvm.x86.mmu.spte import (
    PT_PAGE_SIZE_MASK,
    SPTE_BASE_ADDR_MASK,
    SPTE_BASE_SHIFT,
    SPTE_MMU_PRESENT_MASK,
    SPTE_TDP_AD_WRPROT_ONLY,
    is_last_spte,
    is_shadow_present_pte,
    spte_to_child_pt,
)
from mkold.kvm.x86.tdp.age import kvm_tdp_mmu_age_lockless
from mkold.kvm.x86.tdp.iter import tdp_walk
from mkold.kvm.x86.tdp.roots import kvm_tdp_mmu_alloc_root
from mkold.kvm.x86.x86 import kvm_arch_init_vm
from mkold.lang import Ptr, addr, kernel, u64
from mkold.mm.page_alloc import memblock_init
from mkold.mm.slab import kmem_cache_alloc, kmem_cache_free

QUIET = {
    "LOCK_STAT": 0,
    "RCU_QHIMARK": 0,
    "SCAN_AHEAD": 0,
    "SCAN_BLOCK": 1,
    "TLB_BITS": 0,
    "SLAB_OBJECTS": 4,
    "PAGE_STATS": 0,
    "YIELD_EVERY": 0,
}
AD: dict[str, int] = {**machine.small, **machine.parameters, **QUIET, "ENABLE_PML": 1}
NOAD: dict[str, int] = {**noad.small, **noad.parameters, **QUIET}

HVA = 100  # host page of guest page 0
N_PAGES = 4
HEAP_WORDS = 2048
FIRST_PFN = 0x50
LEVELS = ("", "pte", "pmd", "pud")

READ, WRITE, EXEC = 1, 2, 4
RWX = READ | WRITE | EXEC
LARGE = PT_PAGE_SIZE_MASK
ACCESSED, DIRTY = 0x100, 0x200  # of EPT
PRESENT = SPTE_MMU_PRESENT_MASK
HOST_WRITABLE, MMU_WRITABLE = 1 << 57, 1 << 58
SAVED = 5 << 54
WRPROT_ONLY = SPTE_TDP_AD_WRPROT_ONLY
NP = 1 << 63
FROZEN = NP | 0x5A0
PFN_MASK, PFN_SHIFT = SPTE_BASE_ADDR_MASK, SPTE_BASE_SHIFT
NULL = 0

ROOTS = Kvm.layout.field("arch.tdp_mmu_roots").offset
CACHE = Kvm.layout.field("arch.mmu_page_cache").offset
ROOT = Vcpu.layout.field("arch.root").offset
EXIT_QUALIFICATION = Vcpu.layout.field("arch.exit_qualification").offset
SLOT = Kvm.offset("slots")
SEQ = GenericKvm.offset("mmu_invalidate_seq")


@kernel
def maps(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, pfn: u64, seq: u64, write: u64) -> u64:
    """The end of a fault: ``gfn`` was found to be in frame ``pfn``, writable; RET_PF_*."""
    return direct_map(kvm, vcpu, addr(kvm.slots[0]), gfn, pfn, seq, write, 1)


def pfn_of(spte: int) -> int:
    """The frame that a leaf maps."""
    return (spte & PFN_MASK) >> PFN_SHIFT


@dataclass(frozen=True, slots=True)
class Vm:
    """A VM in a scenario: where its structs are."""

    m: Setup
    kvm: int
    vcpu: int

    @property
    def root(self) -> int:
        """The first vCPU's root."""
        return self.m.peek(self.vcpu + ROOT)

    @property
    def slot(self) -> int:
        """The memslot."""
        return self.kvm + SLOT

    def map(self, gfn: int, pfn: int | None = None, *, write: int = 1) -> int:
        """Map ``gfn`` by the fault path; its entry's address."""
        frame = FIRST_PFN + gfn if pfn is None else pfn
        self.m.call(*self.maps(gfn, frame, write=write))
        self.name_tables()
        return self.entry(gfn)

    def maps(self, gfn: int, pfn: int, *, seq: int = 0, write: int = 1) -> ThreadCall:
        """What maps ``gfn``, for a thread; ``seq``: invalidations seen before."""
        return (maps, self.kvm, self.vcpu, gfn, pfn, seq, write)

    def age(self, start: int = 0, end: int = 1, *, clear: bool = True) -> ThreadCall:
        """A lockless pass over guest pages ``[start, end)``, for a thread."""
        return (kvm_tdp_mmu_age_lockless, self.kvm, start, end, int(clear), NULL, 0)

    def entry(self, gfn: int, level: int = 1) -> int:
        """Address of the last entry of ``gfn`` down to ``level``."""
        return self.m.call(tdp_walk, self.root + KvmMmuPage.size, gfn, level)

    def watch(self, gfn: int, level: int = 1) -> int:
        """Show the entry of ``gfn`` in final states, as ``pte0`` or ``pmd0``; its address."""
        address = self.entry(gfn, level)
        self.m.watch(f"{LEVELS[level]}{gfn}", address)
        return address

    def change(self, gfn: int, *, clear: int = 0, set_: int = 0) -> int:
        """Change bits of a leaf before anything runs; what it is then."""
        address = self.entry(gfn)
        self.m.poke(address, (self.m.peek(address) & ~clear) | set_)
        return self.m.peek(address)

    def large(self) -> None:
        """From here on the host's memory allows leaves of two pages."""
        self.m.poke(self.slot + MemorySlot.offset("max_level"), 1)

    def log(self) -> int:
        """Log the slot's writes, from the beginning on; the bitmap, which is watched."""
        bitmap = self.m.words(1, "dirty_bitmap")
        self.m.call(kvm_memslot_set_dirty_bitmap, self.kvm, 0, bitmap)
        self.m.watch("dirty", bitmap)
        return bitmap

    def new_vcpu(self, name: str) -> int:
        """One more vCPU, with a root."""
        return _new_vcpu(self.m, self.kvm, name)

    def stock(self, cpu: int) -> int:
        """Let ``cpu`` find a free table in its own magazine, as on a machine long up; its
        address."""
        table = self.m.call(kmem_cache_alloc, self.kvm + CACHE, cpu=cpu)
        self.m.call(kmem_cache_free, self.kvm + CACHE, table, cpu=cpu)
        for i in range(2):
            self.m.name(f"new[{i}]", table + KvmMmuPage.size + i)
        return table

    def name_tables(self) -> None:
        """Name the words of every table for pictures: ``pmd[0]``, ``pte[1]``, ``pte.1[0]``."""
        top = self.m.peek(self.root + KvmMmuPage.offset("level"))
        self._name_table(self.root + KvmMmuPage.size, top, "")

    def _name_table(self, table: int, level: int, path: str) -> None:
        for i in range(2):
            self.m.name(f"{LEVELS[level]}{path}[{i}]", table + i)
            entry = self.m.peek(table + i)
            present = self.m.call(is_shadow_present_pte, entry)
            if present and not self.m.call(is_last_spte, entry, level):
                below = self.m.call(spte_to_child_pt, entry)
                self._name_table(below, level - 1, f"{path}.{i}" if i or path else "")


def _new_vcpu(m: Setup, kvm: int, name: str) -> int:
    vcpu = m.new(Vcpu, name)
    m.call(kvm_vcpu_init, kvm, vcpu, m.new(TlbEntry, f"{name}.tlb0"))
    assert not m.call(kvm_tdp_mmu_alloc_root, kvm, vcpu)
    return vcpu


def make_vm(m: Setup) -> Vm:
    """A VM over no host memory, with one vCPU and an empty root."""
    m.declare({*AD, *NOAD, "SHADOW_NONPRESENT_BIT", "LINUX_VERSION", "FROZEN_BITS", "AGE_SPTE"})
    if not m.peek(MEMBLOCK):
        heap = m.words(HEAP_WORDS, align=8)
        m.call(memblock_init, heap, heap + HEAP_WORDS)
    m.bind(machine.hooks)
    kvm = m.new(Kvm, "kvm")
    m.call(kvm_arch_init_vm, kvm)
    m.call(kvm_add_memslot, kvm, 0, N_PAGES, HVA)
    vm = Vm(m, kvm, _new_vcpu(m, kvm, "vcpu"))
    m.name("root.invalid", vm.root + KvmMmuPage.offset("invalid"))
    vm.name_tables()
    return vm
