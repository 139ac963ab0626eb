"""Where everything lies in the machine's memory: areas one after another, by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkold.ir.layout import LaidOut

Words = NDArray[np.uint64]


class Layout:
    """Hands out word addresses from ``start`` up; an area starts on a cache line."""

    def __init__(self, start: int) -> None:
        self.end = start

    def area(self, n: int, align: int = 8) -> int:
        """The address of ``n`` words, aligned to ``align`` words (a power of two)."""
        at = (self.end + align - 1) & ~(align - 1)
        self.end = at + n
        return at

    def struct(self, kind: LaidOut) -> int:
        """The address of one struct."""
        return self.area(kind.layout.n_words)


def word_offset(kind: LaidOut, path: str) -> int:
    """Offset in words of a member such as ``"lrugen.aging.passes"``.

    Raises
    ------
    InputError : there is no such member
    """
    return kind.layout.field(path).offset


@dataclass(frozen=True, slots=True)
class Place:
    """A struct at an address of a memory, read and written from Python.

    Only for words that nobody else writes at the time, or for counters, where an old
    value does no harm.
    """

    words: Words
    at: int
    kind: LaidOut

    def __getitem__(self, path: str) -> int:
        return int(self.words[self.at + word_offset(self.kind, path)])

    def __setitem__(self, path: str, value: int) -> None:
        self.words[self.at + word_offset(self.kind, path)] = value

    def array(self, path: str) -> Words:
        """The words of an array member (or of an inner struct), as a view."""
        field = self.kind.layout.field(path)
        at = self.at + field.offset
        return self.words[at : at + field.n_words]
