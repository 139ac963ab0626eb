"""arm64's stage 2: geometry as documented, and trees against a plain model of them."""

from __future__ import annotations

import pytest
from arm64_machine import AF, GEOMETRIES, Machine, Model, W, built
from hypothesis import given, settings
from hypothesis import strategies as st

from mkold.check.setup import Setup
from mkold.kvm.arm64.pgtable import geometry
from mkold.kvm.arm64.pgtable.pte import kvm_phys_to_pte, kvm_pte_to_pfn
from mkold.mm.mmu_notifier import MMU_NOTIFIER_RANGE_LOCKLESS

# Start level and tables of the root, by bits of the guest's addresses.
# Source: Arm ARM D8.2; arch/arm64/include/asm/stage2_pgtable.h.
BITS = (32, 36, 40, 48, 52)
ROOTS = {
    12: ((2, 4), (1, 1), (1, 2), (0, 1), (0, 16)),
    14: ((2, 1), (2, 1), (2, 16), (1, 2), (0, 1)),
    16: ((2, 1), (2, 1), (2, 1), (1, 1), (1, 1)),
}
GRANULES = {12: geometry.STAGE2_4K, 14: geometry.STAGE2_16K, 16: geometry.STAGE2_64K}


@pytest.mark.parametrize("shift", list(ROOTS))
def test_roots(shift: int) -> None:
    for bits, expected in zip(BITS, ROOTS[shift], strict=True):
        m = Setup({**GRANULES[shift], "STAGE2_IA_BITS": bits})
        found = (m.call(geometry.stage2_start_level), m.call(geometry.pgd_pages))
        assert found == expected, bits
        last = (1 << bits - shift) - 1
        index = m.call(geometry.table_index, last, expected[0])
        assert index < expected[1] << shift - 3
        assert m.call(geometry.kvm_granule_pages, 2) == 1 << shift - 3


@pytest.mark.parametrize(("shift", "pa_bits"), [(12, 48), (14, 48), (16, 52)])
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_frames_go_in_and_out(shift: int, pa_bits: int, data: st.DataObject) -> None:
    pfn = data.draw(st.integers(0, (1 << pa_bits - shift) - 1))
    m = Setup(GRANULES[shift])
    pte = m.call(kvm_phys_to_pte, pfn)
    assert m.call(kvm_pte_to_pfn, pte | 3 | 1 << 10) == pfn
    assert pte & 0xFFF == 0
    assert pte < 1 << 48


Step = tuple[str, int, int, int]


@st.composite
def steps(draw: st.DrawFn, n_gfns: int) -> list[Step]:
    """What is done to a tree: a name, a page, a length or level, bits."""
    kinds = ["map"] * 4 + ["unmap", "age", "protect", "split", "age"]
    one = st.tuples(
        st.sampled_from(kinds),
        st.integers(0, n_gfns - 1),
        st.integers(1, 20),
        st.integers(0, 7),
    )
    return draw(st.lists(one, min_size=1, max_size=12))


def do(machine: Machine, model: Model, step: Step) -> None:
    """One step, on both."""
    kind, gfn, length, choice = step
    end = min(gfn + length, machine.n_gfns)
    if kind == "map":
        levels = machine.levels()
        level = levels[length % len(levels)]
        first = gfn & ~(machine.level_pages(level) - 1)
        bits = (AF if choice & 1 else 0) | (W if choice & 2 else 0)
        pfn = first + (machine.n_gfns if choice & 4 else 2 * machine.n_gfns)
        assert machine.map(first, level, pfn, bits) == 0
        model.map(first, level, pfn, bits)
    elif kind == "unmap":
        machine.unmap(gfn, end)
        model.unmap(gfn, end)
    elif kind == "age":
        found = machine.young(gfn, end, 1)
        expected = model.clear(gfn, end, AF)
        assert found == (MMU_NOTIFIER_RANGE_LOCKLESS if expected else 0)
    elif kind == "protect":
        machine("kvm_mmu_wp_memory_region", machine.kvm, machine.slot)
        model.clear(0, machine.n_gfns, W)
    else:
        assert machine("kvm_mmu_split_huge_pages", machine.kvm, gfn, end) == 0
        model.split(gfn, end)


@pytest.mark.parametrize("name", list(GEOMETRIES))
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_trees_are_what_was_done_to_them(name: str, data: st.DataObject) -> None:
    machine = Machine(built(GEOMETRIES[name]))
    model = Model(machine)
    for step in data.draw(steps(machine.n_gfns)):
        do(machine, model, step)
        assert machine.leaves() == model.leaves, step
        assert machine.audit() == 0, step
    machine("rcu_do_batch")
    assert machine.audit() == 0
    machine("kvm_destroy_vm", machine.kvm)
    cache = machine.at("page_cache")
    made = int(machine.words[cache + 2])
    assert machine("kmem_cache_nr_free", cache) == made, "a table is lost"


@pytest.mark.parametrize(
    "bug", ["PUT_UNLINKED_ROOT", pytest.param("COLLAPSE_GETS_TWICE", marks=pytest.mark.slow)]
)
def test_the_audit_finds_a_leak(bug: str) -> None:
    machine = Machine(
        built({**GEOMETRIES["two levels"], bug: int(bug == "COLLAPSE_GETS_TWICE")})
    )
    assert machine.map(0, 3, 64) == 0
    assert machine.audit() == 0
    assert machine.map(0, 2, 128) == 0
    machine("rcu_do_batch")
    assert machine.audit() != 0


def test_bits_of_a_block_speak_for_all_its_pages() -> None:
    machine = Machine(built(GEOMETRIES["two levels"]))
    machine.map(8, 2, 64)
    machine.map(16, 3, 80)
    bitmap = machine.new(8)
    assert machine.young(4, 20, 0, bitmap) == MMU_NOTIFIER_RANGE_LOCKLESS
    marked = {19 - i for i in range(16) if int(machine.words[bitmap]) >> i & 1}
    assert marked == {*range(8, 16), 16}
    machine.words[bitmap] = 1 << 19 - 15  # of the block, one page is wanted
    machine.young(4, 20, 1, bitmap)
    assert machine.leaves() == {(2, 8): (64, W), (3, 16): (80, AF | W)}


@pytest.mark.parametrize("mode", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_every_version_ages_alike(mode: int) -> None:
    machine = Machine(built({**GEOMETRIES["three levels"], "AGE_MODE": mode}))
    for gfn in (3, 4, 40):
        machine.map(gfn, 3, 256 + gfn)
    assert bool(machine.young(4, 41, 1)), "page 4 and page 40"
    young = {gfn for (_, gfn), (_, bits) in machine.leaves().items() if bits & AF}
    assert young == {3}
    assert machine.young(4, 41, 1) == 0


def test_hardware_sets_what_aging_cleared() -> None:
    machine = Machine(built(GEOMETRIES["two tables"]))
    machine.map(5, 3, 70)
    machine.young(0, 8, 1)
    assert machine("mmu_walk_s2", machine.kvm, machine.vcpu, 5, 1) == (1, 70)
    assert machine.leaves() == {(3, 5): (70, AF | W)}
    machine.young(0, 8, 1)
    machine.map(6, 3, 71, AF)
    assert machine("mmu_walk_s2", machine.kvm, machine.vcpu, 6, 1) == (0, 0), "not writable"


def test_the_log_is_taken_and_pages_are_protected() -> None:
    machine = Machine(built(GEOMETRIES["two tables"]))
    bitmap, log = machine.new(8), machine.new(8)
    assert machine("kvm_get_dirty_log_protect", machine.kvm, machine.slot, log) == 1, "no log"
    machine("kvm_memslot_set_dirty_bitmap", machine.kvm, 0, bitmap)
    for gfn in (2, 5, 6):
        machine.map(gfn, 3, 64 + gfn)
    machine.words[bitmap] = 1 << 5 | 1 << 6
    assert machine("kvm_get_dirty_log_protect", machine.kvm, machine.slot, log) == 0
    assert int(machine.words[log]) == 1 << 5 | 1 << 6
    assert int(machine.words[bitmap]) == 0
    writable = {gfn for (_, gfn), (_, bits) in machine.leaves().items() if bits & W}
    assert writable == {2}, "only what was in the log is protected again"
