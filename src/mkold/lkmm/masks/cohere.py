"""What a list of coherence orders says of each pair of writes, as masks over the list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mkold.lkmm.graph.events import INIT
from mkold.lkmm.masks.numbering import from_bits

MANY = 64  # from that many orders on numpy is quicker


class OrderTable:
    """Masks whose bit j speaks of ``orders[j]``."""

    def __init__(self, orders: Sequence[tuple[int, ...]], writes: tuple[int, ...]) -> None:
        self.orders, self.writes = orders, writes
        self._many = len(orders) >= MANY
        if self._many:
            self._array = np.array(orders, np.int64).reshape(len(orders), len(writes))
            places = np.argsort(self._array, axis=1)
            rank = {write: i for i, write in enumerate(sorted(writes))}
            self._place = {write: places[:, rank[write]] for write in writes}

    def pairs(self) -> Iterator[tuple[int, int, int]]:
        """``(a, b, mask)``: write a is before write b."""
        if self._many:
            for a in self.writes:
                for b in self.writes:
                    if a != b:
                        mask = from_bits((self._place[a] < self._place[b]).view(np.uint8))
                        if mask:
                            yield a, b, mask
            return
        found: dict[tuple[int, int], int] = {}
        for j, order in enumerate(self.orders):
            for index, a in enumerate(order):
                for b in order[index + 1 :]:
                    found[a, b] = found.get((a, b), 0) | 1 << j
        for (a, b), mask in found.items():
            yield a, b, mask

    def before(self, write: int) -> Iterator[tuple[int, int]]:
        """``(a, mask)``: write a, or the initial word, is just before ``write``."""
        if self._many:
            place = self._place[write]
            previous = self._array[np.arange(len(place)), place - 1]
            previous = np.where(place == 0, INIT, previous)
            for a in (INIT, *self.writes):
                mask = from_bits((previous == a).view(np.uint8))
                if mask:
                    yield a, mask
            return
        found: dict[int, int] = {}
        for j, order in enumerate(self.orders):
            at = order.index(write)
            a = order[at - 1] if at else INIT
            found[a] = found.get(a, 0) | 1 << j
        yield from found.items()

    def last(self) -> Iterator[tuple[int, int]]:
        """``(a, mask)``: write a, or the initial word, is the last."""
        found: dict[int, int] = {}
        if self._many:
            final = self._array[:, -1]
            for a in self.writes:
                mask = from_bits((final == a).view(np.uint8))
                if mask:
                    found[a] = mask
        else:
            for j, order in enumerate(self.orders):
                a = order[-1] if order else INIT
                found[a] = found.get(a, 0) | 1 << j
        yield from found.items()
