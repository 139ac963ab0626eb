"""What each primitive reads, writes and returns, alone and against another thread."""

from __future__ import annotations

import pytest
from small import by_masks, program

from mkold.ir.nodes import CallRcu, Const, Function, Local, Op, Return
from mkold.lkmm import Observation

NEVER, SOMETIMES = Observation.NEVER, Observation.SOMETIMES
ALONE = [
    ("r1 = xchg(x, 5)", {"x": 3}, (3, 5)),
    ("r1 = cmpxchg(x, 3, 5)", {"x": 3}, (3, 5)),
    ("r1 = cmpxchg(x, 4, 5)", {"x": 3}, (3, 3)),
    ("r1, r2 = try_cmpxchg(x, 3, 5)", {"x": 3}, (1, 5)),
    ("r2, r1 = try_cmpxchg(x, 4, 5)", {"x": 3}, (3, 3)),
    ("r1 = atomic_fetch_add(x, 2)", {"x": 3}, (3, 5)),
    ("r1 = atomic_add_return(x, 2)", {"x": 3}, (5, 5)),
    ("r1 = atomic_sub_and_test(x, 3)", {"x": 3}, (1, 0)),
    ("r1 = atomic_dec_and_test(x)", {"x": 3}, (0, 2)),
    ("r1 = atomic_inc_and_test(x)", {"x": (1 << 64) - 1}, (1, 0)),
    ("r1 = atomic_add_negative(x, 1)", {"x": (1 << 64) - 5}, (1, (1 << 64) - 4)),
    ("r1 = atomic_add_unless(x, 2, 3)", {"x": 3}, (0, 3)),
    ("r1 = atomic_add_unless(x, 2, 4)", {"x": 3}, (1, 5)),
    ("r1 = atomic_fetch_add_unless(x, 2, 4)", {"x": 3}, (3, 5)),
    ("r1 = atomic_fetch_andnot(x, 2)", {"x": 3}, (3, 1)),
    ("r1 = atomic_fetch_xor_relaxed(x, 1)", {"x": 3}, (3, 2)),
    ("r1 = test_and_set_bit(3, 0)", {}, None),
    ("r1 = test_and_clear_bit(x, 1)", {"x": 3}, (1, 1)),
    ("r1 = test_and_change_bit(x, 2)", {"x": 3}, (0, 7)),
    ("r1 = READ_ONCE_WHICH(x, 17, 2)", {"x": 3, "y": 6}, (0x10001, 3)),
    ("r1 = READ_ONCE_WHICH(x, 17, 4)", {"x": 3, "y": 6}, (0x10000, 3)),
    ("prefetch(x); r1 = READ_ONCE(x)", {"x": 3}, (3, 3)),
    ("spin_lock(x); r1 = spin_is_locked(x)", {}, (1, 1)),
    ("spin_lock(x); spin_unlock(x); r1 = spin_is_locked(x)", {}, (0, 0)),
    ("spin_lock(x); r1 = spin_trylock(x)", {}, (0, 1)),
    ("r1 = smp_processor_id()", {"x": 7}, (0, 7)),
    ("r1 = srcu_read_lock(x); srcu_read_unlock(x, r1)", {}, (0, 0)),
]


@pytest.mark.parametrize(("text", "init", "result"), ALONE)
def test_alone(text: str, init: dict[str, int], result: tuple[int, int] | None) -> None:
    """``result``: register r1 and variable x at the end; one state only."""
    verdict = by_masks(program(text, observed="0:r1 x", init=init))
    if result is None:
        assert len(verdict.states) == 1
    else:
        assert tuple(verdict.states) == (result,)


@pytest.mark.parametrize("suffix", ["", "_relaxed", "_acquire", "_release"])
def test_increments_never_get_lost(suffix: str) -> None:
    one = f"r1 = atomic_fetch_add{suffix}(x, 1)"
    verdict = by_masks(program(one, one, one, observed="x 0:r1"))
    assert {state[0] for state in verdict.states} == {3}
    assert {state[1] for state in verdict.states} == {0, 1, 2}


@pytest.mark.parametrize(
    ("prim", "forbidden"),
    [("xchg", True), ("xchg_relaxed", False), ("xchg_acquire", False),
     ("xchg_release", False)],
)  # fmt: skip
def test_full_order_of_exchanges(prim: str, forbidden: bool) -> None:
    """Store buffering with exchanges in place of the fences."""
    made = program(
        f"WRITE_ONCE(x, 1); r2 = {prim}(u, 1); r1 = READ_ONCE(y)",
        f"WRITE_ONCE(y, 1); r2 = {prim}(v, 1); r1 = READ_ONCE(x)",
        exists="0:r1=0 1:r1=0",
    )
    assert (by_masks(made).observation is NEVER) is forbidden


@pytest.mark.parametrize("order", ["", "_acquire", "_release"])
def test_a_failed_cmpxchg_orders_nothing(order: str) -> None:
    """Documentation/atomic_t.txt: "a failing RMW is unordered"."""
    made = program(
        f"WRITE_ONCE(x, 1); r2 = cmpxchg{order}(u, 9, 1); r1 = READ_ONCE(y)",
        "WRITE_ONCE(y, 1); smp_mb(); r1 = READ_ONCE(x)",
        exists="0:r1=0 1:r1=0",
    )
    assert by_masks(made).observation is SOMETIMES


def test_void_atomics_are_not_ordered_by_rmb() -> None:
    """The read of atomic_inc() is tagged noreturn, which smp_rmb() passes by."""
    shape = "WRITE_ONCE(x, 1); smp_wmb(); WRITE_ONCE(y, 1)"
    for reader, seen, forbidden in (
        ("r1 = atomic_fetch_inc_relaxed(y); smp_rmb(); r2 = READ_ONCE(x)", "1:r1=1", True),
        ("atomic_inc(y); smp_rmb(); r2 = READ_ONCE(x)", "y=2", False),
    ):
        made = program(shape, reader, exists=f"{seen} 1:r2=0")
        assert (by_masks(made).observation is NEVER) is forbidden


def test_atomic_fences_need_an_atomic() -> None:
    for anchor, forbidden in (("atomic_inc(u)", True), ("WRITE_ONCE(u, 1)", False)):
        made = program(
            f"WRITE_ONCE(x, 1); {anchor}; smp_mb__after_atomic(); r1 = READ_ONCE(y)",
            "WRITE_ONCE(y, 1); smp_mb(); r1 = READ_ONCE(x)",
            exists="0:r1=0 1:r1=0",
        )
        assert (by_masks(made).observation is NEVER) is forbidden


def test_call_rcu_waits_for_readers() -> None:
    """What call_rcu() runs comes after every reader that could see what came before it."""
    later = Function("later", ("p",), (Op("WRITE_ONCE", (), (Local("p"), Const(2))), Return()))
    reader = "rcu_read_lock(); r1 = READ_ONCE(x); r2 = READ_ONCE(y); rcu_read_unlock()"
    made = program("WRITE_ONCE(x, 1)", reader, exists="1:r1=0 1:r2=2",
                   functions={"later": later})  # fmt: skip
    caller = made.functions["P0"]
    address = made.symbols["y"]
    body = (caller.body[0], CallRcu("later", Const(address)), Return())
    functions = {**made.functions, "P0": Function("P0", (), body)}
    from dataclasses import replace

    assert by_masks(replace(made, functions=functions)).observation is NEVER
    direct = (caller.body[0], Op("WRITE_ONCE", (), (Const(address), Const(2))), Return())
    functions["P0"] = Function("P0", (), direct)
    assert by_masks(replace(made, functions=functions)).observation is SOMETIMES
