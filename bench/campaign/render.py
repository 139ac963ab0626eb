"""A tree as source text: kernel Python, or a C litmus test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from campaign.tree import (
    Body,
    Cond,
    For,
    Free,
    Helper,
    If,
    Jump,
    Let,
    Place,
    Pointer,
    Reuse,
    Section,
    Stmt,
    Tree,
    Use,
    While,
    uses,
    walk,
)
from mkold.ir.prims import PRIMS

WORDS = "xyz"  # numbers
ARRAY, ARRAY_WORDS = "a", 2
OBJECTS = "cd"  # memory that can be freed, of two words
POINTER = "g"  # holds the address of an object
LOCKS = {"l": "spinlock_t", "w": "rwlock_t", "m": "mutex"}
SRCU = "s"
LETTERS = [*WORDS, ARRAY, *OBJECTS, POINTER, *LOCKS, SRCU]
REGISTERS = ("r1", "r2", "r3")

HEAD = """
from mkold.lang import (
    Ptr, call_rcu, cast, cpu_relax, kernel, mutex, poison, rwlock_t, spinlock_t, u64, unpoison
)
"""
DROP = """
@kernel
def drop(at: u64) -> None:
    p = cast(Ptr[u64], at)
    poison(p.value, 2)
"""


def indented(lines: Iterable[str]) -> Iterator[str]:
    return ("    " + line for line in lines)


class KernelPython:
    """Threads are functions of all letters; helpers are functions of theirs."""

    def __init__(self) -> None:
        self.helpers: list[str] = []

    def text(self, tree: Tree) -> str:
        """A module with functions ``P0``, ``P1`` ..., whose results are the registers."""
        threads = [line for i, body in enumerate(tree.threads)
                   for line in self.function(f"P{i}", body, "r1, r2")]  # fmt: skip
        prims = {use.prim for body in tree.threads for use in uses(body)} - {"load", "store"}
        names = f"from mkold.lang import {', '.join(sorted(prims))}" if prims else ""
        frees = any(isinstance(stmt, Free) for body in tree.threads for stmt in walk(body))
        return "\n".join([names, HEAD, DROP if frees else "", *self.helpers, *threads, ""])

    def function(self, name: str, body: Body, result: str) -> list[str]:
        types = dict.fromkeys(LETTERS, "u64") | LOCKS
        params = ", ".join(f"{letter}: Ptr[{kind}]" for letter, kind in types.items())
        several = "tuple[u64, u64]" if "," in result else "u64"
        starts = [f"{register}: u64 = 0" for register in REGISTERS]
        return [
            "@kernel",
            f"def {name}({params}) -> {several}:",
            *indented([*starts, "p1 = cast(Ptr[u64], 0)"]),
            *indented(self.body(body, result)),
            f"    return {result}",
            "",
        ]

    def body(self, body: Body, result: str) -> Iterator[str]:
        for stmt in body:
            yield from self.statement(stmt, result)

    def inner(self, body: Body, result: str) -> Iterator[str]:
        yield from indented(self.body(body, result) if body else ["pass"])

    def statement(self, stmt: Stmt, result: str) -> Iterator[str]:
        match stmt:
            case Use():
                yield self.use(stmt)
            case Let(dst, value):
                yield f"{dst} = {value}"
            case Jump(word):
                yield f"return {result}" if word == "return" else word
            case Free(name, later):
                yield (
                    f"call_rcu(drop, cast(u64, {name}))"
                    if later
                    else (f"poison({name}.value, 2)")
                )
            case Reuse(name, word):
                yield f"unpoison({name}.value, 2)"
                yield f"{name}.value = {word}"
                yield f"{name}[1] = 0"
            case If(cond, then, orelse):
                yield f"if {self.test(cond)}:"
                yield from self.inner(then, result)
                if orelse:
                    yield "else:"
                    yield from self.inner(orelse, result)
            case While(cond, body, after):
                yield from self.loop(cond, body, result, after=after)
            case For(n, body):
                yield f"for i in range({n}):"
                yield from self.inner(body, result)
            case Section(enter, body, leave):
                yield self.use(enter)
                yield from self.body(body, result)
                if leave is not None:
                    yield self.use(leave)
            case Helper(dst, body):
                name = f"helper{len(self.helpers)}"
                self.helpers.append("")  # the number is taken, whatever it calls
                self.helpers[-1] = "\n".join(self.function(name, body, "r1"))
                yield f"{dst} = {name}({', '.join(LETTERS)})"

    def loop(self, cond: Cond | None, body: Body, result: str, *, after: bool) -> Iterator[str]:
        yield "while True:" if cond is None or after else f"while {self.test(cond)}:"
        yield from indented(self.body(body, result))
        if cond is not None and after:
            yield f"    if not ({self.test(cond)}):"
            yield "        break"
        yield "    cpu_relax()"

    def test(self, test: Cond) -> str:
        left = test.left
        return f"{self.use(left) if isinstance(left, Use) else left} {test.op} {test.right}"

    def place(self, place: Place) -> str:
        return f"{place.name}[{place.index}]" if place.index else f"{place.name}.value"

    def value(self, value: str | Pointer) -> str:
        if isinstance(value, str):
            return value
        return f"cast(u64, {value.name})" if value.name != "0" else "0"

    def use(self, use: Use) -> str:
        args = [self.place(use.place)] if use.place else []
        args += map(self.value, use.args)
        if use.prim == "store":
            return f"{args[0]} = {args[1]}"
        made = args[0] if use.prim == "load" else f"{use.prim}({', '.join(args)})"
        if not use.dsts:
            return made
        if use.dsts == ("p1",):
            made = f"cast(Ptr[u64], {made})"
        return f"{', '.join(use.dsts)} = {made}"


class Litmus:
    """One C litmus test; frees, helpers and mutexes have no place in it."""

    def text(self, tree: Tree, name: str) -> str:
        starts = ["int a[2] = {0, 0};", *(self.start(*start) for start in tree.init)]
        init = "\n".join("\t" + start for start in starts)
        threads = [line for i, body in enumerate(tree.threads) for line in self.thread(i, body)]
        observed = " ".join(f"{i}:r1; {i}:r2;" for i in range(len(tree.threads)))
        clause = " /\\ ".join(
            f"{i}:r1={word}" for i, word in enumerate(tree.bad[: len(tree.threads)])
        )
        return "\n".join(
            [f"C {name}", "", "{", init, "}", "", *threads,
             f"locations [{observed} x; y; z; a[0]; a[1]; c; d;]", f"exists ({clause})", ""]
        )  # fmt: skip

    def start(self, letter: str, word: int | str) -> str:
        return (
            f"int *{letter} = &{word};" if isinstance(word, str) else f"int {letter} = {word};"
        )

    def thread(self, number: int, body: Body) -> list[str]:
        kinds = {**dict.fromkeys(LETTERS, "int"), **LOCKS, SRCU: "struct srcu_struct"}
        kinds[POINTER] = "int *"
        kinds.pop("m")
        params = ", ".join(f"{kind} *{letter}" for letter, kind in kinds.items())
        params = params.replace("* *", "**")
        return [
            f"P{number}({params})",
            "{",
            "\tint r1 = 0;", "\tint r2 = 0;", "\tint r3 = 0;", "\tint i;", "\tint *p1 = 0;",
            *("\t" + line for line in self.body(body)),
            "}",
            "",
        ]  # fmt: skip

    def body(self, body: Body) -> Iterator[str]:
        for stmt in body:
            yield from self.statement(stmt)

    def statement(self, stmt: Stmt) -> Iterator[str]:
        match stmt:
            case Use():
                yield self.use(stmt) + ";"
            case Let(dst, value):
                yield f"{dst} = {value};"
            case Jump(word):
                yield f"{word};"
            case If(cond, then, orelse):
                yield f"if ({self.test(cond)}) {{"
                yield from indented(self.body(then))
                if orelse:
                    yield "} else {"
                    yield from indented(self.body(orelse))
                yield "}"
            case While(cond, body, after):
                asked = "1" if cond is None else self.test(cond)
                yield "do {" if after else f"while ({asked}) {{"
                yield from indented(self.body(body))
                yield f"}} while ({asked});" if after else "}"
            case For(n, body):
                yield f"for (i = 0; i < {n}; i++) {{"
                yield from indented(self.body(body))
                yield "}"
            case Section(enter, body, leave):
                yield self.use(enter) + ";"
                yield from self.body(body)
                if leave is not None:
                    yield self.use(leave) + ";"
            case Free() | Reuse() | Helper():
                raise AssertionError("no litmus test has it")

    def test(self, test: Cond) -> str:
        left = test.left
        return f"{self.use(left) if isinstance(left, Use) else left} {test.op} {test.right}"

    def value(self, value: str | Pointer) -> str:
        return value if isinstance(value, str) else value.name

    def use(self, use: Use) -> str:
        values = list(map(self.value, use.args))
        made = _call(use, values)
        return f"{use.dsts[0]} = {made}" if use.dsts else made


def _call(use: Use, values: list[str]) -> str:
    place = use.place
    lvalue = pointer = ""
    if place is not None:
        lvalue = f"{place.name}[{place.index}]" if place.index else f"*{place.name}"
        pointer = f"&{lvalue}" if place.index else place.name
    if use.prim == "load":
        return lvalue
    if use.prim == "store":
        return f"{lvalue} = {values[0]}"
    letters = PRIMS[use.prim].macro
    assert letters is not None, use.prim
    given = iter(values)
    args = [{"l": lvalue, "p": pointer}.get(letter) or next(given) for letter in letters]
    return f"{use.prim}({', '.join(args)})"
