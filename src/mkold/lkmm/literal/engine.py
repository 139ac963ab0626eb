"""The engine ``literal``: the model as sets of pairs, one execution at a time.

Slow, and there to check the others. Nothing is shared with ``masks`` and ``model`` but the
paths, and none of their shortcuts is taken: every candidate is tried (``executions``), each
relation worked out by its definition (``relations``), each axiom and flag tested as it
stands.

Known limits: a few memory events; values out of thin air are dropped.

Source: tools/memory-model/linux-kernel.cat, linux-kernel.bell, lock.cat.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain, product

from mkold.base.errors import LimitError
from mkold.ir.formula import holds
from mkold.ir.program import TRUE, Program
from mkold.lkmm.ask import Ask
from mkold.lkmm.known.words import MayValues
from mkold.lkmm.literal.executions import Execution, count, executions
from mkold.lkmm.literal.flags import model_flags
from mkold.lkmm.literal.relations import Literal
from mkold.lkmm.paths.drawing import draw
from mkold.lkmm.paths.flags import may_fault, own_flags
from mkold.lkmm.paths.paths import unit_paths
from mkold.lkmm.paths.question import addresses
from mkold.lkmm.tally import Tally
from mkold.lkmm.unroll import unroll
from mkold.lkmm.verdict import Verdict

MOST = 20_000


def decide(program: Program, ask: Ask, check: Callable[[], None]) -> Verdict:
    """Decide by trying everything: see ``engines.Engine``.

    Raises
    ------
    LimitError : there are more than ``MOST`` candidates
    """
    graph = unroll(program, ask.max_unroll, check)
    may = MayValues(graph)
    units = [unit_paths(graph, unit, may, check) for unit in range(len(program.threads))]
    if sum(map(count, product(*units))) > MOST:
        raise LimitError(f"{program.name}: more than {MOST} candidates for this engine")
    tally = Tally(program, ask)
    tally.comes_to(graph.nodes)
    faulty = any(may_fault(program, path) for paths in units for path in paths)
    for execution in chain.from_iterable(executions(graph, paths) for paths in product(*units)):
        check()
        judge(execution, tally)
        if tally.decided and not faulty:
            break
    return tally.verdict()


def judge(execution: Execution, tally: Tally) -> None:
    """Apply the model to one execution, and keep what it adds."""
    tally.n_candidates += 1
    program, made = tally.program, execution.relations()
    if any(path.cut for path in execution.paths):
        tally.bounded = tally.bounded or made.broken() is None
        return
    if program.filter is not None and not holds(program.filter, execution.at):
        return
    formula = TRUE if program.condition is None else program.condition.formula
    good, broken = holds(formula, execution.at), made.broken()
    if broken is not None:
        if good and tally.ask.witness and tally.forbidden is None:
            tally.forbidden = draw(execution.found(made), broken)
        return
    tally.yes, tally.no = tally.yes or good, tally.no or not good
    if tally.ask.states:
        tally.states.add([execution.final])
    _flags(execution, made, tally)
    if good and tally.ask.witness and tally.witness is None:
        tally.witness = draw(execution.found(made))


def _flags(execution: Execution, made: Literal, tally: Tally) -> None:
    asked = frozenset(addresses(tally.program))
    raised = set(model_flags(made, execution.values, asked))
    raised |= {
        flag for flag, here in own_flags(tally.program, execution.paths, execution) if here
    }
    for flag in sorted(raised):
        race = min(made.races) if flag == "data-race" else None
        tally.raise_flag(flag, partial(draw, execution.found(made), race=race))
