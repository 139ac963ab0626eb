"""A small machine in hash mode, driven from Python, over a host page table made by hand.

``Books`` is a second, plain account of what the table should know: dictionaries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from kvm_machine import ENTRIES, SMALL, Machine

from mkold.kvm.powerpc import switch
from mkold.kvm.powerpc.asm.kvm_host import RevmapEntry
from mkold.kvm.powerpc.hash import (
    age,
    audit,
    dirty,
    hcall_change,
    hcall_enter,
    hpte,
    hw,
    rmap,
    unmap,
    vcpu,
)
from mkold.kvm.powerpc.machine import machine as powerpc
from mkold.kvm.types import MemorySlot
from mkold.mm import mmu_notifier
from mkold.mm.mm_types import PTE_PRESENT, PTE_READ, PTE_WRITE
from mkold.native import Image, build

HASH_ENTRIES = [
    *ENTRIES,
    switch.kvm_vm_ioctl_allocate_htab,
    age.kvm_age_rmapp,
    age.kvm_test_age_rmapp,
    audit.kvm_hpt_audit,
    dirty.kvm_hpt_test_clear_dirty,
    hcall_change.kvmppc_do_h_remove,
    hcall_change.kvmppc_h_clear_ref,
    hcall_change.kvmppc_h_protect,
    hcall_enter.kvmppc_do_h_enter,
    hpte.hpt_vpn,
    hpte.hpte_vpn,
    hpte.hpte_encode_avpn,
    hpte.hpt_hash,
    hpte.vpn_gfn,
    hw.mmu_walk_hpt,
    rmap.gfn_to_rmap,
    unmap.kvm_unmap_rmapp,
    vcpu.kvmppc_hash_page_fault,
    mmu_notifier.mmu_notifier_clear_young,
]
GFNS = 8  # pages of the guest that tests use
PFN = 0x700  # frame of guest page 0
R, C, RO, RW = hpte.HPTE_R_R, hpte.HPTE_R_C, hpte.PP_RXRX, hpte.PP_RWRW
VALID, ABSENT = hpte.HPTE_V_VALID, hpte.HPTE_V_ABSENT
REFERENCED = rmap.KVMPPC_RMAP_REFERENCED


@cache
def hash_image(params: tuple[tuple[str, int], ...] = ()) -> Image:
    """The system, checked, with ``params`` over the small ones."""
    settings = {**SMALL, **dict(params)}
    return build(HASH_ENTRIES, settings, hooks=powerpc.hooks, checked=True, optimised=False)


class HashMachine(Machine):
    """A VM in hash mode; host pages of the guest's memory are all there, and writable."""

    def __init__(self, **params: int) -> None:
        super().__init__(hash_image(tuple(sorted(params.items()))))
        self.table = self.process(PFN)
        for gfn in range(128):
            self.host(gfn, PFN + gfn)
        assert self("kvmhv_configure_mmu", self.kvm, 0) == 0

    def host(self, gfn: int, pfn: int, *, writable: bool = True) -> None:
        """The host maps the page behind ``gfn`` so; 0: not at all."""
        pte = PTE_PRESENT | PTE_READ | (PTE_WRITE if writable else 0) | pfn << 12
        self.words[self.table + gfn] = pte if pfn else 0

    def log(self) -> int:
        """Log dirty pages of the slot; the bitmap's address."""
        bitmap = self.new(8)
        self.words[self.slot() + MemorySlot.offset("dirty_bitmap")] = bitmap
        return bitmap

    def enter(self, page: int, gfn: int, bits: int = RW | R, index: int | None = None) -> int:
        """H_ENTER of virtual page ``page`` for ``gfn`` at ``index``; a negative error, or the
        index."""
        vpn = self("hpt_vpn", page)
        avpn = self("hpte_encode_avpn", vpn)
        flags = 0 if index is None else hcall_enter.H_EXACT
        at = index if index is not None else self("hpt_hash", vpn) << 3  # type: ignore[operator]
        failed, found = self("kvmppc_do_h_enter", self.kvm, flags, at, avpn, gfn << 12 | bits)  # type: ignore[misc]
        return signed(failed) or found

    def remove(self, index: int, flags: int = 0, avpn: int = 0) -> tuple[int, int, int]:
        """H_REMOVE."""
        failed, v, r = self("kvmppc_do_h_remove", self.kvm, flags, index, avpn)  # type: ignore[misc]
        return signed(failed), v, r

    def hpte(self, index: int) -> tuple[int, int]:
        """V and R."""
        at = self.word(self.arch("hpt.virt")) + 2 * index
        return int(self.words[at]), int(self.words[at + 1])

    def guest_view(self, index: int) -> int:
        """``guest_rpte``."""
        return int(self.words[self.word(self.arch("hpt.rev")) + RevmapEntry.size * index])

    def rmap(self, gfn: int) -> int:
        """The rmap word."""
        return int(self.words[self("gfn_to_rmap", self.kvm, gfn)])  # type: ignore[index]

    def ring(self, gfn: int) -> list[int]:
        """Indices of the page's ring, in order."""
        word = self.rmap(gfn)
        if not word & rmap.KVMPPC_RMAP_PRESENT:
            return []
        rev = self.word(self.arch("hpt.rev"))
        found = [word & 0xFFFFFFFF]
        while True:
            after = int(self.words[rev + RevmapEntry.size * found[-1] + 1])
            if after == found[0]:
                return found
            found.append(after)

    def walk(self, page: int, write: int = 0) -> int:
        """The hardware; the frame, or 0 for a fault."""
        ok, pfn = self("mmu_walk_hpt", self.kvm, self.vcpus[0], page, write)  # type: ignore[misc]
        return int(pfn) if ok else 0

    def age(self, gfn: int) -> int:
        """Clear R of a page."""
        return self("kvm_age_rmapp", self.kvm, gfn)  # type: ignore[return-value]

    def audited(self) -> int:
        """The machine's own audit."""
        return self("kvm_hpt_audit", self.kvm)  # type: ignore[return-value]


def signed(word: int) -> int:
    """A result of an hcall."""
    return word - (1 << 64) if word >> 63 else word


@dataclass
class Entry:
    """An HPTE as the books have it."""

    gfn: int
    writable: bool
    mapped: bool
    view: int  # R and C that the guest knows of
    r: bool = False
    c: bool = False


@dataclass
class Books:
    """What the table should know, after each operation."""

    entries: dict[int, Entry] = field(default_factory=dict)
    kept: dict[int, int] = field(default_factory=dict)  # by page: R and C of what went
    logged: set[int] = field(default_factory=set)

    def bits(self, entry: Entry) -> int:
        """R and C of an HPTE."""
        return (R if entry.r else 0) | (C if entry.c else 0)

    def enter(self, index: int, gfn: int, bits: int, *, there: bool) -> None:
        kept = self.kept.get(gfn, 0) & bits if there else 0
        entry = Entry(gfn, bits & 3 == RW, there, bits & (R | C))
        entry.r, entry.c = bool(kept & R), bool(kept & C)
        self.entries[index] = entry

    def leave(self, entry: Entry) -> None:
        """A mapped HPTE goes: both views learn of R and C."""
        if entry.mapped:
            bits = self.bits(entry)
            entry.view |= bits
            self.kept[entry.gfn] = self.kept.get(entry.gfn, 0) | bits
            if bits & C:
                self.logged.add(entry.gfn)
            entry.mapped = entry.r = entry.c = False

    def of(self, gfn: int) -> list[Entry]:
        """Mapped HPTEs of a page."""
        return [e for e in self.entries.values() if e.gfn == gfn and e.mapped]

    def age(self, gfn: int) -> bool:
        young = bool(self.kept.get(gfn, 0) & R)
        self.kept[gfn] = self.kept.get(gfn, 0) & ~R
        for entry in self.of(gfn):
            young |= entry.r
            entry.view |= R if entry.r else 0
            entry.r = False
        return young
