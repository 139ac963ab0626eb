"""Subscribers of any kind: who is called, with what, and whose answer counts.

The model is a list of Python objects, newest first, as subscribers are asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import mm_witness
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mm_witness import MEMBERS, Witness

from mkold.check import Case, Drop, Scenario, Setup
from mkold.check.decide import decide_case
from mkold.ir.boot import BOOT_WORDS
from mkold.mm import mmu_notifier
from mkold.mm.mm_types import Mm
from mkold.mm.mmu_notifier import (
    MmuNotifierOps,
    MmuNotifierSubscriptions,
    mmu_notifier_register,
    mmu_notifier_subscriptions_init,
    mmu_notifier_test_clear_young,
)
from mkold.native import Image, KernelBugError, Memory, build

ALL = (1 << len(MEMBERS)) - 1
WORDS = 1 << 16


@cache
def image() -> Image:
    """Subscribers and the host's calls; no KVM is in it."""
    calls = [getattr(mmu_notifier, f"mmu_notifier_{member}") for member in MEMBERS]
    life = [mmu_notifier_subscriptions_init, mmu_notifier_register]
    leave = mmu_notifier.mmu_notifier_unregister
    return build([*calls, *life, leave, mm_witness.witness_fill], checked=True, optimised=False)


class Subscribers:
    """An mm with ``Witness`` subscribers, driven from Python."""

    def __init__(self) -> None:
        self.memory = Memory(BOOT_WORDS + WORDS)
        self._next = BOOT_WORDS
        self.mm = self.new(Mm.size)
        self.call("subscriptions_init", self.new(MmuNotifierSubscriptions.size))

    def new(self, n_words: int) -> int:
        at = self._next
        self._next += -(-n_words // 8) * 8
        return at

    def call(self, name: str, *args: int) -> int:
        result = image().call(f"mmu_notifier_{name}", self.memory, 0, self.mm, *args)
        return result if isinstance(result, int) else 0

    def subscribe(self, members: int, answer: int) -> int:
        witness, ops = self.new(Witness.size), self.new(MmuNotifierOps.size)
        image().call("witness_fill", self.memory, 0, ops, members)
        self.memory.words[witness + Witness.offset("ops")] = ops
        self.memory.words[witness + Witness.offset("answer")] = answer
        image().call("mmu_notifier_register", self.memory, 0, witness, self.mm)
        return witness

    def leave(self, witness: int) -> None:
        image().call("mmu_notifier_unregister", self.memory, 0, witness, self.mm)

    def heard(self, witness: int) -> tuple[list[int], list[int]]:
        """How often by member, and the sums of the arguments."""
        at = [witness + Witness.offset(name) for name in ("heard", "words")]
        counts, words = ([int(w) for w in self.memory.words[a : a + 6]] for a in at)
        return counts, words


@dataclass
class Model:
    """A subscriber as it should behave."""

    members: int
    answer: int
    heard: list[int] = field(default_factory=lambda: [0] * len(MEMBERS))
    words: list[int] = field(default_factory=lambda: [0] * len(MEMBERS))

    def hears(self, member: int, *args: int) -> int:
        if not self.members >> member & 1:
            return 0
        self.heard[member] += 1
        self.words[member] += sum(arg * 3**i for i, arg in enumerate(args))
        return self.answer


def ask(models: list[Model], member: int, args: tuple[int, ...]) -> int:
    answer = 0
    for model in models:
        answer |= model.hears(member, *args)
        if answer and MEMBERS[member] == "test_clear_young" and not args[2]:
            break
    return answer if member < 3 else 0


small = st.integers(0, 63)
subscribers = st.lists(st.tuples(st.integers(0, ALL), st.sampled_from([0, 2, 4])), max_size=4)
asks = st.lists(st.tuples(st.integers(0, 5), small, small, st.booleans(), small), max_size=8)


@settings(deadline=None)
@given(subscribers, asks, st.sets(st.integers(0, 3), max_size=2))
def test_everybody_is_asked_what_their_table_has(subscribed, asked, gone) -> None:
    real = Subscribers()
    models = [Model(*which) for which in subscribed]
    witnesses = [real.subscribe(*which) for which in subscribed]
    for i in sorted(gone & set(range(len(models)))):
        real.leave(witnesses[i])
    present = [model for i, model in enumerate(models) if i not in gone][::-1]
    for member, a, b, clear, bitmap in asked:
        args = (a, b, int(clear), bitmap) if member == 0 else (a, b)
        assert real.call(MEMBERS[member], *args) == ask(present, member, args)
    for model, witness in zip(models, witnesses, strict=True):
        assert real.heard(witness) == (model.heard, model.words)


def test_a_word_that_is_no_function_is_a_bug() -> None:
    real = Subscribers()
    witness = real.subscribe(ALL, 0)
    ops = int(real.memory.words[witness + Witness.offset("ops")])
    real.memory.words[ops + MmuNotifierOps.offset("clear_young")] = 12345
    with pytest.raises(KernelBugError):
        real.call("clear_young", 0, 1)


# -- the table's life, under the memory model -------------------------------------------------


def aging_and_free(m: Setup) -> None:
    """A pass over an mm whose one subscriber leaves and frees its table."""
    mm, subscriber = m.new(Mm, "mm"), m.new(Witness, "subscriber")
    m.call(mmu_notifier_subscriptions_init, mm, m.new(MmuNotifierSubscriptions, "subs"))
    ops = m.new(MmuNotifierOps, "ops")
    m.call(mm_witness.witness_fill, ops, 1)
    m.poke(subscriber + Witness.offset("ops"), ops)
    m.call(mmu_notifier_register, subscriber, mm)
    m.thread("aging", (mmu_notifier_test_clear_young, mm, 0, 1, 1, 0))
    m.thread("leaves", (mm_witness.leave_and_free, subscriber, mm, ops))


FREED = Scenario("aging-vs-freed-table", aging_and_free)


@pytest.mark.parametrize(
    ("edits", "broken"),
    [
        ((), set()),
        ((Drop("mmu_notifier_unregister:synchronize_srcu"),), {"use-after-free", "bad-call"}),
        (
            (Drop("mn_hlist_walk:srcu_read_lock"), Drop("mn_hlist_walk:srcu_read_unlock")),
            {"use-after-free", "bad-call"},
        ),
    ],
)
def test_a_table_is_used_as_long_as_it_lives(edits, broken) -> None:
    result = decide_case(Case("", FREED, edits), show=False)
    assert result.status == ("counterexample" if broken else "holds")
    assert broken <= set(result.broken)
