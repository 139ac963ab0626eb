"""A small VM in hash mode: one group of two HPTEs, and a page or two of memory.

The host's page table is one table with all of it present, young and writable; ``HashVm.host``
is the entry of guest page 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from mkold.check import Setup
from mkold.check.setup import ThreadCall
from mkold.claims.powerpc.small_vm import HVA, SMALL, make_vm
from mkold.kvm.powerpc.asm.kvm_host import Kvm, RevmapEntry, Vcpu
from mkold.kvm.powerpc.hash.hcall_enter import H_EXACT, kvmppc_do_h_enter
from mkold.kvm.powerpc.hash.host_pte import kvmppc_read_update_linux_pte
from mkold.kvm.powerpc.hash.hpt import kvmppc_alloc_reset_hpt
from mkold.kvm.powerpc.hash.hpte import (
    HPTE_R_C,
    HPTE_R_R,
    HPTE_R_RPN_SHIFT,
    HPTE_V_AVPN_SHIFT,
    PP_RWRW,
)
from mkold.kvm.powerpc.hash.hw import mmu_walk_hpt
from mkold.kvm.powerpc.hash.rmap import gfn_to_rmap
from mkold.kvm.types import MemorySlot, TlbEntry
from mkold.kvm.vcpu import kvm_vcpu_init
from mkold.lang import Ptr, kernel, u64
from mkold.mm.mm_types import (
    PFN_ERR_RETRY,
    PTE_ACCESSED,
    PTE_PFN_SHIFT,
    PTE_PRESENT,
    PTE_READ,
    PTE_WRITE,
    Mm,
)

R, C, RW = HPTE_R_R, HPTE_R_C, PP_RWRW
FIRST_PFN = 0x50
ORDER = SMALL["HPT_ORDER"]
FIELDS = Kvm.layout.field


@kernel
def host_page(mm: Ptr[Mm], page: u64, write: u64) -> tuple[u64, u64]:
    """Stands for ``hva_to_pfn``: what the host's page table says now."""
    pfn, writable = kvmppc_read_update_linux_pte(mm, page)
    if pfn == 0 or (write and not writable):
        return PFN_ERR_RETRY, 0
    return pfn, writable


FAULTS = {"hva_to_pfn": host_page}


def host_pte(pfn: int, *, writable: bool = True) -> int:
    """The host's entry for a page in frame ``pfn``."""
    bits = PTE_PRESENT | PTE_READ | PTE_ACCESSED | (PTE_WRITE if writable else 0)
    return bits | pfn << PTE_PFN_SHIFT


@dataclass(frozen=True, slots=True)
class HashVm:
    """A VM in a scenario; ``host`` is the address of the host's entry of guest page 0."""

    m: Setup
    kvm: int
    host: int

    @property
    def hpt(self) -> int:
        """Address of HPTE 0's V."""
        return self.m.peek(self.kvm + FIELDS("arch.hpt.virt").offset)

    @property
    def rev(self) -> int:
        """Address of HPTE 0's revmap entry."""
        return self.m.peek(self.kvm + FIELDS("arch.hpt.rev").offset)

    def rmap(self, gfn: int = 0) -> int:
        """Address of the rmap word."""
        return self.m.call(gfn_to_rmap, self.kvm, gfn)

    def enters(
        self, page: int = 0, gfn: int = 0, bits: int = RW | R | C, index: int = 0
    ) -> ThreadCall:
        """H_ENTER of virtual page ``page`` for ``gfn`` at ``index``, for a thread."""
        v = page << HPTE_V_AVPN_SHIFT
        r = gfn << HPTE_R_RPN_SHIFT | bits
        return (kvmppc_do_h_enter, self.kvm, H_EXACT, index, v, r)

    def enter(
        self, page: int = 0, gfn: int = 0, bits: int = RW | R | C, index: int = 0
    ) -> None:
        """The same now."""
        assert self.m.call(*self.enters(page, gfn, bits, index)) == 0

    def touch(self, vcpu: int, page: int = 0, *, write: bool = False) -> None:
        """The hardware translates an access now."""
        assert self.m.call(mmu_walk_hpt, self.kvm, vcpu, page, int(write)) == 1

    def vcpu(self, name: str = "vcpu") -> int:
        """A vCPU with an empty TLB, of a VM whose vCPUs may run."""
        m = self.m
        vcpu = m.new(Vcpu, name)
        m.call(kvm_vcpu_init, self.kvm, vcpu, m.new(TlbEntry, f"{name}.tlb0"))
        m.poke(self.kvm + FIELDS("arch.mmu_ready").offset, 1)
        return vcpu

    def log(self) -> int:
        """Log dirty pages; the bitmap is watched as ``dirty``."""
        bitmap = self.m.words(1, "dirty_bitmap")
        self.m.poke(self.slot + MemorySlot.offset("dirty_bitmap"), bitmap)
        self.m.watch("dirty", bitmap)
        return bitmap

    @property
    def slot(self) -> int:
        """Address of the memslot."""
        return self.kvm + Kvm.offset("slots")

    def watch(self, index: int = 0) -> None:
        """Show the HPTE and page 0's rmap word in final states: ``V``, ``R``, ``guest``,
        ``rmap``."""
        self.m.watch("V", self.hpt + 2 * index)
        self.m.watch("R", self.hpt + 2 * index + 1)
        self.m.watch("guest", self.rev + RevmapEntry.size * index)
        self.m.watch("rmap", self.rmap())


def make_hash_vm(m: Setup, n_pages: int = 1) -> HashVm:
    """A VM in hash mode with an empty table and ``n_pages`` of memory, all present."""
    vm = make_vm(m, radix=False)
    host, pmd, mm = m.words(n_pages, "host_pte"), m.words(1, "pmd"), m.new(Mm, "mm")
    for gfn in range(n_pages):
        m.poke(host + gfn, host_pte(FIRST_PFN + gfn))
    m.poke(pmd, host)
    for name, value in (("vma_start", HVA), ("vma_pages", n_pages), ("pmd", pmd)):
        m.poke(mm + Mm.offset(name), value)
    m.poke(vm.kvm + Kvm.offset("mm"), mm)
    found = HashVm(m, vm.kvm, host)
    m.poke(found.slot + MemorySlot.offset("npages"), n_pages)
    assert not m.call(kvmppc_alloc_reset_hpt, vm.kvm, ORDER)
    for i in range(1 << (ORDER - 4)):
        m.name(f"hpte[{i}].V", found.hpt + 2 * i)
        m.name(f"hpte[{i}].R", found.hpt + 2 * i + 1)
        for k, name in enumerate(("guest_rpte", "forw", "back")):
            m.name(f"rev[{i}].{name}", found.rev + RevmapEntry.size * i + k)
    for gfn in range(n_pages):
        m.name(f"rmap[{gfn}]", found.rmap(gfn))
    return found
