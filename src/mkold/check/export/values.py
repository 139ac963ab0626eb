"""Values and guards of the graph as expressions over a thread's registers."""

from __future__ import annotations

from mkold.base.errors import UnsupportedError
from mkold.ir.nodes import Assign, Binary, Const, Expr, If, Local, Stmt, Unary
from mkold.lkmm.graph.events import Graph
from mkold.lkmm.graph.guards import Both, Either, Guard, Opposite, Taken
from mkold.lkmm.graph.values import (
    Applied,
    Chosen,
    Combined,
    Found,
    Met,
    Taint,
    Value,
    reads_of,
)

_SIGN = 1 << 63


class Expressions:
    """Expressions for one thread; a choice becomes an ``if`` and a register."""

    def __init__(self, graph: Graph, index: int) -> None:
        self.graph, self.index = graph, index
        self._n_locals = 0

    def expr(self, value: Value) -> tuple[list[Stmt], Expr]:
        """``value``, and the statements that must come before it."""
        match value:
            case Found(read):
                return [], Local(register(read))
            case Applied(op, a):
                made, x = self.expr(a)
                return made, Unary(op, x)
            case Combined(op, a, b):
                made, x = self.expr(a)
                more, y = self.expr(b)
                return [*made, *more], _signed(op, x, y)
            case Chosen(c, a, b):
                return self._choice(*self.expr(c), a, b)
            case Met(guard, a, b):
                return self._choice(*self.guard(guard), a, b)
            case word:
                return [], Const(word)

    def _choice(
        self, made: list[Stmt], cond: Expr, a: Value, b: Value
    ) -> tuple[list[Stmt], Expr]:
        self._n_locals += 1
        name = f"c{self.index}_{self._n_locals}"
        yes, x = self.expr(a)
        no, y = self.expr(b)
        either = If(cond, (*yes, Assign(name, x)), (*no, Assign(name, y)))
        return [*made, either], Local(name)

    def guard(self, guard: Guard) -> tuple[list[Stmt], Expr]:
        """A guard as a condition."""
        match guard:
            case Taken(number):
                cond = self.graph.decisions[number].cond
                if cond is None:
                    raise UnsupportedError("spin_trylock")
                made, expr = self.expr(cond)
                return made, Binary("ne", expr, Const(0))
            case Opposite(part):
                made, expr = self.guard(part)
                return made, Binary("eq", expr, Const(0))
            case Both(g, h) | Either(g, h):
                made, a = self.guard(g)
                more, b = self.guard(h)
                return [*made, *more], Binary("and" if type(guard) is Both else "or", a, b)
            case constant:
                return [], Const(constant)


def register(read: int) -> str:
    return f"v{read}"


def parts(guard: Guard) -> list[Guard]:
    """The conjuncts of a guard, outermost first."""
    if guard == 1:
        return []
    if type(guard) is Both:
        return [*parts(guard.a), *parts(guard.b)]
    return [guard]


def unsaid(deps: Taint, value: Value, *known: int) -> Taint:
    """Dependencies that ``value`` does not show."""
    return {
        read: guard
        for read, guard in deps.items()
        if read not in known and read not in reads_of(value)
    }


def _signed(op: str, a: Expr, b: Expr) -> Expr:
    """Unsigned operators by signed ones."""
    if op == "lshr" and isinstance(b, Const):
        if b.value == 0:
            return a
        mask = (1 << (64 - b.value)) - 1 if b.value < 64 else 0
        return Binary("and", Binary("ashr", a, b), Const(mask))
    if op in ("ult", "ule"):
        x, y = (Binary("xor", part, Const(_SIGN)) for part in (a, b))
        return Binary("slt" if op == "ult" else "sle", x, y)
    return Binary(op, a, b)
