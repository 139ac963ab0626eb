"""What raises each flag, and what next to it does not."""

from __future__ import annotations

import pytest
from flag_rows import ROWS
from small import by_masks, program

from mkold.ir.program import POISON
from mkold.lkmm import decide

each = pytest.mark.parametrize(
    ("threads", "flags"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS]
)


@each
def test_flags_of_masks(threads: tuple[str, ...], flags: set[str]) -> None:
    """It sees a hang only where no execution ends."""
    found = set(by_masks(program(*threads, observed="x")).flags)
    assert found - {"hang"} == flags - {"hang"}
    assert found <= flags


@each
def test_flags(threads: tuple[str, ...], flags: set[str]) -> None:
    verdict = decide(program(*threads, observed="x"), witness=True)
    assert set(verdict.flags) == flags
    assert set(verdict.flagged) >= flags - {"hang"}
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
