"""A trace as the machine replays it: one word a row, pages of the machine's size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mkold.run.guest import ROW_PAGE_SHIFT, ROW_RUN_MASK
from mkold.run.spec import PAGE_SIZES
from mkold.trace import PAGE_SIZE, Trace


def guest_pages(trace: Trace, page_size: str) -> tuple[NDArray[np.uint64], int]:
    """The guest page of each row, and how many guest pages there are.

    Guest pages are dense, in the order of the program's addresses. With pages larger than
    the trace's, pages of the program that share a large page share a guest page.
    """
    pages = trace.page.astype(np.uint64)
    shift = PAGE_SIZES[page_size] - (PAGE_SIZE.bit_length() - 1)
    if shift == 0:
        return pages, trace.n_pages
    large = trace.vpn() >> np.uint64(shift)
    used, dense = np.unique(large, return_inverse=True)
    return dense.astype(np.uint64)[trace.page], len(used)


def loaded_pages(rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Rows that write once to each page whose first access in ``rows`` is a read.

    The program found content there, so somebody had put it there: its loader, or the
    guest's page cache.
    """
    pages = rows >> np.uint64(ROW_PAGE_SHIFT)
    used, first = np.unique(pages, return_index=True)
    read_first = (rows[first] & np.uint64(1)) == 0
    loaded = used[read_first] << np.uint64(ROW_PAGE_SHIFT)
    return loaded | np.uint64(1 << 1 | 1)


def pack_rows(trace: Trace, page_size: str) -> tuple[NDArray[np.uint64], int]:
    """The rows as words (see ``mkold.run.guest``), and the number of guest pages."""
    pages, n_pages = guest_pages(trace, page_size)
    run = np.minimum(trace.run, ROW_RUN_MASK).astype(np.uint64)
    rows: NDArray[np.uint64] = pages << np.uint64(ROW_PAGE_SHIFT)
    rows |= (run << np.uint64(1)) | trace.write.astype(np.uint64)
    return rows, n_pages
