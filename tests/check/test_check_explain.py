"""Counterexamples cut down and told: nothing that could be left out, nothing made up."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from mkold.check import load
from mkold.check.claim import Case, Claim
from mkold.check.decide import About, Breach, decide_case
from mkold.check.scenario import Scenario
from mkold.check.setup import Setup
from mkold.check.story.anchors import Anchors, anchors
from mkold.check.story.cut import cut, kept, orders
from mkold.check.story.explain import Story, explain, stories
from mkold.check.story.naming import Wording
from mkold.check.story.steps import COM, rings
from mkold.ir.program import POISON
from mkold.lang import (
    BUG_ON,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    call_rcu,
    kernel,
    poison,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.lkmm.naming import letter
from mkold.lkmm.verdict import Edge, Event, Execution

ROOT = Path(__file__).parents[2]


@cache
def claim(name: str) -> Claim:
    pool = (
        load.shipped()
        if name[0].isdigit()
        else load.from_file(ROOT / "docs/examples/claims.py")
    )
    (found,) = load.select(pool, [name])
    return found


@cache
def breaches(name: str, label: str) -> tuple[Breach, ...]:
    case: Case = next(case for case in claim(name).cases if case.label == label)
    return decide_case(case).breaches


def story(name: str, label: str, broken: str) -> Story:
    (breach,) = (f for f in breaches(name, label) if f.property == broken)
    found = explain(breach)
    assert found is not None
    return found


SHOWN = [
    ("1", "without synchronize_rcu()", "use-after-free"),
    ("1", "without synchronize_rcu()", "data-race"),
    ("2", "without smp_wmb()", "use-before-init"),
    ("2", "without smp_rmb()", "use-before-init"),
    ("5a", "pte_xchg", "left-set"),
    ("10", "no check of the counter", "stale-mapping"),
    ("10", "counter read after the frame may be", "stale-mapping"),
    ("11", "no barrier on the way into the guest", "use-after-free"),
    ("config-freed", "no grace period", "use-after-free"),
    ("config-plain-publish", "WRITE_ONCE", "torn"),
]
each_shown = pytest.mark.parametrize(("name", "label", "broken"), SHOWN)


# -- cutting down ---------------------------------------------------------------------------


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
    for event in short.events:
        if event.id not in bad:
            assert loses(short, event, bad), f"{event.label} says nothing"


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
    assert len(whole.events) > 40
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


CULPRITS = [
    ("11", "no barrier on the way into the guest", "use-after-free",
     r"nothing in guest orders the write of vcpu\.mode .*the read of vcpu\.request"),
    ("11", "out of the guest without release", "use-after-free",
     r"nothing in guest orders the read of frame .*the write of vcpu\.mode"),
    ("10", "counter read after the frame may be", "stale-mapping",
     r"nothing in fault orders the read of kvm\.mmu_invalidate_seq .*the read of host_page"),
    ("config-plain-publish", "WRITE_ONCE", "use-before-init",
     r"nothing in updater orders the write of new\.width .*the write of root\.config"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "label", "broken", "culprit"), CULPRITS)
def test_the_missing_order_is_named(name: str, label: str, broken: str, culprit: str) -> None:
    words = " ".join(story(name, label, broken).words)
    assert re.search(culprit, words)
    assert words.count("nothing in") == 1


@each_shown
def test_time_runs_down(name: str, label: str, broken: str) -> None:
    found = story(name, label, broken)
    assert sorted(found.order) == [event.id for event in found.execution.events]
    place = {event: i for i, event in enumerate(found.order)}
    forward = all(
        place[e.source] < place[e.target] for e in found.execution.edges if e.relation in COM
    )
    assert forward == found.timed
    for a in found.execution.events:
        for b in found.execution.events:
            if a.thread == b.thread and a.po < b.po:
                assert place[a.id] < place[b.id]


# -- by hand --------------------------------------------------------------------------------


def event(n: int, thread: int, po: int, kind: str, word: int, value: int = 0) -> Event:
    return Event(n, thread, po, kind, "once", word, f"w{word}", value)


def two_threads() -> Execution:
    """Thread 0 reads w1, w2 and writes w3; thread 1 writes w1, w2, reads w4, writes w3."""
    events = (
        event(0, -1, 0, "IW", 1), event(1, -1, 1, "IW", 2), event(2, -1, 2, "IW", 3),
        event(3, 0, 0, "R", 1), event(4, 0, 1, "R", 2), event(5, 0, 2, "W", 3, 7),
        event(6, 1, 0, "W", 1, 1), event(7, 1, 1, "W", 2, 1), event(8, 1, 2, "R", 4),
        event(9, 1, 3, "W", 3, 8),
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
    onlooker = event(10, 2, 0, "R", 3, 7)
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


# -- words ----------------------------------------------------------------------------------


@each_shown
def test_every_letter_and_line_in_the_words_is_in_the_picture(
    name: str, label: str, broken: str
) -> None:
    found = story(name, label, broken)
    told = " ".join(found.words)
    letters = {letter(i) for i in range(len(found.order))}
    assert set(re.findall(r"\((\w{1,2})[,)]", told)) <= letters
    lines = {str(e.at.line) for e in found.execution.events if e.at}
    assert set(re.findall(r"\.py:(\d+)", told)) <= lines
    for word in re.findall(r"-\d+", told):
        pytest.fail(f"{word} is negative")


def test_words_say_which_line_frees_and_which_reads() -> None:
    told = " ".join(story("config-freed", "no grace period", "use-after-free").words)
    assert re.search(r"updater .*frees old\.width \(\w, claims\.py:\d+\)", told)
    assert re.search(r"reader reads old\.width, which is freed", told)
    assert "updater awaits no grace period" in told


def test_tables_go_by_their_names() -> None:
    told = " ".join(story("1", "without synchronize_rcu()", "use-after-free").words)
    assert "kvm.arch.pgtable = &pgd[0]" in told
    assert "kvm.arch.radix = 1" in told


def test_one_execution_is_told_once_and_races_last() -> None:
    told = stories(breaches("1", "without synchronize_rcu()"))
    assert [breach.property for breach, _, _ in told] == ["use-after-free", "data-race"]
    assert [same for _, _, same in told] == [None, 0]


def test_values_of_a_word_in_one_notation() -> None:
    events = [
        event(0, 0, 0, "R", 5, 9),
        event(1, 0, 1, "W", 5, 0x500),
        event(2, 0, 2, "R", 6, 9),
    ]
    wording = Wording({"x": 5, "object": 0x10000}, events)
    assert [wording.value(e) for e in events] == ["0x9", "0x500", "9"]
    assert wording.value(event(3, 0, 3, "R", 6, POISON)) == "POISON"
    assert wording.value(event(3, 0, 3, "R", 6, 0x10000)) == "&object"
    assert wording.value(event(3, 0, 3, "R", 5, (1 << 64) - 1)) == hex((1 << 64) - 1)
    assert wording.place(7) == "x + 2"
    assert wording.place(0x900000) == "0x900000"


# -- other properties -----------------------------------------------------------------------


@kernel
def take_both(a: Ptr[u64], b: Ptr[u64]) -> None:
    spin_lock(a.value)
    spin_lock(b.value)
    spin_unlock(b.value)
    spin_unlock(a.value)


@kernel
def put(word: Ptr[u64]) -> None:
    WRITE_ONCE(word.value, 3)


@kernel
def insist(word: Ptr[u64]) -> None:
    BUG_ON(READ_ONCE(word.value) == 3)


@kernel
def free_word(word: Ptr[u64]) -> None:
    poison(word.value, 1)


@kernel
def retire(word: Ptr[u64]) -> None:
    call_rcu(free_word, word)


@kernel
def look(word: Ptr[u64]) -> u64:
    return READ_ONCE(word.value)


def told(setup: Callable[[Setup], None], broken: str) -> Story:
    result = decide_case(Case("c", Scenario(setup.__name__, setup)))
    (breach,) = (f for f in result.breaches if f.property == broken)
    found = explain(breach)
    assert found is not None
    return found


def two_locks(m: Setup) -> None:
    a, b = m.words(1, "a"), m.words(1, "b")
    m.thread("one", (take_both, a, b))
    m.thread("two", (take_both, b, a))


def bug(m: Setup) -> None:
    word = m.words(1, "word")
    m.thread("one", (put, word))
    m.thread("two", (insist, word))


def callback(m: Setup) -> None:
    word = m.words(1, "word")
    m.thread("one", (retire, word))
    m.thread("two", (look, word))


def test_a_deadlock_shows_who_takes_what_in_which_order() -> None:
    found = told(two_locks, "deadlock")
    assert re.search(
        r"one takes a \(.*\), b \(.*two takes b \(.*\), a \(", " ".join(found.words)
    )
    assert "waits for what the next one holds" in found.words[-1]


def test_bug_on_shows_the_read_behind_it() -> None:
    events = told(bug, "bug-on").execution.events
    assert [(e.kind, e.value) for e in events] == [("W", 3), ("R", 3)]


def test_a_callback_is_a_thread_of_its_own() -> None:
    words = " ".join(told(callback, "use-after-free").words)
    assert "one posts a callback" in words
    assert re.search(r"one:free_word starts .*waits for a grace period .*frees word", words)
    assert "two reads word, which is freed" in words


def test_a_pointer_names_the_object_that_begins_there() -> None:
    symbols = {
        "kvm.arch.radix": 16,
        "kvm.arch.tree": 17,
        "kvm.lock": 18,
        "kvm.s.a": 19,
        "t[0]": 40,
    }
    wording = Wording(symbols)
    told = {
        word: wording.value(Event(0, 0, 0, "R", "once", 99, "", word))
        for word in (*range(16, 20), 40)
    }
    assert told == {
        16: "&kvm",
        17: "&kvm.arch.tree",
        18: "&kvm.lock",
        19: "&kvm.s",
        40: "&t[0]",
    }


@kernel
def free_and_read(p: Ptr[u64]) -> u64:
    poison(p.value, 1)
    return READ_ONCE(p.value)


def test_what_its_own_thread_freed_was_freed() -> None:
    def alone(m: Setup) -> None:
        m.thread("one", (free_and_read, m.words(1, "x")))

    ((_, told, _),) = stories(decide_case(Case("", Scenario("alone", alone))).breaches)
    assert told is not None
    assert "which is freed" in " ".join(told.words)
