"""The way in: unrolls a program blindly, or by rounds (see ``oracle``)."""

from __future__ import annotations

from collections.abc import Callable

from mkold.ir.meaning import expanded
from mkold.ir.nodes import Call, CallRcu, Function, Loop, walk
from mkold.ir.program import Program
from mkold.lkmm.graph.events import Graph
from mkold.lkmm.known.oracle import Knowledge, Oracle
from mkold.lkmm.unroll.memory import Remembering
from mkold.lkmm.unroll.unroller import Unroller


def unroll(
    program: Program, max_unroll: int = 16, check: Callable[[], None] = lambda: None
) -> Graph:
    """All events of ``program``; with loops or calls, by rounds (see ``oracle``).

    ``check`` is called now and then, and raises when time is up.

    Raises
    ------
    LimitError : the graph grows too large
    UnsupportedError : a build parameter was left without a value
    """
    program = expanded(program)
    calls_or_loops = (
        isinstance(stmt, Loop | Call | CallRcu)
        for function in _entries(program)
        for stmt in walk(function.body)
    )
    if not any(calls_or_loops):
        return Unroller(program, max_unroll, check).run()
    knowledge = Knowledge()
    shape: tuple[int, ...] = ()
    settled = 0  # rounds since the last that reached something new
    while True:
        oracle = Oracle(knowledge, program)
        graph = Remembering(program, max_unroll, check, oracle).run()
        news = knowledge.learn(oracle.round)
        before, shape = shape, _shape(graph, knowledge)
        settled = settled + 1 if shape == before else 0
        if not news or settled > n_computed(graph) + 1:
            return graph


def _shape(graph: Graph, knowledge: Knowledge) -> tuple[int, ...]:
    """What grows when a round gets somewhere that the one before it did not."""
    touched = sum(map(len, knowledge.touched))
    return len(graph.nodes), len(graph.decisions), touched, len(knowledge.events)


def n_computed(graph: Graph) -> int:
    """Writes whose word is computed from reads: a word can pass through each but once."""
    return sum(node.is_write and not isinstance(node.value, int) for node in graph.nodes)


def _entries(program: Program) -> list[Function]:
    return [program.functions[thread.function] for thread in program.threads]
