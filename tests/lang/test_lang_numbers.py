"""Numbers wrap, convert and compare as C's do, at every width, in every reading.

The oracle is Python's own integers and ``ctypes``, by the rules of the C standard
(6.3.1.1, 6.3.1.8) written down once more here.
"""

from __future__ import annotations

import ctypes
import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkold.ir.boot import BOOT_WORDS
from mkold.ir.interpret import Interpreter
from mkold.ir.module import collect
from mkold.ir.program import Program, Reg, Thread
from mkold.ir.verify import verify
from mkold.lang import compile_text
from mkold.lkmm import decide
from mkold.native import Memory, build

MASK = (1 << 64) - 1
TYPES = {
    "u8": ctypes.c_uint8, "u16": ctypes.c_uint16, "u32": ctypes.c_uint32,
    "u64": ctypes.c_uint64, "s8": ctypes.c_int8, "s16": ctypes.c_int16,
    "s32": ctypes.c_int32, "s64": ctypes.c_int64, "int": ctypes.c_int,
}  # fmt: skip
OPERATORS = ["+", "-", "*", "//", "%", "&", "|", "^", "<<", ">>"]
COMPARISONS = ["==", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True)
class C:
    """A number of a C type."""

    type: str
    number: int

    @property
    def bits(self) -> int:
        return 8 * ctypes.sizeof(TYPES[self.type])

    @property
    def is_signed(self) -> bool:
        return self.type[0] != "u"

    def to(self, type_: str) -> C:
        return C(type_, TYPES[type_](self.number).value)

    @property
    def word(self) -> int:
        return self.number & MASK


def promoted(x: C) -> C:
    return x.to("int") if x.bits < 32 else x


def usual(x: C, y: C) -> tuple[C, C]:
    """The usual arithmetic conversions."""
    x, y = promoted(x), promoted(y)
    bits = max(x.bits, y.bits)
    unsigned = any(z.bits == bits and not z.is_signed for z in (x, y))
    type_ = f"{'u' if unsigned else 's'}{bits}"
    return x.to(type_), y.to(type_)


def divided(a: int, b: int) -> int:
    if b == 0:
        return 0
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def c_operate(op: str, x: C, y: C) -> C:
    if op in ("<<", ">>"):
        x = promoted(x)
        n = promoted(y).word
        if op == "<<":
            return C(x.type, x.number << n if n < 64 else 0).to(x.type)
        return C(x.type, x.number >> min(n, 64))
    x, y = usual(x, y)
    a, b = x.number, y.number
    number = {
        "+": a + b, "-": a - b, "*": a * b, "&": a & b, "|": a | b, "^": a ^ b,
        "//": divided(a, b), "%": a - b * divided(a, b) if b else 0,
        "==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b,
    }[op]  # fmt: skip
    return C("int", number) if op in COMPARISONS else C(x.type, number).to(x.type)


edges = st.sampled_from(
    sorted({(1 << k) + d for k in (0, 7, 8, 15, 16, 31, 32, 63) for d in (-1, 0, 1)})
)
raw = st.one_of(edges, edges.map(lambda n: -n & MASK), st.integers(0, MASK), st.integers(0, 70))
names = st.sampled_from(list(TYPES))


def name_of(op: str, x: str, y: str = "") -> str:
    index = [*OPERATORS, *COMPARISONS, "-x", "~x", "to"].index(op)
    return f"f{index}_{x}_{y}"


def source() -> str:
    lines = ["from mkold.lang import *"]
    for op, x, y in itertools.product([*OPERATORS, *COMPARISONS], TYPES, TYPES):
        lines += [
            "@kernel", f"def {name_of(op, x, y)}(a: {x}, b: {y}) -> u64:",
            f"    return cast(u64, a {op} b)",
        ]  # fmt: skip
    for x in TYPES:
        for op in ("-x", "~x"):
            lines += ["@kernel", f"def {name_of(op, x)}(a: {x}) -> u64:",
                      f"    return cast(u64, {op[0]}a)"]  # fmt: skip
        for y in TYPES:
            lines += ["@kernel", f"def {name_of('to', x, y)}(a: {x}) -> {y}:", "    return a"]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Readings:
    """All those functions, ready to run two ways."""

    interpreter: Interpreter
    image: object
    memory: Memory

    def run(self, name: str, *args: int) -> set[int]:
        (first,) = self.interpreter.call(name, *args)
        self.interpreter.steps_left = 1000
        return {first, self.image.call(name, self.memory, 0, *args)}


@pytest.fixture(scope="module")
def readings(tmp_path_factory) -> Readings:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MKOLD_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        made = [f for name, f in compile_text(source()).items() if name.startswith("f")]
        module = collect(made)
        verify(module.functions)
        yield Readings(Interpreter(module.functions, {}), build(made), Memory(BOOT_WORDS + 64))


@settings(max_examples=500, deadline=None)
@given(st.sampled_from([*OPERATORS, *COMPARISONS]), names, names, raw, raw)
def test_two_operands(readings, op, x, y, a, b):
    # Whoever calls may pass any word: it is cut to the parameter's type on entry.
    expected = c_operate(op, C("u64", a).to(x), C("u64", b).to(y)).word
    assert readings.run(name_of(op, x, y), a, b) == {expected}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["-x", "~x"]), names, raw)
def test_one_operand(readings, op, x, a):
    number = promoted(C("u64", a).to(x))
    value = -number.number if op == "-x" else ~number.number
    assert readings.run(name_of(op, x), a) == {C(number.type, value).to(number.type).word}


@settings(max_examples=300, deadline=None)
@given(names, names, raw)
def test_a_conversion(readings, x, y, a):
    assert readings.run(name_of("to", x, y), a) == {C("u64", a).to(x).to(y).word}


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([*OPERATORS, *COMPARISONS]), names, names, raw, raw)
def test_the_model_computes_the_same(op, x, y, a, b):
    """The words come from memory, so that the engine has to work with what it does not know
    beforehand."""
    text = (
        "from mkold.lang import *\nfrom mkold.lang import READ_ONCE, WRITE_ONCE\n"
        "@kernel\ndef writer(p: Ptr[u64], a: u64) -> None:\n    WRITE_ONCE(p.value, a)\n"
        f"@kernel\ndef f(p: Ptr[u64], n: u64) -> u64:\n    a: {x} = READ_ONCE(p.value)\n"
        f"    b: {y} = READ_ONCE(p[1])\n    r: u64 = cast(u64, a {op} b)\n    return r\n"
    )
    module = compile_text(text)
    functions = collect([module["f"], module["writer"]]).functions
    threads = (Thread("f", "f", (5000, 0)), Thread("w", "writer", (5000, a)))
    program = Program("numbers", functions, threads, {5001: b}, observed=(Reg(0, "r"),))
    verdict = decide(program, states=True, timeout_s=20)
    right = C("u64", b).to(y)
    expected = {(c_operate(op, C("u64", left).to(x), right).word,) for left in (0, a)}
    assert set(verdict.states) == expected


# Larger expressions.


def two(op: str, x: tuple, y: tuple) -> tuple:
    return f"({x[0]} {op} {y[0]})", lambda env: c_operate(op, x[1](env), y[1](env))


def cast(type_: str, x: tuple) -> tuple:
    return f"cast({type_}, {x[0]})", lambda env: x[1](env).to(type_)


def choose(cond: tuple, x: tuple, y: tuple) -> tuple:
    def value(env: dict[str, C]) -> C:
        one, other = usual(x[1](env), y[1](env))
        return one if cond[1](env).number else other

    return f"({x[0]} if {cond[0]} else {y[0]})", value


def trees(depth: int) -> st.SearchStrategy:
    """Text of an expression over ``a b c``, and what C makes of it; constants only beside
    something else."""
    leaf = st.sampled_from("abc").map(lambda name: (name, lambda env: env[name]))
    if not depth:
        return leaf
    inner = trees(depth - 1)
    constant = st.integers(1, 300).map(lambda n: (str(n), lambda env: C("int", n)))
    operators = st.sampled_from([*OPERATORS, "==", "!="])
    return st.one_of(
        leaf,
        st.builds(two, operators, inner, inner),
        st.builds(two, operators, inner, constant),
        st.builds(cast, names, inner),
        st.builds(choose, inner, inner, inner),
    )


@settings(max_examples=300, deadline=None)
@given(trees(3), st.tuples(names, names, names), st.tuples(raw, raw, raw))
def test_larger_expressions(tree, types, numbers):
    text, value = tree
    typed = ", ".join(f"{name}: {type_}" for name, type_ in zip("abc", types, strict=True))
    source = f"@kernel\ndef f({typed}) -> u64:\n    return cast(u64, {text})\n"
    module = collect([compile_text("from mkold.lang import *\n" + source)["f"]])
    env = {n: C("u64", x).to(t) for n, t, x in zip("abc", types, numbers, strict=True)}
    assert Interpreter(module.functions, {}).call("f", *numbers) == (value(env).word,)
