"""Aging with the guest stopped: what is reported is what was touched, nothing else moves.

Each property is a function of the built system, so that the tests of seeded faults
(``test_kvm_variants``) can ask it of a wrong one.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kvm_machine import LEVEL_PAGES, N_GFNS, C, Leaf, Machine, R, Tree, W, built, filled

from mkold.ir.program import POISON
from mkold.mm.mmu_notifier import MMU_NOTIFIER_RANGE_LOCKLESS, MMU_NOTIFIER_RANGE_YOUNG
from mkold.native import Image

BITS = st.sampled_from([0, R, R | C | W, C | W, R | W])
LEVELS = st.sampled_from([0, 0, 0, 0, 1, 1, 2])


@st.composite
def leaf(draw: st.DrawFn) -> Leaf:
    level = draw(LEVELS)
    return Leaf(level, draw(st.integers(0, N_GFNS // LEVEL_PAGES[level] - 1)), draw(BITS))


LAYOUTS = st.lists(leaf(), max_size=24)
RANGES = st.tuples(st.integers(0, N_GFNS), st.integers(0, N_GFNS)).map(sorted)
# A checked build takes a word that equals POISON for a read of freed memory.
WORDS = st.integers(0, (1 << 64) - 1).filter(lambda word: word != POISON)
BITMAPS = st.none() | st.tuples(WORDS, WORDS).map(lambda two: two[0] | two[1] << 64)
Layout = list[Leaf]
Range = list[int]

examples = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def put_bitmap(machine: Machine, bits: int | None) -> int:
    """A bitmap in memory; 0 (NULL) for none."""
    if bits is None:
        return 0
    at = machine.new(N_GFNS // 64)
    for i in range(N_GFNS // 64):
        machine.words[at + i] = bits >> (64 * i) & ((1 << 64) - 1)
    return at


def get_bitmap(machine: Machine, at: int) -> int:
    return sum(int(machine.words[at + i]) << (64 * i) for i in range(N_GFNS // 64))


def pages_to_bits(pages: list[range], end: int) -> int:
    """The reversed bitmap of ``pages`` in a range that ends with ``end``."""
    bits = 0
    for page in (page for part in pages for page in part):
        bits |= 1 << (end - page - 1)
    return bits


def tree_is_as_created(image: Image, layout: Layout) -> None:
    machine = filled(Machine(image), layout)
    wanted = Tree(layout).entries
    state = machine.state()
    assert state.keys() == wanted.keys()
    for (level, gfn), bits in wanted.items():
        entry = state[level, gfn]
        assert entry & (R | C | W) == bits
        assert entry >> 12 & 0xFFFF == 64 + gfn


def reports_what_was_touched(
    image: Image, layout: Layout, span: Range, bits: int | None
) -> None:
    start, end = span
    machine = filled(Machine(image), layout)
    bitmap = put_bitmap(machine, 0 if bits is not None else None)
    young = Tree(layout).young(start, end)
    before = machine.snapshot()
    flags = machine.young(start, end, 0, bitmap)
    assert flags == (MMU_NOTIFIER_RANGE_LOCKLESS if young else 0)
    if bitmap:
        assert get_bitmap(machine, bitmap) == pages_to_bits(list(young.values()), end)
        before[bitmap : bitmap + N_GFNS // 64] = machine.words[bitmap : bitmap + N_GFNS // 64]
    assert (machine.snapshot() == before).all(), "a test changed memory"


def clears_what_was_asked(image: Image, layout: Layout, span: Range, bits: int | None) -> None:
    start, end = span
    machine = filled(Machine(image), layout)
    bitmap = put_bitmap(machine, bits)
    young = Tree(layout).young(start, end)
    wanted = {
        key
        for key, pages in young.items()
        if bits is None or bits & pages_to_bits([pages], end)
    }
    addresses = machine.leaves()
    before = machine.snapshot()
    flags = machine.young(start, end, 1, bitmap)
    assert flags == (MMU_NOTIFIER_RANGE_LOCKLESS if young else 0)
    for key in wanted:
        before[addresses[key]] ^= R
    changed = (machine.snapshot() != before).nonzero()[0]
    assert not len(changed), f"words {changed} are not as they should be"


def locked_and_lockless_agree(image: Image, layout: Layout, span: Range, clear: int) -> None:
    start, end = span
    fast = filled(Machine(image), layout)
    slow = filled(Machine(built(CPU_FTR_HVMODE=0)), layout)
    flags = fast.young(start, end, clear), slow.young(start, end, clear)
    assert flags in ((0, 0), (MMU_NOTIFIER_RANGE_LOCKLESS, MMU_NOTIFIER_RANGE_YOUNG))
    assert fast.state() == slow.state()


BUILDS = [{}, {"CLEAR_YOUNG": 1, "SCAN_WORDS": 1}, {"TABLE_FREE": 1, "SCAN_WORDS": 4}]


@examples
@given(LAYOUTS)
def test_tree_is_as_created(layout: Layout) -> None:
    tree_is_as_created(built(), layout)
    tree_is_as_created(built(TABLE_FREE=1), layout)


@pytest.mark.parametrize("params", BUILDS, ids=str)
@examples
@given(layout=LAYOUTS, span=RANGES, bits=BITMAPS)
def test_test_reports_the_young_and_changes_nothing(
    params: dict[str, int], layout: Layout, span: Range, bits: int | None
) -> None:
    reports_what_was_touched(built(**params), layout, span, bits)


@pytest.mark.parametrize("params", BUILDS, ids=str)
@examples
@given(layout=LAYOUTS, span=RANGES, bits=BITMAPS)
def test_clear_changes_accessed_bits_only(
    params: dict[str, int], layout: Layout, span: Range, bits: int | None
) -> None:
    clears_what_was_asked(built(**params), layout, span, bits)


@examples
@given(layout=LAYOUTS, span=RANGES, clear=st.integers(0, 1))
def test_locked_and_lockless_agree(layout: Layout, span: Range, clear: int) -> None:
    locked_and_lockless_agree(built(), layout, span, clear)


@examples
@given(layout=LAYOUTS, span=RANGES)
def test_slots_cut_a_range_into_guest_pages(layout: Layout, span: Range) -> None:
    """Two slots, host pages the other way round: the same pages, in the bitmap too."""
    start, end = span
    half = N_GFNS // 2
    machine = Machine(built(), slots=((0, half, 1000 + half), (half, half, 1000)))
    machine.hva = 0
    filled(machine, layout)
    young = Tree(layout).young(0, N_GFNS)
    bitmap = put_bitmap(machine, 0)
    flags = machine("mmu_notifier_test_clear_young", machine.mm, 1000 + start, 1000 + end,
                    0, bitmap)  # fmt: skip
    pages = {(page + half) % N_GFNS for part in young.values() for page in part}
    inside = [range(page, page + 1) for page in pages if start <= page < end]
    assert get_bitmap(machine, bitmap) == pages_to_bits(inside, end)
    assert bool(flags) == bool(inside)
