"""The way in: decide what the memory model says of a program."""

from __future__ import annotations

import time
from dataclasses import replace

from mkold.ir.program import Program
from mkold.lkmm.ask import DEFAULT_UNROLL, Ask
from mkold.lkmm.engines import named, suited
from mkold.lkmm.verdict import FAULTS, Status, Verdict


def decide(
    program: Program,
    *,
    states: bool = True,
    flags: bool = True,
    timeout_s: float | None = None,
    max_unroll: int = DEFAULT_UNROLL,
    witness: bool = False,
    hangs: bool = True,
    engine: str | None = None,
) -> Verdict:
    """Decide ``program`` under the Linux-kernel memory model.

    Parameters
    ----------
    program : what runs concurrently, on which memory, and the question
    states, flags, timeout_s, max_unroll, witness, hangs : see ``Ask``
    engine : the name of the one to decide, see ``engines``; None: the one that suits

    Returns
    -------
    Verdict

    Raises
    ------
    LimitError : too many paths, values, events or coherence orders
    UsageError : there is no engine of that name
    UnsupportedError : a construct the model can't express

    Examples
    --------
    Message passing without barriers::

        from mkold.ir.nodes import Const, Function, Op, Return
        from mkold.ir.program import And, Compare, Condition, Program, Reg, Thread
        from mkold.lkmm import decide

        X, Y = 0x1000, 0x1010
        writer = Function("writer", (), (
            Op("WRITE_ONCE", (), (Const(X), Const(1))),
            Op("WRITE_ONCE", (), (Const(Y), Const(1))),
            Return(),
        ))
        reader = Function("reader", (), (
            Op("READ_ONCE", ("flag",), (Const(Y),)),
            Op("READ_ONCE", ("data",), (Const(X),)),
            Return(),
        ))
        stale = And((Compare("eq", Reg(1, "flag"), 1), Compare("eq", Reg(1, "data"), 0)))
        verdict = decide(Program(
            name="MP",
            functions={"writer": writer, "reader": reader},
            threads=(Thread("P0", "writer"), Thread("P1", "reader")),
            symbols={"x": X, "y": Y},
            condition=Condition("exists", stale),
            observed=(Reg(1, "flag"), Reg(1, "data")),
        ))
        assert verdict.observation is Observation.SOMETIMES
        assert (1, 0) in verdict.states
    """
    ask = Ask(states, flags, witness, hangs, timeout_s, max_unroll)
    name = engine or suited(program, ask)
    decides = named(name)
    began, began_by_the_clock = time.process_time(), time.monotonic()

    def check() -> None:
        # The clock is cheap to read, and never behind the processor's time.
        if timeout_s is None or time.monotonic() - began_by_the_clock <= timeout_s:
            return
        if time.process_time() - began > timeout_s:
            raise TimeoutError

    try:
        verdict = decides(program, ask, check)
    except TimeoutError:
        verdict = Verdict(program.name, Status.TIMEOUT)
    return replace(
        verdict,
        flags=tuple(f for f in verdict.flags if (states and flags) or f in FAULTS),
        engine=name,
        cpu_s=time.process_time() - began,
    )
