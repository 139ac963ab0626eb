"""Final states from masks: which valuations there are over the candidates that stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mkold.lkmm.masks.numbering import to_bits
from mkold.lkmm.states import PackedStates, State, StateSet, distinct

PACK_FROM = 4096  # below that many candidates tuples are quicker


def add_states(
    states: StateSet, columns: Sequence[Mapping[int, int]], rows: int, n: int
) -> None:
    """Add the valuations of ``columns`` (word -> mask) over ``rows`` of ``n`` candidates."""
    columns = [{w: m & rows for w, m in column.items() if m & rows} for column in columns]
    radix = 1
    for column in columns:
        radix *= len(column)
    if n < PACK_FROM or radix >= 1 << 63 or not columns:
        states.add(_tuples(columns, rows))
    else:
        states.add_packed(_pack(columns, rows, n))


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
    return PackedStates(distinct(codes), words)
