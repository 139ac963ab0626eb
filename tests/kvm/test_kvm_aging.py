"""Aging with the guest stopped: what is reported is what was touched, nothing else moves."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kvm_aging import (
    Layout,
    Range,
    clears_what_was_asked,
    get_bitmap,
    locked_and_lockless_agree,
    pages_to_bits,
    put_bitmap,
    reports_what_was_touched,
    tree_is_as_created,
)
from kvm_machine import LEVEL_PAGES, N_GFNS, C, Leaf, Machine, R, Tree, W, built, filled

from mkold.ir.program import POISON

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

examples = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


BUILDS = [{}, {"CLEAR_YOUNG": 1, "SCAN_BLOCK": 1}, {"TABLE_FREE": 1, "SCAN_BLOCK": 3}]


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
