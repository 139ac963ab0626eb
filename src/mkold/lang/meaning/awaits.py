"""Waiting for a condition on a word: ``smp_cond_load_acquire(p.x, VAL == 0)`` and its like.

Each is a loop over a load: read, leave if the condition holds of what was read, pause. The
table says which load; one more line is one more such primitive.

Sources: include/asm-generic/barrier.h (smp_cond_load_relaxed, smp_cond_load_acquire),
include/linux/atomic.h (atomic_cond_read_relaxed, atomic_cond_read_acquire). The kernel's
acquire form is a relaxed loop and a control-dependent ``smp_rmb``; that promises what an
acquire load does.
"""

from __future__ import annotations

from collections.abc import Callable

from mkold.base.errors import Pos
from mkold.ir.nodes import Break, If, Loop, Op
from mkold.ir.prims import PRIMS
from mkold.lang.meaning.builder import Builder
from mkold.lang.meaning.calls import Into, primitive
from mkold.lang.meaning.places import hint_of, read, value_type
from mkold.lang.meaning.values import Place, Value

LOADS = {
    "smp_cond_load_relaxed": "READ_ONCE",
    "smp_cond_load_acquire": "smp_load_acquire",
    "atomic_cond_read_relaxed": "atomic_read",
    "atomic_cond_read_acquire": "atomic_read_acquire",
}


def cond_load(
    b: Builder, name: str, place: Place, test: Callable[[Value], Value], at: Pos,
    into: Into = None,
) -> Value:  # fmt: skip
    """The word at ``place``, once ``test`` holds of it; ``name`` is a row of ``LOADS``."""
    dst = into or (b.temporary(hint_of(place.text), value_type(place.type)),)
    with b.block() as body:
        seen = read(b, primitive(b, PRIMS[LOADS[name]], place, (), at, dst))
        holds = test(seen)
        b.emit(If(holds.expr, (Break(at),), (), at))
        b.emit(Op("cpu_relax", (), (), "", at))
    b.emit(Loop(tuple(body), (), at))
    return seen
