"""Executions built by hand, for the pictures' tests."""

from __future__ import annotations

from mkold.ir.program import POISON
from mkold.lkmm.verdict import Axiom, Cycle, Edge, Event, Execution


def event(n: int, thread: int, po: int, text: str, value: int | None = None) -> Event:
    """``text`` is ``W[once] x`` or ``F[mb]``."""
    head, _, place = text.partition(" ")
    kind, _, order = head.rstrip("]").partition("[")
    address = 1000 + sum(map(ord, place)) if place else None
    return Event(n, thread, po, kind, order, address, place, value)


def edges(text: str) -> tuple[Edge, ...]:
    """``0 rf 1, 1 po 2``."""
    split = (part.split() for part in text.split(","))
    return tuple(Edge(int(a), name, int(b)) for a, name, b in split)


def message_passing() -> Execution:
    """MP with write and read fences, forbidden by happens-before."""
    events = (
        event(0, -1, 0, "IW x", 0),
        event(1, 0, 0, "W[once] x", 1),
        event(2, 0, 1, "F[wmb]"),
        event(3, 0, 2, "W[once] y", 1),
        event(4, 1, 0, "R[once] y", 1),
        event(5, 1, 1, "F[rmb]"),
        event(6, 1, 2, "R[once] x", 0),
    )
    cycle = Cycle(
        Axiom.HAPPENS_BEFORE, edges("3 hb 4, 4 hb 6, 6 hb 3"),
        edges("3 rfe 4, 4 rmb 6, 6 fre 1, 1 wmb 3"),
    )  # fmt: skip
    return Execution(
        ("P0", "P1"), events, edges("3 rf 4, 0 rf 6, 0 co 1, 6 fr 1"), (1, 0), cycle
    )


def iriw() -> Execution:
    """Independent reads of independent writes: edges between far columns."""
    events = (
        event(0, 0, 0, "W[once] x", 1),
        event(1, 1, 0, "R[once] x", 1),
        event(2, 1, 1, "F[mb]"),
        event(3, 1, 2, "R[once] y", 0),
        event(4, 2, 0, "W[release] y", 1),
        event(5, 3, 0, "R[acquire] y", 1),
        event(6, 3, 1, "R[once] x", 0),
        event(7, 0, 1, "R[once] y", 1),
    )
    return Execution(
        ("P0", "P1", "P2", "P3"),
        events,
        edges("0 rf 1, 3 fr 4, 4 rf 5, 6 fr 0, 4 rf 7, 5 data 6, 0 po 7"),
    )


def use_after_free() -> Execution:
    """A reader meets POISON."""
    events = (
        event(0, 0, 0, "W[once] head", 0),
        event(1, 0, 1, "F[sync-rcu]"),
        event(2, 0, 2, "W[plain] node.key", POISON),
        event(3, 1, 0, "F[rcu-lock]"),
        event(4, 1, 1, "R[once] head", 2048),
        event(5, 1, 2, "R[plain] node.key", POISON),
        event(6, 1, 3, "F[rcu-unlock]"),
    )
    return Execution(
        ("remover", "reader"), events, edges("2 rf 5, 4 addr 5, 4 fr 0"), race=None
    )
