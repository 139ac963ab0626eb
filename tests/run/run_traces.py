"""Small traces made for tests of the machine."""

from __future__ import annotations

import numpy as np

from mkold.trace import Header, Region, Trace


def trace_of(pages: list[int], writes: list[int], runs: list[int] | None = None) -> Trace:
    """A trace of the rows given; pages are dense from 0."""
    page = np.array(pages, np.uint32)
    write = np.array(writes, np.uint8)
    run = np.array(runs if runs is not None else [1] * len(pages), np.uint32)
    total, n_writes = int(run.sum()), int(run[write == 1].sum())
    n_pages = int(page.max()) + 1
    header = Header(
        "made for a test", "2026-11-22T00:00:00Z", "test", "end", 0, False, 4096,
        total, total - n_writes, n_writes, len(page), n_pages, (Region(0, n_pages, 16),),
    )  # fmt: skip
    return Trace(page, write, run, header)


def hot_and_cold(n_pages: int = 1000, n_rows: int = 60_000, seed: int = 1) -> Trace:
    """One page in ten gets nine accesses in ten."""
    chance = np.random.default_rng(seed)
    hot = chance.random(n_rows) < 0.9
    page = np.where(
        hot, chance.integers(0, n_pages // 10, n_rows), chance.integers(0, n_pages, n_rows)
    )
    page[:n_pages] = np.arange(n_pages)
    write = chance.random(n_rows) < 0.3
    runs = chance.integers(1, 10, n_rows)
    return trace_of(page.tolist(), write.astype(int).tolist(), runs.tolist())
