"""Final states: distinct valuations, from a handful to millions.

Many states are kept as one number each: the mixed-radix code of the words in their
columns, so that a list of eight million takes 64 MiB and needs no Python object a state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from mkold.lkmm.masks.numbering import to_bits

Codes = NDArray[np.uint64]
PACK_FROM = 4096  # below that many candidates tuples are quicker
State = tuple[int, ...]


class PackedStates(Sequence[State]):
    """States in order, decoded as they are asked for."""

    __slots__ = ("_codes", "_words")

    def __init__(self, codes: Codes, words: Sequence[Sequence[int]]) -> None:
        self._codes, self._words = codes, words

    def __len__(self) -> int:
        return len(self._codes)

    def _decode(self, code: int) -> State:
        values = []
        for words in reversed(self._words):
            code, digit = divmod(code, len(words))
            values.append(words[digit])
        return tuple(reversed(values))

    @overload
    def __getitem__(self, index: int) -> State: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[State]: ...
    def __getitem__(self, index: int | slice) -> State | Sequence[State]:
        if isinstance(index, slice):
            return PackedStates(self._codes[index], self._words)
        return self._decode(int(self._codes[index]))

    def __iter__(self) -> Iterator[State]:
        for start in range(0, len(self._codes), 4096):
            yield from map(self._decode, self._codes[start : start + 4096].tolist())

    def columns(self) -> Iterator[tuple[Sequence[int], NDArray[np.intp]]]:
        """Per observed place its words, and for each state the index into them."""
        codes = self._codes
        found = []
        for words in reversed(self._words):
            codes, digit = np.divmod(codes, np.uint64(len(words)))
            found.append((words, digit.astype(np.intp)))
        return reversed(found)


class StateSet:
    """Collects states from masks."""

    def __init__(self) -> None:
        self._tuples: set[State] = set()
        self._packed: list[PackedStates] = []

    def add(self, columns: Sequence[Mapping[int, int]], rows: int, n: int) -> None:
        """Add the valuations of ``columns`` (word -> mask) over the candidates ``rows``."""
        columns = [{w: m & rows for w, m in column.items() if m & rows} for column in columns]
        radix = 1
        for column in columns:
            radix *= len(column)
        if n < PACK_FROM or radix >= 1 << 63 or not columns:
            self._tuples |= _tuples(columns, rows)
        else:
            self._packed.append(_pack(columns, rows, n))

    def listed(self) -> Sequence[State]:
        """All states, sorted."""
        if not self._packed:
            return tuple(sorted(self._tuples))
        if len(self._packed) == 1 and not self._tuples:
            return self._packed[0]
        return _merge(self._packed, self._tuples)


def _tuples(columns: Sequence[Mapping[int, int]], rows: int) -> set[State]:
    parts: list[tuple[State, int]] = [((), rows)]
    for column in columns:
        parts = [
            ((*values, word), both)
            for values, mask in parts
            for word, where in column.items()
            if (both := mask & where)
        ]
    return {values for values, _ in parts}


def _pack(columns: Sequence[Mapping[int, int]], rows: int, n: int) -> PackedStates:
    chosen = np.flatnonzero(to_bits(rows, n))
    codes = np.zeros(len(chosen), np.uint64)
    words = [sorted(column) for column in columns]
    for column, known in zip(columns, words, strict=True):
        codes *= np.uint64(len(known))
        for digit, word in enumerate(known[1:], 1):
            codes += to_bits(column[word], n)[chosen].astype(np.uint64) * np.uint64(digit)
    return PackedStates(np.unique(codes), words)


def _merge(packed: Sequence[PackedStates], tuples: set[State]) -> Sequence[State]:
    """One list of all, over common columns of words."""
    n = len(packed[0]._words)
    words = [
        sorted({w for part in packed for w in part._words[i]} | {t[i] for t in tuples})
        for i in range(n)
    ]
    radix = 1
    for known in words:
        radix *= len(known)
    if radix >= 1 << 63:
        return tuple(sorted(tuples.union(*packed)))
    found = [_recode(part, words) for part in packed]
    index = [{word: i for i, word in enumerate(known)} for known in words]
    extra = np.zeros(len(tuples), np.uint64)
    for number, values in enumerate(tuples):
        code = 0
        for value, column in zip(values, index, strict=True):
            code = code * len(column) + column[value]
        extra[number] = code
    return PackedStates(np.unique(np.concatenate([*found, extra])), words)


def _recode(part: PackedStates, words: Sequence[Sequence[int]]) -> Codes:
    codes = np.zeros(len(part), np.uint64)
    for (old, digits), new in zip(part.columns(), words, strict=True):
        place = {word: i for i, word in enumerate(new)}
        table = np.array([place[word] for word in old], np.uint64)
        codes = codes * np.uint64(len(new)) + table[digits]
    return codes
