"""Jumps of every kind: random threads against a reading that follows them one by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from mkold.ir.verify import verify
from mkold.litmus import parse, write
from mkold.litmus.source import UnsupportedSourceError
from mkold.lkmm import Status, decide

STEPS = 300
REGISTERS = ("r0", "r1", "r2")
Stmt = tuple[Any, ...]
Body = list[Stmt]


@dataclass
class Machine:
    """Statements as C text, and as a flat list that a counter goes through."""

    code: list[list[Any]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    n_targets: int = 0

    def target(self) -> str:
        self.n_targets += 1
        return f"#{self.n_targets}"

    def here(self, label: str) -> None:
        self.labels[label] = len(self.code)

    def add(self, stmt: Stmt, leave: str = "", again: str = "") -> str:
        """Append ``stmt``; its text. ``leave``, ``again``: where break and continue lead."""
        match stmt:
            case ("add", register, n):
                self.code.append(["add", register, n])
                return f"{register} += {n};"
            case ("goto", label):
                self.code.append(["goto", label])
                return f"goto {label};"
            case ("label", label):
                self.here(label)
                return f"{label}: ;"
            case ("break",):
                self.code.append(["goto", leave])
                return "break;" if leave else ";"
            case ("continue",):
                self.code.append(["goto", again])
                return "continue;" if again else ";"
            case ("if", register, n, then, orelse):
                return self.branch(register, n, then, orelse, leave, again)
            case ("switch", register, arms):
                return self.switch(register, arms, again)
            case (kind, register, n, body):
                return self.loop(kind, register, n, body)
        raise AssertionError(stmt)

    def all(self, body: Body, leave: str, again: str) -> str:
        return "{ " + " ".join(self.add(stmt, leave, again) for stmt in body) + " }"

    def branch(
        self, register: str, n: int, then: Body, orelse: Body, leave: str, again: str
    ) -> str:
        other, end = self.target(), self.target()
        self.code.append(["unless", register, n, other])
        text = f"if ({register} < {n}) {self.all(then, leave, again)}"
        self.code.append(["goto", end])
        self.here(other)
        text += f" else {self.all(orelse, leave, again)}"
        self.here(end)
        return text

    def switch(self, register: str, arms: list[tuple[int | None, Body]], again: str) -> str:
        end = self.target()
        places = [self.target() for _ in arms]
        default = end
        for (value, _), place in zip(arms, places, strict=True):
            if value is None:
                default = place
            else:
                self.code.append(["if equal", register, value, place])
        self.code.append(["goto", default])
        text = f"switch ({register}) {{ "
        for (value, body), place in zip(arms, places, strict=True):
            self.here(place)
            text += "default: " if value is None else f"case {value}: "
            text += " ".join(self.add(stmt, end, again) for stmt in body) + " "
        self.here(end)
        return text + "}"

    def loop(self, kind: str, register: str, n: int, body: Body) -> str:
        top, again, end = self.target(), self.target(), self.target()
        self.here(top)
        if kind != "do":
            self.code.append(["unless", register, n, end])
        if kind == "while":
            self.here(again)
            self.labels[again] = self.labels[top]
        text = self.all(body, end, again)
        if kind != "while":
            self.here(again)
        if kind == "for":
            self.code.append(["add", register, 1])
        if kind == "do":
            self.code.append(["unless", register, n, end])
        self.code.append(["goto", top])
        self.here(end)
        if kind == "do":
            return f"do {text} while ({register} < {n});"
        head = (
            f"while ({register} < {n})"
            if kind == "while"
            else f"for (; {register} < {n}; {register}++)"
        )
        return f"{head} {text}"

    def run(self) -> tuple[int, ...] | None:
        """The registers at the end; None if it does not come soon."""
        at, registers = 0, dict.fromkeys(REGISTERS, 0)
        for _ in range(STEPS):
            if at == len(self.code):
                return tuple(registers[name] for name in REGISTERS)
            what, *rest = self.code[at]
            at += 1
            if what == "add":
                registers[rest[0]] += rest[1]
            elif what == "goto":
                at = self.labels.get(rest[0], at)
            elif what == "unless":
                at = at if registers[rest[0]] < rest[1] else self.labels[rest[2]]
            elif registers[rest[0]] == rest[1]:
                at = self.labels[rest[2]]
        return None


def statements(depth: int) -> st.SearchStrategy[Body]:
    register, small = st.sampled_from(REGISTERS), st.integers(1, 4)
    label = st.sampled_from(["one", "two", "three"])
    simple = st.one_of(
        st.tuples(st.just("add"), register, small),
        st.tuples(st.just("add"), register, small),
        st.tuples(st.just("goto"), label),
        st.tuples(st.just("label"), label),
        st.sampled_from([("break",), ("continue",)]),
    )
    if depth == 0:
        return st.lists(simple, max_size=3)
    inner = statements(depth - 1)
    arms = st.lists(
        st.tuples(st.one_of(st.none(), st.integers(0, 5)), inner), max_size=3,
        unique_by=lambda arm: arm[0],
    )  # fmt: skip
    nested = st.one_of(
        st.tuples(st.just("if"), register, small, inner, inner),
        st.tuples(st.sampled_from(["while", "do", "for"]), register, small, inner),
        st.tuples(st.just("switch"), register, arms),
    )
    return st.lists(st.one_of(simple, nested), max_size=5)


def placed_once(body: Any, seen: set[str]) -> Any:
    """``body`` with each label where it stands first only."""
    if isinstance(body, list):
        kept = [stmt for stmt in body if not (stmt[:1] == ("label",) and stmt[1] in seen)]
        done = []
        for stmt in kept:
            if stmt[:1] == ("label",) and stmt[1] in seen:
                continue
            seen |= {stmt[1]} if stmt[:1] == ("label",) else set()
            done.append(placed_once(stmt, seen))
        return done
    if isinstance(body, tuple):
        return tuple(placed_once(part, seen) for part in body)
    return body


@settings(max_examples=100, deadline=None)
@given(statements(2))
def test_jumps_lead_where_c_has_them(body: Body) -> None:
    seen: set[str] = set()
    body = placed_once(body, seen)
    body += [("label", label) for label in ("one", "two", "three") if label not in seen]
    machine = Machine()
    code = machine.all(body, "", "")
    places = "; ".join(f"0:{name}" for name in REGISTERS)
    text = f"C t\n{{ 0:r0=0; 0:r1=0; 0:r2=0; }}\nP0(int *x) {code}\nlocations [{places}]\n"
    try:
        program = parse(text)
    except UnsupportedSourceError:  # a jump into a block or a loop
        return
    verify(program.functions)
    wanted = machine.run()
    if wanted is None:
        return
    again = parse(write(program))
    verify(again.functions)
    for test in (program, again):
        verdict = decide(test, engine="literal", max_unroll=STEPS)
        assert verdict.status is Status.OK
        assert list(verdict.states) == [wanted]


@pytest.mark.parametrize("kind", ["goto", "switch", "do", "for"])
def test_every_kind_is_tried(kind: str) -> None:
    """The strategy is not one that gives up on what it is for."""
    once = settings(database=None, phases=[Phase.generate], max_examples=2000)
    assert find(statements(2), lambda body: kind in str(body), settings=once)
