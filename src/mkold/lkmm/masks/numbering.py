"""Masks over numbered candidates: digits of a mixed-radix number, and renumbering."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Numbering:
    """Candidates numbered by independent choices, the first one fastest."""

    def __init__(self) -> None:
        self._digits: list[tuple[int, int]] = []  # (stride, size)
        self.total = 1

    def digit(self, size: int) -> int:
        """Add a choice among ``size``; returns the digit's number."""
        self._digits.append((self.total, size))
        self.total *= size
        return len(self._digits) - 1

    @property
    def full(self) -> int:
        return (1 << self.total) - 1

    def mask(self, digit: int, choice: int) -> int:
        """Candidates whose ``digit`` is ``choice``."""
        stride, size = self._digits[digit]
        run = ((1 << stride) - 1) << (choice * stride)
        return tile(run, stride * size, self.total)

    def spread(self, digit: int, choices: int) -> int:
        """Candidates whose ``digit`` is one of ``choices``, a mask over the digit."""
        stride, size = self._digits[digit]
        if size == 1:
            return self.full if choices else 0
        if stride == 1:
            return tile(choices, size, self.total)
        if size > 32:
            run = from_bits(np.repeat(to_bits(choices, size), stride))
        else:
            ones, run = (1 << stride) - 1, 0
            for choice in range(size):
                if choices >> choice & 1:
                    run |= ones << (choice * stride)
        return tile(run, stride * size, self.total)


def tile(pattern: int, period: int, total: int) -> int:
    """``pattern`` repeated every ``period`` bits up to ``total``, a multiple of it."""
    times = total // period
    result, have = pattern, 1
    while have < times:
        step = min(have, times - have)
        part = result if step == have else result & ((1 << (step * period)) - 1)
        result |= part << (have * period)
        have += step
    return result


def to_bits(mask: int, n: int) -> NDArray[np.uint8]:
    """Bit i of ``mask`` at index i."""
    raw = np.frombuffer(mask.to_bytes((n + 7) // 8, "little"), np.uint8)
    return np.unpackbits(raw, count=n, bitorder="little")


def from_bits(bits: NDArray[np.uint8]) -> int:
    return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")


def compress_all(rows: int, n: int, tables: Sequence[dict[int, dict[int, int]]]) -> int:
    """Renumber so that only the bits in ``rows`` remain; returns how many they are.

    Every mask in ``tables`` is replaced; those that become empty are dropped.
    """
    chosen = np.flatnonzero(to_bits(rows, n))
    for table in tables:
        for row in table.values():
            for key in list(row):
                mask = row[key] & rows
                if mask:
                    row[key] = from_bits(to_bits(mask, n)[chosen])
                else:
                    del row[key]
    return len(chosen)
