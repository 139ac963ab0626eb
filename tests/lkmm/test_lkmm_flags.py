"""What raises each flag, and what next to it does not."""

from __future__ import annotations

import pytest
from small import program

from mkold.ir.program import POISON
from mkold.lkmm import decide

READER = "r1 = smp_load_acquire(y); if r1 == 1: r2 = load(x)"
ROWS = [
    ("race: plain and plain", ("store(x, 1)", "r1 = load(x)"), {"data-race"}),
    ("race: marked write, plain read", ("WRITE_ONCE(x, 1)", "r1 = load(x)"), {"data-race"}),
    ("race: two plain writes", ("store(x, 1)", "store(x, 2)"), {"data-race"}),
    ("no race: both marked", ("WRITE_ONCE(x, 1)", "r1 = READ_ONCE(x)"), set()),
    ("no race: two plain reads", ("r1 = load(x)", "r1 = load(x)"), set()),
    ("no race: handed over", ("store(x, 1); smp_store_release(y, 1)", READER), set()),
    ("race: handed over without order", ("store(x, 1); WRITE_ONCE(y, 1)", READER),
     {"data-race"}),
    ("race: read before the flag is seen",
     ("store(x, 1); smp_store_release(y, 1)", "r1 = smp_load_acquire(y); r2 = load(x)"),
     {"data-race"}),
    ("no race: under one lock",
     ("spin_lock(l); store(x, 1); spin_unlock(l)",
      "spin_lock(l); r1 = load(x); spin_unlock(l)"),
     set()),
    ("race: under two locks",
     ("spin_lock(l); store(x, 1); spin_unlock(l)",
      "spin_lock(m); r1 = load(x); spin_unlock(m)"),
     {"data-race"}),
    ("no race: after a grace period",
     ("WRITE_ONCE(y, 1); synchronize_rcu(); store(x, 1)",
      "rcu_read_lock(); r1 = READ_ONCE(y); if r1 == 0: r2 = load(x); rcu_read_unlock()"),
     set()),
    ("no race: handed over by an increment",
     ("store(x, 1); smp_store_release(y, 1)", "atomic_inc(y)",
      "r1 = smp_load_acquire(y); if r1 == 2: r2 = load(x)"), set()),
    ("no race: smp_wmb() and smp_rmb()",
     ("store(x, 1); smp_wmb(); WRITE_ONCE(y, 1)",
      "r1 = READ_ONCE(y); smp_rmb(); if r1 == 1: r2 = load(x)"), set()),
    ("race: smp_wmb() does not hold back what a plain store may read",
     ("WRITE_ONCE(x, 1); smp_wmb(); WRITE_ONCE(y, 1)",
      "r1 = READ_ONCE(y); if r1 == 1: WRITE_ONCE(z, 1) & smp_wmb() & store(x, 2)"),
     {"data-race"}),
    ("mixed: plain write next to a marked read", ("store(x, 1); r1 = READ_ONCE(x)",),
     {"mixed-accesses"}),
    ("not mixed: a barrier between", ("store(x, 1); barrier(); r1 = READ_ONCE(x)",), set()),
    ("not mixed: plain read", ("r1 = load(x); WRITE_ONCE(x, 1)",), set()),
    ("unmatched rcu_read_lock()", ("rcu_read_lock()",), {"unmatched-rcu-lock"}),
    ("unmatched rcu_read_unlock()", ("rcu_read_unlock()",), {"unmatched-rcu-unlock"}),
    ("nested readers", ("rcu_read_lock(); rcu_read_lock(); rcu_read_unlock();"
                        "rcu_read_unlock()",), set()),
    ("synchronize_srcu() in a reader", ("rcu_read_lock(); synchronize_srcu(s);"
                                        "rcu_read_unlock()",), {"invalid-sleep"}),
    ("srcu cookie lost", ("r1 = srcu_read_lock(s); srcu_read_unlock(s, 0)",),
     {"unmatched-srcu-lock", "unmatched-srcu-unlock"}),
    ("srcu cookie used twice", ("r1 = srcu_read_lock(s); srcu_read_unlock(s, r1);"
                                "srcu_read_unlock(s, r1)",), {"multiple-srcu-matches"}),
    ("srcu balanced", ("r1 = srcu_read_lock(s); srcu_read_unlock(s, r1)",), set()),
    ("srcu cookie changed", ("r1 = srcu_read_lock(s); srcu_read_unlock(s, r1 + 1)",),
     {"srcu-bad-value-match"}),
    ("unlock of nothing", ("spin_unlock(l)",), {"unmatched-unlock"}),
    ("a lock is read", ("spin_lock(l); spin_unlock(l)", "r1 = READ_ONCE(l)"),
     {"mixed-lock-accesses"}),
    ("BUG_ON fires", ("WRITE_ONCE(x, 1)", "r1 = READ_ONCE(x); BUG_ON(r1)"), {"bug-on"}),
    ("BUG_ON does not", ("WRITE_ONCE(x, 1)", "r1 = READ_ONCE(y); BUG_ON(r1)"), set()),
    ("WARN_ON_ONCE fires", ("r1 = READ_ONCE(x); r2 = WARN_ON_ONCE(r1 == 0)",), {"warn-on"}),
    ("lock taken twice", ("spin_lock(l); spin_lock(l)",), {"deadlock"}),
    ("lock never released", ("spin_lock(l)", "spin_lock(l)"), {"deadlock"}),
    ("locks in two orders",
     ("spin_lock(l); spin_lock(m); spin_unlock(m); spin_unlock(l)",
      "spin_lock(m); spin_lock(l); spin_unlock(l); spin_unlock(m)"), {"deadlock"}),
    ("locks in two orders under a third",
     ("spin_lock(n); spin_lock(l); spin_lock(m); spin_unlock(m); spin_unlock(l);"
      "spin_unlock(n)",
      "spin_lock(n); spin_lock(m); spin_lock(l); spin_unlock(l); spin_unlock(m);"
      "spin_unlock(n)"), set()),
    ("locks in one order",
     ("spin_lock(l); spin_lock(m); spin_unlock(m); spin_unlock(l)",
      "spin_lock(l); spin_lock(m); spin_unlock(l); spin_unlock(m)"), set()),
    ("grace period waits for its own reader",
     ("rcu_read_lock(); synchronize_rcu(); rcu_read_unlock()",), {"deadlock"}),
]  # fmt: skip


@pytest.mark.parametrize(("threads", "flags"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
def test_flags(threads: tuple[str, ...], flags: set[str]) -> None:
    verdict = decide(program(*threads, observed="x"), witness=True)
    assert set(verdict.flags) == flags
    assert set(verdict.flagged) >= flags - {"deadlock"}
    if "data-race" in flags:
        race = verdict.flagged["data-race"].race
        assert race is not None
        first, second = (verdict.flagged["data-race"].events[number] for number in race)
        assert first.address == second.address
        assert first.thread != second.thread


def test_a_lock_is_not_to_be_observed() -> None:
    made = program("spin_lock(l); spin_unlock(l)", observed="l")
    assert decide(made).flags == ("lock-final",)


def test_reading_what_was_freed() -> None:
    freed = program("poison(x, 1)", "r1 = READ_ONCE(x)", observed="1:r1")
    assert "use-after-free" in decide(freed).flags
    waited = program("WRITE_ONCE(y, 1); synchronize_rcu(); poison(x, 1)",
                     "rcu_read_lock(); r1 = READ_ONCE(y);"
                     "if r1 == 0: r2 = READ_ONCE(x); rcu_read_unlock()",
                     observed="1:r2")  # fmt: skip
    assert decide(waited).flags == ()


def test_reading_what_was_never_set() -> None:
    made = program("r1 = READ_ONCE(x)", observed="0:r1", init={"x": POISON})
    assert decide(made).flags == ("use-before-init",)
    assert decide(program("r1 = READ_ONCE(x)", default=POISON)).flags == ("use-before-init",)


def test_following_what_was_freed() -> None:
    made = program("poison(x, 1)", "r1 = READ_ONCE(x); r2 = READ_ONCE(r1)", init={"x": 4096})
    assert {"poison-address", "use-after-free"} <= set(decide(made).flags)
