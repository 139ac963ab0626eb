"""A scenario straightened, so that it can be a litmus test: no calls, no loops, no pointers.

Made from the event graph, in which calls are inlined, loops unrolled and addresses known.
Each thread becomes its events in program order, under ``if`` where a branch decides. What
an address or a word depends on is kept by adding ``r ^ r``; a lock, fence or access is the
primitive that has the same event. An access that may be at a few addresses becomes one at
each, under ``if``. What waits in a loop for ever is left out by a ``filter``.

The question is ``forall``: the final state is one of those that the model allows, so herd7
answers it with yes or no.

Known limits, refused by name: addresses that may be many, cut loops, ``call_rcu``,
``spin_trylock``, SRCU and reader-writer locks. A dependency through a branch that was
decided while unrolling is lost; ``export`` compares the verdicts, and keeps none that
differs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from mkold.base.errors import UnsupportedError
from mkold.ir.nodes import (
    Assign,
    Binary,
    Const,
    Expr,
    Function,
    If,
    Local,
    Op,
    Return,
    Stmt,
    Unary,
)
from mkold.ir.prims import PRIMS, Gives, Order, Shape, When, find, first
from mkold.ir.program import (
    And,
    Compare,
    Condition,
    Formula,
    Mem,
    Observed,
    Or,
    Program,
    Reg,
    Thread,
)
from mkold.lkmm.graph.events import NOWHERE, Graph, Node
from mkold.lkmm.graph.guards import Both, Either, Guard, Opposite, Taken
from mkold.lkmm.graph.values import (
    Applied,
    Chosen,
    Combined,
    Found,
    Met,
    Taint,
    Value,
    found,
    reads_of,
)
from mkold.lkmm.known.words import MayValues, initial_word

_SIGN = 1 << 63
MAX_ADDRESSES = 4
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


def straighten(graph: Graph, states: Iterable[tuple[int, ...]]) -> Program:
    """``graph`` as a program of straight threads, asked whether ``states`` are all.

    Raises
    ------
    UnsupportedError : the graph has what a litmus test can't say; names it
    """
    program = graph.program
    if graph.cuts:
        raise UnsupportedError("a loop is longer than its bound")
    if len(graph.unit_of_thread) > len(program.threads):
        raise UnsupportedError("call_rcu")
    symbols = _symbols(graph)
    threads = [_Thread(graph, i) for i in range(len(program.threads))]
    functions = {f"P{i}": thread.function(f"P{i}") for i, thread in enumerate(threads)}
    observed = tuple(_renamed(place) for place in program.observed)
    return Program(
        name=program.name,
        functions=functions,
        threads=tuple(Thread(name, name) for name in functions),
        init={address: initial_word(graph, address) for address in symbols.values()},
        symbols=symbols,
        condition=_all_of(observed, states),
        observed=observed,
        filter=_nobody_waits(threads),
    )


def _nobody_waits(threads: list[_Thread]) -> Formula | None:
    """Rounds that only wait are left out while unrolling, and so they are here."""
    waits = tuple(
        Compare("eq", Reg(thread.index, WAITS), 0) for thread in threads if thread.waits
    )
    return And(waits) if waits else None


def _all_of(observed: Sequence[Observed], states: Iterable[tuple[int, ...]]) -> Condition:
    return Condition(
        "forall",
        Or(
            tuple(
                And(tuple(Compare("eq", p, w) for p, w in zip(observed, state, strict=True)))
                for state in states
            )
        ),
    )


def _renamed(place: Observed) -> Observed:
    return place if isinstance(place, Mem) else Reg(place.thread, _c_name(place.local))


def _c_name(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_")


def _symbols(graph: Graph) -> dict[str, int]:
    """A C name for each word that an event or the question speaks of."""
    program = graph.program
    known = {address: name for name, address in program.symbols.items()}
    events = [node for node in graph.nodes if node.addr != NOWHERE]
    used = {address for node in events for address in _addresses(graph, node)}
    used |= {place.address for place in program.observed if isinstance(place, Mem)}
    computed = any(len(_addresses(graph, node)) > 1 for node in events)
    symbols: dict[str, int] = {}
    base, first = "", 0
    for address in sorted(used):
        if computed and base and address == first + _length(symbols, base):
            symbols[f"{base}[{address - first}]"] = address  # stays where it is
            continue
        name = _c_name(known.get(address, f"word_{address:x}"))
        if name in symbols or not name[0].isalpha():
            name = f"word_{address:x}"
        symbols[name] = address
        base, first = name, address
    return symbols


def _length(symbols: dict[str, int], base: str) -> int:
    """Words that are named after ``base`` so far."""
    return sum(name == base or name.startswith(f"{base}[") for name in symbols)


def _addresses(graph: Graph, node: Node) -> list[int]:
    """Where the event may be; the words that are no address of the scenario left out."""
    if isinstance(node.addr, int):
        return [node.addr]
    words = sorted(MayValues(graph).of(node.addr))
    if len(words) > MAX_ADDRESSES:
        raise UnsupportedError(f"{node.what or node.prim} may be at {len(words)} addresses")
    return words


class _Thread:
    """Writes one thread."""

    def __init__(self, graph: Graph, index: int) -> None:
        self.graph, self.index = graph, index
        self.nodes = [node for node in graph.nodes if node.thread == index]
        self.waits = [guard for guard, unit in graph.waits if unit == index]
        self._n_locals = 0

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
                made, expr = self.expr(value)
                body += [*made, Assign(_c_name(place.local), expr)]
        return Function(name, (), (*_joined(body), Return()))

    def _under(self, guard: Guard, body: list[Stmt]) -> list[Stmt]:
        for part in reversed(_parts(guard)):
            made, cond = self.guard(part)
            body = [*made, If(cond, tuple(body))]
        return body

    # -- events -------------------------------------------------------------------------

    def _anywhere(self, node: Node, skip: set[int]) -> list[Stmt]:
        """The event at each address that it may have."""
        if node.kind == "F":
            return [Op(_FENCES[node.order])]
        addresses = _addresses(self.graph, node)
        *others, last = addresses
        body = self._event(node, last, skip)
        made, where = self.expr(node.addr)
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
                return [Op(_LOADS[node.order], (_read(node.id),), (where,))]
            case "W" if node.order in _STORES:
                made, word = self.expr(node.value)
                word = self._with_deps(word, _unsaid(node.data_deps, node.value))
                return [*made, Op(_STORES[node.order], (), (where, word))]
            case "LKR":
                return [Op("spin_lock", (), (where,))]
            case "UL":
                return [Op("spin_unlock", (), (where,))]
            case _:
                raise UnsupportedError(f"{node.prim} has no straight form")

    def _update(self, read: Node, write: Node, where: Expr) -> list[Stmt]:
        """A read-modify-write, by what its write stores."""
        dst = (_read(read.id),)
        if PRIMS[read.prim].family == "rwlock":
            raise UnsupportedError(read.prim)
        made, new = self.expr(write.value)
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
        new = self._with_deps(new, _unsaid(write.data_deps, write.value, read.id))
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
        last = _parts(write.guard)[-1:] if write.guard != read.guard else []
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
                return self.expr(expected)
            case _:
                raise UnsupportedError(f"{read.prim} of a computed word")

    def _with_deps(self, expr: Expr, deps: Taint) -> Expr:
        """``expr`` with ``+ (r ^ r)`` for each read that it depends on unsaid."""
        for read in sorted(deps):
            local = Local(_read(read))
            expr = Binary("add", expr, Binary("xor", local, local))
        return expr

    # -- values and guards ---------------------------------------------------------------

    def expr(self, value: Value) -> tuple[list[Stmt], Expr]:
        """``value``, and the statements that must come before it."""
        match value:
            case Found(read):
                return [], Local(_read(read))
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


def _exchange(order: Order, when: When) -> str:
    row = first(shape=Shape.RMW, family="", op="set", order=order, when=when)
    return row.name


def _fetch(op: str, order: Order, *gives: Gives) -> str:
    row = first(shape=Shape.RMW, family="atomic", op=op, order=order, gives=gives,
                operand=None)  # fmt: skip
    return row.name


def _read(read: int) -> str:
    return f"v{read}"


def _parts(guard: Guard) -> list[Guard]:
    """The conjuncts of a guard, outermost first."""
    if guard == 1:
        return []
    if type(guard) is Both:
        return [*_parts(guard.a), *_parts(guard.b)]
    return [guard]


def _unsaid(deps: Taint, value: Value, *known: int) -> Taint:
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
