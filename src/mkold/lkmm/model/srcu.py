"""SRCU: which unlock a lock's cookie reaches, and what can be wrong about it.

Source: linux-kernel.bell ("Compute matching pairs of Srcu-lock and Srcu-unlock").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mkold.lkmm.graph.values import found
from mkold.lkmm.model.base import Base, Candidates, data_stores
from mkold.lkmm.model.relations import Rel, closure, seq, union
from mkold.lkmm.paths.paths import Act


def srcu_cookies(base: Base) -> Rel:
    """srcu-rscs, but for ``& loc``: where a lock's cookie goes."""
    rf = union("rf", base.rfe, base.rfi)
    step = seq("carry-srcu-data", data_stores(base.data, base.acts), rf)
    carry = closure("carry-srcu-data", step)
    return union("srcu-rscs", base.data, seq("srcu-rscs", carry, base.data))


def srcu_flags(base: Base, candidates: Candidates) -> Iterator[tuple[str, int]]:
    """Locks and unlocks that don't match, one to one, or with another cookie."""
    locks = [act for act in base.acts.values() if act.order == "srcu-lock"]
    unlocks = [act for act in base.acts.values() if act.order == "srcu-unlock"]
    if not locks and not unlocks:
        return
    cookies = srcu_cookies(base)
    reached: dict[int, int] = dict.fromkeys((unlock.id for unlock in unlocks), 0)
    for lock in locks:
        matched = []
        for unlock in unlocks:
            if unlock.address == lock.address:
                mask = cookies.get(lock.id, unlock.id)
                matched.append(mask)
                reached[unlock.id] |= mask
                yield "srcu-bad-value-match", mask & _differ(candidates, lock, unlock)
        some, twice = _once_each(matched)
        yield "unmatched-srcu-lock", ~some
        yield "multiple-srcu-matches", twice
    for mask in reached.values():
        yield "unmatched-srcu-unlock", ~mask


def _differ(candidates: Candidates, first: Act, second: Act) -> int:
    """Candidates in which two accesses are of different words."""
    words = candidates.words(second.value)
    same = 0
    for word, mask in candidates.words(found(first.id)).items():
        same |= mask & words.get(word, 0)
    return ~same


def _once_each(masks: Sequence[int]) -> tuple[int, int]:
    """Where any of ``masks`` is, and where two are."""
    some = twice = 0
    for mask in masks:
        twice |= some & mask
        some |= mask
    return some, twice
