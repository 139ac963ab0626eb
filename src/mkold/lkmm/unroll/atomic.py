"""Where a thread must not sleep: the kernel's preempt count, as lockdep and
CONFIG_DEBUG_ATOMIC_SLEEP keep it.

A spinlock, a reader-writer lock and an RCU read section each raise it while they are held,
and the table of primitives says what they are and what may sleep. An SRCU section does not:
one may sleep there. A callback of ``call_rcu`` runs in softirq context, with the count
raised from the start. The count is symbolic, and meets where branches meet.

Only of kernel Python: a litmus test has herd7's flags.

Sources: kernel/sched/core.c (__might_sleep), include/linux/preempt.h,
Documentation/RCU/UP.rst.
"""

from __future__ import annotations

from collections.abc import Sequence

from mkold.ir.nodes import WORD_MASK
from mkold.ir.prims import Gives, Prim
from mkold.lkmm.graph.values import NO_TAINT, Value, binary
from mkold.lkmm.unroll.builder import Builder
from mkold.lkmm.unroll.emit import Arg, Emitter
from mkold.lkmm.unroll.state import PREEMPT_COUNT, Mem, State, at_start

_RAISE = ("lock", "rcu")


def in_callback() -> Mem:
    """What a callback of ``call_rcu`` has stored before it runs."""
    return at_start(preempt_count=1)


def before(builder: Builder, row: Prim, state: State) -> None:
    """Raise a flag where a primitive may sleep, or ends what was not begun.

    Also if the thread then waits for ever: it has come there.
    """
    if builder.program.objects is None:
        return
    if row.sleeps:
        builder.flag("sleep-in-atomic", state, binary("slt", 0, _count(state)))
    if row.leaves == "lock":
        builder.flag("unmatched-unlock", state, binary("sle", _count(state), 0))


def after(emit: Emitter, results: Sequence[Arg]) -> None:
    """Raise or lower the count by what a primitive takes or leaves."""
    row = emit.row
    if row.holds is not None and row.holds.sort in _RAISE:
        taken: Value = 1
        if Gives.DONE in row.gives:
            taken = results[row.gives.index(Gives.DONE)][0]
        _add(emit.state, taken)
    elif row.leaves in _RAISE:
        _add(emit.state, WORD_MASK)


def _count(state: State) -> Value:
    return state.mem[PREEMPT_COUNT][0]


def _add(state: State, number: Value) -> None:
    state.mem[PREEMPT_COUNT] = binary("add", _count(state), number), NO_TAINT
