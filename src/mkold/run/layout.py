"""Where everything lies in the machine's memory: areas one after another, by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkold.lang import Struct
from mkold.lang.types import Record, n_words

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

    def struct(self, kind: type[Struct]) -> int:
        """The address of one struct."""
        return self.area(kind.size)


def word_offset(kind: type[Struct], path: str) -> int:
    """Offset in words of a member such as ``"lrugen.aging.passes"``.

    Raises
    ------
    InputError : there is no such member
    """
    offset = 0
    current: type[Struct] = kind
    for name in path.split("."):
        type_, at = current.field(name)
        offset += at
        if isinstance(type_, Record):
            current = type_.struct
    return offset


@dataclass(frozen=True, slots=True)
class Place:
    """A struct at an address of a memory, read and written from Python.

    Only for words that nobody else writes at the time, or for counters, where an old
    value does no harm.
    """

    words: Words
    at: int
    kind: type[Struct]

    def __getitem__(self, path: str) -> int:
        return int(self.words[self.at + word_offset(self.kind, path)])

    def __setitem__(self, path: str, value: int) -> None:
        self.words[self.at + word_offset(self.kind, path)] = value

    def array(self, path: str) -> Words:
        """The words of an array member (or of an inner struct), as a view."""
        parent, _, name = path.rpartition(".")
        at = self.at + (word_offset(self.kind, parent) if parent else 0)
        kind = self.kind
        for part in filter(None, parent.split(".")):
            inner, _offset = kind.field(part)
            assert isinstance(inner, Record)
            kind = inner.struct
        type_, offset = kind.field(name)
        return self.words[at + offset : at + offset + n_words(type_)]
