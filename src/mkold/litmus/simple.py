"""Statements of one thread without control flow: assignments, stores, declarations, calls."""

from __future__ import annotations

from mkold.ir.nodes import Assign, Const, Expr, Local, Op
from mkold.litmus.calls import read_call
from mkold.litmus.expr import Expressions, fold
from mkold.litmus.initial import is_name
from mkold.litmus.macros import BUILTIN_NAMES
from mkold.litmus.source import Tokens, UnsupportedSourceError, shown

_COMPOUND = {
    "+=": "add", "-=": "sub", "*=": "mul", "/=": "sdiv", "%=": "smod", "&=": "and",
    "|=": "or", "^=": "xor", "<<=": "shl", ">>=": "ashr",
}  # fmt: skip
STEPS = {"++": "add", "--": "sub"}


class ParameterAssignedError(Exception):
    """A parameter is assigned to: it has to be a local of the thread instead."""


class Statements(Expressions):
    """Reads statements of one thread that only go on to the next."""

    __slots__ = ("declared",)

    def __init__(self, tokens: Tokens, addresses: dict[str, Const], *, placed: bool) -> None:
        super().__init__(tokens, addresses, placed=placed)
        self.declared: set[str] = set()  # or assigned somewhere

    def semicolon(self) -> None:
        tokens = self.tokens
        if tokens.texts[tokens.at] != ";":
            tokens.fail(f"expected ';', found {shown(tokens.texts[tokens.at])}")
        tokens.at += 1

    def simple(self, token: str) -> None:
        """An assignment or a call, up to its end."""
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
            self.assign(token, fold(_COMPOUND[after], value, self.expression()), start)
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

    def step(self, name: str, op: str, start: int) -> None:
        """``r++``; the name is stepped over."""
        if not is_name(name):
            self.tokens.fail("only a register can be stepped", kind=UnsupportedSourceError)
        value = self.name(name)
        self.tokens.at += 1
        self.assign(name, fold(op, value, Const(1)), start)

    def assign(self, name: str, value: Expr, start: int) -> None:
        """``name = value``; a value just computed is put there at once."""
        if name in self.addresses:
            raise ParameterAssignedError(name)
        self.declared.add(name)
        out = self.out
        if isinstance(value, Local) and out and value.name[0] == "$":
            last = out[-1]
            if isinstance(last, Op) and last.dsts == (value.name,):
                out[-1] = Op(last.prim, (name,), last.args, last.what, last.at)
                self.assigned.add(name)
                return
        out.append(Assign(name, value, self.pos(start)))
        self.assigned.add(name)

    def store(self) -> None:
        """``*e = value;``"""
        start = self.tokens.at
        self.store_into(start)
        self.semicolon()

    def store_into(self, start: int) -> None:
        tokens = self.tokens
        address = self.lvalue("an assignment")
        what = self.text(start)
        what = what[1:] if what[:1] == "*" else what
        sign = tokens.texts[tokens.at]
        tokens.at += 1
        if sign in _COMPOUND or sign in STEPS:
            old = self.temporary()
            self.out.append(Op("load", (old,), (address,), what, self.pos(start)))
            operand = self.expression() if sign in _COMPOUND else Const(1)
            op = _COMPOUND.get(sign) or STEPS[sign]
            value = fold(op, self.local(old), operand)
        elif sign == "=":
            value = self.expression()
        else:
            tokens.fail(f"expected '=', found {shown(sign)}", index=tokens.at - 1)
        self.out.append(Op("store", (), (address, value), what, self.pos(start)))

    def parenthesised(self) -> None:
        """``(void)e;`` or ``(*x) = e;``."""
        tokens = self.tokens
        start = tokens.at
        if tokens.texts[start + 1] == "void" and tokens.texts[start + 2] == ")":
            tokens.at += 3
            self.expression()
            self.semicolon()
        else:
            self.store()

    def declaration(self) -> None:
        """``int r1 = e, *r2;``."""
        tokens = self.tokens
        texts = tokens.texts
        while True:
            self.skip_type()
            name, start = texts[tokens.at], tokens.at
            if not is_name(name):
                tokens.fail(f"expected a name to declare, found {shown(name)}")
            tokens.at += 1
            self.declared.add(name)
            if texts[tokens.at] == "=":
                tokens.at += 1
                self.assign(name, self.expression(), start)
            elif texts[tokens.at] == "[":
                tokens.fail("arrays in registers", kind=UnsupportedSourceError)
            elif name in self.addresses:
                raise ParameterAssignedError(name)
            if texts[tokens.at] != ",":
                break
            tokens.at += 1
        self.semicolon()

    def clause(self, closing: str) -> None:
        """Simple statements separated by commas, up to ``closing``."""
        tokens = self.tokens
        texts = tokens.texts
        while texts[tokens.at] != closing:
            token = texts[tokens.at]
            if token == "*":
                self.store_into(tokens.at)
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
