"""The TDP MMU against the plainest idea of it, over geometries, kernels and kinds of hardware.

Any list of operations; after each: what translates translates right, what was unmapped or
protected stays so, what was used is young, what was written is in the log, and the books count
what is there. In the end all memory is free.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tdp_machine import FIRST_PFN, TdpMachine

from mkold.kvm.x86.asm.kvm_host import Kvm
from mkold.mm.slab import KmemCache

# Bits a level, levels, and what is built.
MACHINES = {
    "6.15": (2, 3, {"KVM_AD_ENABLED": 1, "LINUX_VERSION": 615}),
    "6.15, no A/D": (1, 4, {"KVM_AD_ENABLED": 0, "ENABLE_PML": 0, "LINUX_VERSION": 615}),
    "6.12, NPT": (3, 2, {"EPT": 0, "ENABLE_PML": 0, "LINUX_VERSION": 612}),
    "6.12, no A/D": (2, 2, {"KVM_AD_ENABLED": 0, "ENABLE_PML": 0, "LINUX_VERSION": 612}),
    "6.1, yields": (1, 3, {"LINUX_VERSION": 601, "SHADOW_NONPRESENT_BIT": 0, "YIELD_EVERY": 1}),
    "v2": (2, 3, {"LINUX_VERSION": 604, "SHADOW_NONPRESENT_BIT": 0}),
}
N = 8  # pages that operations speak of; every machine has them

gfns = st.integers(0, N - 1)
flags = st.booleans()
OPERATIONS = st.one_of(
    st.tuples(st.just("access"), gfns, flags),
    st.tuples(st.just("map"), gfns, flags),
    st.tuples(st.just("age"), gfns, flags),
    st.tuples(st.just("age_lockless"), gfns, flags),
    st.tuples(st.just("unmap"), gfns, flags),
    st.tuples(st.just("protect"), gfns, flags),
    st.tuples(st.just("large"), gfns, flags),
    st.tuples(st.just("log"), gfns, flags),
    st.tuples(st.just("get_log"), gfns, flags),
    st.tuples(st.just("recover"), gfns, flags),
    st.tuples(st.just("zap_all"), gfns, flags),
)


class Plain:
    """What has to be true of the machine."""

    def __init__(self, machine: TdpMachine) -> None:
        self.m = machine
        self.young: set[int] = set()
        self.gone = set(range(N))  # unmapped since they were last mapped
        self.protected: set[int] = set()
        self.written: set[int] = set()

    def access(self, gfn: int, write: bool) -> None:
        ok, pfn = self.m.walk(gfn, write)
        if not ok and self.m("fix_fast", self.m.kvm, self.m.vcpu, gfn, write):
            ok, pfn = self.m.walk(gfn, write)
        assert not (ok and gfn in self.gone)
        assert not (ok and write and gfn in self.protected)
        if ok:
            assert pfn == FIRST_PFN + gfn
            self._used(gfn, write)

    def _used(self, gfn: int, write: bool) -> None:
        self.young.add(gfn)
        if write and self.m.dirty_bitmap:
            self.written.add(gfn)

    def map(self, gfn: int, write: bool) -> None:
        if self.m("map_page", self.m.kvm, self.m.vcpu, gfn, write):
            # A large leaf maps its neighbours, and gives back the right to write.
            self.gone = {at for at in self.gone if not self.m.walk(at, 0)[0]} - {gfn}
            self.protected -= {gfn} if not write else self.protected
            ok, pfn = self.m.walk(gfn, write)
            assert not ok or pfn == FIRST_PFN + gfn
            if ok:
                self._used(gfn, write)

    def _aged(self, young: int, pages: set[int], clear: bool) -> None:
        if pages & self.young:
            assert young
        if clear:
            self.young -= pages

    def age(self, gfn: int, clear: bool) -> None:
        young = self.m("age", self.m.kvm, gfn, N, clear)
        assert isinstance(young, int)
        self._aged(young, set(range(gfn, N)), clear)
        if clear:
            assert self.m("age", self.m.kvm, gfn, N, 0) == 0
            self.young.clear()  # those before it may have lain in the same leaf

    def age_lockless(self, gfn: int, clear: bool) -> None:
        if not self.m("kvm_arch_has_test_clear_young"):
            return
        failed, young = self.m(  # type: ignore[misc]
            "kvm_arch_test_clear_young", self.m.kvm, gfn, N, clear, 0, 0
        )
        assert not failed
        self._aged(young, set(range(gfn, N)), clear)
        if clear:
            self.young.clear()

    def unmap(self, gfn: int, rest: bool) -> None:
        end = N if rest else gfn + 1
        before = {at for at in range(N) if self.m.walk(at, 0)[0]}
        self.m("unmap", self.m.kvm, gfn, end)
        assert not any(self.m.walk(at, 0)[0] for at in range(gfn, end))
        # A large leaf takes its neighbours along. What was aged where there is no accessed bit
        # could not be walked to before either, and is still mapped.
        self.gone |= {at for at in before if not self.m.walk(at, 0)[0]} | set(range(gfn, end))
        self.young -= self.gone

    def protect(self, gfn: int, _: bool) -> None:
        if not self.m.walk(gfn, 0)[0] or not self.m.dirty_bitmap:
            return
        self.young.add(gfn)
        self.m("protect", self.m.kvm, gfn)
        self.protected.add(gfn)

    def large(self, _: int, on: bool) -> None:
        if not self.m.dirty_bitmap:
            self.m("kvm_memslot_set_level", self.m.kvm, 0, min(2, self.m.levels - 1) * on)

    def log(self, _: int, on: bool) -> None:
        if on and not self.m.dirty_bitmap:
            self.m("kvm_memslot_set_level", self.m.kvm, 0, 0)
            at = self.m.slot, self.m.bitmap
            assert self.m("kvm_mmu_slot_start_logging", self.m.kvm, *at) == 0
            self.written.clear()
        elif not on:
            self.m("kvm_memslot_set_dirty_bitmap", self.m.kvm, 0, 0)

    def get_log(self, _: int, __: bool) -> None:
        if self.m.dirty_bitmap:
            at = self.m.slot, self.m.log
            assert self.m("kvm_vm_ioctl_get_dirty_log", self.m.kvm, *at) == 0
            logged = int(self.m.words[self.m.log])
            assert all(logged >> gfn & 1 for gfn in self.written)
            self.written.clear()

    def recover(self, _: int, __: bool) -> None:
        if not self.protected:
            self.m("recover", self.m.kvm, self.m.waits)
            self.gone = {at for at in self.gone if not self.m.walk(at, 0)[0]}
            self.young.clear()

    def zap_all(self, _: int, __: bool) -> None:
        self.m("kvm_mmu_zap_all_fast", self.m.kvm, self.m.waits)
        self.m.reload()
        self.gone, self.young, self.protected = set(range(N)), set(), set()

    def books(self) -> None:
        tables, leaves = self.m.counts()
        assert tables == self.m.arch("tdp_mmu_pages")
        first = self.m.kvm + Kvm.layout.field("arch.pages").offset
        assert [int(w) for w in self.m.words[first : first + 3]] == list(leaves.values())


def check(m: TdpMachine, operations: list[tuple[str, int, bool]]) -> None:
    plain = Plain(m)
    for what, gfn, flag in operations:
        getattr(plain, what)(gfn, flag)
        plain.books()
    m("kvm_destroy_vm", m.kvm)
    cache = m.kvm + Kvm.layout.field("arch.mmu_page_cache").offset
    made = int(m.words[cache + KmemCache.offset("nr_objects")])
    assert m("kmem_cache_nr_free", cache) == made


LISTS = st.lists(OPERATIONS, min_size=1, max_size=40)


@pytest.mark.parametrize("name", ["6.15", "6.15, no A/D", "6.1, yields"])
@settings(max_examples=10, deadline=None)
@given(operations=LISTS)
@example(
    operations=[("map", 4, False), ("age", 0, True), ("unmap", 0, False), ("access", 4, False)]
)
def test_any_operations(name: str, operations: list[tuple[str, int, bool]]) -> None:
    check(TdpMachine(*MACHINES[name]), operations)


@pytest.mark.slow
@pytest.mark.parametrize("name", MACHINES)
@settings(max_examples=200, deadline=None)
@given(operations=LISTS)
def test_many_operations(name: str, operations: list[tuple[str, int, bool]]) -> None:
    check(TdpMachine(*MACHINES[name]), operations)


@pytest.mark.slow
def test_it_can_fail() -> None:
    """A walk that skips a page after it has yielded is found out by maps and unmaps alone."""
    bits, levels, params = MACHINES["6.1, yields"]
    few = st.sampled_from(["map", "unmap"])

    @settings(max_examples=200, deadline=None, database=None)
    @given(operations=st.lists(st.tuples(few, gfns, flags), min_size=1, max_size=20))
    def any_operations(operations: list[tuple[str, int, bool]]) -> None:
        check(TdpMachine(bits, levels, {**params, "SAME_PAGE_AFTER_YIELD": 0}), operations)

    with pytest.raises(AssertionError):
        any_operations()
