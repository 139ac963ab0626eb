"""A trace as the machine replays it."""

from __future__ import annotations

from run_traces import trace_of

from mkold.run.program import guest_pages, loaded_pages, pack_rows
from mkold.trace import Region, Trace


def test_a_row_is_page_run_and_kind() -> None:
    rows, n_pages = pack_rows(trace_of([0, 1, 0], [0, 1, 0], [5, 1, 2]), "4k")
    assert rows.tolist() == [5 << 1, (1 << 32) | (1 << 1) | 1, 2 << 1]
    assert n_pages == 2


def test_large_pages_merge_what_the_program_had_close_together() -> None:
    trace = trace_of(list(range(6)), [0] * 6)
    spread = (Region(0, 3, 14), Region(3, 3, 64))  # 14 15 | 16, hole, 64 65 66
    header = type(trace.header).from_json(
        trace.header.to_json() | {"regions": [[r.page, r.n_pages, r.vpn] for r in spread]}
    )
    pages, n_pages = guest_pages(Trace(trace.page, trace.write, trace.run, header), "64k")
    assert pages.tolist() == [0, 0, 1, 2, 2, 2]
    assert n_pages == 3


def test_pages_read_first_are_loaded_before() -> None:
    rows, _ = pack_rows(trace_of([0, 1, 2, 0, 1], [1, 0, 0, 0, 1]), "4k")
    assert (loaded_pages(rows) >> 32).tolist() == [1, 2]
    assert ((loaded_pages(rows) & 3) == 3).all(), "one write each"
