"""How often LRU, clock and Belady's MIN would miss on a trace: what aging is held against.

Rules
-----
1. What counts is the order of pages: accesses in a row to one page are one. A miss brings the
   page in; where all frames are used, one page goes first.
2. LRU evicts what was used longest ago. It is counted for all numbers of frames at once: a
   page that ``d`` others were used since it was (its depth) is missed by ``d`` frames or fewer.
   The depths are prefix sums over the order of last use, in a Fenwick tree of twice as many
   places as there are pages, renumbered when it is full: O(log pages) an access.
3. Clock is the second chance: a hand goes round the frames, clears the mark of those used
   since it came by, and evicts the first that has none. A page that comes in is marked.
4. MIN evicts what is used again last, or never: no policy misses less often.

Replay goes through a trace again and again, so misses may be counted in the second time
through alone, where none is the first touch of its page.

Known limits: one stream of accesses; writes cost what reads do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkold.base.errors import UsageError
from mkold.base.memory import require
from mkold.ir.boot import BOOT_WORDS
from mkold.lang import Ptr, Struct, kernel, u64
from mkold.native import Memory, build
from mkold.run.program import guest_pages
from mkold.trace import PAGE_SIZE, Trace

Words = NDArray[np.uint64]
STEP = 1 << 22  # accesses in one call of native code, between which Ctrl-C is heard
NEVER = (1 << 64) - 1


class Steady(Struct):
    """Where the arrays are, and how far it is. ``a``, ``b``, ``c`` are each policy's own."""

    rows: Ptr[u64]  # the pages in order
    n_rows: u64
    counted: u64  # misses count from this row on
    n_frames: u64
    n_used: u64  # frames in use; for the depths, pages seen
    at: u64  # the slot given last; the hand of the clock
    n_slots: u64
    misses: u64
    a: Ptr[u64]
    b: Ptr[u64]
    c: Ptr[u64]
    d: Ptr[u64]


@kernel
def fenwick_add(tree: Ptr[u64], n: u64, at: u64, by: u64) -> None:
    """Add at one place (from 1)."""
    while at <= n:
        tree[at] += by
        at += at & (0 - at)


@kernel
def fenwick_sum(tree: Ptr[u64], at: u64) -> u64:
    """What lies at the first ``at`` places."""
    total = 0
    while at:
        total += tree[at]
        at &= at - 1
    return total


@kernel
def renumber(s: Ptr[Steady]) -> None:
    """Give the pages slots from 1 on, in the order of their last use."""
    n = 0
    for slot in range(1, s.n_slots + 1):
        page = s.b[slot]
        s.b[slot] = NEVER
        if page != NEVER:
            n += 1
            s.b[n] = page
            s.a[page] = n
    for slot in range(1, s.n_slots + 1):
        below = slot & (slot - 1)
        s.c[slot] = min(slot, n) - min(below, n)
    s.at = n


@kernel
def lru_depths(s: Ptr[Steady], start: u64, end: u64) -> None:
    """Count depths in ``d``. ``a``: slot by page, ``b``: page by slot, ``c``: the tree."""
    for i in range(start, end):
        page = s.rows[i]
        if s.at == s.n_slots:
            renumber(s)
        slot = s.a[page]
        if slot:
            if i >= s.counted:
                s.d[s.n_used - fenwick_sum(s.c, slot)] += 1
            s.b[slot] = NEVER
            fenwick_add(s.c, s.n_slots, slot, 0 - 1)
        else:
            s.n_used += 1
            if i >= s.counted:
                s.misses += 1
        s.at += 1
        s.a[page] = s.at
        s.b[s.at] = page
        fenwick_add(s.c, s.n_slots, s.at, 1)


@kernel
def clock_misses(s: Ptr[Steady], start: u64, end: u64) -> None:
    """``a``: frame + 1 by page, ``b``: page by frame, ``c``: mark by frame."""
    for i in range(start, end):
        page = s.rows[i]
        if s.a[page]:
            s.c[s.a[page] - 1] = 1
        else:
            if i >= s.counted:
                s.misses += 1
            frame = s.n_used
            if frame < s.n_frames:
                s.n_used += 1
            else:
                while s.c[s.at]:
                    s.c[s.at] = 0
                    s.at = (s.at + 1) % s.n_frames
                frame = s.at
                s.at = (s.at + 1) % s.n_frames
                s.a[s.b[frame]] = 0
            s.a[page] = frame + 1
            s.b[frame] = page
            s.c[frame] = 1


@kernel
def next_uses(s: Ptr[Steady], start: u64, end: u64) -> None:
    """``d``: by row, the row where its page is used next; ``c``: by page, seen later."""
    for k in range(start, end):
        i = s.n_rows - 1 - k
        page = s.rows[i]
        s.d[i] = s.c[page]
        s.c[page] = i


@kernel
def heap_put(s: Ptr[Steady], at: u64, page: u64) -> None:
    """Let ``page`` be in place ``at`` of the heap (from 1)."""
    s.b[at] = page
    s.a[page] = at


@kernel
def heap_rise(s: Ptr[Steady], at: u64) -> None:
    """Move what is at ``at`` up, past all that are used earlier."""
    page = s.b[at]
    while at > 1 and s.c[s.b[at >> 1]] < s.c[page]:
        heap_put(s, at, s.b[at >> 1])
        at >>= 1
    heap_put(s, at, page)


@kernel
def heap_sink(s: Ptr[Steady], at: u64) -> None:
    """Move what is at ``at`` down, past all that are used later."""
    page = s.b[at]
    child = at << 1
    while child <= s.n_used:
        if child < s.n_used and s.c[s.b[child]] < s.c[s.b[child + 1]]:
            child += 1
        if s.c[s.b[child]] <= s.c[page]:
            break
        heap_put(s, at, s.b[child])
        at = child
        child = at << 1
    heap_put(s, at, page)


@kernel
def min_misses(s: Ptr[Steady], start: u64, end: u64) -> None:
    """``a``: place in the heap by page, ``b``: the heap, ``c``: next use by page."""
    for i in range(start, end):
        page = s.rows[i]
        s.c[page] = s.d[i]
        if s.a[page]:
            heap_rise(s, s.a[page])
        else:
            if i >= s.counted:
                s.misses += 1
            if s.n_used < s.n_frames:
                s.n_used += 1
                heap_put(s, s.n_used, page)
                heap_rise(s, s.n_used)
            else:
                s.a[s.b[1]] = 0
                heap_put(s, 1, page)
                heap_sink(s, 1)


@dataclass(frozen=True, slots=True)
class Misses:
    """Misses of each policy, and how many accesses (pages in a row counted once)."""

    lru: int
    clock: int
    min: int
    n_accesses: int


def misses(
    trace: Trace, frames: int, *, page_shift: int = PAGE_SIZE.bit_length() - 1,
    again: bool = False, memory_bytes: int | None = None,
) -> Misses:  # fmt: skip
    """How often LRU, clock and MIN miss on ``trace`` with ``frames`` frames, empty at first.

    Parameters
    ----------
    page_shift : log2 of the machine's page size in bytes, not below the trace's
    again : go through the trace twice and count the second time alone
    memory_bytes : the bound for it; by default from what the machine has

    Raises
    ------
    UsageError : fewer than one frame
    LimitError : it needs more memory than the bound
    """
    if frames < 1:
        raise UsageError(f"{frames} frames: at least one is needed")
    steady = _Steady(*_stream(trace, page_shift), again=again, memory_bytes=memory_bytes)
    counts, first = steady.depths()
    return Misses(
        first + int(counts[frames:].sum()),
        steady.simulate("clock_misses", frames),
        steady.simulate("min_misses", frames),
        steady.n_once,
    )


def lru_curve(
    trace: Trace, *, page_shift: int = PAGE_SIZE.bit_length() - 1, again: bool = False,
    memory_bytes: int | None = None,
) -> Words:  # fmt: skip
    """LRU's misses for 0, 1, ... frames, to as many as there are pages; as ``misses``."""
    steady = _Steady(*_stream(trace, page_shift), again=again, memory_bytes=memory_bytes)
    counts, first = steady.depths()
    return np.append(np.cumsum(counts[::-1])[::-1], np.uint64(0)) + np.uint64(first)


def _stream(trace: Trace, page_shift: int) -> tuple[NDArray[np.uint32], int]:
    """The pages in order, those in a row once."""
    pages, n_pages = guest_pages(trace, page_shift)
    kept = np.ones(len(pages), bool)
    kept[1:] = pages[1:] != pages[:-1]
    return pages[kept], n_pages


class _Steady:
    """The pages in native memory, and the policies over them, one after another."""

    def __init__(
        self, pages: NDArray[np.uint32], n_pages: int, *, again: bool, memory_bytes: int | None
    ) -> None:
        self.n_once, self.n_pages = len(pages), n_pages
        self.n_rows = self.n_once * (2 if again else 1)
        self._size = 2 * n_pages + 64
        n_words = BOOT_WORDS + 64 + 2 * self.n_rows + 4 * self._size
        require(8 * n_words, memory_bytes, "counting misses")
        self.memory = Memory(n_words)
        self.image = build([lru_depths, clock_misses, next_uses, min_misses])
        self._rows = BOOT_WORDS + 64
        words = self.memory.words[self._rows : self._rows + self.n_rows]
        words.reshape(-1, self.n_once)[:] = pages

    def depths(self) -> tuple[Words, int]:
        """How many accesses by depth; and how many pages were used the first time."""
        self._begin(n_slots=2 * self.n_pages + 2)
        self._array("b")[:] = NEVER
        self._array("d")[:] = 0
        self._go("lru_depths")
        return self._array("d")[: self.n_pages].copy(), self._field("misses")

    def simulate(self, policy: str, frames: int) -> int:
        """Misses of a policy."""
        if policy == "min_misses":
            self._begin(n_frames=frames)
            self._array("c")[:] = NEVER
            self._go("next_uses")
        self._begin(n_frames=frames)
        self._go(policy)
        return self._field("misses")

    def _begin(self, **fields: int) -> None:
        start = self._rows + 2 * self.n_rows
        arrays = {name: start + at * self._size for at, name in enumerate("abc")}
        d = self._rows + self.n_rows
        values = {"rows": self._rows, "n_rows": self.n_rows, **arrays, "d": d, **fields}
        values["counted"] = self.n_rows - self.n_once
        self.memory.words[BOOT_WORDS : BOOT_WORDS + Steady.size] = 0
        for name, value in values.items():
            self.memory.words[BOOT_WORDS + Steady.offset(name)] = value
        for name in arrays:
            self._array(name)[:] = 0

    def _go(self, function: str) -> None:
        for start in range(0, self.n_rows, STEP):
            end = min(start + STEP, self.n_rows)
            self.image.call(function, self.memory, 0, BOOT_WORDS, start, end)

    def _field(self, name: str) -> int:
        return int(self.memory.words[BOOT_WORDS + Steady.offset(name)])

    def _array(self, name: str) -> Words:
        start = self._field(name)
        size = self.n_rows if name == "d" else self._size
        return self.memory.words[start : start + size]
