"""The traces that ship: small, whole, and different in kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mkold.base.errors import InputError
from mkold.trace import Trace, find_trace, read_trace, shipped

NAMES = ["diff", "lookup"]
WINDOW = 1_000_000


def pages_in_windows(trace: Trace) -> list[int]:
    """Distinct pages in each million accesses."""
    window = trace.time() // WINDOW
    edges = np.flatnonzero(np.diff(window)) + 1
    return [len(np.unique(part)) for part in np.split(trace.page, edges)]


def test_two_ship_and_are_small() -> None:
    assert list(shipped()) == NAMES
    assert sum(len(file.read_bytes()) for file in shipped().values()) < 3_000_000


@pytest.mark.parametrize("name", NAMES)
def test_each_is_whole_and_large_enough_to_age(name: str) -> None:
    trace = read_trace(find_trace(name)).check()
    assert trace.n_accesses >= 15_000_000
    assert 2000 <= trace.n_pages <= 10_000
    assert trace.header.source.startswith("valgrind-")
    assert trace.header.command.startswith("/usr/bin/")


def test_their_working_sets_differ() -> None:
    """diff goes through its pages once; lookup comes back to a part of them for ever."""
    returned = {}
    for name in NAMES:
        trace = read_trace(find_trace(name))
        third = trace.time() // (trace.n_accesses // 3 + 1)
        first, last = (np.unique(trace.page[third == part]) for part in (0, 2))
        returned[name] = len(np.intersect1d(first, last)) / len(first)
    assert returned["lookup"] > 0.8
    assert returned["diff"] < 0.5


def test_find_trace(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert find_trace(str(tmp_path / "x")) == tmp_path / "x"
    with pytest.raises(InputError, match=r"no trace nosuch: .*diff, lookup"):
        find_trace("nosuch")
