"""C statements of one thread, lowered while they are read.

``if``, ``while``, ``for``, ``do``, ``break``, ``continue``, ``return``, declarations,
assignments to registers and through pointers, and macros. A register has one meaning in
the whole thread, as in herd: a declaration in an inner block names the same register. A
register that may be read before it is assigned starts as 0.
"""

from __future__ import annotations

from collections.abc import Mapping

from mkold.ir.nodes import (
    Assign,
    Break,
    Const,
    Continue,
    Expr,
    Function,
    If,
    Loop,
    Return,
    Stmt,
    Unary,
)
from mkold.litmus.arithmetic import Value
from mkold.litmus.globals import Globals
from mkold.litmus.initial import is_name
from mkold.litmus.simple import STEPS, ParameterAssignedError, Statements
from mkold.litmus.source import Tokens, UnsupportedSourceError, shown
from mkold.litmus.types import TYPE_WORDS, Type

_UNSUPPORTED = frozenset({"goto", "switch", "case", "default", "asm", "__asm__", "typedef"})


class Body(Statements):
    """Reads the statements of one thread."""

    __slots__ = ("in_loop",)

    def __init__(
        self, tokens: Tokens, addresses: Mapping[str, Value], objects: Mapping[int, Type], *,
        placed: bool,
    ) -> None:  # fmt: skip
        super().__init__(tokens, addresses, objects, placed=placed)
        self.in_loop = False

    def block(self) -> None:
        """Statements up to the closing brace, which is stepped over."""
        tokens = self.tokens
        texts = tokens.texts
        while texts[tokens.at] != "}":
            if not texts[tokens.at]:
                tokens.fail("expected '}'")
            self.statement()
        tokens.at += 1

    def statement(self) -> None:
        """One statement."""
        tokens = self.tokens
        token = tokens.texts[tokens.at]
        if token in TYPE_WORDS:
            self.declaration()
        elif token == "*":
            self.store()
        elif is_name(token):
            self._worded(token)
        elif token == "{":
            tokens.at += 1
            self.deeper()
            self.block()
            self.depth -= 1
        elif token == ";":
            tokens.at += 1
        elif token == "(":
            self.parenthesised()
        elif token in STEPS:
            tokens.at += 1
            self.step(tokens.texts[tokens.at], STEPS[token], tokens.at)
            self.semicolon()
        else:
            tokens.fail(f"expected a statement, found {shown(token)}")

    def _worded(self, token: str) -> None:
        reader = _STATEMENTS.get(token)
        if reader is not None:
            start = self.tokens.at
            self.tokens.at += 1
            self.deeper()
            reader(self, start)
            self.depth -= 1
            return
        if token in _UNSUPPORTED:
            self.tokens.fail(f"'{token}'", kind=UnsupportedSourceError)
        self.simple(token)
        self.semicolon()

    # --- control flow -----------------------------------------------------------------

    def _collect(self) -> tuple[Stmt, ...]:
        """The statements of the next statement, kept apart."""
        outer, self.out = self.out, []
        self.statement()
        inner, self.out = self.out, outer
        return tuple(inner)

    def _parenthesised_condition(self) -> Expr:
        self.tokens.expect("(", "before a condition")
        first = len(self.out)
        cond = self.expression().expr
        self.unordered(first)
        self.tokens.expect(")", "after a condition")
        return cond

    def read_if(self, start: int) -> None:
        cond = self._parenthesised_condition()
        at = self.pos(start)
        before = set(self.assigned)
        then = self._collect()
        after_then, self.assigned = self.assigned, before
        orelse: tuple[Stmt, ...] = ()
        tokens = self.tokens
        if tokens.texts[tokens.at] == "else":
            tokens.at += 1
            self.assigned = set(before)
            self.deeper()
            orelse = self._collect()
            self.depth -= 1
            if _leaves(then):
                after_then = self.assigned
            if not _leaves(orelse):
                after_then &= self.assigned
            self.assigned = after_then
        self.out.append(If(cond, then, orelse, at))

    def _loop(
        self, start: int, body: list[Stmt], step: tuple[Stmt, ...], known: set[str]
    ) -> None:
        """``known``: what was assigned before the loop."""
        self.assigned = known
        self.out.append(Loop(tuple(body), step, self.pos(start)))

    def _loop_body(self) -> tuple[Stmt, ...]:
        outer, self.in_loop = self.in_loop, True
        body = self._collect()
        self.in_loop = outer
        return body

    def _exit_unless(self) -> list[Stmt]:
        """The statements of a loop's condition, with the exit."""
        outer, self.out = self.out, []
        start = self.tokens.at
        cond = self.expression().expr
        self.unordered(0)
        at = self.pos(start)
        inner, self.out = self.out, outer
        if isinstance(cond, Const) and cond.value:
            return inner
        return [*inner, If(Unary("lnot", cond), (Break(at),), (), at)]

    def read_while(self, start: int) -> None:
        tokens = self.tokens
        known = set(self.assigned)
        tokens.expect("(", "after 'while'")
        exit_ = self._exit_unless()
        tokens.expect(")", "after a condition")
        self._loop(start, [*exit_, *self._loop_body()], (), known)

    def read_do(self, start: int) -> None:
        """The condition stands before the body, skipped the first time."""
        tokens = self.tokens
        again = self.temporary()
        at = self.pos(start)
        self.out.append(Assign(again, Const(0), at))
        self.assigned.add(again)
        known = set(self.assigned)
        body = self._loop_body()
        tokens.expect("while", "after the body of 'do'")
        tokens.expect("(", "after 'while'")
        exit_ = self._exit_unless()
        tokens.expect(")", "after a condition")
        self.semicolon()
        test = If(self.local(again), tuple(exit_), (Assign(again, Const(1), at),), at)
        self._loop(start, [test, *body], (), known)

    def read_for(self, start: int) -> None:
        tokens = self.tokens
        texts = tokens.texts
        tokens.expect("(", "after 'for'")
        if texts[tokens.at] in TYPE_WORDS:
            self.declaration()
        else:
            self.clause(";")
            self.semicolon()
        known = set(self.assigned)
        exit_ = self._exit_unless() if texts[tokens.at] != ";" else []
        self.semicolon()
        outer, self.out = self.out, []
        self.clause(")")
        step, self.out = tuple(self.out), outer
        tokens.expect(")", "after the head of 'for'")
        self._loop(start, [*exit_, *self._loop_body()], step, known)

    def _jump(self, start: int, what: type[Break] | type[Continue]) -> None:
        if not self.in_loop:
            self.tokens.fail(f"'{what.__name__.lower()}' outside a loop", index=start)
        self.out.append(what(self.pos(start)))
        self.semicolon()

    def read_break(self, start: int) -> None:
        self._jump(start, Break)

    def read_continue(self, start: int) -> None:
        self._jump(start, Continue)

    def read_return(self, start: int) -> None:
        if self.tokens.texts[self.tokens.at] != ";":
            self.tokens.fail("a thread returns nothing", hint="assign to a register")
        self.out.append(Return((), self.pos(start)))
        self.semicolon()


_STATEMENTS = {
    "if": Body.read_if, "while": Body.read_while, "do": Body.read_do, "for": Body.read_for,
    "break": Body.read_break, "continue": Body.read_continue, "return": Body.read_return,
}  # fmt: skip


def _leaves(body: tuple[Stmt, ...]) -> bool:
    return bool(body) and isinstance(body[-1], Return | Break | Continue)


def lower(
    tokens: Tokens,
    name: str,
    addresses: Mapping[str, Value],
    registers: Mapping[str, int],
    known: Globals,
    objects: Mapping[int, Type],
    *,
    placed: bool = True,
) -> tuple[Function, dict[str, Type]]:
    """Read a thread's body, the opening brace being stepped over; its registers' types.

    ``addresses``: the parameters. ``registers``: initial values. ``known``: all shared
    variables, of which a thread sees only its parameters; ``objects``: their words. A
    parameter that is assigned to becomes a register that holds the address at first.
    ``placed``: statements get their place in the source.
    """
    start = tokens.at
    kept = {name: value for name, value in addresses.items() if name not in registers}
    moved: dict[str, Value] = {}
    while True:
        body = Body(tokens, kept, objects, placed=placed)
        body.types |= {name: value.type for name, value in moved.items()}
        body.assigned.update(registers, moved)
        try:
            body.block()
        except ParameterAssignedError as assigned:
            moved[assigned.args[0]] = kept.pop(assigned.args[0])
            tokens.at = start
            continue
        break
    for register, index in body.unset.items():
        if register in known.addresses and register not in body.declared:
            tokens.fail(
                f"'{register}' is no parameter of {name}", index=index,
                hint="a thread sees only the shared variables that it takes as parameters",
            )  # fmt: skip
    head = [Assign(r, Const(0)) for r in sorted(body.unset)]
    head += [Assign(r, Const(_cut(value, body.types.get(r)))) for r, value in registers.items()]
    head += [Assign(r, address.expr) for r, address in moved.items()]
    return Function(name, (), (*head, *body.out)), body.types


def _cut(word: int, kind: Type | None) -> int:
    return word if kind is None or kind.target is not None else kind.word(word)


__all__ = ["Body", "lower"]
