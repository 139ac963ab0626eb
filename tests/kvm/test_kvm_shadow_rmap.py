"""The reverse map of the shadow MMU against a plain list."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkold.ir import boot
from mkold.kvm.memory_cache import kvm_mmu_topup_memory_cache
from mkold.kvm.x86.shadow import rmap
from mkold.kvm.x86.shadow.rmap import KVM_RMAP_LOCKED, KVM_RMAP_MANY, PteListDesc
from mkold.mm.page_alloc import memblock_init
from mkold.mm.slab import KmemCache, kmem_cache_init, kmem_cache_nr_free
from mkold.native import Image, KernelBugError, Memory, build

SPTES = 0x9001  # any addresses will do: odd and even


@cache
def image(ext: int) -> Image:
    entries = [
        memblock_init, kmem_cache_init, kmem_cache_nr_free, kvm_mmu_topup_memory_cache,
        rmap.pte_list_add, rmap.pte_list_remove, rmap.pte_list_count,
        rmap.kvm_rmap_lock_readonly, rmap.kvm_rmap_unlock_readonly,
    ]  # fmt: skip
    return build(entries, {"PTE_LIST_EXT": ext}, checked=True, optimised=False)


class Chain:
    """One rmap word, with its own descs."""

    def __init__(self, ext: int) -> None:
        self.ext = ext
        self.image = image(ext)
        self.memory = Memory(1 << 16)
        self.words = self.memory.words
        self.head = boot.BOOT_WORDS
        self.cache = self.head + 8
        self.kmem = self.cache + 16
        heap = (self.kmem + KmemCache.size + 7) & ~7
        self("memblock_init", heap, 1 << 16)
        self("kmem_cache_init", self.kmem, PteListDesc.size, 0)

    def __call__(self, name: str, *args: int) -> int:
        result = self.image.call(name, self.memory, 0, *args)
        return result if isinstance(result, int) else 0

    def add(self, sptep: int) -> int:
        assert self("kvm_mmu_topup_memory_cache", self.cache, self.kmem, 1) == 0
        return self("pte_list_add", self.cache, sptep, self.head)

    def remove(self, sptep: int) -> None:
        self("pte_list_remove", self.kmem, sptep, self.head)

    def field(self, desc: int, name: str) -> int:
        return int(self.words[desc + PteListDesc.offset(name)])

    def descs(self) -> list[int]:
        """Addresses of the chain's descs, by a walk of our own."""
        word = int(self.words[self.head])
        assert not word & KVM_RMAP_LOCKED
        at = word >> 2 if word & KVM_RMAP_MANY else 0
        found = []
        while at:
            found.append(at)
            at = self.field(at, "more")
        return found

    def entries(self, desc: int) -> list[int]:
        first = desc + PteListDesc.offset("sptes")
        return [int(word) for word in self.words[first : first + self.ext]]

    def listed(self) -> list[int]:
        word = int(self.words[self.head])
        if word and not word & KVM_RMAP_MANY:
            return [word >> 2]
        return [e for desc in self.descs() for e in self.entries(desc) if e]

    def check(self) -> None:
        """Only the head may be partial; counts are right; holes are at the end."""
        behind = 0
        for place, desc in reversed(list(enumerate(self.descs()))):
            entries = self.entries(desc)
            n = self.field(desc, "spte_count")
            assert 0 < n == sum(map(bool, entries))
            assert all(entries[:n])
            assert place == 0 or n == self.ext
            assert self.field(desc, "tail_count") == behind
            behind += n


@settings(max_examples=60, deadline=None)
@given(ext=st.sampled_from([2, 3, 14]), steps=st.lists(st.integers(0, 40), max_size=80))
def test_chain_is_a_bag(ext: int, steps: list[int]) -> None:
    """Each step adds an SPTE that is not there, or removes one that is."""
    chain = Chain(ext)
    plain: list[int] = []
    for step in steps:
        sptep = SPTES + step
        if sptep in plain:
            plain.remove(sptep)
            chain.remove(sptep)
        else:
            assert chain.add(sptep) == len(plain)
            plain.append(sptep)
        assert Counter(chain.listed()) == Counter(plain)
        assert chain("pte_list_count", chain.head) == len(plain)
        chain.check()


def test_an_emptied_chain_gives_all_descs_back() -> None:
    chain = Chain(2)
    for i in range(7):
        chain.add(SPTES + i)
    assert len(chain.descs()) == 4
    for i in range(7):
        chain.remove(SPTES + i)
    assert chain.words[chain.head] == 0
    made = int(chain.words[chain.kmem + KmemCache.offset("nr_objects")])
    kept = int(chain.words[chain.cache])
    assert chain("kmem_cache_nr_free", chain.kmem) == made - kept


@pytest.mark.parametrize("n", [0, 1, 5])
def test_removing_what_is_not_listed_is_a_bug(n: int) -> None:
    chain = Chain(2)
    for i in range(n):
        chain.add(SPTES + i)
    with pytest.raises(KernelBugError):
        chain.remove(SPTES + 100)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_reader_puts_the_word_back(n: int) -> None:
    chain = Chain(2)
    for i in range(n):
        chain.add(SPTES + i)
    before = int(chain.words[chain.head])
    val = chain("kvm_rmap_lock_readonly", chain.head)
    assert val == before
    assert int(chain.words[chain.head]) == (before | KVM_RMAP_LOCKED if n else 0)
    chain("kvm_rmap_unlock_readonly", chain.head, val)
    assert int(chain.words[chain.head]) == before
