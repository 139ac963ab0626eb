"""The way in: decide what the memory model says of a program."""

from __future__ import annotations

import time
from dataclasses import replace

from mkold.ir.program import Program
from mkold.lkmm.enumerate import enumerate_program
from mkold.lkmm.execution import Verdict
from mkold.lkmm.unroll import unroll

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
    """Decide ``program`` under the Linux-kernel memory model."""
    began = time.process_time()
    deadline = None if timeout_s is None else began + timeout_s
    graph = unroll(program, max_unroll)
    verdict = enumerate_program(graph, states=states, witness=witness, deadline=deadline)
    return replace(verdict, cpu_s=time.process_time() - began)
