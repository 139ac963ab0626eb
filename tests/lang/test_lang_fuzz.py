"""Random syntax: an error at a place of the source, or a function that makes sense.

Whatever is written between ``def`` and its end, decoration raises ``SourceError`` or gives
a function that the verifier accepts and the interpreter can run.
"""

from __future__ import annotations

import contextlib
from random import Random

import hypothesis
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
    spin_lock, smp_mb, smp_load_acquire, smp_cond_load_acquire, READ_ONCE_WHICH, BUG_ON, poison)
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
# Of each kind: what is right where it may stand, then what is wrong.
NAMES = (["n", "n", "x", "y", "3", "255", "(-1)", "(1 << 63)", "LIMIT", "POISON"],
         ["p", "i", "q", "twice", "two", "arch", "Node", "Broken", "Color", "lang", "NULL",
          "VAL", "BIG", "missing", "f", "len", "2.5", "None", "'key'",
          "(10 ** 30)"])  # fmt: skip
FIELDS = (["key", "half", "pair.b", "words[n]", "words[1]", "nodes[n].a", "flag", "next.key"],
          ["next", "call", "pair", "words", "nodes", "value", "size", "missing"])  # fmt: skip
LVALUES = (["p.key", "p.half", "p.words[n]", "p.pair.a", "p.value.key"], ["p", "n", "p.nodes"])
CALLED = (["READ_ONCE", "WRITE_ONCE", "cmpxchg", "atomic_inc_return", "smp_load_acquire",
           "twice", "arch", "p.call", "min", "max", "bool", "byte"],
          ["try_cmpxchg", "set_bit", "spin_lock", "smp_mb", "smp_cond_load_acquire", "poison",
           "READ_ONCE_WHICH", "BUG_ON", "addr", "call_rcu", "range", "two", "nothing",
           "Node.offset", "x", "len"])  # fmt: skip
COUNTS = {"WRITE_ONCE": 2, "cmpxchg": 3, "min": 2, "max": 2, "byte": 2, "smp_mb": 0,
          "try_cmpxchg": 3, "set_bit": 2, "poison": 2, "call_rcu": 2, "two": 2}  # fmt: skip
ON_PLACES = {"READ_ONCE", "WRITE_ONCE", "cmpxchg", "atomic_inc_return", "smp_load_acquire",
             "byte", "try_cmpxchg", "set_bit", "spin_lock", "poison", "addr"}  # fmt: skip
TYPES = (["u8", "u32", "u64", "s16", "int", "bool"],
         ["Ptr[Node]", "Node", "Missing", "Array[u8, 3]", "Array[u8, SIZE]", "Fn[[u64], u64]",
          "Fn[u64]", "None", "3", "'u64'"])  # fmt: skip
OPERATORS = (["+", "-", "*", "//", "%", "&", "|", "^", "<<", ">>"], ["/", "**", "@"])
COMPARISONS = (["==", "!=", "<", "<=", ">", ">="], ["is", "in"])
WRONG = ["[n]", "{n: 1}", "(n, 1)", "(lambda: n)", "[i for i in p]", "(x := n)", "f'{n}'",
         "n[1:2]", "(yield n)", "p.next", "n.key", "x[n]", "cast(Ptr[Node], n)"]  # fmt: skip
STRANGE = ["break", "continue", "x = y = n", "del n", "import os", "global n", "raise n",
           "q = addr(n)", "s: Pair", "z: u64", "x, y = two(n, 1)",
           "with n:\n    pass"]  # fmt: skip


class Writer:
    """Writes Python at random; ``noise`` is how often it is wrong on purpose."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.noise = random.choice([0.0, 0.01, 0.03, 0.2])

    def pick(self, kind: tuple[list[str], list[str]]) -> str:
        return self.random.choice(kind[self.random.random() < self.noise])

    def expression(self, depth: int) -> str:
        if depth <= 0 or self.random.random() < 0.25:
            return self.pick(NAMES)
        if self.random.random() < self.noise:
            return self.random.choice(WRONG)
        a, b, c = (lambda: self.expression(depth - 1),) * 3
        return self.random.choice([
            lambda: f"({a()} {self.pick(OPERATORS)} {b()})",
            lambda: f"({a()} {self.pick(OPERATORS)} {b()})",
            lambda: f"({a()} {self.pick(COMPARISONS)} {b()})",
            lambda: f"({a()} < {b()} <= {c()})",
            lambda: f"({self.random.choice(['-', '~', '+', 'not '])}{a()})",
            lambda: f"({a()} {self.random.choice(['and', 'or'])} {b()})",
            lambda: f"({a()} if {b()} else {c()})",
            lambda: f"p.{self.pick(FIELDS)}",
            lambda: self.call(depth),
            lambda: f"cast({self.pick(TYPES)}, {a()})",
        ])()  # fmt: skip

    def call(self, depth: int) -> str:
        name = self.pick(CALLED)
        n = COUNTS.get(name, 1)
        if self.random.random() < self.noise:
            n = self.random.randint(0, 3)
        args = [self.expression(depth - 1) for _ in range(n)]
        if name in ON_PLACES and args:
            args[0] = self.pick(LVALUES)
        if name == "byte" and n == 2:
            args[1] = "0"
        return f"{name}({', '.join(args)})"

    def statement(self, depth: int) -> list[str]:
        e = self.expression
        if self.random.random() < self.noise:
            return self.random.choice(STRANGE).split("\n")
        if depth <= 0 or self.random.random() < 0.6:
            return [self.random.choice([
                lambda: f"{self.random.choice('xyn')} = cast(u64, {e(3)})",
                lambda: f"{self.random.choice('xyn')} {self.pick(OPERATORS)}= {e(2)}",
                lambda: f"{self.pick(LVALUES)} = {e(3)}",
                lambda: f"{self.pick(LVALUES)} {self.pick(OPERATORS)}= {e(2)}",
                lambda: f"t{self.random.randint(0, 9)}: {self.pick(TYPES)} = cast(u64, {e(2)})",
                lambda: f"x, y = cast(u64, {e(2)}), n",
                lambda: f"assert {e(1)}",
                lambda: f"return n + {e(2)}",
                lambda: f"WRITE_ONCE({self.pick(LVALUES)}, {e(2)})",
            ])()]  # fmt: skip
        body = [line for _ in range(2) for line in self.statement(depth - 1)]
        head = self.random.choice([
            lambda: f"if {e(2)}:", lambda: f"while {e(2)}:",
            lambda: f"for i in range({e(1)}):", lambda: f"for i in range({e(1)}, {e(1)}, -1):",
        ])()  # fmt: skip
        if not head.startswith("if") and self.random.random() < 0.4:
            body.append(self.random.choice(["break", "continue"]))
        lines = [head, *("    " + line for line in body)]
        if self.random.random() < 0.3:
            lines += ["else:", *("    " + line for line in self.statement(depth - 1))]
        return lines

    def function(self) -> str:
        lines = ["x = n + 0", "y = n + 1"]
        lines += [line for _ in range(self.random.randint(1, 4)) for line in self.statement(2)]
        n = self.pick((["u64"], ["u8", "bool", "int", "Missing", "Node"]))
        result = self.pick((["u64"], ["u8", "None", "tuple[u64, int]", "Ptr[Node]"]))
        body = "\n".join("    " + line for line in [*lines, "return n"])
        return f"@kernel\ndef f(p: Ptr[Node], n: {n}) -> {result}:\n{body}\n"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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
    hypothesis.target(len(function.lowered.body))
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
