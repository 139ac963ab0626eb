"""Folding accesses into rows, against counting them one by one."""

from __future__ import annotations

import os
from collections import Counter
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkold.base.errors import InputError, LimitError
from mkold.trace import fold
from mkold.trace.accesses import Accesses
from mkold.trace.fold import Folder, Origin
from mkold.trace.schema import Trace

ORIGIN = Origin("command", "test")


def accesses(pairs: list[tuple[int, int]]) -> Accesses:
    vpn, write = zip(*pairs, strict=True) if pairs else ((), ())
    return Accesses(np.array(vpn, np.uint64), np.array(write, np.uint8))


def folded(batches: list[list[tuple[int, int]]], **options: int) -> Trace:
    with Folder(**options) as folder:
        for batch in batches:
            folder.add(accesses(batch))
        return folder.trace(ORIGIN).check()


pages = st.integers(0, 8) | st.integers(2**52 - 4, 2**52 - 1) | st.integers(0, 2**52 - 1)
batches = st.lists(st.lists(st.tuples(pages, st.integers(0, 1)), max_size=12), max_size=8)


@given(batches.filter(lambda found: any(found)), st.integers(0, 6))
def test_agrees_with_counting(found: list[list[tuple[int, int]]], spill_rows: int) -> None:
    flat = [pair for batch in found for pair in batch]
    trace = folded(found, spill_rows=spill_rows)
    runs = [(pair, len(list(group))) for pair, group in groupby(flat)]
    vpn = trace.vpn()
    rows = zip(vpn[trace.page].tolist(), trace.write.tolist(), strict=True)
    assert list(zip(rows, trace.run.tolist(), strict=True)) == runs
    assert vpn.tolist() == sorted({page for page, _ in flat})
    assert trace.header.n_writes == Counter(write for _, write in flat)[1]
    assert trace.time().tolist() == [
        sum(length for _, length in runs[:at]) for at in range(len(runs))
    ]


def test_regions_are_the_stretches_without_holes() -> None:
    trace = folded([[(page, 0) for page in (9, 5, 6, 7, 20, 10)]])
    assert [(r.page, r.n_pages, r.vpn) for r in trace.header.regions] == [
        (0, 3, 5),
        (3, 2, 9),
        (5, 1, 20),
    ]
    assert trace.page.tolist() == [3, 0, 1, 2, 5, 4]


def test_spilled_pieces_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "PIECE_ROWS", 16)
    generator = np.random.default_rng(1)
    batches = [
        list(zip(generator.integers(0, 99, 50).tolist(), [0, 1] * 25, strict=True))
        for _ in range(20)
    ]
    with Folder(spill_rows=40) as folder:
        for batch in batches:
            folder.add(accesses(batch))
        assert folder._spill is not None
        assert os.fstat(folder._spill.fileno()).st_size > 0
        trace = folder.trace(ORIGIN).check()
    assert folder._spill.closed
    whole = folded(batches)
    assert np.array_equal(trace.page, whole.page)
    assert np.array_equal(trace.run, whole.run)


@pytest.mark.parametrize("bound", [1, 3, 4, 99])
def test_the_bound_is_exact(bound: int) -> None:
    trace = folded([[(1, 0), (1, 0), (2, 1)], [(2, 1), (3, 0)]], max_accesses=bound)
    assert trace.n_accesses == min(bound, 5)


def test_a_run_that_never_ends_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "MAX_RUN", 8)
    trace = folded([[(1, 0)]] * 20)
    assert trace.n_accesses == 20
    assert trace.run.tolist() == [4] * 5


def test_nothing_is_an_error() -> None:
    with pytest.raises(InputError, match="no memory accesses"):
        folded([[]])


def test_too_many_pages_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "MAX_PAGES", 3)
    with pytest.raises(LimitError, match="more than 3 pages"):
        folded([[(page, 0) for page in range(4)]])
