"""Misses of LRU, clock and MIN against the plainest simulations of them."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkold.base.errors import LimitError, UsageError
from mkold.run.steady import lru_curve, misses
from mkold.trace import Trace
from mkold.trace.accesses import Accesses
from mkold.trace.fold import Folder, Origin


def trace_of(pages: list[int]) -> Trace:
    with Folder() as folder:
        vpn = np.array(pages, np.uint64)
        folder.add(Accesses(vpn, np.arange(len(pages)).astype(np.uint8) & 1))
        return folder.trace(Origin("pages", "test"))


def once(pages: list[int]) -> list[int]:
    return pages[:1] + [page for before, page in pairwise(pages) if page != before]


def lru(pages: list[int], frames: int) -> list[bool]:
    held: list[int] = []
    found = []
    for page in pages:
        found.append(page not in held)
        held = [other for other in held if other != page][-(frames - 1) :] if frames > 1 else []
        held.append(page)
    return found


def clock(pages: list[int], frames: int) -> list[bool]:
    held: list[int] = []
    marked: dict[int, bool] = {}
    hand, found = 0, []
    for page in pages:
        found.append(page not in held)
        if page not in held:
            if len(held) < frames:
                held.append(page)
            else:
                while marked[held[hand]]:
                    marked[held[hand]] = False
                    hand = (hand + 1) % frames
                held[hand] = page
                hand = (hand + 1) % frames
        marked[page] = True
    return found


def fewest(pages: list[int], frames: int) -> int:
    """The fewest misses of any way to evict: all are tried."""

    @cache
    def best(at: int, held: frozenset[int]) -> int:
        if at == len(pages):
            return 0
        page = pages[at]
        if page in held:
            return best(at + 1, held)
        if len(held) < frames:
            return 1 + best(at + 1, held | {page})
        return 1 + min(best(at + 1, held - {out} | {page}) for out in held)

    return best(0, frozenset())


streams = st.lists(st.integers(0, 12), min_size=1, max_size=120)


@given(streams, st.integers(1, 14), st.booleans())
@settings(deadline=None)
def test_lru_and_clock(pages: list[int], frames: int, again: bool) -> None:
    stream = once(pages)
    counted = len(stream) if again else 0
    found = misses(trace_of(pages), frames, again=again)
    twice = stream * (2 if again else 1)
    assert found.lru == sum(lru(twice, frames)[counted:])
    assert found.clock == sum(clock(twice, frames)[counted:])
    assert found.n_accesses == len(stream)
    assert found.min <= min(found.lru, found.clock)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=24), st.integers(1, 6))
@settings(deadline=None)
def test_min_is_the_best_there_is(pages: list[int], frames: int) -> None:
    assert misses(trace_of(pages), frames).min == fewest(once(pages), frames)


@pytest.mark.slow
@given(streams, st.booleans())
@settings(deadline=None)
def test_the_curve_is_lru_at_every_size(pages: list[int], again: bool) -> None:
    trace = trace_of(pages)
    curve = lru_curve(trace, again=again)
    assert len(curve) == trace.n_pages + 1
    for frames in range(1, trace.n_pages + 1):
        assert curve[frames] == misses(trace, frames, again=again).lru


def test_large_pages_hold_several() -> None:
    trace = trace_of([0, 1, 16, 15, 17])
    assert misses(trace, 1).lru == 5
    assert misses(trace, 1, page_shift=16).lru == 4
    assert misses(trace, 2, page_shift=16).lru == 2


def test_what_makes_no_sense() -> None:
    with pytest.raises(UsageError, match="at least one"):
        misses(trace_of([1]), 0)
    with pytest.raises(LimitError, match="counting misses needs"):
        misses(trace_of([1]), 1, memory_bytes=100)
