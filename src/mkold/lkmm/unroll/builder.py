"""Builds an event graph: events, decisions, what expressions are and what memory holds.

Here nothing is known of other threads: every access is an event, and a read may find
anything. Who knows more says so by other answers to the questions of memory and to
``truth`` (see ``memory``).
"""

from __future__ import annotations

from collections.abc import Callable

from mkold.base.errors import LimitError, UnsupportedError
from mkold.ir.nodes import (
    Binary,
    Const,
    Expr,
    FunctionWord,
    Local,
    Param,
    Select,
    Unary,
)
from mkold.ir.program import Program
from mkold.lkmm.graph.events import Check, Decision, Graph, Life, Node
from mkold.lkmm.graph.guards import Guard, implies, negate, taken
from mkold.lkmm.graph.values import (
    NO_TAINT,
    Applied,
    Taint,
    Value,
    binary,
    found,
    merge_taints,
    select,
    unary,
)
from mkold.lkmm.known.words import initial_word
from mkold.lkmm.unroll.state import Mem, State, meet

MAX_NODES = 20_000


class Builder:
    """One program's graph; ``thread`` and ``unit`` say where events now go.

    ``where`` is the calls and loop rounds that lead to here: it tells one place from itself
    later.
    """

    def __init__(self, program: Program, check: Callable[[], None]) -> None:
        self.program = program
        self.check = check
        self.graph = Graph(program)
        self.graph.private = self.graph.first_private = _first_free(program)
        self.thread = self.unit = 0
        self.where: tuple[object, ...] = ()
        self._po: list[int] = []
        self._decided: dict[Value, list[tuple[Guard, Guard]]] = {}
        self._groups: dict[tuple[tuple[object, ...], int], int] = {}

    # -- events and decisions -----------------------------------------------------

    def group(self, number: int) -> int:
        """The number of this run of the expression ``number``."""
        return self._groups.setdefault((self.where, number), len(self._groups) + 1)

    def add(self, state: State, kind: str, order: str, **fields: object) -> Node:
        """A new event of the running thread under the state's guard."""
        self.check()
        nodes = self.graph.nodes
        if len(nodes) >= MAX_NODES:
            raise LimitError(f"{self.program.name}: more than {MAX_NODES} events")
        po = self._po[self.thread]
        self._po[self.thread] = po + 1
        node = Node(
            len(nodes), self.thread, po, kind, order, state.live,
            ctrl_deps=state.ctrl, **fields,  # type: ignore[arg-type]
        )  # fmt: skip
        nodes.append(node)
        return node

    def flag(self, name: str, state: State, cond: Value) -> None:
        """Raise the flag ``name`` where ``state`` comes with ``cond`` not zero."""
        self.graph.checks.append(Check(name, state.live, cond, self.unit))

    def start_thread(self, name: str) -> None:
        """From now on events go to a new thread of the same unit."""
        self.graph.thread_names.append(name)
        self.graph.unit_of_thread.append(self.unit)
        self._po.append(0)
        self.thread = len(self._po) - 1

    def decide(self, state: State, cond: Value | None) -> Guard:
        """The guard "``cond`` is not zero": a constant, or a decision; None: either way."""
        self.check()
        if isinstance(cond, int):
            return int(cond != 0)
        if cond is None:
            return self._new_decision(state, cond)
        known = self.truth(state, cond)
        return self._decision(state, cond) if known is None else known

    def truth(self, state: State, cond: Value) -> int | None:
        """1 or 0 if ``cond`` is surely so (not zero, zero) where the state is."""
        return None

    def _decision(self, state: State, cond: Value) -> Guard:
        """A decision that turns on ``cond``."""
        return self._new_decision(state, cond)

    def _new_decision(self, state: State, cond: Value | None) -> Guard:
        self.graph.decisions.append(Decision(state.live, cond, self.unit))
        return taken(len(self.graph.decisions) - 1)

    def _asked_once(self, state: State, cond: Value) -> Guard:
        """A decision that turns on ``cond``, if it was not made before on the way here."""
        flip = isinstance(cond, Applied) and cond.op == "lnot"
        plain = cond.a if isinstance(cond, Applied) and cond.op == "lnot" else cond
        for guard, decision in self._decided.get(plain, ()):
            if implies(state.live, guard):
                return negate(decision) if flip else decision
        decision = self._new_decision(state, plain)
        self._decided.setdefault(plain, []).append((state.live, decision))
        return negate(decision) if flip else decision

    # -- memory -------------------------------------------------------------------

    def initial(self, address: int) -> int:
        """The word at ``address`` before anything ran."""
        return initial_word(self.graph, address)

    def settled(self, value: Value, state: State) -> Value:
        """``value``, or the one word that it can only be."""
        return value

    def is_lock(self, address: Value, state: State) -> bool:
        """Whether the word at ``address`` is used as a lock, as far as is known."""
        return False

    def is_watched(self, address: Value, life: Life, state: State) -> bool:
        """Whether a write there must be an event, so that what is wrong with it is seen."""
        return False

    def largest(self, value: Value, state: State) -> int:
        """The largest word that ``value`` may be.

        Raises
        ------
        UnsupportedError : it is not known to be small
        """
        return small(value if isinstance(value, int) else None)

    def found(self, node: Node, state: State) -> Value:
        """What the read ``node`` finds."""
        return found(node.id)

    def stored(self, node: Node, state: State) -> None:
        """The write ``node`` is there to be found, by others and by its own thread."""

    def load_private(
        self, address: tuple[Value, Taint], state: State
    ) -> tuple[Value, Taint] | None:
        """What a word that only this thread touches holds; None: make it an event."""
        return None

    def store_private(
        self, address: tuple[Value, Taint], value: tuple[Value, Taint], state: State
    ) -> bool:
        """Keep a store to a word that only this thread touches; False: make it an event."""
        return False

    def _last(self, at: Value, addresses: set[int], state: State) -> Value:
        """What this thread stored last at ``at``, one of ``addresses``; or what was there."""
        values = [
            (address, state.mem.get(address, (self.initial(address), NO_TAINT))[0])
            for address in sorted(addresses)
        ]
        last = values[0][1]
        for address, value in values[1:]:
            last = select(binary("eq", at, address), value, last)
        return last

    def meet_mem(self, guard: Guard, a: Mem, b: Mem) -> Mem:
        """What was stored last, where two branches meet."""
        if a == b:
            return a
        return {
            address: meet(
                guard,
                a.get(address, (self.initial(address), NO_TAINT)),
                b.get(address, (self.initial(address), NO_TAINT)),
            )
            for address in a.keys() | b.keys()
        }

    # -- expressions --------------------------------------------------------------

    def expr(self, expr: Expr, state: State) -> tuple[Value, Taint]:
        """The value and what it depends on."""
        match expr:
            case Const(value):
                return value, NO_TAINT
            case FunctionWord():
                return expr.word, NO_TAINT
            case Local(name):
                return state.env.get(name, (0, NO_TAINT))
            case Binary(op, a, b):
                x, y = self.expr(a, state), self.expr(b, state)
                return binary(op, x[0], y[0]), merge_taints(x[1], y[1])
            case Unary(op, a):
                x = self.expr(a, state)
                return unary(op, x[0]), x[1]
            case Select(c, a, b):
                z, x, y = (self.expr(part, state) for part in (c, a, b))
                return select(z[0], x[0], y[0]), merge_taints(z[1], x[1], y[1])
            case Param(name):
                raise UnsupportedError(f"build parameter {name} has no value")


MAX_POISONED = 4_096


def small(n: int | None) -> int:
    """A number of words to poison.

    Raises
    ------
    UnsupportedError : it is not known, or large
    """
    if n is None or n > MAX_POISONED:
        raise UnsupportedError("the number of words to poison is not a small constant")
    return n


def _first_free(program: Program) -> int:
    used = [*program.init, *program.symbols.values(), 1 << 62]
    return max(used) + 1
