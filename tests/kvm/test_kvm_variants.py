"""Seeded faults: each is caught by a property that the right system has.

A variant is a change to the source's intermediate form or a build parameter; nothing here
copies a function. Faults that need two threads are provoked with real ones.
"""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from hypothesis import find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from kvm_aging import clears_what_was_asked, reports_what_was_touched
from kvm_machine import LEVEL_PAGES, C, Functions, Leaf, Machine, R, Tree, W, built, filled

from mkold.ir.edit import map_statements
from mkold.ir.nodes import Binary, Call, Const, Stmt
from mkold.ir.program import POISON
from mkold.ir.variant import Drop, Force, Swap
from mkold.kvm.powerpc.radix.age import AS_POSTED
from mkold.kvm.types import KVM_PFN_ERR
from mkold.native import Image

pytestmark = pytest.mark.quality

TRIES = settings(max_examples=300, deadline=None, database=None, derandomize=True)
# Young leaves close together, so that what hides behind another one is met often.
NEAR = 12
DENSE = st.lists(
    st.integers(0, 1).flatmap(
        lambda level: st.integers(0, NEAR // LEVEL_PAGES[level] - 1).map(
            lambda index: Leaf(level, index, R)
        )
    ),
    max_size=8,
)
SPANS = st.tuples(st.integers(0, NEAR), st.integers(0, NEAR)).map(sorted)


def breaks(image: Image, *, bitmap: bool = False) -> tuple[list[Leaf], list[int]]:
    """The smallest layout and range for which aging by ``image`` is wrong."""

    def wrong(case: tuple[list[Leaf], list[int]]) -> bool:
        try:
            reports_what_was_touched(image, *case, 0 if bitmap else None)
            clears_what_was_asked(image, *case, None)
        except AssertionError:
            return True
        return False

    return find(st.tuples(DENSE, SPANS), wrong, settings=TRIES)


def range_ends_a_page_late(functions: Functions) -> Functions:
    """The walk of the fast path goes on to ``end + 1``."""
    fast = functions["kvm_test_clear_young_hv"]

    def change(stmt: Stmt) -> tuple[Stmt, ...] | None:
        if isinstance(stmt, Call) and stmt.function == "age_radix_range":
            pgtable, gfn, end, *rest = stmt.args
            return (replace(stmt, args=(pgtable, gfn, Binary("add", end, Const(1)), *rest)),)
        return None

    body = map_statements(fast.body, change)
    assert body != fast.body
    return {**functions, fast.name: replace(fast, body=body)}


def test_the_right_system_breaks_nothing() -> None:
    with pytest.raises(NoSuchExample):
        breaks(built(), bitmap=True)


def test_off_by_one_range_is_caught() -> None:
    layout, span = breaks(built(range_ends_a_page_late))
    assert len(layout) == 1
    assert span[0] == span[1] or layout[0].gfn >= span[1]


@pytest.mark.parametrize("name", ["as_posted", "stepping"])
def test_stepping_of_the_posted_patch_is_caught(name: str) -> None:
    """A leaf is stepped over by its whole size from an unaligned start: what comes behind
    it is missed."""
    params = AS_POSTED if name == "as_posted" else {"STEP_FROM_GFN": 1}
    layout, (start, _end) = breaks(built(**params))
    entered_midway = [
        (level, gfn)
        for level, gfn in Tree(layout).entries
        if gfn < start < gfn + LEVEL_PAGES[level]
    ]
    assert len(entered_midway) == 1


def test_posted_bitmap_has_one_bit_for_a_large_leaf() -> None:
    layout, _ = breaks(built(STEP_FROM_GFN=1), bitmap=True)
    assert any(leaf.level > 0 for leaf in layout)


def test_no_retry_check_maps_a_stale_frame() -> None:
    def stale_frame_gets_mapped(image: Image) -> bool:
        machine = Machine(image)
        seq = machine.word(machine.kvm, name="mmu_invalidate_seq")
        span = (machine.mm, machine.hva + 2, machine.hva + 3)
        machine("mmu_notifier_invalidate_range_start", *span)
        machine("mmu_notifier_invalidate_range_end", *span)
        machine("kvmppc_create_pte", machine.kvm, 2, 3 << 62 | 64 << 12 | R, 0, seq,
                machine.hva + 2, machine.waits)  # fmt: skip
        return (0, 2) in machine.state()

    assert not stale_frame_gets_mapped(built())
    assert stale_frame_gets_mapped(built(CHECK_RETRY=0))


def revived(image: Image, now: int) -> int:
    """Aging read a young entry, which then became ``now``; the entry after the clear."""
    machine = filled(Machine(image), [Leaf(0, 5, R | W)])
    address = machine.leaves()[0, 5]
    seen = int(machine.words[address])
    machine.words[address] = now and seen | now
    machine("pte_clear_young", address, seen)
    return int(machine.words[address])


@pytest.mark.parametrize("clear", [0, 1])
def test_clear_neither_revives_an_entry_nor_loses_c(clear: int) -> None:
    image = built(CLEAR_YOUNG=clear)
    assert revived(image, 0) == 0
    assert revived(image, C) & C


@pytest.mark.parametrize("prim", ["WRITE_ONCE", "store", "xchg"])
def test_a_store_for_the_compare_and_swap_is_caught(prim: str) -> None:
    image = built(Swap("pte_xchg:cmpxchg", prim))
    assert revived(image, 0) != 0, "an unmapped entry came back to life"
    assert not revived(image, C) & C, "the hardware's C was lost"


def test_lost_compare_and_swap_is_still_reported() -> None:
    """The bit stays set, and the page counts as young: never silently lost."""
    assert revived(built(), C) & R


# What an RCU reader on CPU 1 sees while CPU 0 frees tables.


def table_of(machine: Machine) -> int:
    """Address of the base-page table of gfn 4."""
    return machine.leaves()[0, 5] - 1


def table_freed_under_reader(image: Image) -> bool:
    machine = filled(Machine(image), [Leaf(0, 5, R)])
    table = table_of(machine)
    machine("reader_enter", cpu=1)
    machine.create(4, 68, 1)
    freed = int(machine.words[table]) == POISON
    machine("reader_leave", cpu=1)
    return freed


def test_a_table_outlives_its_readers() -> None:
    assert not table_freed_under_reader(built())
    assert not table_freed_under_reader(built(TABLE_FREE=1)), "typesafe: never poisoned"


def test_free_without_grace_period_is_caught() -> None:
    assert table_freed_under_reader(built(TABLE_FREE=2))


def root_freed_under_reader(image: Image) -> bool:
    machine = filled(Machine(image), [Leaf(0, 5, R)])
    root = machine.word(machine.arch("pgtable"))
    machine("reader_enter", cpu=1)
    switch = threading.Thread(target=lambda: machine("kvmhv_configure_mmu", machine.kvm, 0))
    switch.start()
    switch.join(0.2)
    freed = int(machine.words[root]) == POISON
    assert switch.is_alive() != freed
    machine("reader_leave", cpu=1)
    switch.join(10)
    assert not switch.is_alive()
    assert int(machine.words[root]) == POISON
    return freed


def test_switch_to_hash_waits_for_readers() -> None:
    assert not root_freed_under_reader(built())


def test_switch_without_grace_period_is_caught() -> None:
    image = built(Drop("kvmppc_switch_mmu_to_hpt:synchronize_rcu"))
    assert root_freed_under_reader(image)


# Unmapping against a vCPU in guest mode.


def unmap_returned_early(image: Image) -> bool:
    machine = filled(Machine(image), [Leaf(0, 5, R), Leaf(0, 9, R)])
    vcpu = machine.vcpus[0]
    assert machine("kvm_vcpu_load", machine.kvm, vcpu) == 0
    assert machine("kvm_vcpu_access", machine.kvm, vcpu, 5, 0) == 64 + 5
    span = (machine.mm, machine.hva + 5, machine.hva + 6)
    unmap = threading.Thread(
        target=lambda: machine("mmu_notifier_invalidate_range_start", *span, cpu=1)
    )
    unmap.start()
    unmap.join(0.2)
    early = not unmap.is_alive()
    assert machine("kvm_vcpu_access", machine.kvm, vcpu, 9, 0) == 64 + 9
    unmap.join(10)
    assert not unmap.is_alive()
    assert machine("kvm_vcpu_access", machine.kvm, vcpu, 5, 0) == KVM_PFN_ERR
    return early


def test_unmap_waits_for_the_vcpu() -> None:
    """The vCPU may use the frame until its next access; then it has no stale entry."""
    assert not unmap_returned_early(built(guest=True))


def test_unmap_without_waiting_is_caught() -> None:
    not_waiting = Force("kvm_wait_for_vcpu:smp_load_acquire[0]", 1)
    assert unmap_returned_early(built(not_waiting, guest=True))


def test_a_vcpu_outside_guest_mode_is_not_waited_for() -> None:
    machine = filled(Machine(built(guest=True)), [Leaf(0, 5, R)])
    vcpu = machine.vcpus[0]
    machine("kvm_vcpu_load", machine.kvm, vcpu)
    machine("kvm_vcpu_access", machine.kvm, vcpu, 5, 0)
    machine("kvm_vcpu_put", vcpu)
    span = (machine.mm, machine.hva + 5, machine.hva + 6)
    machine("mmu_notifier_invalidate_range_start", *span, cpu=1)
    machine("kvm_vcpu_load", machine.kvm, vcpu)
    assert machine("kvm_vcpu_access", machine.kvm, vcpu, 5, 0) == KVM_PFN_ERR
