"""The shadow MMU of a small VM against a plain model: a set of leaves, and which are young."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkold.claims.x86 import shadow_vm
from mkold.claims.x86.shadow_vm import ROLE_OTHER
from mkold.ir import boot
from mkold.kvm import memslots, vcpu
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage
from mkold.kvm.x86.machine import shadow
from mkold.kvm.x86.shadow import age, fault, mmu, pages, rmap_zap, zap
from mkold.kvm.x86.shadow.rmap import PteListDesc
from mkold.mm.page_alloc import memblock_init
from mkold.native import Image, Memory, build

PRESENT, LARGE, A, W = 1 << 11, 1 << 7, 1 << 8, 2
HVA, FIRST_PFN = 100, 0x50
BITS, LEVELS = 2, 3
N_GFNS = 1 << (BITS * LEVELS)
KVM, VCPU, TLB = (boot.BOOT_WORDS + i * 8192 for i in range(3))
HEAP, END = boot.BOOT_WORDS + 3 * 8192, boot.BOOT_WORDS + 9 * 8192


@cache
def image(**params: int) -> Image:
    entries = [
        memblock_init, memslots.kvm_add_memslot, vcpu.kvm_vcpu_init, pages.kvm_mmu_init_shadow,
        fault.kvm_mmu_load, fault.mmu_topup_memory_caches, shadow_vm.map_page,
        shadow_vm.map_by_other, zap.kvm_mmu_zap_oldest_mmu_pages, zap.make_mmu_pages_available,
        rmap_zap.kvm_rmap_zap_gfn_range, age.kvm_rmap_age_gfn_range, age.kvm_age_rmap_range,
        mmu.kvm_arch_has_test_clear_young, mmu.kvm_arch_test_clear_young,
    ]  # fmt: skip
    small = {
        "KVM_HAVE_MMU_RWLOCK": 1, "SPTE_LEVEL_BITS": BITS, "PT64_ROOT_LEVEL": LEVELS,
        "KVM_MAX_HUGEPAGE_LEVEL": LEVELS, "PTE_LIST_EXT": 2, "TLB_BITS": 0, "SLAB_OBJECTS": 8,
        "KVM_MMU_HASH_SHIFT": 2,
    }  # fmt: skip
    return build(entries, small | params, hooks=shadow.hooks, checked=True, optimised=False)


@dataclass
class Vm:
    """A VM over no host memory; ``young`` and ``mapped`` are what a plain model says."""

    image: Image
    memory: Memory = field(default_factory=lambda: Memory(END))

    def __post_init__(self) -> None:
        self.words = self.memory.words
        self("memblock_init", HEAP, END)
        assert self("kvm_mmu_init_shadow", KVM) == 0
        self("kvm_add_memslot", KVM, 0, N_GFNS, HVA)
        self("kvm_vcpu_init", KVM, VCPU, TLB)
        assert self("kvm_mmu_load", KVM, VCPU) == 0
        self.slot = KVM + Kvm.offset("slots")

    def __call__(self, name: str, *args: int) -> int:
        result = self.image.call(name, self.memory, 0, *args)
        return result if isinstance(result, int) else 0

    def field(self, at: int, struct: type, name: str) -> int:
        return int(self.words[at + struct.layout.field(name).offset])  # type: ignore[attr-defined]

    def map(self, gfn: int, level: int, other: bool) -> None:
        assert self("mmu_topup_memory_caches", KVM, VCPU) == 0
        pfn = FIRST_PFN + gfn
        if other:
            self("map_by_other", KVM, VCPU, self.slot, gfn, pfn, ROLE_OTHER)
        else:
            self("map_page", KVM, VCPU, self.slot, gfn, pfn, level, 1)

    def tables(self) -> list[int]:
        """Every table, by a walk of our own over the list of all."""
        lru = KvmMmuPage.offset("lru")
        head = KVM + Kvm.layout.field("arch.shadow.active_mmu_pages").offset
        at, found = int(self.words[head]), []
        while at != head:
            found.append(at - lru)
            at = int(self.words[at])
        return found

    def leaves(self) -> dict[int, tuple[int, int, int]]:
        """Address of each present leaf to its first page, its level and its value."""
        found = {}
        for sp in self.tables():
            level, gfn = self.field(sp, KvmMmuPage, "level"), self.field(sp, KvmMmuPage, "gfn")
            for i in range(1 << BITS):
                at = sp + KvmMmuPage.size + i
                spte = int(self.words[at])
                if spte & PRESENT and (level == 1 or spte & LARGE):
                    found[at] = (gfn + (i << BITS * (level - 1)), level, spte)
        return found

    def listed(self) -> list[tuple[int, int, int]]:
        """Each entry of each chain: address, and the first page and the level of its word."""
        word = int(self.words[self.slot + 5])
        found = []
        for level in range(1, LEVELS + 1):
            for gfn in range(0, N_GFNS, 1 << BITS * (level - 1)):
                found += [(at, gfn, level) for at in self.chain(int(self.words[word]))]
                word += 1
        return found

    def chain(self, word: int) -> list[int]:
        assert not word & 2, "locked"
        if not word & 1:
            return [word >> 2] if word else []
        desc, found = word >> 2, []
        first = PteListDesc.offset("sptes")
        while desc:
            n = self.field(desc, PteListDesc, "spte_count")
            found += [int(w) for w in self.words[desc + first : desc + first + n]]
            desc = self.field(desc, PteListDesc, "more")
        return found

    def check(self) -> None:
        """Each present leaf is in the chain of its page and level once, and nothing else is."""
        leaves = self.leaves()
        assert sorted(self.listed()) == sorted((at, g, lv) for at, (g, lv, _) in leaves.items())
        assert len(self.tables()) == self.field(KVM, Kvm, "arch.shadow.n_used_mmu_pages")
        for gfn, _level, spte in leaves.values():
            assert spte >> 12 & 0xFFFF == FIRST_PFN + gfn

    def young(self, start: int, end: int) -> bool:
        """Whether any leaf that maps a page of the range is young."""
        return any(
            spte & A and gfn < end and start < gfn + (1 << BITS * (level - 1))
            for gfn, level, spte in self.leaves().values()
        )


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["map", "map", "map", "other", "unmap", "age", "age", "test", "zap"]),
        st.integers(0, N_GFNS - 1),
        st.integers(1, LEVELS),
        st.integers(1, 20),
    ),
    max_size=40,
)


def run(vm: Vm, steps: list[tuple[str, int, int, int]], ager: str) -> None:
    for what, gfn, level, n in steps:
        end = min(gfn + n, N_GFNS)
        if what in ("map", "other"):
            vm.map(gfn, level, what == "other")
        elif what == "unmap":
            vm("kvm_rmap_zap_gfn_range", KVM, vm.slot, gfn, end)
            assert not any(
                g < end and gfn < g + (1 << BITS * (lv - 1))
                for g, lv, _ in vm.leaves().values()
            )
        elif what == "zap":
            vm("kvm_mmu_zap_oldest_mmu_pages", KVM, level)
        else:
            young = vm.young(gfn, end)
            assert vm(ager, vm.slot, gfn, end, what == "age") == young
            if what == "age":
                assert not vm.young(gfn, end)
        vm.check()


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_any_order_of_steps(steps: list[tuple[str, int, int, int]]) -> None:
    run(Vm(image()), steps, "kvm_rmap_age_gfn_range")


@settings(max_examples=20, deadline=None)
@given(steps=STEPS)
def test_aging_under_the_lock(steps: list[tuple[str, int, int, int]]) -> None:
    run(Vm(image()), steps, "kvm_age_rmap_range")


def test_a_large_leaf_gives_way_and_comes_back() -> None:
    """Its tables stay, to be found again with what they mapped."""
    vm = Vm(image())
    vm.map(5, 1, other=False)
    tables = vm.tables()
    vm.map(4, 2, other=False)
    assert vm.tables() == tables
    assert sorted(level for _, level, _ in vm.leaves().values()) == [1, 2]
    vm.map(6, 1, other=False)
    assert vm.tables() == tables
    assert sorted(g for g, _, _ in vm.leaves().values()) == [5, 6]
    vm.check()


def test_a_range_from_an_odd_page_reaches_its_last_large_leaf() -> None:
    vm = Vm(image())
    vm.map(4, 2, other=False)
    assert vm("kvm_rmap_age_gfn_range", vm.slot, 1, 5, 0) == 1


@pytest.mark.parametrize(("version", "refuses"), [(604, True), (615, False)])
def test_the_series_refuses(version: int, refuses: bool) -> None:
    vm = Vm(image(LINUX_VERSION=version))
    vm.map(0, 1, other=False)
    assert vm("kvm_arch_has_test_clear_young") == 1
    failed, young = vm.image.call(  # type: ignore[misc]  # two results
        "kvm_arch_test_clear_young", vm.memory, 0, KVM, 0, 1, 1, 0, 0
    )
    assert (failed, young) == ((1, 0) if refuses else (0, 1))
