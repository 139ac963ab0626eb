"""A trace as the machine replays it: one word a row, pages of the machine's size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkold.run.guest import ROW_PAGE_SHIFT
from mkold.trace import PAGE_SIZE, Trace

Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """What the guest runs.

    Parameters
    ----------
    rows : uint64, one word a row (see ``mkold.run.guest``)
    loader : rows that write once to each page whose first access in ``rows`` is a read: the
        program found content there, so its loader, or the guest's page cache, had put it
        there
    n_pages : guest pages
    parts : where each vCPU's own part of the rows begins and how many there are; empty
        where all vCPUs share all rows, each from another place on
    """

    rows: Words
    loader: Words
    n_pages: int
    parts: tuple[tuple[int, int], ...] = ()

    def starts(self, vcpus: int, share: float) -> list[tuple[int, int, int]]:
        """For each vCPU its first row, how many are its own, and where in them it starts,
        ``share`` (0 to 1) of the way from the first."""
        if self.parts:
            parts = [self.parts[i % len(self.parts)] for i in range(vcpus)]
            return [(first, n, int(share * n) % n) for first, n in parts]
        n = len(self.rows)
        first = int(share * n)
        return [(0, n, (first + i * n // vcpus) % n) for i in range(vcpus)]


def guest_pages(trace: Trace, page_shift: int) -> tuple[NDArray[np.uint32], int]:
    """The guest page of each row, and how many guest pages there are.

    Guest pages are dense, in the order of the program's addresses. With pages larger than
    the trace's, pages of the program that share a large page share a guest page.
    """
    shift = page_shift - (PAGE_SIZE.bit_length() - 1)
    if shift == 0:
        return trace.page, trace.n_pages
    used, dense = np.unique(trace.vpn() >> np.uint64(shift), return_inverse=True)
    return dense.astype(np.uint32)[trace.page], len(used)


def pack(trace: Trace, page_shift: int) -> Program:
    """The program of ``trace`` for a machine with pages of ``1 << page_shift`` bytes."""
    pages, n_pages = guest_pages(trace, page_shift)
    rows: Words = pages.astype(np.uint64)
    rows <<= np.uint64(ROW_PAGE_SHIFT - 1)
    rows |= trace.run
    rows <<= np.uint64(1)
    rows |= trace.write
    return Program(rows, _loader(pages, trace.write, n_pages), n_pages)


def _loader(pages: NDArray[np.uint32], write: NDArray[np.uint8], n_pages: int) -> Words:
    first_is_write = np.zeros(n_pages, np.uint8)
    first_is_write[pages[::-1]] = write[::-1]  # the last assignment is the first access
    loaded = np.flatnonzero(first_is_write == 0).astype(np.uint64)
    return (loaded << np.uint64(ROW_PAGE_SHIFT)) | np.uint64(1 << 1 | 1)
