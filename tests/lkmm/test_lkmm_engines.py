"""The seam between a question and the engines that answer it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import random_engine
from idioms import ROWS
from small import program

import mkold.lkmm
from mkold.base.errors import UsageError
from mkold.ir.program import POISON
from mkold.lkmm import Observation, Status, decide
from mkold.lkmm.engines import ENGINES

ROOM = Path(mkold.lkmm.__file__).parent
# What a new engine may build upon; all else belongs to another engine.
SHARED = {"ask", "graph", "known", "unroll", "paths", "model", "tally", "verdict"}


@pytest.fixture
def random(monkeypatch: pytest.MonkeyPatch) -> str:
    """The toy engine, registered: this line is all it takes."""
    monkeypatch.setitem(ENGINES, "random", "random_engine")
    return "random"


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_toy_engine(row: tuple[str, tuple[str, ...], str, object, object],
                      random: str) -> None:  # fmt: skip
    made = program(*row[1], exists=row[2])
    toy, masks = decide(made, engine=random), decide(made, engine="masks")
    assert set(toy.states) <= set(masks.states)
    assert set(toy.flags) - {"hang"} <= set(masks.flags)  # it may find no execution
    if masks.observation is Observation.NEVER:
        assert toy.observation is Observation.NEVER


def test_the_toy_engine_finds_something(random: str) -> None:
    """A stale read, a race, freed memory; and it says what it does not look for."""
    stale = program("WRITE_ONCE(x, 1); WRITE_ONCE(y, 1)",
                    "r1 = READ_ONCE(y); r2 = READ_ONCE(x)", exists="1:r1=1 1:r2=0")  # fmt: skip
    verdict = decide(stale, engine=random)
    assert verdict.observation is Observation.SOMETIMES
    assert verdict.engine == "random"
    assert decide(program("store(x, 1)", "r1 = load(x)"), engine=random).flags == ("data-race",)
    freed = program(f"WRITE_ONCE(x, {POISON})", "r1 = READ_ONCE(x)")
    assert decide(freed, engine=random).flags == ("use-after-free",)
    ring = program("spin_lock(l); spin_lock(m); spin_unlock(m); spin_unlock(l)",
                   "spin_lock(m); spin_lock(l); spin_unlock(l); spin_unlock(m)")  # fmt: skip
    assert decide(ring, engine=random).assumed


def _imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_what_a_new_engine_needs() -> None:
    """The shared rooms, and no other engine's."""
    ours = {name for name in _imported(Path(random_engine.__file__)) if "mkold.lkmm" in name}
    assert {name.split(".")[2] for name in ours} <= SHARED


@pytest.mark.parametrize("name", ENGINES)
def test_nobody_but_the_registry_names_an_engine(name: str) -> None:
    folder = ENGINES[name].rpartition(".")[0]
    own = ROOM / folder.rpartition(".")[2]
    naming = [
        file.relative_to(ROOM.parent).as_posix()
        for file in sorted(ROOM.parent.rglob("*.py"))
        if own not in file.parents and re.search(rf"\b{folder}\b", file.read_text())
    ]
    assert naming == ["lkmm/engines.py"]


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_keeps_to_the_question(name: str) -> None:
    threads = "WRITE_ONCE(x, 1)", "r1 = READ_ONCE(x)"
    made = program(*threads, exists="1:r1=1")
    full = decide(made, engine=name)
    assert full.engine == name
    assert full.states == ((0,), (1,))
    assert full.observation is Observation.SOMETIMES
    assert full.witness is None
    quick = decide(made, engine=name, states=False, witness=True)
    assert quick.states == ()
    assert quick.holds is True
    assert quick.witness is not None
    assert quick.witness.final == (1,)
    never = decide(program(*threads, exists="1:r1=2"), engine=name, states=False, witness=True)
    assert never.holds is False
    assert never.witness is None
    assert decide(made, engine=name, timeout_s=0.0).status is Status.TIMEOUT


@pytest.mark.parametrize(
    ("text", "hangs", "engine"),
    [
        ("WRITE_ONCE(x, 1)", True, "masks"),
        ("WRITE_ONCE(x, 1); " * 101, True, "sat"),
        ("spin_lock(l); spin_unlock(l)", True, "sat"),
        ("spin_lock(l); spin_unlock(l)", False, "masks"),
        ("rcu_read_lock(); rcu_read_unlock()", True, "masks"),
        ("synchronize_rcu()", True, "sat"),
        ("smp_cond_load_acquire(x, 0)", False, "sat"),
    ],
)
def test_which_engine_suits(text: str, hangs: bool, engine: str) -> None:
    assert decide(program(text), hangs=hangs).engine == engine


@pytest.mark.parametrize("engine", ["masks", "literal"])
def test_what_is_not_looked_at_is_said(engine: str) -> None:
    waits, ends = program("spin_lock(l); spin_unlock(l)"), program("WRITE_ONCE(x, 1)")
    assert decide(waits, engine=engine).assumed
    assert not decide(waits, engine=engine, hangs=False).assumed
    assert not decide(ends, engine=engine).assumed
    assert not decide(waits, engine="sat").assumed


def test_an_unknown_engine() -> None:
    with pytest.raises(UsageError, match="did you mean masks"):
        decide(program("barrier()"), engine="mask")
    with pytest.raises(UsageError, match="there are: masks, literal"):
        decide(program("barrier()"), engine="z3")
