"""Final states as text, from a handful to millions.

Millions of states come packed as numbers (``lkmm.states``); they are ordered, counted and
worded a block at a time, with the texts of several columns looked up at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mkold.herd.lines import satisfies, state_texts
from mkold.ir.formula import Side, fold
from mkold.ir.program import Observed, Program
from mkold.litmus.names import Names
from mkold.lkmm.states import PackedStates

BLOCK = 1 << 16
_GROUP = 1 << 12  # so many combined texts are made beforehand for some columns
_COMPARE: dict[str, Callable[..., NDArray[np.bool_]]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "slt": np.less,
    "sle": np.less_equal,
}
Truths = NDArray[np.bool_]
_Column = tuple[Sequence[int], NDArray[np.intp]]


def text_blocks(program: Program, states: Sequence[tuple[int, ...]]) -> Iterator[str]:
    """The lines of ``States`` in herd's order, many at a time, each with its line end."""
    if not isinstance(states, PackedStates):
        lines = state_texts(program, states)
        if lines:
            yield "\n".join(lines) + "\n"
        return
    names = Names(program.symbols)
    ordered = _ordered(states, names)
    if program.shown:
        yield from (names.state(program, values) + "\n" for values in ordered)
        return
    groups = _groups(program, _words(ordered), names)
    for start in range(0, len(ordered), BLOCK):
        columns = list(_slice(ordered, start).columns())
        parts = [_look_up(columns[first:last], texts) for first, last, texts in groups]
        yield "\n".join(map(" ".join, zip(*parts, strict=True))) + "\n"


def count_satisfying(program: Program, states: Sequence[tuple[int, ...]]) -> int:
    """How many of the states satisfy the condition's formula."""
    if not isinstance(states, PackedStates):
        return sum(map(satisfies(program), states))
    if program.condition is None:
        return len(states)
    index = {place: i for i, place in enumerate(program.observed)}
    total = 0
    for start in range(0, len(states), BLOCK):
        part = _slice(states, start)
        columns = [np.array(words, np.uint64)[digits] for words, digits in part.columns()]
        total += int(np.count_nonzero(fold(program.condition.formula, _Block(columns, index))))
    return total


class _Block:
    """Answers over a block of states: one truth value each."""

    def __init__(
        self, columns: Sequence[NDArray[np.uint64]], index: Mapping[Observed, int]
    ) -> None:
        self._columns, self._index = columns, index

    def _side(self, side: Side) -> NDArray[np.int64]:
        if isinstance(side, int):
            return np.full(len(self._columns[0]), side, np.uint64).view(np.int64)
        return self._columns[self._index[side]].view(np.int64)

    def compare(self, op: str, left: Side, right: Side) -> Truths:
        return _COMPARE[op](self._side(left), self._side(right))

    def negation(self, a: Truths) -> Truths:
        return ~a

    def all_of(self, parts: Iterable[Truths]) -> Truths:
        found = np.ones(len(self._columns[0]), np.bool_)
        for part in parts:
            found &= part
        return found

    def any_of(self, parts: Iterable[Truths]) -> Truths:
        found = np.zeros(len(self._columns[0]), np.bool_)
        for part in parts:
            found |= part
        return found


def _slice(states: PackedStates, start: int) -> PackedStates:
    part = states[start : start + BLOCK]
    assert isinstance(part, PackedStates)
    return part


def _words(states: PackedStates) -> list[Sequence[int]]:
    return [words for words, _ in _slice(states, 0).columns()]


def _ordered(states: PackedStates, names: Names) -> PackedStates:
    """The states in herd's order; they come in the order of unsigned words."""
    words = _words(states)
    wanted = [sorted(column, key=lambda word: names.sort_key((word,))) for column in words]
    if all(list(a) == b for a, b in zip(words, wanted, strict=True)):
        return states
    codes = np.zeros(len(states), np.uint64)
    ranks = [{word: i for i, word in enumerate(column)} for column in wanted]
    tables = [
        np.array([rank[word] for word in column], np.uint64)
        for column, rank in zip(words, ranks, strict=True)
    ]
    for start in range(0, len(states), BLOCK):
        part = codes[start : start + BLOCK]
        columns = _slice(states, start).columns()
        for (_, digits), table, new in zip(columns, tables, wanted, strict=True):
            part *= np.uint64(len(new))
            part += table[digits]
    codes.sort()
    return PackedStates(codes, wanted)


_Group = tuple[int, int, list[str]]


def _groups(program: Program, words: Sequence[Sequence[int]], names: Names) -> list[_Group]:
    """Runs of columns, with the text of every combination of their words."""
    groups: list[_Group] = []
    first = 0
    while first < len(words):
        last, size = first + 1, len(words[first])
        while last < len(words) and size * len(words[last]) <= _GROUP:
            size *= len(words[last])
            last += 1
        texts = [
            [f"{names.place(place)}={names.value(word)};" for word in column]
            for place, column in zip(
                program.observed[first:last], words[first:last], strict=True
            )
        ]
        groups.append((first, last, [" ".join(choice) for choice in product(*texts)]))
        first = last
    return groups


def _look_up(columns: Sequence[_Column], texts: list[str]) -> list[str]:
    code = np.zeros(len(columns[0][1]), np.intp)
    for words, digits in columns:
        code = code * len(words) + digits
    return [texts[i] for i in code.tolist()]
