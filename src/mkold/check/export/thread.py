"""One thread of a graph as straight statements: its events in program order.

What an address or a word depends on is kept by adding ``r ^ r``; a lock, fence or access is
the primitive that has the same event. An access that may be at a few addresses becomes one
at each, under ``if``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mkold.base.errors import UnsupportedError
from mkold.check.export.places import addresses_of, c_name
from mkold.check.export.values import Expressions, parts, register, unsaid
from mkold.ir.nodes import Assign, Binary, Const, Expr, Function, If, Local, Op, Return, Stmt
from mkold.ir.prims import PRIMS, Gives, Order, Shape, When, find, first
from mkold.ir.program import Reg
from mkold.lkmm.graph.events import Graph, Node
from mkold.lkmm.graph.guards import Guard, Taken
from mkold.lkmm.graph.values import Combined, Taint, found, reads_of

WAITS = "waits"
# Primitives by the tags of their events.
_LOADS = {
    order.read: first(shape=Shape.LOAD, order=order).name
    for order in (Order.PLAIN, Order.ONCE, Order.ACQUIRE)
}
_STORES = {
    order.write: first(shape=Shape.STORE, order=order).name
    for order in (Order.PLAIN, Order.ONCE, Order.RELEASE)
}
_FENCES = {row.op: row.name for row in reversed(find(shape=Shape.FENCE))}
_ORDERS = {(order.read, order.write): order for order in Order}
_FETCH = frozenset({"add", "sub", "and", "or", "xor"})


class StraightThread:
    """Writes one thread."""

    def __init__(self, graph: Graph, index: int) -> None:
        self.graph, self.index = graph, index
        self.values = Expressions(graph, index)
        self.nodes = [node for node in graph.nodes if node.thread == index]
        self.waits = [guard for guard, unit in graph.waits if unit == index]

    def function(self, name: str) -> Function:
        body: list[Stmt] = []
        skip: set[int] = set()
        for node in self.nodes:
            if node.id not in skip:
                body += self._under(node.guard, self._anywhere(node, skip))
        for guard in self.waits:
            body += self._under(guard, [Assign(WAITS, Const(1))])
        for place in self.graph.program.observed:
            if isinstance(place, Reg) and place.thread == self.index:
                value = self.graph.finals[self.index].get(place.local, 0)
                made, expr = self.values.expr(value)
                body += [*made, Assign(c_name(place.local), expr)]
        return Function(name, (), (*_joined(body), Return()))

    def _under(self, guard: Guard, body: list[Stmt]) -> list[Stmt]:
        for part in reversed(parts(guard)):
            made, cond = self.values.guard(part)
            body = [*made, If(cond, tuple(body))]
        return body

    def _anywhere(self, node: Node, skip: set[int]) -> list[Stmt]:
        """The event at each address that it may have."""
        if node.kind == "F":
            return [Op(_FENCES[node.order])]
        addresses = addresses_of(self.graph, node)
        *others, last = addresses
        body = self._event(node, last, skip)
        made, where = self.values.expr(node.addr)
        for address in others:
            here = self._event(node, address, skip)
            body = [If(Binary("eq", where, Const(address)), tuple(here), tuple(body))]
        return [*made, *body] if others else body

    def _event(self, node: Node, address: int, skip: set[int]) -> list[Stmt]:
        where = self._with_deps(Const(address), node.addr_deps)
        partner = self.graph.nodes[node.rmw] if node.rmw >= 0 else None
        if partner is not None:
            skip.add(partner.id)
        match node.kind:
            case "R" if partner is not None:
                return self._update(node, partner, where)
            case "R" if node.order in _LOADS:
                return [Op(_LOADS[node.order], (register(node.id),), (where,))]
            case "W" if node.order in _STORES:
                made, word = self.values.expr(node.value)
                word = self._with_deps(word, unsaid(node.data_deps, node.value))
                return [*made, Op(_STORES[node.order], (), (where, word))]
            case "LKR":
                return [Op("spin_lock", (), (where,))]
            case "UL":
                return [Op("spin_unlock", (), (where,))]
            case _:
                raise UnsupportedError(f"{node.prim} has no straight form")

    def _update(self, read: Node, write: Node, where: Expr) -> list[Stmt]:
        """A read-modify-write, by what its write stores."""
        dst = (register(read.id),)
        if PRIMS[read.prim].family == "rwlock":
            raise UnsupportedError(read.prim)
        made, new = self.values.expr(write.value)
        order = _ORDERS[read.order, write.order]
        if order is Order.NORETURN:
            op, amount = self._amount(read, write)
            return [*made, Op(_fetch(op, order), (), (where, amount))]
        if read.conditional:
            more, expected = self._expected(read, write)
            name = _exchange(order, When.EQUAL)
            return [*made, *more, Op(name, dst, (where, expected, new))]
        if read.id in reads_of(write.value):
            op, amount = self._amount(read, write)
            return [Op(_fetch(op, order, Gives.OLD), dst, (where, amount))]
        new = self._with_deps(new, unsaid(write.data_deps, write.value, read.id))
        return [*made, Op(_exchange(order, When.ALWAYS), dst, (where, new))]

    def _amount(self, read: Node, write: Node) -> tuple[str, Expr]:
        value = write.value
        if isinstance(value, int) and isinstance(
            read.value, int
        ):  # there is but one word to find
            return "add", Const((value - read.value) % (1 << 64))
        match value:
            case Combined(op, a, int(amount)) if op in _FETCH and a is found(read.id):
                return op, Const(amount)
            case _:
                raise UnsupportedError(f"{read.prim} of a computed word")

    def _expected(self, read: Node, write: Node) -> tuple[list[Stmt], Expr]:
        """What a compare-and-swap compares with: its write's own decision says it."""
        last = parts(write.guard)[-1:] if write.guard != read.guard else []
        if not last:
            if not isinstance(read.value, int):
                raise UnsupportedError(f"{read.prim} that always succeeds")
            return [], Const(read.value)
        match last[0]:
            case Taken(number):
                cond = self.graph.decisions[number].cond
            case _:
                cond = None
        match cond:
            case Combined("eq", a, expected) if a == read.value:
                return self.values.expr(expected)
            case _:
                raise UnsupportedError(f"{read.prim} of a computed word")

    def _with_deps(self, expr: Expr, deps: Taint) -> Expr:
        """``expr`` with ``+ (r ^ r)`` for each read that it depends on unsaid."""
        for read in sorted(deps):
            local = Local(register(read))
            expr = Binary("add", expr, Binary("xor", local, local))
        return expr


def _exchange(order: Order, when: When) -> str:
    row = first(shape=Shape.RMW, family="", op="set", order=order, when=when)
    return row.name


def _fetch(op: str, order: Order, *gives: Gives) -> str:
    row = first(shape=Shape.RMW, family="atomic", op=op, order=order, gives=gives,
                operand=None)  # fmt: skip
    return row.name


def _joined(body: list[Stmt]) -> Iterator[Stmt]:
    """Neighbours under one condition share their ``if``."""
    last: If | None = None
    for stmt in body:
        same = isinstance(stmt, If) and last is not None and not (stmt.orelse or last.orelse)
        if same and isinstance(stmt, If) and last is not None and stmt.cond == last.cond:
            last = If(last.cond, (*last.then, *stmt.then))
            continue
        if last is not None:
            yield last if last.orelse else If(last.cond, tuple(_joined(list(last.then))))
        last = stmt if isinstance(stmt, If) else None
        if last is None:
            yield stmt
    if last is not None:
        yield last if last.orelse else If(last.cond, tuple(_joined(list(last.then))))
