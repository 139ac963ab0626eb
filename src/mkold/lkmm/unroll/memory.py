"""Unrolling with an oracle, which says what memory holds (see ``oracle``)."""

from __future__ import annotations

from collections.abc import Callable

from mkold.base.errors import LimitError, UnsupportedError
from mkold.ir.nodes import Loop
from mkold.ir.prims import PRIMS
from mkold.ir.program import POISON, POISONS, Program
from mkold.lkmm.graph.events import Life, Node
from mkold.lkmm.graph.guards import Guard, both
from mkold.lkmm.graph.values import (
    NO_TAINT,
    Taint,
    Value,
    binary,
    found,
    merge_taints,
    select,
    under,
)
from mkold.lkmm.known.oracle import Oracle, Words
from mkold.lkmm.known.past import Site, smallest
from mkold.lkmm.unroll.builder import small
from mkold.lkmm.unroll.carried import Carried
from mkold.lkmm.unroll.state import State
from mkold.lkmm.unroll.unroller import Unroller


class Remembering(Unroller):
    """Finds in memory what ``oracle`` says of other threads, and what the thread left there.

    ``passed`` are the stores so far, on any branch.
    """

    def __init__(
        self, program: Program, max_unroll: int, check: Callable[[], None], oracle: Oracle
    ) -> None:
        super().__init__(program, max_unroll, check)
        self.oracle, self.carried = oracle, Carried(program)
        self.passed: set[Site] = set()
        self.graph.decisions = oracle.decisions
        self.graph.domains = oracle.domains

    # -- what is surely so --------------------------------------------------------

    def truth(self, state: State, cond: Value) -> int | None:
        return self.oracle.truth(state.live, cond)

    def _decision(self, state: State, cond: Value) -> Guard:
        return self._asked_once(state, cond)

    def only_waits(self, loop: Loop, start: State, state: State, n_nodes: int) -> bool:
        """As the round only waits for another thread, leaving it out leaves every outcome."""
        names = self.carried.of(loop)
        if any(state.env.get(name) != start.env.get(name) for name in names):
            return False
        for address, (stored, _) in state.mem.items():
            before, _ = start.mem.get(address, (self.initial(address), NO_TAINT))
            differs = binary("ne", under(stored, state.live), before)
            if differs != 0 and self.oracle.truth(state.live, differs) != 0:
                return False
        new = self.graph.nodes[n_nodes:]
        return not any(
            node.is_write and self.oracle.possible(both(node.guard, state.live)) for node in new
        )

    def enough(self, n_rounds: int, n_open: int) -> bool:
        return n_open == self.max_unroll

    # -- memory -------------------------------------------------------------------

    def settled(self, value: Value, state: State) -> Value:
        if isinstance(value, int):
            return value
        words = self.oracle.words(value, state.live)
        return next(iter(words)) if words is not None and len(words) == 1 else value

    def is_lock(self, address: Value, state: State) -> bool:
        return self._words(address, state) <= self.oracle.knowledge.locks

    def is_watched(self, address: Value, life: Life, state: State) -> bool:
        if not isinstance(address, int) or life is Life.GIVEN:
            return False
        stored = state.mem.get(address)
        watched = stored is not None and POISON in self._words(stored[0], state)
        if life is Life.FREED:
            watched |= self.oracle.objects.start(address) is not None
        if watched:
            self.oracle.touch(self.thread, [address], event=True)
        return watched

    def largest(self, value: Value, state: State) -> int:
        words = self.oracle.words(value, state.live)
        return small(max(words) if words else None)

    def found(self, node: Node, state: State) -> Value:
        addresses = self._words(node.addr, state)
        self._check_order(node, addresses, state)
        self.oracle.touch(self.thread, addresses, event=True)
        row = PRIMS.get(node.prim)
        if row is not None and row.holds is not None and row.lvalue:
            self.oracle.round.locks |= addresses
        last = self._last(node.addr, addresses, state)
        pasts = self.oracle.others(self.thread, addresses, self.passed)
        if node.must is not None and not POISONS & {*pasts, *self._derived(last, state)}:
            last, pasts = node.must, {}
        else:
            node.must = None  # what is freed or not set up is found as well
        alone = not pasts
        for word, ways in self._derived(last, state).items():
            pasts[word] = smallest((*pasts.get(word, ()), *ways))
        self.oracle.domains[node.id] = tuple(sorted(pasts))
        self.oracle.pasts[node.id] = pasts
        if len(pasts) == 1:
            return next(iter(pasts))
        return last if alone else found(node.id)

    def _check_order(self, node: Node, addresses: set[int], state: State) -> None:
        """What a thread finds of its own is known only where its accesses are in order.

        Raises
        ------
        UnsupportedError : the same expression writes the word, in no order with ``node``
        """
        if not node.group:
            return
        before = {node.rmw, *node.needs()}
        for other in reversed(self.graph.nodes[: node.id]):
            if other.group != node.group:
                return
            if other.id in before:
                before |= other.needs()
                continue
            writes = node.is_write or other.is_write
            if writes and addresses & self._words(other.addr, state):
                raise UnsupportedError(
                    f"{self.program.name}: an expression that writes a variable and accesses "
                    "it otherwise, in a program with loops or calls"
                )

    def stored(self, node: Node, state: State) -> None:
        addresses = self._words(node.addr, state)
        self._check_order(node, addresses, state)
        self.oracle.touch(self.thread, addresses, event=True)
        site = hash((self.where, node.stmt, node.kind))
        self.passed.add(site)
        if len(addresses) == 1:
            (address,) = addresses
            self.oracle.round.sites[site] = self.thread, address
        self.oracle.store(self.thread, addresses, self._derived(node.value, state, site))
        for address in addresses:
            here = binary("eq", node.addr, address)
            before = state.mem.get(address, (self.initial(address), NO_TAINT))
            taint = merge_taints(before[1], node.data_deps, node.addr_deps)
            state.mem[address] = select(here, node.value, before[0]), taint

    def load_private(
        self, address: tuple[Value, Taint], state: State
    ) -> tuple[Value, Taint] | None:
        at, taint = address
        if not isinstance(at, int) or self._is_event(at):
            return None
        self.oracle.touch(self.thread, [at], event=False)
        value, deps = state.mem.get(at, (self.initial(at), NO_TAINT))
        if POISONS & self._words(value, state):  # to be seen, it must be an event
            self.oracle.touch(self.thread, [at], event=True)
        return value, merge_taints(taint, deps)

    def store_private(
        self, address: tuple[Value, Taint], value: tuple[Value, Taint], state: State
    ) -> bool:
        at, taint = address
        if not isinstance(at, int) or self._is_event(at):
            return False
        self.oracle.touch(self.thread, [at], event=False)
        self.oracle.store(self.thread, [at], self._derived(value[0], state))
        state.mem[at] = value[0], merge_taints(taint, value[1])
        return True

    def _is_event(self, address: int) -> bool:
        """Whether an access there is an event: others touch it, or it goes astray."""
        return address in self.oracle.shared or bool(self.oracle.objects.stray(address))

    def _derived(self, value: Value, state: State, site: Site | None = None) -> Words:
        words = self.oracle.derive(value, state.live, site)
        if words is None:
            raise LimitError(f"{self.program.name}: a value has too many possible words")
        return words

    def _words(self, value: Value, state: State) -> set[int]:
        words = self.oracle.words(value, state.live)
        if words is None:
            raise LimitError(f"{self.program.name}: a value has too many possible words")
        return words
