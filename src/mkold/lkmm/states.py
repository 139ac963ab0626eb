"""Final states: distinct valuations, from a handful to millions.

Many states are kept as one number each: the mixed-radix code of the words in their
columns, so that a list of eight million takes 64 MiB and needs no Python object a state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint64]
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
    """Collects states, one by one or packed."""

    def __init__(self) -> None:
        self._tuples: set[State] = set()
        self._packed: list[PackedStates] = []

    def add(self, states: Iterable[State]) -> None:
        self._tuples.update(states)

    def add_packed(self, states: PackedStates) -> None:
        self._packed.append(states)

    def listed(self) -> Sequence[State]:
        """All states, sorted."""
        if not self._packed:
            return tuple(sorted(self._tuples))
        if len(self._packed) == 1 and not self._tuples:
            return self._packed[0]
        return _merge(self._packed, self._tuples)


def distinct(codes: Codes) -> Codes:
    """Each code once, in order; sorts in place. (For millions quicker than ``np.unique``.)"""
    codes.sort()
    first = np.ones(len(codes), np.bool_)
    np.not_equal(codes[1:], codes[:-1], out=first[1:])
    return codes[first]


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
    return PackedStates(distinct(np.concatenate([*found, extra])), words)


def _recode(part: PackedStates, words: Sequence[Sequence[int]]) -> Codes:
    codes = np.zeros(len(part), np.uint64)
    for (old, digits), new in zip(part.columns(), words, strict=True):
        place = {word: i for i, word in enumerate(new)}
        table = np.array([place[word] for word in old], np.uint64)
        codes = codes * np.uint64(len(new)) + table[digits]
    return codes
