"""The engines against each other, and against themselves, on random programs."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from idioms import ROWS
from random_programs import (
    FENCES,
    FREES,
    MARKED,
    OBSERVED,
    PLAIN,
    STRONGER,
    common,
    random_program,
    threads,
)
from small import VARIABLES, by_masks, program

from mkold.ir.nodes import Op, Stmt
from mkold.ir.program import Extent, Program, Reg
from mkold.lkmm import decide
from mkold.lkmm.known.words import MayValues
from mkold.lkmm.literal.engine import MOST
from mkold.lkmm.literal.executions import count
from mkold.lkmm.paths.paths import unit_paths
from mkold.lkmm.unroll import unroll


def _n_candidates(made: Program) -> int:
    """How many executions the literal engine would try."""
    graph = unroll(made)
    may = MayValues(graph)
    units = [unit_paths(graph, unit, may) for unit in range(len(made.threads))]
    return sum(map(count, product(*units)))


def _agree(made: Program, most: int = MOST) -> bool:
    """Whether the program was small enough for the literal engine."""
    if _n_candidates(made) > most:
        return False
    masks, literal = by_masks(made), decide(made, engine="literal")
    assert set(masks.states) == set(literal.states)
    assert masks.flags == literal.flags
    assert masks.observation is literal.observation
    assert masks.holds is literal.holds
    return True


TOO_LARGE = {"readers do not exclude readers", "a release is handed on by increments"}


@common
@given(threads())
def test_same_states_and_flags(bodies: list[list[str]]) -> None:
    assume(_agree(random_program(bodies), 1_000))


frees = st.lists(st.lists(st.sampled_from(FREES), min_size=1, max_size=3),
                 min_size=1, max_size=2)  # fmt: skip


@common
@given(frees)
def test_same_of_frees_and_pointers(bodies: list[list[str]]) -> None:
    made = random_program([*bodies, ["barrier()"]])
    objects = (Extent(VARIABLES["x"], 1, "x", 2), Extent(VARIABLES["y"], 1, "y", 2))
    assume(_agree(replace(made, objects=objects), 1_000))


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_same_on_every_idiom(row: tuple[str, tuple[str, ...], str, object, object]) -> None:
    if not _agree(program(*row[1], exists=row[2])):
        assert row[0] in TOO_LARGE


@common
@given(threads(most=3), st.data())
def test_a_fence_adds_no_outcome(bodies: list[list[str]], data: st.DataObject) -> None:
    bodies = [[text for text in body if "load(" not in text and "store(" not in text]
              for body in bodies]  # fmt: skip
    where = data.draw(st.integers(0, len(bodies) - 1))
    at = data.draw(st.integers(0, len(bodies[where])))
    fence = data.draw(st.sampled_from(STRONGER))
    fenced = [list(body) for body in bodies]
    fenced[where].insert(at, fence)
    assert set(by_masks(random_program(fenced)).states) <= set(
        by_masks(random_program(bodies)).states
    )


@common
@given(threads(most=3), st.randoms())
def test_order_of_threads_is_of_no_account(bodies: list[list[str]], random: object) -> None:
    made = random_program(bodies)
    order = list(range(len(made.threads)))
    random.shuffle(order)  # type: ignore[attr-defined]
    observed = tuple(
        Reg(order.index(place.thread), place.local) if isinstance(place, Reg) else place
        for place in made.observed
    )
    moved = replace(made, threads=tuple(made.threads[i] for i in order), observed=observed)
    before, after = by_masks(made), by_masks(moved)
    assert set(before.states) == set(after.states)
    assert before.flags == after.flags


@common
@given(threads())
def test_names_are_of_no_account(bodies: list[list[str]]) -> None:
    swap = str.maketrans("xy", "yx")
    made = random_program(bodies)
    renamed = random_program([[text if "()" in text else _swapped(text, swap) for text in body]
                        for body in bodies])  # fmt: skip
    there = {(*state[:4], state[5], state[4]) for state in by_masks(renamed).states}
    assert set(by_masks(made).states) == there


def _swapped(text: str, swap: dict[int, int]) -> str:
    head, paren, args = text.rpartition("(")
    return head + paren + args.translate(swap)


@common
@given(threads(most=3))
def test_quick_answer_is_the_full_one(bodies: list[list[str]]) -> None:
    made = random_program(bodies)
    for state in list(by_masks(made).states)[:3]:
        asked = program(
            *("; ".join(body) for body in bodies),
            exists=" ".join(
                f"{name}={word}" for name, word in zip(OBSERVED.split(), state, strict=True)
            ),
        )
        assert by_masks(asked, states=False).holds is True


def test_the_random_programs_are_not_all_trivial() -> None:
    statements: list[Stmt] = []
    for text in MARKED + PLAIN + FENCES:
        statements += random_program([[text], ["barrier()"]]).functions["P0"].body
    assert len({stmt.prim for stmt in statements if isinstance(stmt, Op)}) > 15
