"""Kernel Python: a question asked of up to 64 pages at once, its answers as bits."""

from __future__ import annotations

from mkold.lang import Fn, Ptr, kernel, u64
from mkold.mm.mm_types import Mm


@kernel
def in_word(
    ask: Fn[[Ptr[Mm], u64, u64], u64], mm: Ptr[Mm], start: u64, n: u64, word: u64
) -> u64:
    """A bit for each of ``n`` pages from ``start`` on, the first lowest: whether ``ask``, which
    is handed ``word`` too, says so."""
    found: u64 = 0
    for i in range(n):
        if ask(mm, start + i, word):
            found |= 1 << i
    return found
