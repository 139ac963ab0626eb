"""The judge against the literal engine, one execution at a time; and what its rules say.

A rule is sound if no allowed execution has its body but not its head, and none has all of a
body that has no head. So all rules that a program's forbidden executions told are applied to
each of its allowed ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from idioms import ROWS
from random_programs import FENCES, MARKED, PLAIN, common, random_program, threads
from small import program

from mkold.ir.program import Program
from mkold.lkmm.graph.guards import Decided
from mkold.lkmm.known.words import MayValues
from mkold.lkmm.literal.executions import count, executions
from mkold.lkmm.literal.relations import Literal
from mkold.lkmm.paths.paths import Path, unit_paths
from mkold.lkmm.sat.candidate import Candidate
from mkold.lkmm.sat.facts import INIT, Fact, Rules
from mkold.lkmm.sat.fences import Fences
from mkold.lkmm.sat.judge import Judge
from mkold.lkmm.sat.layout import Layout
from mkold.lkmm.unroll import unroll
from mkold.lkmm.verdict import Axiom


class TooMany(Exception):  # noqa: N818 - a signal, not an error
    """For the literal engine."""


def candidates(made: Program, most: int) -> Iterator[tuple[Candidate, Literal, bool, Layout]]:
    """Every coherent and atomic execution, and whether it is allowed."""
    graph = unroll(made)
    may = MayValues(graph)
    units = [unit_paths(graph, unit, may) for unit in range(len(made.threads))]
    if sum(map(count, product(*units))) > most:
        raise TooMany
    layout = Layout(graph)
    for paths in product(*units):
        for execution in executions(graph, paths):
            by_definition = execution.relations()
            broken = by_definition.broken()
            if broken is None or broken.axiom not in (Axiom.COHERENCE, Axiom.ATOMIC):
                candidate = _candidate(paths, by_definition, layout)
                yield candidate, by_definition, broken is None, layout


def _candidate(paths: tuple[Path, ...], by_definition: Literal, layout: Layout) -> Candidate:
    acts = by_definition.acts
    decided = Decided(way for path in paths for way in path.decided.items())

    def depends(sort: str, node: int, read: int) -> bool:
        guard = getattr(layout.nodes[node], f"{sort}_deps").get(read, 0)
        return decided.holds(guard)

    return Candidate(
        happens=frozenset(acts),
        address={a.id: a.address for a in acts.values() if a.address >= 0},
        source={r: max(w, INIT) for w, r in by_definition.rf},
        order={place: chain[1:] for place, chain in by_definition.chains.items()},
        depends=depends,
    )


def facts_of(candidate: Candidate, layout: Layout) -> set[Fact]:
    """What is given of an execution, as facts."""
    here = candidate.happens
    facts = {Fact("happens" if n.id in here else "absent", n.id) for n in layout.nodes}
    facts |= {Fact("source", w, r) for r, w in candidate.source.items()}
    for writes in candidate.order.values():
        facts |= {Fact("co", a, b) for i, a in enumerate(writes) for b in writes[i + 1 :]}
    places = candidate.address
    for read, write in candidate.source.items():
        writes = candidate.order.get(places[read], ())
        later = writes if write == INIT else writes[writes.index(write) + 1 :]
        facts |= {Fact("fr", read, w) for w in later}
    facts |= {Fact("same", a, b) for a in places for b in places if places[a] == places[b]}
    for node in layout.nodes:
        for sort in ("addr", "data", "ctrl"):
            for read in getattr(node, f"{sort}_deps"):
                if node.id in here and read in here and candidate.depends(sort, node.id, read):
                    facts.add(Fact(sort, read, node.id))
    return facts


TOO_LARGE = {"readers do not exclude readers", "a release is handed on by increments"}


def forbidden_by(rules: Rules, facts: set[Fact]) -> bool:
    """Whether the rules, applied as long as they give something, say "not all of these"."""
    grown = True
    while grown:
        grown = False
        for head, body in rules:
            if body <= facts and head not in facts:
                if head is None:
                    return True
                facts.add(head)
                grown = True
    return False


def check(made: Program, most: int) -> None:
    rules = Rules()
    allowed = []
    fences = None
    for candidate, by_definition, allowed_by_definition, layout in candidates(made, most):
        fences = fences or Fences(layout)
        judge = Judge(fences, candidate, rules)
        assert judge.allowed() == allowed_by_definition
        if not allowed_by_definition:
            assert forbidden_by(rules, facts_of(candidate, layout))
            continue
        racing, fine = judge.races()
        assert bool(racing) == bool(by_definition.races)
        assert not {pair for pair, _ in fine} & {(min(p), max(p)) for p in racing}
        allowed.append((facts_of(candidate, layout), {(min(p), max(p)) for p in racing}, fine))
    for facts, _, _ in allowed:
        assert not forbidden_by(rules, facts)
    orders = [one for _, _, fine in allowed for one in fine]
    for facts, racing_pairs, _ in allowed:  # facts are closed now: with what rules derive
        for pair, body in orders:
            assert not (body <= facts and pair in racing_pairs)


def check_if_small(bodies: list[list[str]]) -> None:
    try:
        check(random_program(bodies), 600)
    except TooMany:
        assume(False)


@common
@given(threads())
def test_one_execution_at_a_time(bodies: list[list[str]]) -> None:
    check_if_small(bodies)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_idiom(row: tuple[str, tuple[str, ...], str, object, object]) -> None:
    try:
        check(program(*row[1], exists=row[2]), 20_000)
    except TooMany:
        assert row[0] in TOO_LARGE


SECTIONS = [
    ("rcu_read_lock()", "rcu_read_unlock()"),
    ("r3 = srcu_read_lock(s)", "srcu_read_unlock(s, r3)"),
    ("rcu_read_lock(); rcu_read_lock()", "rcu_read_unlock(); rcu_read_unlock()"),
]
GRACE = ["synchronize_rcu()", "synchronize_srcu(s)", "synchronize_srcu(t)"]


@common
@given(
    st.lists(st.sampled_from(MARKED + PLAIN), min_size=2, max_size=2),
    st.lists(st.sampled_from(MARKED + PLAIN), min_size=2, max_size=2),
    st.sampled_from(SECTIONS),
    st.sampled_from([*GRACE, *FENCES]),
    st.sampled_from(GRACE),
)
def test_grace_periods(
    writes: list[str], reads: list[str], section: tuple[str, str], one: str, two: str
) -> None:
    check_if_small([[writes[0], one, writes[1]], [section[0], *reads, section[1]], [two]])
