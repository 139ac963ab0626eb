"""A program as a litmus test: the other direction of ``parse``.

For programs that fit: threads without calls, every constant address named by a symbol,
primitives that have a macro. Words are of type ``intptr_t``, but for
objects that are changed at a narrower width. Registers whose names are no C names get new
ones. herd7 reads the result as long as the program keeps to what herd knows (no loops, no
``?:``).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

from mkold.base.errors import UnsupportedError
from mkold.ir.flow import reads, writes
from mkold.ir.nodes import (
    NARROW,
    WORD_BITS,
    Assign,
    Binary,
    Block,
    Break,
    Const,
    Continue,
    Expr,
    Function,
    FunctionWord,
    If,
    Local,
    Loop,
    Op,
    Param,
    Return,
    Select,
    Stmt,
    Unary,
    walk,
)
from mkold.ir.prims import VAL
from mkold.ir.program import Observed, Program, Thread, Words
from mkold.litmus.macros import MACROS
from mkold.litmus.names import Names

_SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "sdiv": "/", "smod": "%", "and": "&", "or": "|",
    "xor": "^", "shl": "<<", "ashr": ">>", "eq": "==", "ne": "!=", "slt": "<", "sle": "<=",
}  # fmt: skip
_UNSIGNED = {"ult": "<", "ule": "<=", "udiv": "/", "umod": "%", "lshr": ">>"}
_UNARY = {"neg": "-", "not": "~", "lnot": "!"}
_TYPES = {(width, signed): f"{'' if signed else 'u'}int{width}_t"
          for width, signed in NARROW.values()}  # fmt: skip
_CASTS = {op: f"({_TYPES[narrow]})" for op, narrow in NARROW.items()}
_WORD = "intptr_t"
_NAME = re.compile(r"[A-Za-z_]\w*\Z")
_ELEMENT = re.compile(r"(\w+)\[(\d+)\]\Z")


def write(program: Program) -> str:
    """The litmus test that ``program`` is.

    Raises
    ------
    UnsupportedError : the program has what litmus tests can't say; names it
    """
    lines = [f"C {program.name}", "", "{", *_initial(program), "}", ""]
    for index, thread in enumerate(program.threads):
        lines += [*_Writer(program, index, thread).lines(), ""]
    names = Names(program.symbols)
    if program.observed:
        places = "; ".join(_place(names, place) for place in program.shown or program.observed)
        lines.append(f"locations [{places}]")
    if program.filter is not None:
        lines.append(f"filter ({names.formula(program.filter)})")
    if program.condition is not None:
        condition = program.condition
        lines.append(f"{condition.quantifier} ({names.formula(condition.formula)})")
    return "\n".join(lines) + "\n"


def _place(names: Names, place: Observed | Words) -> str:
    if isinstance(place, Words):
        return names.value(place.address)
    text = names.place(place)
    return text[1:-1] if text.startswith("[") else text


def _initial(program: Program) -> Iterator[str]:
    """Every variable, in the order of the symbols, so that addresses come back the same."""
    if program.default:
        raise UnsupportedError("a litmus test can't say what unnamed words hold")
    names, types = Names(program.symbols), _types(program)
    left = dict(program.init)
    for name, address in program.symbols.items():
        if not _NAME.match(name):
            continue
        length = _length(program, name)
        if length:
            values = [names.value(left.pop(address + i, 0)) for i in range(length)]
            yield f"  {types[address]} {name}[{length}] = {{{', '.join(values)}}};"
        else:
            value = left.pop(address, 0)
            shown = names.value(value)
            star = "*" if value in program.symbols.values() else ""
            yield f"  {types[address]} {star}{name} = {shown};"
    if left:
        raise UnsupportedError(f"the word at {min(left)} has no name")


def _types(program: Program) -> Mapping[int, str]:
    """The types of objects by address."""
    types: dict[int, str] = defaultdict(lambda: _WORD)
    for function in program.functions.values():
        for stmt in walk(function.body):
            if isinstance(stmt, Op) and stmt.width != WORD_BITS:
                place = stmt.args[0]
                if not isinstance(place, Const):
                    raise UnsupportedError("an unknown object that is narrower than a word")
                types[place.value] = _TYPES[stmt.width, stmt.signed]
    return types


def _length(program: Program, name: str) -> int:
    """How many elements the array ``name`` has; 0 if it is none."""
    indices = [
        int(element.group(2))
        for other in program.symbols
        if (element := _ELEMENT.match(other)) and element.group(1) == name
    ]
    return max(indices, default=-1) + 1


class _Writer:
    """Writes one thread."""

    def __init__(self, program: Program, index: int, thread: Thread) -> None:
        self.index, self.program, self.types = index, program, _types(program)
        self.function: Function = program.functions[thread.function]
        self.addresses: dict[int, str] = {}
        for name, address in program.symbols.items():
            self.addresses.setdefault(address, name)  # an array's start by the array's name
        self.parameters: dict[str, None] = {}
        self.renamed: dict[str, str] = {}
        self.operands = {VAL: VAL}  # and accesses that go into an expression
        self.used = Counter(_used(self.function))
        self.groups = Counter(s.group for s in walk(self.function.body) if isinstance(s, Op))
        self.arguments = dict(zip(self.function.params, thread.args, strict=True))
        # Blocks and loops around: the label, whether it is a loop, what C calls its ends.
        self.around: list[tuple[str, bool, dict[type, str]]] = []
        self.n_labels = 0
        self.taken = set(program.symbols) | set(_names(self.function))

    def lines(self) -> Iterator[str]:
        body = list(self.block(self.function.body, "  "))
        given = [
            f"  {self.register(name)} = {self.constant(value)};"
            for name, value in self.arguments.items()
        ]
        declared = [f"  {_WORD} {name};" for name in self.renamed.values()]
        parameters = ", ".join(
            f"{self.types[self.program.symbols[name]]} *{name}" for name in self.parameters
        )
        yield f"P{self.index}({parameters})"
        yield "{"
        yield from declared
        yield from given
        yield from body
        yield "}"

    def register(self, name: str) -> str:
        """The register's name in C."""
        found = self.renamed.get(name)
        if found is None:
            found = name
            if not _NAME.match(name) or name in self.addresses.values():
                stem = re.sub(r"\W", "_", name).strip("_") or "r"
                if name[0] == "$":
                    stem = str(1 + sum(known[0] == "$" for known in self.renamed))
                found, n = f"t_{stem}", 0
                while found in self.taken:
                    n += 1
                    found = f"t_{stem}_{n}"
                self.taken.add(found)
            self.renamed[name] = found
        return found

    def constant(self, value: int) -> str:
        """A number, or a variable's address as parameter."""
        name = self.addresses.get(value)
        if name is None:
            return str(value - (1 << 64) if value >> 63 else value)
        element = _ELEMENT.match(name)
        if element:
            self.parameters.setdefault(element.group(1))
            return f"({element.group(1)} + {element.group(2)})"
        self.parameters.setdefault(name)
        return name

    def expr(self, expr: Expr) -> str:
        """``expr``, parenthesised below the top."""
        match expr:
            case Const(value):
                return self.constant(value)
            case Local(name):
                return self.operands.get(name) or self.register(name)
            case Unary(op, a) if op in _UNARY:
                return f"{_UNARY[op]}{self.inner(a)}"
            case Unary(op, a) if op in _CASTS:
                return f"{_CASTS[op]}{self.inner(a)}"
            case Binary(op, a, b) if op in _SIGNS:
                return f"{self.inner(a)} {_SIGNS[op]} {self.inner(b)}"
            case Binary(op, a, b) if op in _UNSIGNED:
                left, right = (f"(uintptr_t){self.inner(side)}" for side in (a, b))
                return f"{left} {_UNSIGNED[op]} {right}"
            case Select(cond, a, b):
                return f"{self.inner(cond)} ? {self.inner(a)} : {self.inner(b)}"
            case Unary(op=op) | Binary(op=op):
                raise UnsupportedError(f"a litmus test can't say '{op}'")
            case Param(name) | FunctionWord(name):
                raise UnsupportedError(f"a litmus test can't say {name}")

    def inner(self, expr: Expr) -> str:
        text = self.expr(expr)
        return text if isinstance(expr, Local) or text.isalnum() else f"({text})"

    def block(self, body: tuple[Stmt, ...], indent: str) -> Iterator[str]:
        for stmt in body:
            if isinstance(stmt, Op) and stmt.prim == "division_by_zero":
                continue  # the division itself says so
            if isinstance(stmt, Op) and any(d[0] == "$" and self.used[d] for d in stmt.dsts):
                self.operands[stmt.dsts[0]] = self.op(replace(stmt, dsts=()))
                continue
            if isinstance(stmt, If):
                self._check_in_order(stmt)
            yield from self.stmt(stmt, indent)

    def _check_in_order(self, branch: If) -> None:
        """Operands of ``&&`` are written as statements, if that orders no more of them."""
        inside = {s.group for s in walk((*branch.then, *branch.orelse)) if isinstance(s, Op)}
        if any(self.groups[group] > 2 for group in inside - {0}):
            raise UnsupportedError(
                "a litmus test is not written with operands of && in no order"
            )

    def stmt(self, stmt: Stmt, indent: str) -> Iterator[str]:
        match stmt:
            case Assign(dst, value):
                yield f"{indent}{self.register(dst)} = {self.expr(value)};"
            case Op():
                yield f"{indent}{self.op(stmt)};"
            case If(cond, then, orelse):
                yield f"{indent}if ({self.expr(cond)}) {{"
                yield from self.block(then, indent + "  ")
                if orelse:
                    yield f"{indent}}} else {{"
                    yield from self.block(orelse, indent + "  ")
                yield f"{indent}}}"
            case Block(label, body):
                inside, there = self._inside(label, body, indent, is_loop=False)
                yield from inside
                yield from (f"{indent}{name}: ;" for name in there.values())
            case Loop():
                yield from self._loop(stmt, indent)
            case Break(label="") | Continue(label="") | Return(()):
                yield f"{indent}{type(stmt).__name__.lower()};"
            case Break(label=label) | Continue(label=label):
                yield f"{indent}{self._jump(label, type(stmt))};"
            case _:
                raise UnsupportedError(f"a litmus test has no {type(stmt).__name__.lower()}")

    def _loop(self, loop: Loop, indent: str) -> Iterator[str]:
        """A loop; where jumps out of inner ones name it, with labels."""
        clause = ", ".join(self.clause(s) for s in loop.step)
        yield f"{indent}for (;;{' ' if clause else ''}{clause}) {{"
        inside, there = self._inside(loop.label, loop.body, indent + "  ", is_loop=True)
        yield from inside
        if Continue in there:
            yield f"{indent}  {there[Continue]}: ;"
        yield f"{indent}}}"
        if Break in there:
            yield f"{indent}{there[Break]}: ;"

    def _inside(
        self, label: str, body: tuple[Stmt, ...], indent: str, *, is_loop: bool
    ) -> tuple[list[str], dict[type, str]]:
        """The lines of ``body``, and the labels that its jumps need."""
        there: dict[type, str] = {}
        self.around.append((label, is_loop, there))
        lines = list(self.block(body, indent))
        self.around.pop()
        return lines, there

    def _jump(self, label: str, kind: type) -> str:
        innermost = True  # of the loops
        for name, is_loop, there in reversed(self.around):
            if name == label:
                if is_loop and innermost:
                    return kind.__name__.lower()
                if kind not in there:
                    self.n_labels += 1
                    there[kind] = f"l{self.n_labels}"
                return f"goto {there[kind]}"
            innermost = innermost and not is_loop
        raise AssertionError(label)

    def clause(self, stmt: Stmt) -> str:
        match stmt:
            case Assign() | Op():
                return next(self.stmt(stmt, "")).rstrip(";")
            case _:
                raise UnsupportedError("a loop's step with branches")

    def op(self, op: Op) -> str:
        """The macro call, or the plain access."""
        to = f"{self.register(op.dsts[0])} = " if op.dsts else ""
        if op.prim == "load":
            return f"{to}*{self.inner(op.args[0])}"
        if op.prim == "store":
            return f"*{self.inner(op.args[0])} = {self.expr(op.args[1])}"
        macro = MACROS.get(op.prim)
        if macro is None:
            raise UnsupportedError(f"a litmus test has no {op.prim}")
        values = list(op.args)
        address = values.pop(0) if set(macro.signature) & {"l", "p"} else None
        shown = []
        for kind in macro.signature:
            if kind in "vc":
                shown.append(self.expr(values.pop(0)))
            else:
                assert address is not None
                text = self.inner(address)
                shown.append(f"*{text}" if kind == "l" else text)
        return f"{to}{op.prim}({', '.join(shown)})"


def _used(function: Function) -> Iterator[str]:
    for stmt in walk(function.body):
        yield from reads(stmt)


def _names(function: Function) -> Iterator[str]:
    yield from function.params
    for stmt in walk(function.body):
        yield from writes(stmt)
        yield from reads(stmt)
