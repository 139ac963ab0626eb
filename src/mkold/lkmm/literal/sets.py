"""Relations as sets of pairs, and what is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Pairs = frozenset[tuple[int, int]]
Events = frozenset[int]


def then(*relations: Pairs) -> Pairs:
    """Composition."""
    result = relations[0]
    for relation in relations[1:]:
        after: dict[int, list[int]] = {}
        for a, b in relation:
            after.setdefault(a, []).append(b)
        result = frozenset((a, c) for a, b in result for c in after.get(b, ()))
    return result


def plus(relation: Pairs) -> Pairs:
    """Transitive closure."""
    after: dict[int, list[int]] = {}
    for a, b in relation:
        after.setdefault(a, []).append(b)
    result = set()
    for a in after:
        reached: set[int] = set()
        front = [a]
        while front:
            for b in after.get(front.pop(), ()):
                if b not in reached:
                    reached.add(b)
                    front.append(b)
        result |= {(a, b) for b in reached}
    return frozenset(result)


def on(events: Iterable[int]) -> Pairs:
    """The identity on ``events``."""
    return frozenset((e, e) for e in events)


def back(relation: Pairs) -> Pairs:
    return frozenset((b, a) for a, b in relation)


def cycle(relation: Pairs) -> list[tuple[int, int]]:
    """A shortest cycle; empty if there is none."""
    after: dict[int, list[int]] = {}
    for a, b in sorted(relation):
        after.setdefault(a, []).append(b)
    best: list[tuple[int, int]] = []
    for start in after:
        found = _way_back(after, start)
        if found and (not best or len(found) < len(best)):
            best = found
    return best


def _way_back(after: Mapping[int, Sequence[int]], start: int) -> list[tuple[int, int]]:
    came: dict[int, int] = {}
    front = [start]
    while front and start not in came:
        following = []
        for a in front:
            for b in after.get(a, ()):
                if b not in came:
                    came[b] = a
                    following.append(b)
        front = following
    if start not in came:
        return []
    steps = [(came[start], start)]
    while steps[0][0] != start:
        steps.insert(0, (came[steps[0][0]], steps[0][0]))
    return steps
