"""Hangs, misused locks and sections, poisoned pointers and races, put into words."""

from __future__ import annotations

import re

import pytest

from mkold.check import Case, Scenario, Setup, Swap
from mkold.check.decide import decide_case
from mkold.check.story.explain import Story, explain, race_words
from mkold.ir.variant import Edit
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    cast,
    cpu_relax,
    kernel,
    might_sleep,
    poison,
    rcu_read_lock,
    rcu_read_unlock,
    read_lock,
    read_unlock,
    smp_mb,
    smp_rmb,
    smp_wmb,
    spin_is_locked,
    spin_lock,
    spin_unlock,
    srcu_read_lock,
    srcu_read_unlock,
    synchronize_rcu,
    synchronize_srcu,
    u64,
    write_lock,
    write_unlock,
)
from mkold.view.story import picture_of


class Box(Struct):
    lock: u64
    other: u64
    flag: u64
    data: u64
    srcu: u64


@kernel
def twice(b: Ptr[Box]) -> None:
    spin_lock(b.lock)
    spin_lock(b.lock)
    spin_unlock(b.lock)
    spin_unlock(b.lock)


@kernel
def first_second(b: Ptr[Box]) -> None:
    spin_lock(b.lock)
    spin_lock(b.other)
    spin_unlock(b.other)
    spin_unlock(b.lock)


@kernel
def second_first(b: Ptr[Box]) -> None:
    spin_lock(b.other)
    spin_lock(b.lock)
    spin_unlock(b.lock)
    spin_unlock(b.other)


@kernel
def keeps(b: Ptr[Box]) -> None:
    spin_lock(b.lock)


@kernel
def takes(b: Ptr[Box]) -> None:
    spin_lock(b.lock)
    spin_unlock(b.lock)


@kernel
def keeps_reading(b: Ptr[Box]) -> None:
    read_lock(b.lock)


@kernel
def takes_to_write(b: Ptr[Box]) -> None:
    write_lock(b.lock)
    write_unlock(b.lock)


@kernel
def waits(b: Ptr[Box]) -> None:
    while not READ_ONCE(b.flag):
        cpu_relax()


@kernel
def looks_at_flag(b: Ptr[Box]) -> u64:
    return READ_ONCE(b.flag)


@kernel
def clears(b: Ptr[Box]) -> None:
    WRITE_ONCE(b.data, 0)


@kernel
def writes_and_waits(b: Ptr[Box]) -> None:
    WRITE_ONCE(b.flag, 0)
    while not READ_ONCE(b.flag):
        cpu_relax()


@kernel
def raises(b: Ptr[Box]) -> None:
    WRITE_ONCE(b.flag, 1)


@kernel
def raises_if_asked(b: Ptr[Box]) -> None:
    if READ_ONCE(b.data):
        WRITE_ONCE(b.flag, 1)


@kernel
def asks_late(b: Ptr[Box]) -> None:
    WRITE_ONCE(b.data, 1)
    while not READ_ONCE(b.flag):
        cpu_relax()


@kernel
def sleeps_in_rcu(b: Ptr[Box]) -> None:
    rcu_read_lock()
    synchronize_rcu()
    rcu_read_unlock()


@kernel
def sleeps_in_srcu(b: Ptr[Box]) -> None:
    cookie = srcu_read_lock(b.srcu)
    synchronize_srcu(b.srcu)
    srcu_read_unlock(b.srcu, cookie)


def told(
    broken: str, *functions: object, edits: tuple[Edit, ...] = (), always: bool = True
) -> Story:
    def setup(m: Setup) -> None:
        box = m.new(Box, "box")
        for name, function in zip(("one", "two"), functions, strict=False):
            m.thread(name, (function, box))  # type: ignore[arg-type]
        if not always:
            m.never("seen", lambda end: end.result("two") == 1, "It is seen.")

    result = decide_case(Case("", Scenario("told", setup), edits))
    (breach,) = (b for b in result.breaches if b.property == broken)
    story = explain(breach)
    assert story is not None
    return story


def words(story: Story) -> str:
    return re.sub(r", [\w.]+\.py:\d+\)", ")", " ".join(story.words))


# -- who waits for what ---------------------------------------------------------------------

HANGS: list[tuple[tuple[object, ...], list[str]]] = [
    ((twice,), ["one waits for ever for box.lock (c), which it holds itself since (a)."]),
    (
        (first_second, second_first),
        [
            "one waits for ever for box.other (f), which two holds (c).",
            "two waits for ever for box.lock (e), which one holds (a).",
        ],
    ),
    (
        (keeps, takes),
        ["two waits for ever for box.lock (c), which one holds (a) and keeps at its end."],
    ),
    (
        (keeps_reading, takes_to_write),
        ["two waits for ever for box.lock (c), which one holds (a) and keeps at its end."],
    ),
    ((waits,), ["for ever: it looks at nothing that another thread changes."]),
    ((waits, looks_at_flag), ["for ever: it reads box.flag = 0 (a), and no thread writes it."]),
    (
        (asks_late, raises_if_asked),
        ["it reads box.flag = 0 (", "; two would write it at", "and does not come to that."],
    ),
    (
        (writes_and_waits, raises),
        ["which it wrote itself (", ") over the write of two ("],
    ),
    (
        (sleeps_in_rcu,),
        ["one enters an RCU section (a).", "since its own section (a) does not end"],
    ),
    (
        (sleeps_in_srcu,),
        ["for a grace period of box.srcu", "since its own section (a) does not end"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("functions", "sentences"), HANGS)
def test_who_waits_for_what(functions: tuple[object, ...], sentences: list[str]) -> None:
    said = words(told("hang", *functions))
    for sentence in sentences:
        assert sentence in said


def test_who_waits_is_marked_in_the_picture() -> None:
    boxes = picture_of(told("hang", first_second, second_first)).boxes
    assert [box.label for box in boxes if box.mark == "waits"] == [
        "LF box.lock",
        "LF box.other",
    ]


# -- locks and sections ---------------------------------------------------------------------


@kernel
def looks(b: Ptr[Box]) -> u64:
    return spin_is_locked(b.lock)


@kernel
def rcu_open(b: Ptr[Box]) -> None:
    rcu_read_lock()
    WRITE_ONCE(b.flag, 1)


@kernel
def rcu_shut(b: Ptr[Box]) -> None:
    WRITE_ONCE(b.flag, 1)
    rcu_read_unlock()


@kernel
def unlocks(b: Ptr[Box]) -> None:
    WRITE_ONCE(b.flag, 1)
    spin_unlock(b.lock)


@kernel
def reads_unlocks(b: Ptr[Box]) -> None:
    WRITE_ONCE(b.flag, 1)
    read_unlock(b.lock)


@kernel
def srcu_open(b: Ptr[Box]) -> None:
    one = srcu_read_lock(b.srcu)
    srcu_read_lock(b.srcu)
    srcu_read_unlock(b.srcu, one)


@kernel
def sleeps_locked(b: Ptr[Box]) -> None:
    spin_lock(b.lock)
    synchronize_rcu()
    spin_unlock(b.lock)


@kernel
def may_sleep_locked(b: Ptr[Box]) -> None:
    spin_lock(b.lock)
    might_sleep()
    spin_unlock(b.lock)


MISUSE = [
    ("unmatched-rcu-lock", rcu_open, "one enters an RCU section (a)."),
    ("unmatched-rcu-unlock", rcu_shut, "one leaves an RCU section (a)."),
    ("unmatched-unlock", unlocks, "one releases box.lock (a)."),
    ("unmatched-srcu-lock", srcu_open, "one enters an SRCU section of box.srcu (a)."),
    ("sleep-in-atomic", sleeps_locked,
     "one takes box.lock (a) and waits for a grace period (b)."),
    ("sleep-in-atomic", may_sleep_locked, "one takes box.lock (a) and may sleep (b)."),
]  # fmt: skip


@pytest.mark.parametrize(("broken", "function", "sentence"), MISUSE)
def test_a_misuse_shows_the_call(broken: str, function: object, sentence: str) -> None:
    assert words(told(broken, function)) == sentence


def test_spin_is_locked_is_a_look() -> None:
    said = words(told("seen", takes, looks, always=False))
    assert "two looks at box.lock, which is taken (" in said
    assert "two takes" not in said


# -- pointers -------------------------------------------------------------------------------


@kernel
def follows_what_it_freed(b: Ptr[Box]) -> u64:
    poison(b.data, 1)
    return READ_ONCE(cast(Ptr[u64], b.data).value)


@kernel
def follows_null(b: Ptr[Box]) -> u64:
    return READ_ONCE(cast(Ptr[u64], READ_ONCE(b.data)).value)


def test_a_poisoned_pointer_is_told_from_freed_memory() -> None:
    said = words(told("poison-address", follows_what_it_freed))
    assert "frees box.data" in said
    assert "reads box.data, which is freed" in said
    assert "*POISON through a pointer that is POISON" in said


def test_null_shows_where_it_is_from() -> None:
    said = words(told("null-dereference", follows_null, clears))
    assert "one reads box.data = 0 (a)" in said


# -- races ----------------------------------------------------------------------------------


@kernel
def plain_then_flag(b: Ptr[Box]) -> None:
    b.data = 0
    smp_wmb()
    WRITE_ONCE(b.flag, 1)


@kernel
def flag_then_plain(b: Ptr[Box]) -> None:
    if READ_ONCE(b.flag):
        smp_mb()
        b.data = 1


@kernel
def plain_then_mb(b: Ptr[Box]) -> None:
    b.data = 0
    smp_mb()
    WRITE_ONCE(b.flag, 1)


@kernel
def flag_rmb_plain(b: Ptr[Box]) -> None:
    if READ_ONCE(b.flag):
        smp_rmb()
        b.data = 1


@kernel
def flag_plain(b: Ptr[Box]) -> None:
    if READ_ONCE(b.flag):
        b.data = 1


@kernel
def read_then_flag(b: Ptr[Box]) -> u64:
    seen = b.data
    smp_wmb()
    WRITE_ONCE(b.flag, 1)
    return seen


RACES: list[tuple[object, object, str, tuple[Edit, ...]]] = [
    (plain_then_flag, flag_then_plain,
     r"smp_wmb\(\) does not order the plain write of box\.data .* smp_store_release\(\)",
     (Swap("plain_then_flag:WRITE_ONCE", "smp_store_release"),)),
    (read_then_flag, flag_then_plain,
     r"smp_wmb\(\) does not order the plain read of box\.data .* smp_store_release\(\)",
     (Swap("read_then_flag:WRITE_ONCE", "smp_store_release"),)),
    (plain_then_mb, flag_rmb_plain,
     r"smp_rmb\(\) does not order the plain write of box\.data .* smp_load_acquire\(\)",
     (Swap("flag_rmb_plain:READ_ONCE", "smp_load_acquire"),)),
    (plain_then_mb, flag_plain,
     r"A branch on the read of box\.flag .* does not order .* smp_load_acquire\(\)",
     (Swap("flag_plain:READ_ONCE", "smp_load_acquire"),)),
]  # fmt: skip


@pytest.mark.parametrize(("one", "two", "reason", "cure"), RACES)
def test_why_it_is_a_race_although_something_stands_there(
    one: object, two: object, reason: str, cure: tuple[Edit, ...]
) -> None:
    story = told("data-race", one, two)
    assert re.search(reason, story.words[-1])
    assert race_words(story).startswith("Nothing orders")
    assert race_words(story).endswith(story.words[-1])


@pytest.mark.parametrize(("one", "two", "reason", "cure"), RACES)
def test_what_is_said_to_cure_it_does(
    one: object, two: object, reason: str, cure: tuple[Edit, ...]
) -> None:
    def setup(m: Setup) -> None:
        box = m.new(Box, "box")
        m.thread("one", (one, box))  # type: ignore[arg-type]
        m.thread("two", (two, box))  # type: ignore[arg-type]

    assert decide_case(Case("", Scenario("cured", setup), cure), show=False).status == "holds"
