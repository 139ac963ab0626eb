"""``switch`` of one thread: its cases are labels, its head the jumps to them.

Known limits: a case stands in the switch's own block, not within another statement; no
ranges of cases.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from mkold.base.errors import Pos
from mkold.ir.nodes import Assign, Binary, Break, Const, If, Local, Stmt
from mkold.litmus.arithmetic import Value, convert
from mkold.litmus.labels import Labels
from mkold.litmus.source import Tokens, UnsupportedSourceError
from mkold.litmus.types import Type


class Switch:
    """A switch over ``word`` of type ``kind`` whose cases are being read.

    Its statements are the innermost list of ``labels``; the first is kept for the head.
    ``end``: the label of the whole; ``known``: what is assigned at each case.
    """

    def __init__(
        self, kind: Type, word: Local, labels: Labels, end: str, known: AbstractSet[str]
    ) -> None:
        self.kind, self.word, self.labels, self.end, self.known = kind, word, labels, end, known
        self.level = labels.level
        self.level.out.append(Assign(word.name, word))
        self.cases: dict[int, Break] = {}
        self.default: Break | None = None

    def case(
        self, tokens: Tokens, start: int, value: Value | None, label: str, at: Pos | None
    ) -> None:
        """``case value:``, or without a value ``default:``, at token ``start``."""
        if self.labels.level is not self.level:
            tokens.fail(
                f"'{tokens.texts[start]}' within another statement of the switch", index=start,
                kind=UnsupportedSourceError,
            )  # fmt: skip
        jump = Break(at, label)
        if value is None:
            if self.default is not None:
                tokens.fail("two defaults in one switch", index=start)
            self.default = jump
        else:
            word = convert(value, self.kind).expr
            if not isinstance(word, Const):
                tokens.fail("a case is no constant", index=start + 1)
            if word.value in self.cases:
                tokens.fail(f"two cases of one switch are {value.low}", index=start + 1)
            self.cases[word.value] = jump
        self.labels.place(label, start, at)
        self.level.span(label, 0, start)

    def finish(self) -> None:
        """All cases are read: the head is known."""
        head: Stmt = self.default or Break(self.level.out[0].at, self.end)
        for word, jump in reversed(self.cases.items()):
            head = If(Binary("eq", self.word, Const(word)), (jump,), (head,), jump.at)
        self.level.out[0] = head
