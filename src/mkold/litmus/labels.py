"""Labels of one thread: ``goto``, and the cases of a ``switch``.

A jump down leaves a block that ends where its label stands; a jump up goes on with a loop
that starts there. Both hold statements of the one list in which the label stands, and lie
apart or within one another, for which a block may start earlier and a loop end later.

Known limits: no jump into a block or into the middle of a loop (of that kind of flow one
would have to write statements twice).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mkold.base.errors import Pos, SourceError
from mkold.ir.flow import falls_through
from mkold.ir.nodes import Block, Break, Continue, Loop, Stmt
from mkold.litmus.source import Tokens, UnsupportedSourceError

MAX_LABELS = 60  # of one thread, cases included


@dataclass(slots=True)
class _Span:
    """Statements ``start`` to ``end`` of a list, in a block or a loop called ``label``."""

    label: str
    start: int
    end: int
    is_loop: bool
    at: Pos | None
    token: int  # of a jump that asks for it

    def made(self, body: Sequence[Stmt]) -> Stmt:
        if not self.is_loop:
            return Block(self.label, tuple(body), self.at)
        leave = (Break(self.at, self.label),) if falls_through(tuple(body)) else ()
        return Loop((*body, *leave), (), self.at, self.label)

    def crosses(self, other: _Span) -> bool:
        """Whether it ends inside of ``other``, which starts inside of it."""
        return self.start < other.start < self.end < other.end


@dataclass(slots=True)
class Level:
    """A list of statements under way, and the labels that stand in it."""

    out: list[Stmt]
    labels: dict[str, tuple[int, Pos | None]] = field(default_factory=dict)
    spans: list[_Span] = field(default_factory=list)

    def span(self, label: str, source: int, token: int) -> None:
        """A jump from within statement ``source`` to ``label``, which stands here."""
        place, at = self.labels[label]
        is_loop = source >= place
        start, end = (place, source + 1) if is_loop else (source, place)
        for span in self.spans:
            if span.label == label and span.is_loop == is_loop:
                span.start, span.end = min(span.start, start), max(span.end, end)
                return
        self.spans.append(_Span(label, start, end, is_loop, at, token))


@dataclass(slots=True)
class _Jump:
    """A ``goto`` whose label has not come yet: the lists around it, and where in each."""

    token: int
    levels: list[tuple[Level, int]]
    assigned: frozenset[str]


class Labels:
    """The labels of a thread that is being read."""

    __slots__ = ("_jumps", "_known", "_levels", "_tokens")

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._levels: list[Level] = []
        self._known: set[str] = set()
        self._jumps: dict[str, list[_Jump]] = {}

    @property
    def level(self) -> Level:
        """The innermost list under way."""
        return self._levels[-1]

    def begin(self, out: list[Stmt]) -> None:
        """``out`` is the list that statements go to from here on."""
        self._levels.append(Level(out))

    def end(self) -> list[Stmt]:
        """The innermost list, done."""
        level = self._levels.pop()
        return self._woven(level.out, level.spans) if level.spans else level.out

    def jump(self, label: str, token: int, at: Pos | None, assigned: Iterable[str]) -> Stmt:
        """``goto label``, which is token number ``token``."""
        for level in self._levels:
            if label in level.labels:
                level.span(label, len(level.out), token)
                return Continue(at, label)
        if label in self._known:
            raise self._into_a_block(label, token)
        levels = [(level, len(level.out)) for level in self._levels]
        jump = _Jump(token, levels, frozenset(assigned))
        self._jumps.setdefault(label, []).append(jump)
        return Break(at, label)

    def place(self, label: str, token: int, at: Pos | None) -> list[frozenset[str]]:
        """``label`` stands here; what was assigned at each jump that led to it so far."""
        if label in self._known:
            self._tokens.fail(f"two labels are called '{label}'", index=token)
        if len(self._known) == MAX_LABELS:
            self._tokens.fail(
                f"more than {MAX_LABELS} labels", index=token, kind=UnsupportedSourceError
            )
        self._known.add(label)
        level = self.level
        level.labels[label] = len(level.out), at
        jumps = self._jumps.pop(label, [])
        for jump in jumps:
            source = next((n for around, n in jump.levels if around is level), None)
            if source is None:
                raise self._into_a_block(label, jump.token)
            level.span(label, source, jump.token)
        return [jump.assigned for jump in jumps]

    def check(self) -> None:
        """The thread ends: every ``goto`` must have found its label."""
        for label, jumps in self._jumps.items():
            self._tokens.fail(f"there is no label '{label}'", index=jumps[0].token)

    def _into_a_block(self, label: str, token: int) -> SourceError:
        return self._tokens.error(
            f"a jump into the block in which '{label}' stands", index=token,
            kind=UnsupportedSourceError, hint="a label may stand in a block around its goto",
        )  # fmt: skip

    def _woven(self, out: Sequence[Stmt], spans: list[_Span]) -> list[Stmt]:
        while any(_fitted(a, b) for a in spans for b in spans):
            pass
        for span in spans:
            if any(other.is_loop and span.crosses(other) for other in spans):
                self._tokens.fail(
                    f"a jump into a loop, past its start, to '{span.label}'", index=span.token,
                    kind=UnsupportedSourceError, hint="one may jump to its start",
                )  # fmt: skip
        spans.sort(key=lambda span: (span.start, -span.end))
        return _nested(out, 0, len(out), spans)


def _fitted(a: _Span, b: _Span) -> bool:
    """Widen one of ``a`` and ``b`` if they cross and one may be widened."""
    if not a.crosses(b):
        return False
    if not b.is_loop:  # may start earlier
        b.start = a.start
    elif a.is_loop:
        a.end = b.end
    else:
        return False
    return True


def _nested(out: Sequence[Stmt], start: int, end: int, spans: Sequence[_Span]) -> list[Stmt]:
    """Statements ``start`` to ``end``, those of ``spans`` in their blocks and loops."""
    made: list[Stmt] = []
    while spans:
        span = spans[0]
        inner = [other for other in spans[1:] if other.start < span.end]
        made += out[start : span.start]
        made.append(span.made(_nested(out, span.start, span.end, inner)))
        start, spans = span.end, spans[1 + len(inner) :]
    return [*made, *out[start:end]]
