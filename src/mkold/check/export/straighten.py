"""A scenario straightened, so that it can be a litmus test: no calls, no loops, no pointers.

Made from the event graph, in which calls are inlined, loops unrolled and addresses known.
Each thread becomes its events in program order (``thread``), under ``if`` where a branch
decides (``values``). What waits in a loop for ever is left out by a ``filter``.

The question is ``forall``: the final state is one of those that the model allows, so herd7
answers it with yes or no.

Known limits, refused by name: addresses that may be many, cut loops, ``call_rcu``,
``spin_trylock``, SRCU and reader-writer locks. A dependency through a branch that was
decided while unrolling is lost; ``export`` compares the verdicts, and keeps none that
differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mkold.base.errors import UnsupportedError
from mkold.check.export.places import c_name, symbols_of
from mkold.check.export.thread import WAITS, StraightThread
from mkold.ir.program import (
    And,
    Compare,
    Condition,
    Formula,
    Mem,
    Observed,
    Or,
    Program,
    Reg,
    Thread,
)
from mkold.lkmm.graph.events import Graph
from mkold.lkmm.known.words import initial_word


def straighten(graph: Graph, states: Iterable[tuple[int, ...]]) -> Program:
    """``graph`` as a program of straight threads, asked whether ``states`` are all.

    Raises
    ------
    UnsupportedError : the graph has what a litmus test can't say; names it
    """
    program = graph.program
    if graph.cuts:
        raise UnsupportedError("a loop is longer than its bound")
    if len(graph.unit_of_thread) > len(program.threads):
        raise UnsupportedError("call_rcu")
    symbols = symbols_of(graph)
    threads = [StraightThread(graph, i) for i in range(len(program.threads))]
    functions = {f"P{i}": thread.function(f"P{i}") for i, thread in enumerate(threads)}
    observed = tuple(_renamed(place) for place in program.observed)
    return Program(
        name=program.name,
        functions=functions,
        threads=tuple(Thread(name, name) for name in functions),
        init={address: initial_word(graph, address) for address in symbols.values()},
        symbols=symbols,
        condition=_all_of(observed, states),
        observed=observed,
        filter=_nobody_waits(threads),
    )


def _nobody_waits(threads: list[StraightThread]) -> Formula | None:
    """Rounds that only wait are left out while unrolling, and so they are here."""
    waits = tuple(
        Compare("eq", Reg(thread.index, WAITS), 0) for thread in threads if thread.waits
    )
    return And(waits) if waits else None


def _all_of(observed: Sequence[Observed], states: Iterable[tuple[int, ...]]) -> Condition:
    return Condition(
        "forall",
        Or(
            tuple(
                And(tuple(Compare("eq", p, w) for p, w in zip(observed, state, strict=True)))
                for state in states
            )
        ),
    )


def _renamed(place: Observed) -> Observed:
    return place if isinstance(place, Mem) else Reg(place.thread, c_name(place.local))
