"""Memory while a program is unrolled, as far as the oracle knows it (see ``oracle``)."""

from __future__ import annotations

from mkold.base.errors import LimitError, UnsupportedError
from mkold.ir.prims import PRIMS
from mkold.ir.program import POISONS, Program
from mkold.lkmm.graph.events import Graph, Node
from mkold.lkmm.graph.guards import Guard
from mkold.lkmm.graph.values import NO_TAINT, Taint, Value, binary, found, merge_taints, select
from mkold.lkmm.known.oracle import Oracle, Words
from mkold.lkmm.known.past import Site, smallest
from mkold.lkmm.known.words import initial_word
from mkold.lkmm.unroll.state import Mem, State, meet

MAX_POISONED = 4_096


class Remembering:
    """What the running thread finds in memory, and what it leaves there.

    ``where`` is the calls and loop rounds that lead to here: it tells one place from itself
    later. ``passed`` are the stores so far, on any branch. Without an oracle every access is
    an event and a read may find anything.
    """

    program: Program
    graph: Graph
    oracle: Oracle | None
    thread: int
    where: tuple[object, ...]
    passed: set[Site]

    def initial(self, address: int) -> int:
        """The word at ``address`` before anything ran."""
        return initial_word(self.graph, address)

    def settled(self, value: Value, state: State) -> Value:
        """``value``, or the one word that it can only be."""
        if isinstance(value, int) or self.oracle is None:
            return value
        words = self.oracle.words(value, state.live)
        return next(iter(words)) if words is not None and len(words) == 1 else value

    def is_lock(self, address: Value, state: State) -> bool:
        """Whether the word at ``address`` is used as a lock, as far as is known."""
        if self.oracle is None:
            return False
        return self._words(address, state) <= self.oracle.knowledge.locks

    def largest(self, value: Value, state: State) -> int:
        """The largest word that ``value`` may be.

        Raises
        ------
        UnsupportedError : it is not known to be small
        """
        words = {value} if isinstance(value, int) else set()
        if self.oracle is not None:
            words = self.oracle.words(value, state.live) or set()
        if not words or max(words) > MAX_POISONED:
            raise UnsupportedError("the number of words to poison is not a small constant")
        return int(max(words))

    def found(self, node: Node, state: State) -> Value:
        """What the read ``node`` finds."""
        if self.oracle is None:
            return found(node.id)
        addresses = self._words(node.addr, state)
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

    def stored(self, node: Node, state: State) -> None:
        """The write ``node`` is there to be found, by others and by its own thread."""
        if self.oracle is None:
            return
        addresses = self._words(node.addr, state)
        self.oracle.touch(self.thread, addresses, event=True)
        site = hash((self.where, node.prim, node.at, node.kind))
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
        """What a word that only this thread touches holds; None: make it an event."""
        at, taint = address
        if self.oracle is None or not isinstance(at, int) or at in self.oracle.shared:
            return None
        self.oracle.touch(self.thread, [at], event=False)
        value, deps = state.mem.get(at, (self.initial(at), NO_TAINT))
        if POISONS & self._words(value, state):  # to be seen, it must be an event
            self.oracle.touch(self.thread, [at], event=True)
        return value, merge_taints(taint, deps)

    def store_private(
        self, address: tuple[Value, Taint], value: tuple[Value, Taint], state: State
    ) -> bool:
        """Keep a store to a word that only this thread touches; False: make it an event."""
        at, taint = address
        if self.oracle is None or not isinstance(at, int) or at in self.oracle.shared:
            return False
        self.oracle.touch(self.thread, [at], event=False)
        self.oracle.store(self.thread, [at], self._derived(value[0], state))
        state.mem[at] = value[0], merge_taints(taint, value[1])
        return True

    def _derived(self, value: Value, state: State, site: Site | None = None) -> Words:
        assert self.oracle is not None
        words = self.oracle.derive(value, state.live, site)
        if words is None:
            raise LimitError(f"{self.program.name}: a value has too many possible words")
        return words

    def _words(self, value: Value, state: State) -> set[int]:
        assert self.oracle is not None
        words = self.oracle.words(value, state.live)
        if words is None:
            raise LimitError(f"{self.program.name}: a value has too many possible words")
        return words

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
