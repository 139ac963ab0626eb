"""Waiting until a condition holds of what is at a place.

``smp_cond_load_acquire(p.x, VAL == 0)`` reads the place until the condition, which calls
what was read ``VAL``, holds; it gives what was read last. The kernel's acquire form is a
relaxed loop and a control-dependent ``smp_rmb``, which promises what an acquire load does.

Known limit: the condition reads ``VAL`` and locals, no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mkold.ir.nodes import Assign, Break, If, Local, Loop, Op, Stmt, map_parts
from mkold.ir.prims.row import VAL, Gives, Order, Prim, Shape, Takes


def _until(load: str) -> Callable[[Op], tuple[Stmt, ...]]:
    def meaning(op: Op) -> tuple[Stmt, ...]:
        place, condition = op.args
        seen = Local(f"{op.prim}.{VAL}")  # no local of the source has such a name
        holds = map_parts(condition, lambda part: seen if part == Local(VAL) else None)
        body = (
            replace(op, prim=load, dsts=(seen.name,), args=(place,)),
            If(holds, (Break(op.at),), (), op.at),
            Op("cpu_relax", (), (), "", op.at),
        )
        given = (Assign(dst, seen, op.at) for dst in op.dsts)
        return (Loop(body, (), op.at), *given)

    return meaning


def _row(name: str, load: str, order: Order, source: str, family: str = "") -> Prim:
    return Prim(name=name, shape=Shape.OTHERS, takes=(Takes.PLACE, Takes.OVER_VAL),
                gives=(Gives.OLD,), order=order, family=family, macro="pc",
                meaning=_until(load), source=source)  # fmt: skip


_BARRIER, _ATOMIC = "include/asm-generic/barrier.h", "include/linux/atomic.h"
ROWS = [
    _row("smp_cond_load_relaxed", "READ_ONCE", Order.ONCE, _BARRIER),
    _row("smp_cond_load_acquire", "smp_load_acquire", Order.ACQUIRE, _BARRIER),
    _row("atomic_cond_read_relaxed", "atomic_read", Order.ONCE, _ATOMIC, "atomic"),
    _row("atomic_cond_read_acquire", "atomic_read_acquire", Order.ACQUIRE, _ATOMIC, "atomic"),
]
