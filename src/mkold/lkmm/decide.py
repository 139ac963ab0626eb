"""The way in: decide what the memory model says of a program."""

from __future__ import annotations

import time
from dataclasses import replace

from mkold.ir.program import Program
from mkold.lkmm.masks.engine import enumerate_program
from mkold.lkmm.unroll import unroll
from mkold.lkmm.verdict import FAULTS, Status, Verdict

DEFAULT_UNROLL = 16


def decide(
    program: Program,
    *,
    states: bool = True,
    flags: bool = True,
    timeout_s: float | None = None,
    max_unroll: int = DEFAULT_UNROLL,
    witness: bool = False,
) -> Verdict:
    """Decide ``program`` under the Linux-kernel memory model.

    Parameters
    ----------
    program : what runs concurrently, on which memory, and the question
    states : list the final states, and look at every allowed execution. Without it the
        search stops at the first execution that answers the question: ``Always`` may read
        ``Sometimes``, and ``flags`` has but what leaves no meaning to an answer (``FAULTS``)
    flags : keep flags; they cost nothing beyond ``states``
    timeout_s : processor time after which the verdict is ``Status.TIMEOUT``
    max_unroll : rounds of a loop; where more could matter the verdict is
        ``Status.BOUNDED``
    witness : keep an execution that satisfies the formula, or one that the model forbids
        together with its cycle, and one execution for each flag

    Returns
    -------
    Verdict

    Raises
    ------
    LimitError : too many paths, values, events or coherence orders
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
    began = time.process_time()

    def expired() -> bool:
        return timeout_s is not None and time.process_time() - began > timeout_s

    def check() -> None:
        if expired():
            raise TimeoutError

    try:
        graph = unroll(program, max_unroll, check if timeout_s is not None else lambda: None)
        verdict = enumerate_program(graph, states=states, witness=witness, expired=expired)
    except TimeoutError:
        verdict = Verdict(program.name, Status.TIMEOUT)
    return replace(
        verdict,
        flags=tuple(f for f in verdict.flags if (states and flags) or f in FAULTS),
        cpu_s=time.process_time() - began,
    )
