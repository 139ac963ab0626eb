"""What goes wrong in an execution, as literals: checks, freed memory, stray accesses, nesting.

Each flag is one literal, true in every execution that shows it. Data races and what SRCU's
cookies do are in ``races`` and ``cookies``: these are orders and matches that are *not* there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from mkold.ir.nodes import POISON_INUSE
from mkold.ir.program import POISON
from mkold.lkmm.graph.events import Life, Node
from mkold.lkmm.known.objects import Objects
from mkold.lkmm.paths.question import addresses
from mkold.lkmm.paths.safety import over_a_free, stray_of
from mkold.lkmm.sat.depth import Depth
from mkold.lkmm.sat.facts import INIT
from mkold.lkmm.sat.formula import Formula
from mkold.lkmm.sat.solver import FALSE, TRUE, Lit
from mkold.lkmm.verdict import LOCK_KINDS

BARRIERS = frozenset(
    {
        "barrier", "rmb", "wmb", "mb", "sync-rcu", "sync-srcu", "before-atomic",
        "after-atomic", "acquire", "release", "rcu-lock", "rcu-unlock", "srcu-lock",
        "srcu-unlock",
    }
)  # fmt: skip


class Flags:
    """The flags of ``formula`` by name."""

    def __init__(self, formula: Formula) -> None:
        self.formula = formula
        self._found: dict[str, list[Lit]] = {}
        self._checks()
        self._memory()
        self._strays()
        self._over_frees()
        for nodes in self._threads():
            self._mixed(nodes)
            self._sections(nodes)
            self._unlocks(nodes)
        self._lock_words()
        self.lits = {flag: formula.words.any(lits) for flag, lits in self._found.items()}

    def _flag(self, name: str, lit: Lit) -> None:
        if lit != FALSE:
            self._found.setdefault(name, []).append(lit)

    def _threads(self) -> Iterator[list[Node]]:
        by_thread: dict[int, list[Node]] = {}
        for node in self.formula.graph.nodes:
            if self.formula.x[node.id] != FALSE:
                by_thread.setdefault(node.thread, []).append(node)
        for nodes in by_thread.values():
            yield sorted(nodes, key=lambda n: n.po)

    def _checks(self) -> None:
        circuit, words = self.formula.circuit, self.formula.words
        for check in self.formula.graph.checks:
            fires = words.both(circuit.guard(check.guard), circuit.truth(check.cond))
            self._flag(check.flag, fires)

    def _memory(self) -> None:
        formula, words = self.formula, self.formula.words
        for read in formula.reads:
            poison = words.is_word(formula.circuit.value(read.value), POISON)
            if poison != FALSE:
                initial = formula.source[read.id].get(INIT, FALSE)
                found = words.both(poison, formula.x[read.id])
                self._flag("use-before-init", words.both(found, initial))
                self._flag("use-after-free", words.both(found, -initial))
            unset = words.is_word(formula.circuit.value(read.value), POISON_INUSE)
            self._flag("use-before-init", words.both(unset, formula.x[read.id]))

    def _strays(self) -> None:
        """Accesses where there is no memory; of a thread the first, if memory is known."""
        formula, program = self.formula, self.formula.graph.program
        objects = Objects(program)
        for nodes in self._threads():
            before: list[Lit] = []
            freed: dict[int, list[Lit]] = {}  # where objects that the thread freed start
            for node in nodes:
                here: list[Lit] = []
                for place, lit in formula.at.get(node.id, {}).items():
                    first = lit if program.objects is None else self._none(lit, before)
                    flag = stray_of(objects, place, node.life)
                    if flag:
                        self._flag(flag, first)
                        here.append(lit)
                    elif (
                        node.life is Life.FREED and (start := objects.start(place)) is not None
                    ):
                        if place == start:
                            freed.setdefault(start, []).append(lit)
                        else:
                            middle = self._none(first, freed.get(start, ()))
                            self._flag("invalid-free", middle)
                before += here

    def _none(self, lit: Lit, others: Sequence[Lit]) -> Lit:
        """``lit`` and none of ``others``."""
        return self.formula.words.all([lit, *(-other for other in others)])

    def _over_frees(self) -> None:
        """Writes right after a free in coherence (see ``paths.safety``)."""
        formula, coherence = self.formula, self.formula.coherence
        poisoned = [a for a, word in formula.graph.program.init.items() if word == POISON]
        for write in formula.writes:
            flag, near = over_a_free(write), coherence.near[write.id]
            if not flag:
                continue
            for free in near:
                if free.life is Life.FREED:
                    between = [
                        formula.words.both(coherence.co(free.id, other.id),
                                           coherence.co(other.id, write.id))
                        for other in near if other is not free
                    ]  # fmt: skip
                    self._flag(flag, self._none(coherence.co(free.id, write.id), between))
            for place in poisoned if flag == "double-free" else ():
                lit = formula.at[write.id].get(place, FALSE)
                earlier = [coherence.co(other.id, write.id) for other in near]
                self._flag(flag, self._none(lit, earlier))

    def _mixed(self, nodes: list[Node]) -> None:
        """A plain write next to a marked access of the same word, nothing between."""
        if not any(n.is_write and n.order == "plain" for n in nodes):
            return
        for i, one in enumerate(nodes):
            if not (one.is_read or one.is_write):
                continue
            free: Lit = TRUE  # nothing stands between, of all that is no operand beside two
            near = [one] if one.order == "acquire" else []
            for two in nodes[i + 1 :]:
                if near and not (two.group and two.group == near[-1].group):
                    free, near = self._none(free, [self._after(one, k) for k in near]), []
                plain, marked = (one, two) if one.order == "plain" else (two, one)
                if (two.is_read or two.is_write) and (
                    plain.order == "plain" != marked.order and plain.is_write
                ):
                    bars = [*near, two] if two.order == "release" else near
                    self._mixed_pair(one, two, free, bars)
                if two.order in BARRIERS:
                    near.append(two)

    def _mixed_pair(self, one: Node, two: Node, free: Lit, bars: Sequence[Node]) -> None:
        both = self.formula.words.both
        mixed = both(self.formula.same(one.id, two.id), both(free, self._in_order(one, two)))
        between = [both(self._after(one, k), self._in_order(k, two)) for k in bars]
        self._flag("mixed-accesses", self._none(mixed, between))

    def _after(self, one: Node, node: Node) -> Lit:
        """The node happens with its tag, after ``one`` in every order of an expression."""
        return self.formula.words.both(self._bars(node), self._in_order(one, node))

    def _in_order(self, one: Node, two: Node) -> Lit:
        if one is two or not one.group or one.group != two.group:
            return TRUE
        return self.formula.expressions.forced(one.id, two.id)

    def _bars(self, node: Node) -> Lit:
        """The node happens, with its tag."""
        happens = self.formula.x[node.id]
        if node.conditional:
            done = self.formula.x[node.rmw] if node.rmw >= 0 else FALSE
            return self.formula.words.both(happens, done)
        return happens

    def _sections(self, nodes: list[Node]) -> None:
        """RCU read-side sections that don't nest; a sleep in one that does."""
        words = self.formula.words
        depth = Depth(words)
        sleeps: list[tuple[int, Lit]] = []  # in how many sections, where it is not yet matched
        for node in nodes:
            x = self.formula.x[node.id]
            if node.order == "rcu-lock":
                depth.enter(x)
            elif node.order == "rcu-unlock":
                self._flag("unmatched-rcu-unlock", words.both(x, depth.levels[0]))
                matches = [words.both(x, depth.levels[level]) for level, _ in sleeps]
                for (_, slept), matched in zip(sleeps, matches, strict=True):
                    self._flag("invalid-sleep", words.both(slept, matched))
                sleeps = [
                    (level, words.both(slept, -matched))
                    for (level, slept), matched in zip(sleeps, matches, strict=True)
                ]
                depth.leave(x)
            elif node.kind == "SRCU":
                sleeps += [(level, words.both(x, lit))
                           for level, lit in enumerate(depth.levels) if level]  # fmt: skip
        self._flag("unmatched-rcu-lock", depth.some)

    def _unlocks(self, nodes: list[Node]) -> None:
        """An unlock of what its thread does not hold."""
        formula, words = self.formula, self.formula.words
        locks: list[tuple[Node, Lit]] = []  # with where it is still held
        for node in nodes:
            if node.kind == "LKW":
                locks.append((node, formula.x[node.id]))
            elif node.kind == "UL":
                mine = [
                    words.both(held, formula.same(lock.id, node.id)) for lock, held in locks
                ]
                self._flag("unmatched-unlock", words.both(formula.x[node.id], -words.any(mine)))
                locks = [(lock, words.both(held, -formula.same(lock.id, node.id)))
                         for lock, held in locks]  # fmt: skip

    def _lock_words(self) -> None:
        """A lock's word that is accessed like data, or asked for at the end."""
        formula = self.formula
        nodes = [n for n in formula.graph.nodes if n.id in formula.at]
        locks = [n for n in nodes if _is_of_lock(n)]
        asked = set(addresses(formula.graph.program))
        for lock in locks:
            for address, lit in formula.at[lock.id].items():
                if address in asked:
                    self._flag("lock-final", lit)
                for node in nodes:
                    there = formula.at[node.id].get(address)
                    uses = node.life is Life.NONE and not _is_of_lock(node)
                    if there is not None and uses:
                        self._flag("mixed-lock-accesses", formula.words.both(lit, there))


def _is_of_lock(node: Node) -> bool:
    """Whether it uses a spinlock or an SRCU structure (ALL-LOCKS of lock.cat)."""
    srcu = node.kind == "SRCU" or node.order in ("srcu-lock", "srcu-unlock")
    return srcu or node.kind in LOCK_KINDS


def racing_pairs(formula: Formula) -> Iterator[tuple[int, int]]:
    """Accesses of two threads that may share a word, one plain, one a write."""
    memory = [n for n in formula.memory if formula.x[n.id] != FALSE]
    for a, b in combinations(memory, 2):
        if a.thread == b.thread or "plain" not in (a.order, b.order):
            continue
        if (a.is_write or b.is_write) and formula.same(a.id, b.id) != FALSE:
            yield a.id, b.id
