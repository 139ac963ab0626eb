"""Statements of one thread without control flow: assignments, stores, declarations, calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mkold.ir.edit import map_statements
from mkold.ir.nodes import Assign, Local, Op, Stmt, walk
from mkold.ir.prims import PRIMS, Shape, Takes
from mkold.litmus.arithmetic import Value, constant, convert, of, promoted
from mkold.litmus.calls import read_call
from mkold.litmus.expr import Expressions
from mkold.litmus.initial import is_name
from mkold.litmus.macros import BUILTIN_NAMES
from mkold.litmus.source import Tokens, UnsupportedSourceError, shown
from mkold.litmus.types import INT, Type, pointer, without_pointers

_COMPOUND = frozenset({"+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="})
STEPS = {"++": "+", "--": "-"}
ONE = constant(1, INT)


class ParameterAssignedError(Exception):
    """A parameter is assigned to: it has to be a local of the thread instead."""


class Statements(Expressions):
    """Reads statements of one thread that only go on to the next."""

    __slots__ = ("declared", "n_groups")

    def __init__(
        self, tokens: Tokens, addresses: Mapping[str, Value], objects: Mapping[int, Type], *,
        placed: bool,
    ) -> None:  # fmt: skip
        super().__init__(tokens, addresses, objects, placed=placed)
        self.declared: set[str] = set()  # or assigned somewhere
        self.n_groups = 0  # expressions with several accesses

    def semicolon(self) -> None:
        tokens = self.tokens
        if tokens.texts[tokens.at] != ";":
            tokens.fail(f"expected ';', found {shown(tokens.texts[tokens.at])}")
        tokens.at += 1

    def simple(self, token: str) -> None:
        """An assignment or a call, up to its end."""
        first = len(self.out)
        self._simple(token)
        self.unordered(first)

    def unordered(self, first: int) -> None:
        """The statements from ``first`` on are one C expression, whose accesses C leaves in
        no order but that of what they depend on.
        """
        new = self.out[first:]
        if len(new) > 1:
            ops = [stmt for stmt in walk(tuple(new)) if isinstance(stmt, Op) and stmt.args]
            if len(ops) > 1:
                self._check_sections(ops)
                self.n_groups += 1
                self.out[first:] = map_statements(tuple(new), self._in_group)

    def _in_group(self, stmt: Stmt) -> tuple[Stmt, ...] | None:
        return (replace(stmt, group=self.n_groups),) if isinstance(stmt, Op) else None

    def _check_sections(self, ops: Sequence[Op]) -> None:
        if any(PRIMS[op.prim].shape is Shape.SRCU_LOCK for op in ops):
            self.tokens.fail(
                "srcu_read_lock() within a larger expression", kind=UnsupportedSourceError
            )
        for op in ops:
            if Takes.OVER_VAL in PRIMS[op.prim].takes:
                self.tokens.fail(
                    f"{op.prim}() within a larger expression", kind=UnsupportedSourceError
                )

    def _simple(self, token: str) -> None:
        tokens = self.tokens
        start = tokens.at
        after = tokens.texts[start + 1]
        if after == "=":
            tokens.at += 2
            self.assign(token, self.expression(), start)
        elif after == "(" or (after == "{" and token in BUILTIN_NAMES):
            read_call(self, wanted=False)
        elif after in STEPS:
            self.step(token, STEPS[after], start)
            tokens.at += 1
        elif after in _COMPOUND:
            tokens.at += 2
            value = self.name(token)
            result = self.combined(after[:-1], value, self.expression(), start + 1)
            self.assign(token, result, start)
        elif after == "[":
            self.store_into(start)
        elif after in (".", "->"):
            self.no_structs()
        elif after == ":":
            tokens.fail("labels", kind=UnsupportedSourceError)
        elif is_name(after) or after == "*":
            tokens.fail(f"'{token}' is no type that mkold knows", kind=UnsupportedSourceError)
        else:
            tokens.fail(f"expected '=' or '(' after '{token}'", index=start + 1)

    def step(self, name: str, sign: str, start: int) -> None:
        """``r++``; the name is stepped over."""
        if not is_name(name):
            self.tokens.fail("only a register can be stepped", kind=UnsupportedSourceError)
        value = self.name(name)
        self.tokens.at += 1
        self.assign(name, self.combined(sign, value, ONE, start), start)

    def assign(self, name: str, value: Value, start: int) -> None:
        """``name = value``; a value just computed is put there at once.

        A register that was not declared has the type of what it is first assigned.
        """
        if name in self.addresses:
            raise ParameterAssignedError(name)
        self.declared.add(name)
        kind = self.types.get(name)
        if kind is None:
            kind = self.types[name] = promoted(value).type
        expr = convert(value, kind).expr
        out = self.out
        if isinstance(expr, Local) and out and expr.name[0] == "$":
            last = out[-1]
            if isinstance(last, Op) and last.dsts == (expr.name,):
                out[-1] = Op(
                    last.prim, (name,), last.args, last.what, last.at, last.width, last.shift,
                    last.signed, last.group,
                )  # fmt: skip
                self.assigned.add(name)
                return
        out.append(Assign(name, expr, self.pos(start)))
        self.assigned.add(name)

    def store(self) -> None:
        """``*e = value;``"""
        start, first = self.tokens.at, len(self.out)
        self.store_into(start)
        self.unordered(first)
        self.semicolon()

    def store_into(self, start: int) -> None:
        tokens = self.tokens
        address = self.lvalue("an assignment")
        kind = self.place(address, start)
        what = self.text(start)
        what = what[1:] if what[:1] == "*" else what
        sign = tokens.texts[tokens.at]
        tokens.at += 1
        if sign in _COMPOUND or sign in STEPS:
            old = self.temporary()
            self.out.append(Op("load", (old,), (address.expr,), what, self.pos(start)))
            operand = self.expression() if sign in _COMPOUND else ONE
            op = sign[:-1] if sign in _COMPOUND else STEPS[sign]
            value = self.combined(op, of(self.local(old), kind), operand, start)
        elif sign == "=":
            value = self.expression()
        else:
            tokens.fail(f"expected '=', found {shown(sign)}", index=tokens.at - 1)
        args = address.expr, convert(value, kind).expr
        self.out.append(Op("store", (), args, what, self.pos(start)))

    def parenthesised(self) -> None:
        """``(void)e;`` or ``(*x) = e;``."""
        tokens = self.tokens
        start = tokens.at
        if tokens.texts[start + 1] == "void" and tokens.texts[start + 2] == ")":
            tokens.at += 3
            first = len(self.out)
            self.expression()
            self.unordered(first)
            self.semicolon()
        else:
            self.store()

    def declaration(self) -> None:
        """``int r1 = e, *r2;``."""
        tokens = self.tokens
        texts = tokens.texts
        base = self.read_type()
        while True:
            kind = base
            while texts[tokens.at] == "*":
                kind = pointer(kind)
                tokens.at += 1
            name, start, first = texts[tokens.at], tokens.at, len(self.out)
            if not is_name(name):
                tokens.fail(f"expected a name to declare, found {shown(name)}")
            tokens.at += 1
            self.declared.add(name)
            self.types[name] = kind
            if texts[tokens.at] == "=":
                tokens.at += 1
                self.assign(name, self.expression(), start)
                self.unordered(first)
            elif texts[tokens.at] == "[":
                tokens.fail("arrays in registers", kind=UnsupportedSourceError)
            elif name in self.addresses:
                raise ParameterAssignedError(name)
            if texts[tokens.at] != ",":
                break
            tokens.at += 1
            base = without_pointers(base)
        self.semicolon()

    def clause(self, closing: str) -> None:
        """Simple statements separated by commas, up to ``closing``."""
        tokens = self.tokens
        texts = tokens.texts
        while texts[tokens.at] != closing:
            token = texts[tokens.at]
            if token == "*":
                first = len(self.out)
                self.store_into(tokens.at)
                self.unordered(first)
            elif token in STEPS:
                tokens.at += 1
                self.step(texts[tokens.at], STEPS[token], tokens.at)
            elif is_name(token):
                self.simple(token)
            else:
                tokens.fail(f"expected an assignment, found {shown(token)}")
            if texts[tokens.at] == ",":
                tokens.at += 1
            elif texts[tokens.at] != closing:
                tokens.fail(f"expected '{closing}', found {shown(texts[tokens.at])}")
