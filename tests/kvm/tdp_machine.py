"""A small machine for tests of the TDP MMU: one VM, driven from Python, its memory open.

Guest page ``gfn`` is in frame ``FIRST_PFN + gfn``, whatever happens, so that any translation
can be told right from wrong; no host memory stands behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from mkold.ir import boot
from mkold.kvm import main, memslots, vcpu
from mkold.kvm.mmu_lock import (
    kvm_mmu_lock,
    kvm_mmu_read_lock,
    kvm_mmu_read_unlock,
    kvm_mmu_unlock,
)
from mkold.kvm.types import MemorySlot, TlbEntry
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu
from mkold.kvm.x86.fault import direct_map
from mkold.kvm.x86.hw import mmu_walk_tdp
from mkold.kvm.x86.machine import machine as x86
from mkold.kvm.x86.mmu.spte import (
    PG_LEVEL_4K,
    PT_PAGE_SIZE_MASK,
    SPTE_BASE_ADDR_MASK,
    SPTE_MMU_PRESENT_MASK,
)
from mkold.kvm.x86.tdp.dirty import (
    kvm_mmu_slot_start_logging,
    kvm_tdp_mmu_write_protect_gfn,
    kvm_vm_ioctl_get_dirty_log,
)
from mkold.kvm.x86.tdp.fast_fault import fast_page_fault
from mkold.kvm.x86.tdp.huge import kvm_tdp_mmu_recover_huge_pages
from mkold.kvm.x86.tdp.roots import kvm_mmu_reload
from mkold.kvm.x86.tdp.zap import kvm_mmu_zap_all_fast
from mkold.kvm.x86.x86 import kvm_age_gfn, kvm_test_age_gfn, kvm_unmap_gfn_range
from mkold.lang import Ptr, addr, kernel, u64
from mkold.mm import mmu_notifier, page_alloc, slab
from mkold.mm.mm_types import Mm
from mkold.mm.mmu_notifier import MmuNotifierSubscriptions
from mkold.native import Image, Memory, build
from mkold.sync import rcu

FIRST_PFN = 1 << 12
OWN_WORDS, SLAB_WORDS = 1 << 14, 1 << 17


@kernel
def map_page(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """The end of a fault."""
    pfn = FIRST_PFN + gfn
    seq = kvm.mmu_invalidate_seq
    return direct_map(kvm, vcpu, addr(kvm.slots[0]), gfn, pfn, seq, write, 1)


@kernel
def fix_fast(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """A fault's fast way."""
    return fast_page_fault(vcpu, addr(kvm.slots[0]), gfn, write)


@kernel
def age(kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64) -> u64:
    """Aging under the lock, in the kernel's own way."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    young = kvm_age_gfn(kvm, gfn, end) if clear else kvm_test_age_gfn(kvm, gfn, end)
    kvm_mmu_unlock(kvm)
    return young


@kernel
def unmap(kvm: Ptr[Kvm], gfn: u64, end: u64) -> None:
    """What the host's invalidation does."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    kvm_unmap_gfn_range(kvm, gfn, end)
    kvm_mmu_unlock(kvm)


@kernel
def protect(kvm: Ptr[Kvm], gfn: u64) -> None:
    """A page is tracked."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    kvm_tdp_mmu_write_protect_gfn(kvm, gfn, PG_LEVEL_4K)
    kvm_mmu_unlock(kvm)


@kernel
def recover(kvm: Ptr[Kvm], waits: Ptr[u64]) -> None:
    """Large leaves again."""
    kvm_mmu_read_lock(kvm, waits)
    kvm_tdp_mmu_recover_huge_pages(kvm, addr(kvm.slots[0]), waits)
    kvm_mmu_read_unlock(kvm)
    rcu.rcu_do_batch()


ENTRIES = [
    map_page, fix_fast, age, unmap, protect, recover, mmu_walk_tdp, kvm_mmu_zap_all_fast,
    kvm_mmu_slot_start_logging, kvm_vm_ioctl_get_dirty_log, kvm_mmu_reload,
    x86.hooks["kvm_arch_test_clear_young"], x86.hooks["kvm_arch_has_test_clear_young"],
    main.kvm_init, main.kvm_create_vm,
    main.kvm_destroy_vm, memslots.kvm_add_memslot, memslots.kvm_memslot_set_level,
    memslots.kvm_memslot_set_dirty_bitmap, vcpu.kvm_vcpu_init, page_alloc.memblock_init,
    slab.kmem_cache_nr_free, rcu.rcu_do_batch, mmu_notifier.mmu_notifier_subscriptions_init,
]  # fmt: skip


@cache
def image(params: tuple[tuple[str, int], ...]) -> Image:
    settings = {**x86.parameters, "TLB_BITS": 4, "SCAN_BLOCK": 2, "SCAN_AHEAD": 2,
                "SLAB_OBJECTS": 8, **dict(params)}  # fmt: skip
    return build(ENTRIES, settings, hooks=x86.hooks, checked=True, optimised=False)


@dataclass
class TdpMachine:
    """One VM with a slot of all that its root can map (at most 64 pages), and one vCPU."""

    bits: int
    levels: int
    params: dict[str, int]
    memory: Memory = field(init=False)

    def __post_init__(self) -> None:
        self.n_pages = min(64, 1 << (self.bits * self.levels))
        geometry = {"SPTE_LEVEL_BITS": self.bits, "PT64_ROOT_LEVEL": self.levels}
        self.image = image(tuple(sorted({**self.params, **geometry}.items())))
        slabs = boot.BOOT_WORDS + OWN_WORDS
        self.memory = Memory(slabs + SLAB_WORDS)
        self.words = self.memory.words
        self._next = boot.BOOT_WORDS
        self("memblock_init", slabs, slabs + SLAB_WORDS)
        self.mm = self.new(Mm.size)
        subscriptions = self.new(MmuNotifierSubscriptions.size)
        self("mmu_notifier_subscriptions_init", self.mm, subscriptions)
        self.kvm, self.waits = self.new(Kvm.size), self.new(8)
        self.bitmap, self.log = self.new(8), self.new(8)
        self("kvm_init")
        assert self("kvm_create_vm", self.kvm, self.mm) == 0
        self("kvm_add_memslot", self.kvm, 0, self.n_pages, 0)
        self.vcpu = self.new(Vcpu.size)
        self("kvm_vcpu_init", self.kvm, self.vcpu, self.new(TlbEntry.size << 4))
        self.reload()

    def __call__(self, name: str, *args: int) -> int | tuple[int, ...] | None:
        return self.image.call(name, self.memory, 0, *args)

    def new(self, n_words: int) -> int:
        """Zeroed words of our own, on a cache line."""
        at = self._next
        self._next += -(-n_words // 8) * 8
        return at

    def reload(self) -> None:
        """Give the vCPU a valid root."""
        assert self("kvm_mmu_reload", self.kvm, self.vcpu) == 0

    @property
    def slot(self) -> int:
        return self.kvm + Kvm.offset("slots")

    def arch(self, name: str) -> int:
        """A word of ``kvm.arch``."""
        return int(self.words[self.kvm + Kvm.layout.field(f"arch.{name}").offset])

    @property
    def dirty_bitmap(self) -> int:
        return int(self.words[self.slot + MemorySlot.offset("dirty_bitmap")])

    def walk(self, gfn: int, write: int) -> tuple[int, int]:
        """The hardware: whether it finds a translation, and the frame."""
        ok, pfn = self("mmu_walk_tdp", self.kvm, self.vcpu, gfn, write)  # type: ignore[misc]
        return ok, pfn

    def counts(self) -> tuple[int, dict[int, int]]:
        """Tables, and leaves by level, by a walk of our own."""
        tables, leaves = 0, dict.fromkeys((1, 2, 3), 0)
        root = self.arch("tdp_mmu_roots")
        while root:
            waiting = [(root, self.levels)]
            while waiting:
                sp, level = waiting.pop()
                tables += 1
                for i in range(1 << self.bits):
                    spte = int(self.words[sp + KvmMmuPage.size + i])
                    if not spte & SPTE_MMU_PRESENT_MASK:
                        continue
                    if level == 1 or spte & PT_PAGE_SIZE_MASK:
                        leaves[level] += 1
                    else:
                        below = (spte & SPTE_BASE_ADDR_MASK) >> 12
                        waiting.append((below - KvmMmuPage.size, level - 1))
            root = int(self.words[root + KvmMmuPage.offset("link")])
        return tables, leaves
