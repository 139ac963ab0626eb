"""What a value may be where a guard holds, as far as the reads' domains tell.

Three ways, from quick to thorough; each errs to the same side, more words than there can be:

1. part by part, guards not looked at (``abstract``);
2. all choices of the reads that matter, at once (``vector``), if those are few enough.
   What matters are the reads of the value, and those of the parts of the guard that speak
   of them, directly or through others: the rest of the guard was found possible before and
   has no bearing. The parts of the guard are known to hold wherever the value speaks of them;
3. SAT, over the whole guard: for branches and addresses only.

An answer is kept, and good for the next round of unrolling too if the reads that matter have
the domains that they had, and the decisions so far are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from mkold.lkmm.graph.events import Decision
from mkold.lkmm.graph.guards import Both, Either, Guard, Opposite, Taken, conjuncts
from mkold.lkmm.graph.values import Met, Value, binary
from mkold.lkmm.sat import abstract
from mkold.lkmm.sat.abstract import NOTHING, Abstract, Few, Partly, only
from mkold.lkmm.sat.circuit import Circuit, fresh_word, membership
from mkold.lkmm.sat.solver import TRUE, Lit, Solver
from mkold.lkmm.sat.vector import ZERO, Column, Columns, Truth
from mkold.lkmm.sat.walk import Part, Reach, Walk
from mkold.lkmm.sat.words import Bits, Words

CHOICES = 1 << 12  # of the reads that matter, tried at once
LISTED = 32  # words that SAT lists before it gives up

Reads = frozenset[int]
Domains = dict[int, Abstract]


class Apart(Walk[Abstract, None]):
    """Each part by itself."""

    def __init__(self, decisions: Sequence[Decision], domains: Domains) -> None:
        super().__init__(decisions)
        self.domains = domains

    def parts(self, part: Part) -> Sequence[Part]:
        return (part.a, part.b) if isinstance(part, Met) else super().parts(part)

    def guard(self, guard: Guard) -> None:
        return None

    def word(self, word: int) -> Abstract:
        return abstract.constant(word)

    def found(self, read: int) -> Abstract:
        return self.domains[read]

    def applied(self, op: str, a: Abstract) -> Abstract:
        return abstract.unary(op, a)

    def combined(self, op: str, a: Abstract, b: Abstract) -> Abstract:
        return abstract.binary(op, a, b)

    def chosen(self, cond: Abstract, a: Abstract, b: Abstract) -> Abstract:
        if not abstract.may_be(cond, 0):
            return a
        return b if only(cond) == 0 else abstract.join(a, b)

    def met(self, guard: None, a: Abstract, b: Abstract) -> Abstract:
        return abstract.join(a, b)

    def always(self, holds: bool) -> None:
        return None

    def taken(self, decision: int, guard: None, cond: Abstract | None) -> None:
        return None

    def opposite(self, guard: None) -> None:
        return None

    def both(self, a: None, b: None) -> None:
        return None

    either = both


class Here:
    """A guard's parts, each with the reads that it speaks of where the others hold."""

    def __init__(self, live: Guard, decisions: Sequence[Decision]) -> None:
        self.parts = [part for part in conjuncts(live) if part != 1]
        self.reach = Reach(decisions)
        self.reach.assume(dict.fromkeys(self.parts, Reach.NONE))
        self.reads = [self._reads(part) for part in self.parts]

    def _reads(self, part: Guard) -> Reads:
        positive = part.guard if isinstance(part, Opposite) else part
        below = self.reach.parts(positive)
        found = Reach.NONE.union(*map(self.reach.of, below))
        if isinstance(positive, Taken) and len(below) == 1:
            return found | {-1 - positive.decision}
        return found

    def bearing(self, reads: Reads) -> tuple[Reads, list[Guard]]:
        """The parts that bear on ``reads``, and all reads of both."""
        bearing: list[Guard] = []
        rest = list(zip(self.parts, self.reads, strict=True))
        while True:
            near = [(part, mine) for part, mine in rest if not reads.isdisjoint(mine)]
            if not near:
                return reads, bearing
            rest = [(part, mine) for part, mine in rest if reads.isdisjoint(mine)]
            bearing += [part for part, _ in near]
            reads = reads.union(*(mine for _, mine in near))


class Answers:
    """What one round of unrolling was told, for the next."""

    def __init__(self) -> None:
        self.decisions: list[Decision] = []
        self.known: dict[tuple[str, Value, Guard], Answer] = {}


Found = list[int] | None  # the words; None: they were not found out
# What was found, the number of decisions then, and the domains that it rests on.
Answer = tuple[Found, int, tuple[tuple[int, Abstract], ...]]


class Possible:
    """Answers for the round under way; ``before`` is what the last one was told."""

    def __init__(self, before: Answers, thinker: Thinker) -> None:
        self.before, self.now = before, Answers()
        self.domains: Domains = {}
        self.decisions = self.now.decisions
        self.apart = Apart(self.decisions, self.domains)
        self._here: dict[Guard, Here] = {}
        self._reach = Reach(self.decisions)
        self._same = 0  # so many decisions are those of the round before
        self.thinker = thinker
        thinker.begin(self.decisions, self.domains)

    # -- questions ----------------------------------------------------------------

    def words(self, value: Value, live: Guard, *, thorough: bool = False) -> Abstract:
        """What ``value`` may be where ``live`` holds; nothing if nothing gets there.

        ``thorough``: by SAT if need be, even where a few words are known.
        """
        word = self.apart.value(value)
        if isinstance(value, int) or only(word) is not None:
            return word
        found = self._asked("tried", value, live, self._tried)
        if found is None and thorough:
            found = self._asked("listed", value, live, self._listed)
        return word if found is None else _among(found, word)

    def truth(self, cond: Value, live: Guard) -> int | None:
        """1 or 0 if ``cond`` is surely so (not zero, zero) where ``live`` holds."""
        words = self.words(binary("ne", cond, 0), live, thorough=True)
        return only(words) if len(words) else 0

    # -- answers ------------------------------------------------------------------

    def _asked(
        self,
        what: str,
        value: Value,
        live: Guard,
        answer: Callable[[Value, Guard], tuple[Found, Reads]],
    ) -> Found:
        key = what, value, live
        known = self.now.known.get(key) or self._remembered(key)
        if known is None:
            found, reads = answer(value, live)
            domains = tuple((r, self.domains[r]) for r in reads if r >= 0)
            known = found, len(self.decisions), domains
        self.now.known[key] = known
        return known[0]

    def _remembered(self, key: tuple[str, Value, Guard]) -> Answer | None:
        known = self.before.known.get(key)
        if known is None or known[1] > self._same_decisions():
            return None
        return known if all(self.domains.get(r) == d for r, d in known[2]) else None

    def _same_decisions(self) -> int:
        now, before, same = self.decisions, self.before.decisions, self._same
        while same < len(now) and same < len(before) and now[same] == before[same]:
            same += 1
        self._same = same
        return same

    def _tried(self, value: Value, live: Guard) -> tuple[Found, Reads]:
        """By all choices of the reads that matter; None if they are too many."""
        here = self._here.get(live)
        if here is None:
            here = self._here[live] = Here(live, self.decisions)
        reads, parts = here.bearing(here.reach.of(value))
        order = sorted(reads)
        domains: dict[int, Few] = {}
        for read in order:
            domain = self.domains[read] if read >= 0 else abstract.TRUTH
            if isinstance(domain, Partly):
                return None, reads
            domains[read] = domain
        if prod(map(len, domains.values())) > CHOICES:
            return None, reads
        columns = _Trial(self.decisions, domains, here.parts)
        return columns.words(value, parts), reads

    def _listed(self, value: Value, live: Guard) -> tuple[Found, Reads]:
        """By SAT; None if the words are many."""
        reads = self._reach.of(value) | self._reach.of(live)
        return self.thinker.words(value, live, reads), reads


def _among(found: list[int], word: Abstract) -> Abstract:
    """The words of ``found``, with the pasts that ``word`` gives them."""
    if isinstance(word, dict):
        return {w: word[w] for w in found if w in word}
    return dict.fromkeys(found, NOTHING)


class _Trial(Columns):
    """All choices from some reads' domains, where the parts of a guard are taken to hold."""

    def __init__(
        self, decisions: Sequence[Decision], domains: dict[int, Few], known: list[Guard]
    ) -> None:
        n = prod(map(len, domains.values()))
        columns: dict[int, Column] = {}
        stride = 1
        for read, domain in domains.items():
            size = len(domain)
            once = np.repeat(np.array(list(domain), np.uint64), stride)
            columns[read] = np.tile(once, n // (stride * size))
            stride *= size
        super().__init__(decisions, columns, n)
        self.assume(dict.fromkeys(known, self.always(holds=True)))

    def words(self, value: Value, parts: list[Guard]) -> list[int]:
        """The words of ``value`` in the choices in which ``parts`` hold indeed."""
        fits: Truth = np.ones(self.n, np.bool_)
        for part in parts:
            fits = fits & self._really(part)
        column = np.broadcast_to(self.value(value), (self.n,))
        return sorted(set(column[fits].tolist()))  # np.unique brings in all of numpy.ma

    def _really(self, part: Guard) -> Truth:
        if isinstance(part, Opposite):
            return ~self._really(part.guard)
        if isinstance(part, Taken):
            decision = self.decisions[part.decision]
            way = decision.cond
            cond = self.reads[-1 - part.decision] if way is None else self.value(way)
            goes: Truth = cond != ZERO
            return self.guard(decision.guard) & goes
        assert isinstance(part, Both | Either)
        a, b = self.guard(part.a), self.guard(part.b)
        return a & b if isinstance(part, Both) else a | b


class Thinker:
    """SAT over one thread's values; one solver for all rounds.

    What a read may find changes from round to round: its bits are made anew where the bits
    known of it change, and its words are asked for by a literal of this round's domain.
    """

    def __init__(self, solver: Solver) -> None:
        self.words_ = Words(solver)
        self.solver = solver
        self._bits: dict[tuple[int, Partly], Bits] = {}
        self._asked: dict[tuple[int, frozenset[int]], Lit] = {}
        self._free: dict[int, Lit] = {}

    def begin(self, decisions: Sequence[Decision], domains: Domains) -> None:
        """A new round."""
        self.domains = domains
        self.circuit = Circuit(self.words_, decisions, self._read)
        self.circuit.free = self._free

    def _read(self, read: int) -> Bits:
        domain = self.domains[read]
        key = read, abstract.partly(domain)
        bits = self._bits.get(key)
        if bits is None:
            bits = self._bits[key] = fresh_word(self.words_, domain)
        return bits

    def _domain(self, read: int) -> Lit:
        """The literal by which the read keeps to its domain."""
        domain = self.domains[read]
        if isinstance(domain, Partly):
            return TRUE
        key = read, frozenset(domain)
        lit = self._asked.get(key)
        if lit is None:
            clause = membership(self.words_, self._read(read), domain)
            lit = TRUE if clause is None else self.solver.new()
            if clause is not None:
                self.solver.add([-lit, *clause])
            self._asked[key] = lit
        return lit

    def words(self, value: Value, live: Guard, reads: Reads) -> list[int] | None:
        """Every word that ``value`` may be where ``live`` holds; None if they are many."""
        bits, where = self.circuit.value(value), self.circuit.guard(live)
        query = self.solver.new()
        assumed = [where, query, *(self._domain(read) for read in reads if read >= 0)]
        found: list[int] = []
        varying = [(i, bit) for i, bit in enumerate(bits) if abs(bit) != TRUE]
        while len(found) <= LISTED:
            model = self.solver.solve(assumed)
            if model is None:
                break
            word = model.word(bits)
            found.append(word)
            self.solver.add([-query, *(-bit if word >> i & 1 else bit for i, bit in varying)])
        self.solver.add([-query])
        return found if len(found) <= LISTED else None
