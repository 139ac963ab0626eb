"""C's types: what wraps, what is cut, what is converted; against C's rules stated anew."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkold.base.errors import SourceError
from mkold.herd.lines import state_texts
from mkold.ir.program import Reg
from mkold.litmus import parse
from mkold.litmus.types import INT, read_type
from mkold.lkmm import decide

# name, bits, signed (C11, 6.3.1.1: rank follows width here)
TYPES = [
    ("uint8_t", 8, False), ("int8_t", 8, True), ("short", 16, True), ("u16", 16, False),
    ("int", 32, True), ("unsigned int", 32, False), ("long", 64, True),
    ("unsigned long", 64, False),
]  # fmt: skip


@dataclass(frozen=True)
class C:
    """A value of a C type, by C's rules and nothing else."""

    value: int
    bits: int
    signed: bool

    def to(self, bits: int, signed: bool) -> C:
        value = self.value % (1 << bits)
        return C(value - (1 << bits) if signed and value >> (bits - 1) else value, bits, signed)

    def promoted(self) -> C:
        return self if self.bits >= 32 else C(self.value, 32, True)


def together(a: C, b: C) -> tuple[C, C]:
    a, b = a.promoted(), b.promoted()
    bits = max(a.bits, b.bits)
    signed = all(x.signed for x in (a, b) if x.bits == bits)
    return a.to(bits, signed), b.to(bits, signed)


def apply(sign: str, a: C, b: C) -> C:
    if sign in ("<<", ">>"):
        a = a.promoted()
        value = a.value << b.value if sign == "<<" else a.value >> b.value
        return C(value, a.bits, a.signed).to(a.bits, a.signed)
    a, b = together(a, b)
    x, y = a.value, b.value
    if sign in ("==", "!=", "<", "<=", ">", ">="):
        truth = {"==": x == y, "!=": x != y, "<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y}
        return C(int(truth[sign]), 32, True)
    if sign in ("/", "%"):
        quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
        value = quotient if sign == "/" else x - y * quotient
    else:
        value = {"+": x + y, "-": x - y, "*": x * y, "&": x & y, "|": x | y, "^": x ^ y}[sign]
    return C(value, a.bits, a.signed).to(a.bits, a.signed)


Node = tuple[str, C]
ODD = [0, 1, 2, 3, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1]
ODD += [2**32, 2**63 - 1, 2**63, 2**64 - 1, -1, -128, -(2**31)]


@st.composite
def expressions(draw: st.DrawFn, registers: list[str], depth: int = 3) -> Node:
    """The text of an expression with its value; registers are declared as they are used."""
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        name, bits, signed = draw(st.sampled_from(TYPES))
        value = C(draw(st.sampled_from(ODD)), 64, True).to(bits, signed)
        registers.append(f"{name} v{len(registers)} = {value.value % 2**64}UL;")
        return f"v{len(registers) - 1}", value
    what = draw(st.sampled_from(["binary"] * 6 + ["unary", "cast", "choice"]))
    text, a = draw(expressions(registers, depth - 1))
    if what == "unary":
        sign = draw(st.sampled_from("-~!"))
        a = a.promoted()
        if sign == "!":
            return f"(!{text})", C(int(a.value == 0), 32, True)
        result = -a.value if sign == "-" else ~a.value
        return f"({sign}{text})", C(result, a.bits, a.signed).to(a.bits, a.signed)
    if what == "cast":
        name, bits, signed = draw(st.sampled_from(TYPES))
        return f"(({name}){text})", a.to(bits, signed)
    other, b = draw(expressions(registers, depth - 1))
    if what == "choice":
        cond, c = draw(expressions(registers, depth - 1))
        x, y = together(a, b)
        return f"({cond} ? {text} : {other})", x if c.value else y
    sign = draw(st.sampled_from(["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>",
                                 "==", "!=", "<", "<=", ">", ">="]))  # fmt: skip
    if sign in ("<<", ">>"):
        other, b = (str(n := draw(st.integers(0, a.promoted().bits - 1)))), C(n, 32, True)
    if sign in ("/", "%") and together(a, b)[1].value == 0:
        sign = "+"
    return f"({text} {sign} {other})", apply(sign, a, b)


@st.composite
def programs(draw: st.DrawFn) -> tuple[str, int]:
    registers: list[str] = []
    text, value = draw(expressions(registers))
    name, bits, signed = draw(st.sampled_from(TYPES))
    body = "\n".join([*registers, f"{name} r; r = {text};"])
    return f"C t\n{{ }}\nP0(int *x)\n{{\n{body}\n}}\nlocations [0:r]\n", value.to(
        bits, signed
    ).value


@settings(max_examples=300, deadline=None)
@given(programs())
def test_expressions_are_as_in_c(program: tuple[str, int]) -> None:
    text, value = program
    verdict = decide(parse(text))
    assert verdict.states == ((value % 2**64,),), text


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(TYPES), st.sampled_from(ODD), st.sampled_from(ODD), st.data())
def test_objects_in_memory_are_as_in_c(
    kind: tuple[str, int, bool], start: int, operand: int, data: st.DataObject
) -> None:
    name, bits, signed = kind
    start = C(start, 64, True).to(min(bits, 32), signed).value
    operand = C(operand, 64, True).to(32, True).value
    do = data.draw(st.sampled_from([
        ("r = READ_ONCE(*x); WRITE_ONCE(*x, {});", lambda old, v: (old, v)),
        ("r = xchg(x, {});", lambda old, v: (old, v)),
        ("r = atomic_add_return({}, x);", lambda old, v: (old + v, old + v)),
        ("r = atomic_fetch_sub({}, x);", lambda old, v: (old, old - v)),
        ("r = atomic_fetch_xor({}, x);", lambda old, v: (old, old ^ v)),
        ("r = *x; *x = *x + {};", lambda old, v: (old, old + v)),
        ("r = *x; *x -= {};", lambda old, v: (old, old - v)),
        ("r = cmpxchg(x, *x, {});", lambda old, v: (old, v)),
    ]))  # fmt: skip
    text = (
        f"C t\n{{ {name} x = {start}; }}\nP0({name} *x)\n{{\n{name} r; "
        f"{do[0].format(operand)}\n}}\nlocations [0:r; x]\n"
    )
    result, last = (
        C(value, 64, True).to(bits, signed).value % 2**64 for value in do[1](start, operand)
    )
    assert decide(parse(text)).states == ((result, last),), text


@pytest.mark.parametrize(
    ("words", "bits", "signed"),
    [
        ("unsigned", 32, False), ("long long int", 64, True), ("unsigned char", 8, False),
        ("char", 8, False), ("signed char", 8, True), ("volatile short", 16, True),
        ("atomic_t", 32, True), ("atomic64_t", 64, True), ("uintptr_t", 64, False),
        ("struct srcu_struct", 64, True), ("const u16", 16, False), ("int *", 64, True),
    ],
)  # fmt: skip
def test_types(words: str, bits: int, signed: bool) -> None:
    kind = read_type(words.split())
    assert (kind.bits, kind.signed) == (bits, signed)
    assert (kind.target is not None) == ("*" in words)


def test_a_pointer_survives_in_an_int() -> None:
    program = parse(
        "C t\n{ int x; int y = 7; }\nP0(int *x, int *y)\n{\n"
        "  int r0; int r1; *x = y; r0 = *x; r1 = *r0;\n}\nlocations [0:r0; 0:r1; x]\n"
    )
    assert state_texts(program, decide(program).states) == ["0:r0=y; 0:r1=7; [x]=y;"]


@pytest.mark.parametrize(
    ("kind", "final", "observation"),
    [
        ("unsigned int", "exists (x=-1 /\\ 0:r=-1)", "Always"),
        ("unsigned int", "exists (x=4294967295)", "Always"),
        ("u32", "filter (x=-1) exists (~0:r=-1)", "Never"),
        ("uint8_t", "exists (x=255)", "Always"),
        ("uint8_t", "exists (x=-1)", "Never"),
        ("int8_t", "exists (x=-1)", "Always"),
        ("unsigned long", "exists (x=-1)", "Always"),
    ],
)
def test_a_condition_compares_as_c_does(kind: str, final: str, observation: str) -> None:
    text = f"C t\n{{ {kind} x; }}\nP0({kind} *x)\n{{\n{kind} r; r = -1; *x = r;\n}}\n{final}\n"
    verdict = decide(parse(text))
    assert verdict.observation is not None
    assert verdict.observation.value == observation


@pytest.mark.parametrize("final", ["x=2147483648", "0:r=4294967296", "0:r=-2147483649"])
def test_what_an_int_can_not_hold_is_refused(final: str) -> None:
    text = f"C t\n{{ }}\nP0(int *x)\n{{\nint r; r = *x;\n}}\nexists ({final})\n"
    with pytest.raises(SourceError, match="is no value of int"):
        parse(text)


@pytest.mark.parametrize(
    ("shift", "reason"),
    [
        ("1 << 40", "a shift by 40, and int has 32 bits"),
        ("1L << 40", ""),
        ("1 << 31", ""),
        ("r << 32", "a shift by 32, and int has 32 bits"),
        ("r >> -1", "a shift by -1, and int has 32 bits"),
        ("1UL >> 64", "a shift by 64"),
    ],
)
def test_a_shift_beyond_its_type_is_refused(shift: str, reason: str) -> None:
    text = f"C t\n{{ }}\nP0(long *x)\n{{\nint r = 1; *x = {shift};\n}}\nexists (x=0)\n"
    if not reason:
        parse(text)
        return
    with pytest.raises(SourceError, match=reason) as caught:
        parse(text)
    assert caught.value.text[caught.value.pos.col - 1 :].startswith(("<<", ">>"))


def test_one_variable_has_one_type() -> None:
    text = "C t\n{ }\nP0(int *x)\n{\n}\nP1(uint8_t *x)\n{\n}\n"
    with pytest.raises(SourceError, match="'x' is uint8_t here and int elsewhere") as caught:
        parse(text)
    assert (caught.value.pos.line, caught.value.pos.col) == (6, 13)


def test_an_undeclared_register_has_the_type_of_its_first_value() -> None:
    text = "C t\n{ long x; }\nP0(long *x)\n{\n*x = 4294967296; r = *x; s = 1; s = r;\n}\n"
    program = parse(text + "locations [0:r; 0:s]\n")
    assert program.observed == (Reg(0, "r"), Reg(0, "s"))
    assert decide(program).states == ((1 << 32, 0),)
    assert INT.bits == 32
