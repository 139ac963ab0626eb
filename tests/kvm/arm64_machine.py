"""A small machine for tests of arm64's stage 2: one VM, driven from Python.

``Model`` is a second, deliberately plain idea of what the tables hold: a dictionary of leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from mkold.ir import boot
from mkold.kvm import main, memslots, vcpu
from mkold.kvm.arm64 import arm, audit, dirty, hw
from mkold.kvm.arm64.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.arm64.machine import machine as arm64
from mkold.kvm.arm64.pgtable import age, map, split, tables
from mkold.kvm.arm64.pgtable.pte import S2_AF, S2AP_W
from mkold.kvm.types import TlbEntry
from mkold.mm import mmu_notifier, page_alloc, slab
from mkold.mm.mm_types import Mm
from mkold.mm.mmu_notifier import MmuNotifierSubscriptions
from mkold.native import Image, Memory, build
from mkold.sync import rcu

AF, W = S2_AF, S2AP_W
OWN_WORDS, SLAB_WORDS = 1 << 14, 1 << 16

# Trees of two, three and four levels; the second and third with two tables side by side.
GEOMETRIES: dict[str, dict[str, int]] = {
    "two levels": {"STAGE2_TABLE_SHIFT": 3, "STAGE2_IA_BITS": 18, "STAGE2_CONCAT_BITS": 0},
    "two tables": {"STAGE2_TABLE_SHIFT": 2, "STAGE2_IA_BITS": 17, "STAGE2_CONCAT_BITS": 1},
    "three levels": {"STAGE2_TABLE_SHIFT": 2, "STAGE2_IA_BITS": 19, "STAGE2_CONCAT_BITS": 1},
    "four levels": {"STAGE2_TABLE_SHIFT": 2, "STAGE2_IA_BITS": 20, "STAGE2_CONCAT_BITS": 0},
}
SMALL = {
    **arm64.parameters,
    "KVM_PGTABLE_MIN_BLOCK_LEVEL": 1,
    "TLB_BITS": 4,
    "SCAN_BLOCK": 4,
    "SCAN_AHEAD": 2,
    "SLAB_OBJECTS": 8,
}

ENTRIES = [
    main.kvm_init,
    main.kvm_create_vm,
    main.kvm_destroy_vm,
    memslots.kvm_add_memslot,
    memslots.kvm_memslot_set_dirty_bitmap,
    vcpu.kvm_vcpu_init,
    map.kvm_pgtable_stage2_map,
    split.kvm_pgtable_stage2_split,
    tables.kvm_mmu_topup_memory_cache,
    age.stage2_test_clear_young_fast,
    dirty.kvm_mmu_wp_memory_region,
    dirty.kvm_mmu_split_huge_pages,
    dirty.kvm_get_dirty_log_protect,
    hw.mmu_walk_s2,
    audit.stage2_audit,
    arm.kvm_arch_has_test_clear_young,
    slab.kmem_cache_nr_free,
    page_alloc.memblock_init,
    rcu.rcu_do_batch,
    mmu_notifier.mmu_notifier_subscriptions_init,
    mmu_notifier.mmu_notifier_test_clear_young,
    mmu_notifier.mmu_notifier_clear_young,
    mmu_notifier.mmu_notifier_invalidate_range_start,
    mmu_notifier.mmu_notifier_invalidate_range_end,
]


@cache
def _image(params: tuple[tuple[str, int], ...]) -> Image:
    return build(
        ENTRIES, {**SMALL, **dict(params)}, hooks=arm64.hooks, checked=True, optimised=False
    )


def built(params: Mapping[str, int]) -> Image:
    """The system with ``params`` over ``SMALL``; every access is checked."""
    return _image(tuple(sorted(params.items())))


@dataclass
class Machine:
    """One VM with one memslot of all its pages, host page = guest page + ``hva``."""

    image: Image
    hva: int = 1000
    memory: Memory = field(init=False)

    def __post_init__(self) -> None:
        slabs = boot.BOOT_WORDS + OWN_WORDS
        self.memory = Memory(slabs + SLAB_WORDS)
        self.words = self.memory.words
        self._next = boot.BOOT_WORDS
        params = self.image.parameters
        self.bits = params["STAGE2_TABLE_SHIFT"]
        self.gfn_bits = params["STAGE2_IA_BITS"] - 12
        self.n_gfns = 1 << self.gfn_bits
        left = self.gfn_bits - params["STAGE2_CONCAT_BITS"]
        self.start_level = 4 - max(2, -(-left // self.bits))
        self("memblock_init", slabs, slabs + SLAB_WORDS)
        self.mm, subscriptions = self.new(Mm.size), self.new(MmuNotifierSubscriptions.size)
        self.kvm = self.new(Kvm.size)
        self("mmu_notifier_subscriptions_init", self.mm, subscriptions)
        self("kvm_init")
        assert self("kvm_create_vm", self.kvm, self.mm) == 0
        self("kvm_add_memslot", self.kvm, 0, self.n_gfns, self.hva)
        self.vcpu = self.new(Vcpu.size)
        self("kvm_vcpu_init", self.kvm, self.vcpu, self.new(TlbEntry.size << 4))

    def new(self, n_words: int) -> int:
        """Zeroed words of our own, on a cache line."""
        at = self._next
        self._next += -(-n_words // 8) * 8
        return at

    def __call__(self, name: str, *args: int) -> int | tuple[int, ...] | None:
        return self.image.call(name, self.memory, 0, *args)

    def at(self, name: str) -> int:
        """Address of a field of ``kvm.arch``."""
        return self.kvm + Kvm.layout.field(f"arch.{name}").offset

    @property
    def slot(self) -> int:
        """Address of the memslot."""
        return self.kvm + Kvm.offset("slots")

    def level_pages(self, level: int) -> int:
        """Pages that an entry at ``level`` maps."""
        return 1 << self.bits * (3 - level)

    def levels(self) -> list[int]:
        """Levels at which a leaf may be."""
        return [level for level in (1, 2, 3) if level >= self.start_level]

    def map(self, gfn: int, level: int, pfn: int, bits: int = AF | W) -> int:
        """Map the leaf of ``gfn`` at ``level``, as one who is alone."""
        store = self.at("mmu.split_page_cache")
        assert self("kvm_mmu_topup_memory_cache", self.kvm, store, 6) == 0
        attr = 0xF << 2 | 3 << 8 | 1 << 6 | bits
        args = (
            self.kvm,
            self.at("mmu.walk"),
            gfn,
            self.level_pages(level),
            pfn,
            attr,
            store,
            0,
        )
        result = self("kvm_pgtable_stage2_map", *args)
        assert isinstance(result, int)
        return result

    def unmap(self, start: int, end: int) -> None:
        """The host takes pages away, and is done with it."""
        for step in ("start", "end"):
            name = f"mmu_notifier_invalidate_range_{step}"
            self(name, self.mm, self.hva + start, self.hva + end)

    def young(self, start: int, end: int, clear: int, bitmap: int = 0) -> int:
        """Ask the notifier about guest pages ``[start, end)``."""
        first, last = self.hva + start, self.hva + end
        found = self("mmu_notifier_test_clear_young", self.mm, first, last, clear, bitmap)
        assert isinstance(found, int)
        return found

    def audit(self) -> int:
        """The books: 0, or the rule that is broken."""
        wrong = self("stage2_audit", self.kvm)
        assert isinstance(wrong, int)
        return wrong

    def leaves(self) -> dict[tuple[int, int], tuple[int, int]]:
        """``(level, gfn)`` to frame, and AF and W: by a walk of our own."""
        found: dict[tuple[int, int], tuple[int, int]] = {}
        self._collect(int(self.words[self.at("mmu.pgd")]), self.start_level, 0, found)
        return found

    def _collect(
        self, table: int, level: int, gfn: int, found: dict[tuple[int, int], tuple[int, int]]
    ) -> None:
        pages = self.level_pages(level)
        n = self.n_gfns // pages if level == self.start_level else 1 << self.bits
        for i in range(n):
            entry = int(self.words[table + i])
            below = (entry & (1 << 48) - 1) >> 12
            if entry & 3 == 3 and level < 3:
                self._collect(below, level + 1, gfn + i * pages, found)
            elif entry & 1:
                found[level, gfn + i * pages] = (below, entry & (AF | W))


class Model:
    """Leaves by ``(level, first page)``: frame and bits."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.leaves: dict[tuple[int, int], tuple[int, int]] = {}

    def pages(self, key: tuple[int, int]) -> range:
        """The pages of a leaf."""
        return range(key[1], key[1] + self.machine.level_pages(key[0]))

    def meeting(self, start: int, end: int) -> list[tuple[int, int]]:
        """Leaves that have pages of ``[start, end)``."""
        return [
            key
            for key in self.leaves
            if self.pages(key).start < end and start < self.pages(key).stop
        ]

    def map(self, gfn: int, level: int, pfn: int, bits: int) -> None:
        """A leaf that is the same but for W stays; anything else gives way."""
        key = (level, gfn)
        old = self.leaves.get(key)
        if old is not None and old[0] == pfn and not (old[1] ^ bits) & AF:
            return
        for other in self.meeting(gfn, gfn + self.machine.level_pages(level)):
            del self.leaves[other]
        self.leaves[key] = (pfn, bits)

    def unmap(self, start: int, end: int) -> None:
        """Leaves go whole."""
        for key in self.meeting(start, end):
            del self.leaves[key]

    def clear(self, start: int, end: int, bits: int) -> int:
        """Clear bits of what meets the range; whether any had them."""
        met = self.meeting(start, end)
        had = any(self.leaves[key][1] & bits for key in met)
        for key in met:
            pfn, old = self.leaves[key]
            self.leaves[key] = (pfn, old & ~bits)
        return int(had)

    def split(self, start: int, end: int) -> None:
        """Blocks become pages of the same frames, all young."""
        for key in self.meeting(start, end):
            if key[0] == 3:
                continue
            pfn, bits = self.leaves.pop(key)
            wanted = range(max(key[1], start), min(self.pages(key).stop, end))
            self._split(key, pfn, bits | AF, wanted)

    def _split(self, key: tuple[int, int], pfn: int, bits: int, wanted: range) -> None:
        below = key[0] + 1
        step = self.machine.level_pages(below)
        for first in range(key[1], self.pages(key).stop, step):
            touched = first < wanted.stop and wanted.start < first + step
            child, frame = (below, first), pfn + first - key[1]
            if below < 3 and touched:
                self._split(child, frame, bits, wanted)
            else:
                self.leaves[child] = (frame, bits)
