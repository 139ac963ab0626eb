"""Counterexamples told: who did what, in an order in time where there is one."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from small_stories import an_event, breaches, each_shown, story

from mkold.check.claim import Case
from mkold.check.decide import decide_case
from mkold.check.scenario import Scenario
from mkold.check.setup import Setup
from mkold.check.story.explain import Story, explain, stories
from mkold.check.story.naming import Wording
from mkold.check.story.steps import COM
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
from mkold.lkmm.verdict import Event

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
        an_event(0, 0, 0, "R", 5, 9),
        an_event(1, 0, 1, "W", 5, 0x500),
        an_event(2, 0, 2, "R", 6, 9),
    ]
    wording = Wording({"x": 5, "object": 0x10000}, events)
    assert [wording.value(e) for e in events] == ["0x9", "0x500", "9"]
    assert wording.value(an_event(3, 0, 3, "R", 6, POISON)) == "POISON"
    assert wording.value(an_event(3, 0, 3, "R", 6, 0x10000)) == "&object"
    assert wording.value(an_event(3, 0, 3, "R", 5, (1 << 64) - 1)) == hex((1 << 64) - 1)
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


def test_a_hang_shows_who_takes_what_in_which_order() -> None:
    found = told(two_locks, "hang")
    assert re.search(r"one takes a \(.*two takes b \(", " ".join(found.words))
    assert "waits for ever" in found.words[-1]


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
