"""Random syntax: an error at a place of the source, or a function that makes sense.

Whatever is written between ``def`` and its end, decoration raises ``SourceError`` or gives
a function that the verifier accepts and the interpreter can run.
"""

from __future__ import annotations

import contextlib
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mkold.base.errors import SourceError
from mkold.ir.edit import bind
from mkold.ir.interpret import Interpreter, InterpretError
from mkold.ir.module import collect
from mkold.ir.text import function_text
from mkold.ir.verify import verify
from mkold.lang import compile_text

HEAD = """
from enum import IntEnum
from mkold.lang import *
from mkold.lang import (READ_ONCE, WRITE_ONCE, cmpxchg, try_cmpxchg, atomic_inc_return, set_bit,
    spin_lock, smp_mb, smp_load_acquire, smp_cond_load_acquire, READ_ONCE_ANY, BUG_ON, poison)
import mkold.lang as lang

SIZE = parameter("SIZE", 4)
LIMIT = 1 << SIZE
BIG = 1 << 80

class Color(IntEnum):
    RED = 1

class Pair(Struct):
    a: u8
    b: s32

class Node(Struct):
    key: u64
    next: "Ptr[Node]"
    half: s16
    pair: Pair
    words: Array[u32, 4]
    nodes: Array[Pair, 2]
    call: Fn[[u64], u64]
    flag: bool

class Broken(Struct):
    a: "Missing"

@kernel
def twice(n: u64) -> u64:
    return n * 2

@kernel
def two(n: u8, m: int) -> tuple[u8, int]:
    return n, m

@kernel
def nothing(n: u64) -> None:
    pass

@hook
def arch(n: u64) -> u64: ...
"""
NAMES = [
    "p", "n", "x", "y", "i", "q", "twice", "two", "nothing", "arch", "Node", "Pair", "Broken",
    "Color", "lang", "NULL", "VAL", "SIZE", "LIMIT", "BIG", "POISON", "missing", "f", "len",
]  # fmt: skip
FIELDS = ["key", "next", "half", "pair", "words", "nodes", "call", "flag", "a", "b", "value",
          "size", "offset", "RED", "missing"]  # fmt: skip
CALLED = [
    "READ_ONCE", "WRITE_ONCE", "cmpxchg", "try_cmpxchg", "atomic_inc_return", "set_bit",
    "spin_lock", "smp_mb", "smp_load_acquire", "smp_cond_load_acquire", "READ_ONCE_ANY",
    "BUG_ON", "poison", "cast", "addr", "byte", "call_rcu", "min", "max", "bool", "range",
    "twice", "two", "nothing", "p.call", "p.next.call", "Node.offset", "x", "len",
]  # fmt: skip
TYPES = ["u8", "u32", "u64", "s16", "int", "bool", "Ptr[Node]", "Ptr[u64]", "Node", "Missing",
         "Array[u8, 3]", "Array[u8, SIZE]", "Fn[[u64], u64]", "Fn[u64]", "None", "3",
         "'u64'"]  # fmt: skip
OPERATORS = ["+", "-", "*", "//", "%", "&", "|", "^", "<<", ">>", "/", "**", "@"]
COMPARISONS = ["==", "!=", "<", "<=", ">", ">=", "is", "in"]
NUMBERS = ["0", "1", "3", "64", "255", "256", "-1", "1 << 31", "1 << 63", "1 << 64", "2.5",
           "True", "None", "'key'", "10 ** 30"]  # fmt: skip


class Writer:
    """Writes Python at random; most of it means nothing."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def pick(self, *items: str) -> str:
        return self.random.choice(items)

    def expression(self, depth: int) -> str:
        if depth <= 0 or self.random.random() < 0.2:
            return self.pick(*NAMES[:6], *NUMBERS[:6], self.pick(*NAMES), self.pick(*NUMBERS))
        a, b, c = (lambda: self.expression(depth - 1),) * 3
        return self.random.choice([
            lambda: f"({a()} {self.pick(*OPERATORS[:10], *OPERATORS)} {b()})",
            lambda: f"({a()} {self.pick(*COMPARISONS[:6], *COMPARISONS)} {b()})",
            lambda: f"({a()} < {b()} <= {c()})",
            lambda: f"({self.pick('-', '~', '+', 'not ')}{a()})",
            lambda: f"({a()} {self.pick('and', 'or')} {b()})",
            lambda: f"({a()} if {b()} else {c()})",
            lambda: f"{a()}.{self.pick(*FIELDS)}",
            lambda: f"p.{self.pick(*FIELDS)}",
            lambda: f"{a()}[{b()}]",
            lambda: f"p.words[{b()}]",
            lambda: self.call(depth),
            lambda: self.call(depth),
            lambda: f"cast({self.pick(*TYPES)}, {a()})",
            lambda: self.pick("[n]", "{n: 1}", "(n, 1)", "lambda: n", "[i for i in p]",
                              "(x := n)", "f'{n}'", "*p", "n[1:2]", "(yield n)"),
        ])()  # fmt: skip

    def call(self, depth: int) -> str:
        name = self.pick(*CALLED)
        args = [
            self.expression(depth - 1) for _ in range(self.random.choice([0, 1, 1, 2, 2, 3]))
        ]
        if name in ("READ_ONCE", "WRITE_ONCE", "cmpxchg", "atomic_inc_return") and args:
            args[0] = self.pick("p.key", "p.half", "p.words[n]", "p.flag", args[0])
        return f"{name}({', '.join(args)})"

    def statement(self, depth: int) -> list[str]:
        e, pick = self.expression, self.pick
        if depth <= 0 or self.random.random() < 0.5:
            return [self.random.choice([
                lambda: f"{pick('x', 'y', 'n')} = {e(3)}",
                lambda: f"x: {pick(*TYPES)} = {e(2)}",
                lambda: f"x: {pick(*TYPES)}",
                lambda: f"{pick('x', 'n', 'p.key', 'p.half')} {pick(*OPERATORS)}= {e(2)}",
                lambda: f"p.{pick(*FIELDS)} = {e(3)}",
                lambda: f"{e(2)}.{pick(*FIELDS)} = {e(2)}",
                lambda: f"{pick('x, y', 'x, _', 'p.key, x')} = {e(2)}",
                lambda: f"x, y = {e(1)}, {e(1)}",
                lambda: self.call(3),
                lambda: f"return {pick(e(3), '', 'n, n')}",
                lambda: pick("break", "continue", "pass", "x = y = n", "del n", "import os",
                             "global n", "assert n", "raise n", "addr(x)", "q = addr(n)"),
            ])()]  # fmt: skip
        body = [line for _ in range(2) for line in self.statement(depth - 1)]
        more = [line for _ in range(1) for line in self.statement(depth - 1)]
        head = self.random.choice([
            lambda: f"if {e(2)}:", lambda: f"while {e(2)}:",
            lambda: f"for i in range({e(1)}):", lambda: f"for i in range({e(1)}, {e(1)}, -1):",
            lambda: f"for i in {e(1)}:", lambda: f"with {e(1)}:",
        ])()  # fmt: skip
        lines = [head, *("    " + line for line in body)]
        if self.random.random() < 0.3 and not head.startswith("with"):
            lines += ["else:", *("    " + line for line in more)]
        return lines

    def function(self) -> str:
        lines = [line for _ in range(self.random.randint(1, 4)) for line in self.statement(2)]
        results = self.pick(
            "u64", "u64", "u8", "None", "tuple[u64, int]", "Ptr[Node]", "Missing"
        )
        params = self.pick("p: Ptr[Node], n: u64", "p: Ptr[Node], n: u8, q: Fn[[u64], u64]",
                           "p: Ptr[Node], n: bool", "p, n", "p: Node, n: u64")  # fmt: skip
        body = "\n".join(
            "    " + line for line in [*lines, self.pick("return n", "return", "pass")]
        )
        return f"@kernel\ndef f({params}) -> {results}:\n{body}\n"


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False))
def test_decoration_raises_source_errors_only(random):
    text = HEAD + Writer(random).function()
    function = None
    with contextlib.suppress(SourceError):
        function = compile_text(text)["f"]
    if function is None:
        _must_point_into(text)
        return
    module = collect([function], hooks={"arch": compile_text(HEAD)["twice"]})
    verify(module.functions)
    function_text(function.ir)
    bound = bind(module.functions, module.values({}))
    memory = dict.fromkeys(range(5000, 5064), 5000)
    with contextlib.suppress(InterpretError):
        Interpreter(bound, memory, max_steps=3000).call("f", *[5000] * len(function.params))


def _must_point_into(text: str) -> None:
    with pytest.raises(SourceError) as caught:
        compile_text(text)
    error = caught.value
    assert error.reason
    assert 1 <= error.pos.line <= text.count("\n") + 1
    assert "^" in str(error)
