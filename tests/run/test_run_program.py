"""A trace as the machine replays it."""

from __future__ import annotations

from run_traces import trace_of

from mkold.run.program import guest_pages, pack
from mkold.trace import Region, Trace


def test_a_row_is_page_run_and_kind() -> None:
    longest = (1 << 31) - 1
    program = pack(trace_of([0, 1, 0], [0, 1, 0], [5, 1, longest]), 12)
    assert program.rows.tolist() == [5 << 1, (1 << 32) | (1 << 1) | 1, longest << 1]
    assert program.n_pages == 2


def test_large_pages_merge_what_the_program_had_close_together() -> None:
    trace = trace_of(list(range(6)), [0] * 6)
    spread = (Region(0, 3, 14), Region(3, 3, 64))  # 14 15 | 16, hole, 64 65 66
    header = type(trace.header).from_json(
        trace.header.to_json() | {"regions": [[r.page, r.n_pages, r.vpn] for r in spread]}
    )
    pages, n_pages = guest_pages(Trace(trace.page, trace.write, trace.run, header), 16)
    assert pages.tolist() == [0, 0, 1, 2, 2, 2]
    assert n_pages == 3


def test_pages_read_first_are_loaded_before() -> None:
    loader = pack(trace_of([0, 1, 2, 0, 1], [1, 0, 0, 0, 1]), 12).loader
    assert (loader >> 32).tolist() == [1, 2]
    assert ((loader & 0xFFFF_FFFF) == 3).all(), "one write each"
