"""Counterexamples cut down: nothing that could be left out, nothing lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_stories import an_event, breaches, each_shown, story

from mkold.check.result import About
from mkold.check.story.anchors import Anchors, anchors
from mkold.check.story.cut import cut, kept, orders
from mkold.check.story.steps import COM, rings
from mkold.ir.program import POISON
from mkold.lkmm.verdict import Edge, Event, Execution


@each_shown
def test_no_kept_event_could_be_left_out(name: str, label: str, broken: str) -> None:
    """Without any one further event the property's own events, an order between threads
    that nothing else says, or an ordering step between kept events would be lost."""
    (breach,) = (f for f in breaches(name, label) if f.property == broken)
    assert breach.execution is not None
    anchor = anchors(breach.execution, breach.property, breach.about)
    numbers = sorted(kept(breach.execution, anchor))
    short = cut(breach.execution, anchor)
    bad = {numbers.index(event) for event in anchor.events}
    assert 2 <= len(short.events) <= 10
    # Which reads gave a thread's result is not known: all of them are kept.
    results = {end for e in short.edges if e.relation == "rf" for end in (e.source, e.target)
               if short.events[e.target].thread in anchor.threads}  # fmt: skip
    for event in short.events:
        if event.id not in bad | results:
            assert loses(short, event, bad), f"{event.kind} {event.place} says nothing"


def loses(short: Execution, event: Event, bad: set[int]) -> bool:
    """Whether the picture says less without ``event``."""
    if event.kind == "F":
        others = [e for e in short.events if e.thread == event.thread and e.kind != "F"]
        before = {e.kind[-1] for e in others if e.po < event.po}
        after = {e.kind[-1] for e in others if e.po > event.po}
        return event.order == "rcu-lock" or orders(event.order, before, after)
    ring = rings(short)
    for edge in short.edges:
        ends = {edge.source, edge.target}
        if event.id not in ends:
            continue
        if edge.relation in COM and (ends <= ring or not said_otherwise(short, edge)):
            return True
        if edge.relation in ("addr", "data") and edge.target in bad:
            return True
    return False


def said_otherwise(short: Execution, edge: Edge) -> bool:
    """Whether other edges and program order lead from the edge's start to its end."""
    seen, waiting = set(), [edge.source]
    while waiting:
        here = short.events[waiting.pop()]
        following = {e.target for e in short.edges
                     if e.source == here.id and e.relation in COM and e != edge}  # fmt: skip
        following |= {e.id for e in short.events if e.thread == here.thread and e.po > here.po}
        waiting += following - seen
        seen |= following
    return edge.target in seen


@each_shown
def test_edges_lie_between_kept_events(name: str, label: str, broken: str) -> None:
    short = story(name, label, broken).execution
    assert [event.id for event in short.events] == list(range(len(short.events)))
    for edge in short.edges:
        assert {edge.source, edge.target} <= set(range(len(short.events)))
        if edge.relation in COM:
            a, b = short.events[edge.source], short.events[edge.target]
            assert a.thread != b.thread
            assert a.address == b.address


def test_a_missing_grace_period_takes_few_events() -> None:
    found = story("1", "without synchronize_rcu()", "use-after-free")
    whole = breaches("1", "without synchronize_rcu()")[0].execution
    assert whole is not None
    assert len(whole.events) > 3 * len(found.execution.events)
    assert len(found.execution.events) <= 8
    assert found.timed
    marks = [found.execution.events[i] for i in sorted(found.bad)]
    assert {(e.kind, e.value) for e in marks} == {("R", POISON), ("W", POISON)}


def test_a_missing_barrier_fits_no_order_in_time() -> None:
    found = story("2", "without smp_wmb()", "use-before-init")
    assert not found.timed
    assert any("nothing in switch orders" in text for text in found.words)
    assert not any("nothing in walker orders" in text for text in found.words)
    without_rmb = story("2", "without smp_rmb()", "use-before-init")
    assert any("nothing in walker orders" in text for text in without_rmb.words)


# -- by hand --------------------------------------------------------------------------------


def two_threads() -> Execution:
    """Thread 0 reads w1, w2 and writes w3; thread 1 writes w1, w2, reads w4, writes w3."""
    events = (
        an_event(0, -1, 0, "IW", 1), an_event(1, -1, 1, "IW", 2), an_event(2, -1, 2, "IW", 3),
        an_event(3, 0, 0, "R", 1), an_event(4, 0, 1, "R", 2), an_event(5, 0, 2, "W", 3, 7),
        an_event(6, 1, 0, "W", 1, 1), an_event(7, 1, 1, "W", 2, 1), an_event(8, 1, 2, "R", 4),
        an_event(9, 1, 3, "W", 3, 8),
    )  # fmt: skip
    edges = (
        Edge(0, "rf", 3), Edge(3, "fr", 6), Edge(1, "rf", 4), Edge(4, "fr", 7),
        Edge(5, "co", 9), Edge(2, "co", 5),
    )  # fmt: skip
    return Execution(("P0", "P1"), events, edges, (8,))


def test_what_other_edges_say_is_left_out() -> None:
    anchor = anchors(two_threads(), "stale", About(frozenset({3}), frozenset({0})))
    assert anchor.events == (9,)
    # The read of w4 is nobody else's business, and 4 before 7 does not follow from 3 before 6
    assert kept(two_threads(), anchor) == {3, 4, 5, 6, 7, 9}


def test_a_read_nobody_asks_about_goes_with_its_thread() -> None:
    base = two_threads()
    onlooker = an_event(10, 2, 0, "R", 3, 7)
    edges = (*base.edges, Edge(5, "rf", 10), Edge(10, "fr", 9))
    wider = replace(base, threads=("P0", "P1", "P2"), events=(*base.events, onlooker),
                    edges=edges)  # fmt: skip
    asked = anchors(wider, "stale", About(frozenset({3}), frozenset({2})))
    silent = anchors(wider, "stale", About(frozenset({3}), frozenset()))
    assert 10 in kept(wider, asked)
    assert 10 not in kept(wider, silent)


def test_a_property_without_events_puts_every_thread_in_question() -> None:
    assert anchors(two_threads(), "bug-on") == Anchors((), (0, 1))


@pytest.mark.parametrize(
    ("fence", "before", "after", "wanted"),
    [
        ("wmb", "W", "W", True), ("wmb", "R", "W", False), ("rmb", "R", "R", True),
        ("rmb", "R", "W", False), ("mb", "W", "R", True), ("barrier", "W", "W", False),
        ("rcu-lock", "R", "R", False),
    ],
)  # fmt: skip
def test_which_fence_orders_what(fence: str, before: str, after: str, wanted: bool) -> None:
    assert orders(fence, {before}, {after}) == wanted
