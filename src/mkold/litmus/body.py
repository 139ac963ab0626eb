"""C statements of one thread, lowered while they are read.

``if``, ``while``, ``for``, ``do``, ``switch``, ``break``, ``continue``, ``goto``, ``return``,
declarations, assignments to registers and through pointers, and macros. A register has one
meaning in the whole thread, as in herd: a declaration in an inner block names the same
register. A register that may be read before it is assigned starts as 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mkold.base.errors import Pos
from mkold.ir.nodes import (
    Assign,
    Block,
    Break,
    Const,
    Continue,
    Expr,
    If,
    Loop,
    Return,
    Stmt,
    Unary,
    walk,
)
from mkold.litmus.arithmetic import Value, promoted
from mkold.litmus.initial import is_name
from mkold.litmus.labels import Labels
from mkold.litmus.simple import STEPS, Statements
from mkold.litmus.source import Tokens, UnsupportedSourceError, shown
from mkold.litmus.switch import Switch
from mkold.litmus.types import TYPE_WORDS, Type

_UNSUPPORTED = frozenset({"asm", "__asm__", "typedef"})


class Body(Statements):
    """Reads the statements of one thread."""

    __slots__ = ("break_to", "continue_to", "goes", "labels", "n_labels", "switch")

    def __init__(
        self, tokens: Tokens, addresses: Mapping[str, Value], objects: Mapping[int, Type], *,
        placed: bool,
    ) -> None:  # fmt: skip
        super().__init__(tokens, addresses, objects, placed=placed)
        self.labels = Labels(tokens)
        self.labels.begin(self.out)
        self.switch: Switch | None = None
        self.goes = "goto" in tokens.texts  # so that a jump must say which loop it means
        self.break_to: str | None = None  # the label of what is left; None: of nothing
        self.continue_to: Break | Continue | None = None
        self.n_labels = 0

    def thread(self) -> tuple[Stmt, ...]:
        """The whole body, after its opening brace."""
        self.block()
        self.labels.check()
        return tuple(self.labels.end())

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
        if self.tokens.texts[self.tokens.at + 1] == ":":
            self.label(token)
            return
        self.simple(token)
        self.semicolon()

    # --- control flow -----------------------------------------------------------------

    def _collect(self) -> tuple[Stmt, ...]:
        """The statements of the next statement, kept apart."""
        outer, self.out = self.out, []
        self.labels.begin(self.out)
        self.statement()
        self.out = outer
        return tuple(self.labels.end())

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

    def loop_pos(self, start: int) -> Pos:
        """Where a loop starts, or may; kept in any case, for a bound that is hit."""
        token = self.tokens.starts[start]
        return self.tokens.source.pos(token, token + len(self.tokens.texts[start]))

    def new_label(self, what: str) -> str:
        """A label that no source has."""
        self.n_labels += 1
        return f"{what} {self.n_labels}"

    def loop_body(self, break_to: str, continue_to: Break | Continue) -> tuple[Stmt, ...]:
        """A statement in which ``break`` and ``continue`` mean these."""
        outer = self.break_to, self.continue_to
        self.break_to, self.continue_to = break_to, continue_to
        body = self._collect()
        self.break_to, self.continue_to = outer
        return body

    def _loop(self, start: int, test: list[Stmt], step: tuple[Stmt, ...] = ()) -> None:
        """``test``, which may leave, and the body, which comes now."""
        known = set(self.assigned)
        label = self.new_label("loop") if self.goes else ""
        body = self.loop_body(label, Continue(label=label))
        self.assigned = known
        self.out.append(Loop((*test, *body), step, self.loop_pos(start), label))

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
        tokens.expect("(", "after 'while'")
        test = self._exit_unless()
        tokens.expect(")", "after a condition")
        self._loop(start, test)

    def read_do(self, start: int) -> None:
        tokens = self.tokens
        label = self.new_label("loop") if self.goes else ""
        round_ = self.new_label("round")
        known = set(self.assigned)
        body = self.loop_body(label, Break(label=round_))
        if any(isinstance(stmt, Break) and stmt.label == round_ for stmt in walk(body)):
            self.assigned = set(known)
            body = (Block(round_, body, self.pos(start)),)
        tokens.expect("while", "after the body of 'do'")
        tokens.expect("(", "after 'while'")
        test = self._exit_unless()
        tokens.expect(")", "after a condition")
        self.semicolon()
        self.assigned = known
        self.out.append(Loop((*body, *test), (), self.loop_pos(start), label))

    def read_for(self, start: int) -> None:
        tokens = self.tokens
        texts = tokens.texts
        tokens.expect("(", "after 'for'")
        if texts[tokens.at] in TYPE_WORDS:
            self.declaration()
        else:
            self.clause(";")
            self.semicolon()
        test = self._exit_unless() if texts[tokens.at] != ";" else []
        self.semicolon()
        known = set(self.assigned)
        outer, self.out = self.out, []
        self.clause(")")
        step, self.out = tuple(self.out), outer
        self.assigned = known
        tokens.expect(")", "after the head of 'for'")
        self._loop(start, test, step)

    # --- jumps ------------------------------------------------------------------------

    def read_break(self, start: int) -> None:
        if self.break_to is None:
            self.tokens.fail("'break' outside a loop or a switch", index=start)
        self.out.append(Break(self.pos(start), self.break_to))
        self.semicolon()

    def read_continue(self, start: int) -> None:
        if self.continue_to is None:
            self.tokens.fail("'continue' outside a loop", index=start)
        self.out.append(replace(self.continue_to, at=self.pos(start)))
        self.semicolon()

    def read_goto(self, start: int) -> None:
        tokens = self.tokens
        token, label = tokens.at, tokens.texts[tokens.at]
        if not is_name(label):
            tokens.fail(f"expected a label, found {shown(label)}")
        tokens.at += 1
        self.out.append(self.labels.jump(label, token, self.pos(start), self.assigned))
        self.semicolon()

    def label(self, name: str) -> None:
        """``name:``, and the statement that it is before."""
        tokens = self.tokens
        jumps = self.labels.place(name, tokens.at, self.loop_pos(tokens.at))
        if jumps and _leaves(self.out):
            self.assigned = set(jumps[0])
        for assigned in jumps:
            self.assigned &= assigned
        tokens.at += 2
        self.labelled()

    def labelled(self) -> None:
        """The statement after a label, if there is one."""
        if self.tokens.texts[self.tokens.at] != "}":
            self.deeper()
            self.statement()
            self.depth -= 1

    def read_switch(self, start: int) -> None:
        tokens = self.tokens
        tokens.expect("(", "before what 'switch' chooses by")
        first = len(self.out)
        value = promoted(self.expression())
        self.unordered(first)
        tokens.expect(")", "after what 'switch' chooses by")
        if tokens.texts[tokens.at] != "{":
            tokens.fail("'switch' without a block", kind=UnsupportedSourceError)
        tokens.at += 1
        word, known, at = self.temporary(), frozenset(self.assigned), self.pos(start)
        self.out.append(Assign(word, value.expr, at))
        outer = self.out, self.switch, self.break_to
        end = self.break_to = self.new_label("switch")
        self.out = []
        self.labels.begin(self.out)
        switch = self.switch = Switch(value.type, self.local(word), self.labels, end, known)
        self.block()
        switch.finish()
        self.out, self.switch, self.break_to = outer
        self.assigned = set(known)
        self.out.append(Block(end, tuple(self.labels.end()), at))

    def read_case(self, start: int) -> None:
        value = self.expression()
        self._case(start, value)

    def read_default(self, start: int) -> None:
        self._case(start, None)

    def _case(self, start: int, value: Value | None) -> None:
        what = self.tokens.texts[start]
        if self.switch is None:
            self.tokens.fail(f"'{what}' outside a switch", index=start)
        self.switch.case(self.tokens, start, value, self.new_label(what), self.pos(start))
        self.assigned = set(self.switch.known)
        self.tokens.expect(":", f"after '{what}'")
        self.labelled()

    def read_return(self, start: int) -> None:
        if self.tokens.texts[self.tokens.at] != ";":
            self.tokens.fail("a thread returns nothing", hint="assign to a register")
        self.out.append(Return((), self.pos(start)))
        self.semicolon()


_STATEMENTS = {
    "if": Body.read_if, "while": Body.read_while, "do": Body.read_do, "for": Body.read_for,
    "break": Body.read_break, "continue": Body.read_continue, "return": Body.read_return,
    "goto": Body.read_goto, "switch": Body.read_switch, "case": Body.read_case,
    "default": Body.read_default,
}  # fmt: skip


def _leaves(body: Sequence[Stmt]) -> bool:
    return bool(body) and isinstance(body[-1], Return | Break | Continue)
