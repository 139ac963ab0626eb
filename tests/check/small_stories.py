"""Counterexamples that ship, and a way to look at one by hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from mkold.check import load
from mkold.check.claim import Case, Claim
from mkold.check.decide import decide_case
from mkold.check.result import Breach
from mkold.check.story.explain import Story, explain
from mkold.lkmm.verdict import Event

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


def an_event(n: int, thread: int, po: int, kind: str, word: int, value: int = 0) -> Event:
    return Event(n, thread, po, kind, "once", word, f"w{word}", value)
