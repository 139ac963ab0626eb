"""A small VM of the shadow MMU, built by running the system's own kernel Python.

Two levels with two entries each, large leaves of two pages in the root; guest pages 0 to 3; no
host memory behind it: frames are numbers. The TDP MMU is off, so tables are direct; a page is
listed twice where a second table, of another role, maps it.
"""

from __future__ import annotations

from dataclasses import dataclass

from mkold.check import Setup
from mkold.check.setup import ThreadCall
from mkold.ir.boot import MEMBLOCK
from mkold.kvm.memslots import kvm_add_memslot
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.tlb import kvm_flush_remote_tlbs
from mkold.kvm.types import MemorySlot, TlbEntry
from mkold.kvm.vcpu import kvm_vcpu_init
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu
from mkold.kvm.x86.machine import shadow
from mkold.kvm.x86.mmu.spte import (
    PG_LEVEL_4K,
    PT_WRITABLE_MASK,
    SPTE_ENT_PER_PAGE,
    SPTE_MMU_PRESENT_MASK,
)
from mkold.kvm.x86.shadow.age import kvm_rmap_age_gfn_range
from mkold.kvm.x86.shadow.fast_page_fault import shadow_fast_page_fault
from mkold.kvm.x86.shadow.fault import kvm_mmu_load, mmu_topup_memory_caches
from mkold.kvm.x86.shadow.map import direct_map, make_spte, mmu_set_spte
from mkold.kvm.x86.shadow.memslot_rmap import gfn_to_rmap
from mkold.kvm.x86.shadow.pages import kvm_mmu_get_shadow_page, kvm_mmu_init_shadow
from mkold.kvm.x86.shadow.write_protect import kvm_mmu_slot_gfn_write_protect
from mkold.kvm.x86.shadow.zap import kvm_mmu_commit_zap_page, kvm_mmu_prepare_zap_page
from mkold.kvm.x86.tdp.iter import tdp_walk
from mkold.lang import Ptr, addr, cast, kernel, u64
from mkold.mm.page_alloc import memblock_init

SMALL = {
    **shadow.small,
    **shadow.parameters,
    "LOCK_STAT": 0,
    "RCU_QHIMARK": 0,
    "PTE_LIST_EXT": 2,
    "TLB_BITS": 0,
    "SLAB_OBJECTS": 4,
}
# Entries for pages of guests with accessed and dirty bits, and without.
AD, NO_AD = {"KVM_AD_ENABLED": 1}, {"KVM_AD_ENABLED": 0}

HVA = 100  # host page of guest page 0
N_PAGES = 4
HEAP_WORDS = 4096
FIRST_PFN = 0x50
SLOT = Kvm.offset("slots")
ROLE_DIRECT, ROLE_INDIRECT = 1 | 7 << 1, 7 << 1
ROLE_OTHER, ROLE_THIRD = 1 | 5 << 1, 1 | 1 << 1  # direct, with less access than ACC_ALL

PRESENT = SPTE_MMU_PRESENT_MASK
WRITABLE, READABLE = PT_WRITABLE_MASK, 5
ACCESSED, DIRTY, MMU_WRITABLE = 0x100, 0x200, 1 << 58  # of EPT


@kernel
def map_page(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot],
    gfn: u64, pfn: u64, level: u64, writable: u64,
) -> None:  # fmt: skip
    """What a fault does under the lock."""
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    direct_map(kvm, vcpu, slot, gfn, pfn, level, writable)
    kvm_mmu_unlock(kvm)


@kernel
def map_by_other(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64, pfn: u64, role: u64
) -> u64:
    """Map ``gfn`` by a table of another role too, which nothing points to; the table."""
    first = gfn & ~(SPTE_ENT_PER_PAGE - 1)
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    sp = kvm_mmu_get_shadow_page(kvm, vcpu, first, PG_LEVEL_4K, role)
    spte = make_spte(kvm, slot, gfn, pfn, PG_LEVEL_4K, 1)
    mmu_set_spte(kvm, vcpu, slot, sp, gfn - first, gfn, spte)
    kvm_mmu_unlock(kvm)
    return cast(u64, sp)


@kernel
def zap_table(kvm: Ptr[Kvm], sp: Ptr[KvmMmuPage]) -> None:
    """The VM has too many tables: this one goes."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    kvm_mmu_prepare_zap_page(kvm, sp)
    kvm_mmu_commit_zap_page(kvm)
    kvm_mmu_unlock(kvm)


@kernel
def protect_table(kvm: Ptr[Kvm], slot: Ptr[MemorySlot], gfn: u64) -> None:
    """``gfn`` is found to be a table of the guest's own."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    if kvm_mmu_slot_gfn_write_protect(slot, gfn, PG_LEVEL_4K):
        kvm_flush_remote_tlbs(kvm)
    kvm_mmu_unlock(kvm)


@dataclass(frozen=True, slots=True)
class Vm:
    """A VM in a scenario, with the vCPU whose faults fill its tables."""

    m: Setup
    kvm: int
    vcpu: int

    @property
    def slot(self) -> int:
        """Address of the one memslot."""
        return self.kvm + SLOT

    def maps(self, gfn: int, *, level: int = 1, write: bool = True) -> ThreadCall:
        """What maps a page, for a thread."""
        frame = FIRST_PFN + gfn
        return (map_page, self.kvm, self.vcpu, self.slot, gfn, frame, level, int(write))

    def map(self, gfn: int, *, level: int = 1, write: bool = True) -> int:
        """Map a page now; the address of its entry."""
        self.m.call(*self.maps(gfn, level=level, write=write))
        self.stock()
        return self.entry(gfn)

    def maps_other(self, gfn: int, role: int = ROLE_OTHER) -> ThreadCall:
        """What maps a page by a table of another role too, for a thread."""
        return (map_by_other, self.kvm, self.vcpu, self.slot, gfn, FIRST_PFN + gfn, role)

    def other(self, gfn: int, role: int = ROLE_OTHER) -> int:
        """Map a page by a table of another role too, now; that table."""
        sp = self.m.call(*self.maps_other(gfn, role))
        self.stock()
        for i in range(2):
            self.m.name(f"other.{role}[{i}]", sp + KvmMmuPage.size + i)
        return sp

    def stock(self) -> None:
        """What a fault sets aside before it takes the lock."""
        assert not self.m.call(mmu_topup_memory_caches, self.kvm, self.vcpu)

    def entry(self, gfn: int) -> int:
        """Address of the entry where the translation of ``gfn`` ends."""
        root = self.m.peek(self.vcpu + ROOT)
        at = self.m.call(tdp_walk, root + KvmMmuPage.size, gfn, PG_LEVEL_4K)
        self.m.name(f"spte{gfn}", at)
        return at

    def table(self, gfn: int) -> int:
        """The table that the entry of ``gfn`` lies in."""
        return self.entry(gfn) - gfn % 2 - KvmMmuPage.size

    def watch(self, gfn: int) -> int:
        """Show the entry of ``gfn`` in final states, as ``spte0`` and so on; its address."""
        address = self.entry(gfn)
        self.m.watch(f"spte{gfn}", address)
        return address

    def clear(self, address: int, bits: int) -> None:
        """Clear bits of an entry before anything runs."""
        self.m.poke(address, self.m.peek(address) & ~bits)

    def rmap(self, gfn: int, level: int = 1) -> int:
        """Address of the word of ``gfn``."""
        at = self.m.call(gfn_to_rmap, self.slot, gfn, level)
        self.m.name(f"rmap{gfn}", at)
        return at

    def fast_fault(self, gfn: int, *, write: bool = True) -> ThreadCall:
        """What a vCPU tries first that met a page which may be read, for a thread."""
        self.m.poke(self.vcpu + EXIT, READABLE)
        return (shadow_fast_page_fault, self.vcpu, self.slot, gfn, int(write))

    def age(self, start: int = 0, end: int = 1, *, clear: bool = True) -> ThreadCall:
        """A lockless pass over guest pages ``[start, end)``, for a thread."""
        return (kvm_rmap_age_gfn_range, self.slot, start, end, int(clear))


ROOT, EXIT = (Vcpu.layout.field(f"arch.{f}").offset for f in ("root", "exit_qualification"))


def make_vm(m: Setup) -> Vm:
    """A VM over no host memory, with a vCPU that has a root."""
    m.declare(SMALL)
    if not m.peek(MEMBLOCK):
        heap = m.words(HEAP_WORDS, align=8)
        m.call(memblock_init, heap, heap + HEAP_WORDS)
    m.bind(shadow.hooks)
    kvm = m.new(Kvm, "kvm")
    assert not m.call(kvm_mmu_init_shadow, kvm)
    m.call(kvm_add_memslot, kvm, 0, N_PAGES, HVA)
    vcpu = m.new(Vcpu, "vcpu")
    m.call(kvm_vcpu_init, kvm, vcpu, m.new(TlbEntry, "vcpu.tlb0"))
    assert not m.call(kvm_mmu_load, kvm, vcpu)
    vm = Vm(m, kvm, vcpu)
    vm.stock()
    return vm
