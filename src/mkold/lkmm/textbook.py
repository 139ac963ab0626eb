"""A second, slow and literal engine: the model as sets of pairs, one execution at a time.

It exists to check the first. Nothing is shared with ``candidates``, ``model``, ``grace`` and
``plain``, and none of their shortcuts is taken: initial writes and fences are events like
any other, every assignment of sources and every coherence order is tried, each relation
is worked out by its definition, and each axiom tested as it stands.

Known limits: a few memory events (every combination is tried); values out of thin air are
dropped.

Source: tools/memory-model/linux-kernel.cat, linux-kernel.bell, lock.cat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations, product
from math import factorial, prod

from mkold.base.errors import LimitError
from mkold.ir.nodes import evaluate_binary
from mkold.ir.program import And, Compare, Formula, Mem, Not, Observed, Or
from mkold.lkmm.events import LOCK_KINDS, Graph
from mkold.lkmm.paths import Act, Path, unit_paths
from mkold.lkmm.question import register_value
from mkold.lkmm.symbolic import evaluate, holds
from mkold.lkmm.values import MayValues, initial_word

Pairs = frozenset[tuple[int, int]]
Events = frozenset[int]
MOST = 20_000
# What keeps two accesses of one thread apart for the compiler.
BARRIERS = (
    "barrier", "rmb", "wmb", "mb", "sync-rcu", "sync-srcu", "before-atomic", "after-atomic",
    "acquire", "release", "rcu-lock", "rcu-unlock", "srcu-lock", "srcu-unlock",
)  # fmt: skip


def then(*relations: Pairs) -> Pairs:
    """Composition."""
    result = relations[0]
    for relation in relations[1:]:
        after: dict[int, list[int]] = {}
        for a, b in relation:
            after.setdefault(a, []).append(b)
        result = frozenset((a, c) for a, b in result for c in after.get(b, ()))
    return result


def plus(relation: Pairs) -> Pairs:
    """Transitive closure."""
    after: dict[int, list[int]] = {}
    for a, b in relation:
        after.setdefault(a, []).append(b)
    result = set()
    for a in after:
        reached: set[int] = set()
        front = [a]
        while front:
            for b in after.get(front.pop(), ()):
                if b not in reached:
                    reached.add(b)
                    front.append(b)
        result |= {(a, b) for b in reached}
    return frozenset(result)


def on(events: Iterable[int]) -> Pairs:
    """The identity on ``events``."""
    return frozenset((e, e) for e in events)


def back(relation: Pairs) -> Pairs:
    return frozenset((b, a) for a, b in relation)


def acyclic(relation: Pairs) -> bool:
    return all(a != b for a, b in plus(relation))


@dataclass(frozen=True, slots=True)
class Result:
    """What all allowed executions add up to."""

    states: frozenset[tuple[int, ...]]
    flags: frozenset[str]
    satisfied: bool
    refuted: bool


def decide_literally(graph: Graph, *, most: int = MOST) -> Result:
    """States and flags of a small program.

    Raises
    ------
    LimitError : there are more than ``most`` candidates
    """
    program = graph.program
    may = MayValues(graph)
    units = [unit_paths(graph, unit, may) for unit in range(len(program.threads))]
    if sum(map(_count, product(*units))) > most:
        raise LimitError(f"more than {most} candidates for the textbook engine")
    states: set[tuple[int, ...]] = set()
    flags: set[str] = set()
    yes = no = False
    for paths in product(*units):
        for execution in _executions(graph, paths):
            if program.filter is not None and not execution.satisfies(program.filter):
                continue
            raised = execution.judge()
            if raised is None:
                continue
            flags |= raised
            states.add(tuple(execution.at(place) for place in program.observed))
            if program.condition is not None:
                good = execution.satisfies(program.condition.formula)
                yes, no = yes or good, no or not good
    return Result(frozenset(states), frozenset(flags), yes, no)


def _count(paths: tuple[Path, ...]) -> int:
    """Candidates of one choice of paths, impossible ones included."""
    acts = [act for path in paths for act in path.acts if act.is_read or act.is_write]
    writes = Counter(act.address for act in acts if act.is_write)
    return prod(factorial(n) for n in writes.values()) * prod(
        writes[act.address] + 1 for act in acts if act.is_read
    )


def _executions(graph: Graph, paths: tuple[Path, ...]) -> Iterator[Execution]:
    """Every assignment of sources and coherence orders whose values add up."""
    if any(path.cut for path in paths):
        return
    acts = {act.id: act for path in paths for act in path.acts}
    reads = [act for act in acts.values() if act.is_read]
    places = sorted({a.address for a in acts.values() if a.is_read or a.is_write})
    init = {place: -1 - number for number, place in enumerate(places)}
    sources = [
        [init[r.address]]
        + [w.id for w in acts.values() if w.is_write and w.address == r.address]
        for r in reads
    ]
    writes = [[w.id for w in acts.values() if w.is_write and w.address == p] for p in places]
    for chosen in product(*sources):
        rf = {read.id: source for read, source in zip(reads, chosen, strict=True)}
        values = _values(graph, acts, rf, {e: initial_word(graph, p) for p, e in init.items()})
        if values is None or not _constraints_hold(paths, acts, values):
            continue
        for orders in product(*(permutations(some) for some in writes)):
            chains = {p: (init[p], *order) for p, order in zip(places, orders, strict=True)}
            yield Execution(graph, paths, acts, values, rf, chains)


def _values(
    graph: Graph, acts: Mapping[int, Act], rf: Mapping[int, int], initial: Mapping[int, int]
) -> dict[int, int] | None:
    values = dict(initial)

    def read(event: int) -> int:
        return values[event]

    for _ in range(len(acts) + 1):
        for act in acts.values():
            if act.id not in values:
                if act.is_read:
                    if rf[act.id] in values:
                        values[act.id] = values[rf[act.id]]
                elif act.is_write:
                    try:
                        values[act.id] = evaluate(act.value, read)
                    except KeyError:
                        continue
    missing = any(a.id not in values for a in acts.values() if a.is_read or a.is_write)
    return None if missing else values


def _constraints_hold(
    paths: tuple[Path, ...], acts: Mapping[int, Act], values: Mapping[int, int]
) -> bool:
    for act in acts.values():
        if act.node.must is not None and values[act.id] != act.node.must:
            return False
    for path in paths:
        for value, wanted in path.constraints:
            got = evaluate(value, values.__getitem__)
            if (got == 0) if wanted is None else (got != wanted):
                return False
    return True


class Execution:
    """One candidate; ``judge`` applies the model."""

    def __init__(
        self,
        graph: Graph,
        paths: tuple[Path, ...],
        acts: Mapping[int, Act],
        values: Mapping[int, int],
        rf: Mapping[int, int],
        chains: Mapping[int, tuple[int, ...]],
    ) -> None:
        self.graph, self.paths, self.acts, self.values = graph, paths, acts, values
        self.chains = chains
        self.rf: Pairs = frozenset((w, r) for r, w in rf.items())
        self.co: Pairs = frozenset(
            (a, b) for chain in chains.values() for i, a in enumerate(chain)
            for b in chain[i + 1 :]
        )  # fmt: skip
        self.fr = frozenset(p for p in then(back(self.rf), self.co) if p[0] != p[1])

    # -- final state --------------------------------------------------------------

    def at(self, place: Observed) -> int:
        if isinstance(place, Mem):
            chain = self.chains.get(place.address)
            if chain is None:
                return initial_word(self.graph, place.address)
            return self.values[chain[-1]]
        value = register_value(self.graph, place, self.paths[place.thread])
        return evaluate(value, self.values.__getitem__)

    def satisfies(self, formula: Formula) -> bool:
        match formula:
            case Compare(op, left, right):
                a = left if isinstance(left, int) else self.at(left)
                b = right if isinstance(right, int) else self.at(right)
                return bool(evaluate_binary(op, a, b))
            case Not(a):
                return not self.satisfies(a)
            case And(parts):
                return all(map(self.satisfies, parts))
            case Or(parts):
                return any(map(self.satisfies, parts))

    # -- sets ---------------------------------------------------------------------

    def some(self, test: Callable[[Act], bool]) -> Events:
        return frozenset(act.id for act in self.acts.values() if test(act))

    def tagged(self, *tags: str) -> Pairs:
        return on(self.some(lambda a: a.order in tags))

    def judge(self) -> set[str] | None:
        """The flags it raises, or None if an axiom forbids it."""
        acts = self.acts
        initial = frozenset(chain[0] for chain in self.chains.values())
        everything = frozenset(acts) | initial
        thread = {e: acts[e].thread if e in acts else -1 for e in everything}
        place = {a.id: a.address for a in acts.values() if a.address >= 0}
        place |= {chain[0]: p for p, chain in self.chains.items()}
        reads = self.some(lambda a: a.is_read)
        writes = self.some(lambda a: a.is_write) | initial
        memory = reads | writes
        marked = self.some(lambda a: a.marked) | initial
        po = frozenset(
            (a.id, b.id) for a in acts.values() for b in acts.values()
            if a.thread == b.thread and a.node.po < b.node.po
        )  # fmt: skip
        po_same = frozenset(
            (a, b) for a, b in po if a in memory and b in memory and place[a] == place[b]
        )

        def internal(relation: Pairs) -> Pairs:
            return frozenset((a, b) for a, b in relation if a in acts and b in acts
                             and thread[a] == thread[b])  # fmt: skip

        def external(relation: Pairs) -> Pairs:
            return relation - internal(relation)

        def same_place(relation: Pairs) -> Pairs:
            return frozenset((a, b) for a, b in relation if place.get(a) == place.get(b))

        rf, co, fr = self.rf, self.co, self.fr
        rmw = frozenset((a.id, a.rmw) for a in acts.values() if a.is_read and a.rmw >= 0)
        if not acyclic(po_same | rf | co | fr) or rmw & then(external(fr), external(co)):
            return None

        # Basic relations
        mem, mark = on(memory), on(marked)
        opt, po_opt = on(everything), po | on(everything)
        rd, wr = on(reads), on(writes)
        acquire = on(self.some(lambda a: a.order == "acquire" and a.is_read))
        release = on(self.some(lambda a: a.order == "release" and a.is_write))
        noreturn = self.some(lambda a: a.node.order == "noreturn" and a.is_read)
        for_rmb = on(reads - noreturn)
        lkr, lkw, ul = (on(self.some(lambda a, k=k: a.kind == k)) for k in ("LKR", "LKW", "UL"))  # type: ignore[misc]
        is_rmw = on(self.some(lambda a: a.node.rmw >= 0 and a.kind not in LOCK_KINDS))

        def fence(*tags: str) -> Pairs:
            return then(po, self.tagged(*tags), po)

        deps = {
            name: frozenset(
                (read, act.id)
                for path in self.paths for act in path.acts
                for read, guard in getattr(act.node, f"{name}_deps").items()
                if read in acts and holds(guard, path.decided) and act.id in memory
            )
            for name in ("addr", "data", "ctrl")
        }  # fmt: skip
        data0 = then(deps["data"], wr)
        not_unlock = on(everything - self.some(lambda a: a.order == "srcu-unlock"))
        rfi, rfe = internal(rf), external(rf)
        carry = plus(then(data0, not_unlock, rfi)) | opt
        addr, data = then(carry, deps["addr"]), then(carry, data0)
        ctrl = then(carry, deps["ctrl"])
        handover = then(po, ul, po | rf, lkr, po)
        acq_po, po_rel = then(acquire, po, mem), then(mem, po, release)
        rmb, wmb = then(for_rmb, fence("rmb"), for_rmb), then(wr, fence("wmb"), wr)
        mb = (
            then(mem, fence("mb"), mem)
            | then(mem, po, self.tagged("mb"), rd)
            | then(wr, self.tagged("mb"), po, mem)
            | then(mem, fence("before-atomic"), is_rmw, po_opt, mem)
            | then(mem, po_opt, is_rmw, fence("after-atomic"), mem)
            | then(mem, po_opt, lkw, fence("after-spinlock"), mem)
            | then(mem, handover, self.tagged("after-unlock-lock"), po, mem)
            | then(mem, po_opt, self.tagged("srcu-unlock"),
                   fence("after-srcu-read-unlock"), mem)
        )  # fmt: skip
        sync = on(self.some(lambda a: a.order in ("sync-rcu", "sync-srcu")))
        strong = mb | then(po, sync, po_opt)
        nonrw = strong | po_rel | acq_po
        fences = nonrw | wmb | rmb

        # Preserved program order, propagation, time
        dep, overwrite = addr | data, co | fr
        plain = on(memory - marked)
        to_w = then(dep | ctrl, wr) | internal(overwrite) | then(addr, plain, wmb)
        to_r = then(addr, rd) | then(dep, mark, rfi)
        ppo = to_w | to_r | internal(fences) | internal(handover)
        releasing = strong | po_rel
        sequence = plus(then(rf, rmw)) | opt
        step = releasing | then(rfe, mark, releasing) | wmb | handover
        cumul = then(mark, step, mark, sequence)
        cumuls = plus(cumul) | opt
        prop = then(mark, external(overwrite) | opt, cumuls, mark, rfe | opt, mark)
        inside = frozenset((a, b) for a, b in internal(prop) if a != b)
        hb = then(mark, ppo | rfe | inside, mark)
        if not acyclic(hb):
            return None
        hbs = plus(hb) | opt
        pb = then(prop, strong, hbs, mark)
        if not acyclic(pb):
            return None
        pbs = plus(pb) | opt

        # Grace periods
        link = then(po_opt, hbs, pbs, prop, po)
        flags: set[str] = set()
        rscs, srcu_rscs = self._rscs(po), self._srcu_rscs(data0, not_unlock, same_place)
        rcu_gp = self.tagged("sync-rcu")
        srcu_gp = on(self.some(lambda a: a.kind == "SRCU"))
        order = rcu_gp | srcu_gp
        while True:
            middle = link | then(link, order, link)
            grown = (
                order
                | then(rcu_gp, middle, back(rscs)) | then(back(rscs), middle, rcu_gp)
                | same_place(then(srcu_gp, middle, back(srcu_rscs)))
                | same_place(then(back(srcu_rscs), middle, srcu_gp))
                | then(order, link, order)
            )  # fmt: skip
            if grown == order:
                break
            order = grown
        rcu_fence = then(po, order, po_opt)
        rb = then(prop, rcu_fence, hbs, pbs, mark)
        if any(a == b for a, b in rb):
            return None
        fences |= rcu_fence
        strong |= rcu_fence

        # Plain accesses
        xbs = plus(hb | pb | rb) | opt
        vis = then(cumuls, rfe | opt, mark, then(strong, mark, xbs) | internal(xbs) | opt)
        returning = on(everything - noreturn)
        w_pre = then(mark, addr | fences | opt)
        r_pre = then(mark, addr | nonrw | then(for_rmb, fence("rmb"), returning) | opt)
        w_post = then(fences | opt, mark, sequence)
        r_post = then(nonrw | then(returning, fence("rmb"), for_rmb) | opt, mark)
        ww_vis = fences | then(strong, xbs, w_pre) | then(w_post, vis, w_pre)
        wr_vis = fences | then(strong, xbs, r_pre) | then(w_post, vis, r_pre)
        rw_xbs = fences | then(r_post, xbs, w_pre)
        plains = memory - marked
        pre_race = frozenset(
            (a, b) for a in memory for b in memory
            if (a not in acts or b not in acts or thread[a] != thread[b])
            and (a in plains or (a not in initial and b in plains))
        )  # fmt: skip
        if pre_race & ((rf & back(rw_xbs)) | (fr & back(wr_vis)) | (co & back(ww_vis))):
            return None
        ww_fine = frozenset(
            (a, b) for a, b in ww_vis
            if (a in marked or (a, b) in rw_xbs) and (b in marked or (a, b) in wr_vis)
        )  # fmt: skip
        found = then(co | opt, rf)
        if pre_race & ((co - ww_fine) | (found - wr_vis - back(rw_xbs)) | (fr - rw_xbs)):
            flags.add("data-race")
        return flags | self._mixed(po_same, po, plains, writes, marked)

    def _rscs(self, po: Pairs) -> Pairs:
        """Matching rcu_read_lock() and rcu_read_unlock()."""
        matched: set[tuple[int, int]] = set()
        for thread in {act.thread for act in self.acts.values()}:
            opened: list[int] = []
            for act in sorted(self.acts.values(), key=lambda a: a.node.po):
                if act.thread == thread and act.order == "rcu-lock":
                    opened.append(act.id)
                elif act.thread == thread and act.order == "rcu-unlock" and opened:
                    matched.add((opened.pop(), act.id))
        return frozenset(matched)

    def _srcu_rscs(
        self, data: Pairs, not_unlock: Pairs, same_place: Callable[[Pairs], Pairs]
    ) -> Pairs:
        locks, unlocks = self.tagged("srcu-lock"), self.tagged("srcu-unlock")
        carried = plus(then(data, not_unlock, self.rf))
        cookie = data | then(carried, data)
        return same_place(then(locks, cookie, unlocks))

    def _mixed(
        self, po_same: Pairs, po: Pairs, plains: Events, writes: Events, marked: Events
    ) -> set[str]:
        barrier = then(po, self.tagged(*BARRIERS), po)
        release = on(self.some(lambda a: a.order == "release" and a.is_write))
        acquire = on(self.some(lambda a: a.order == "acquire" and a.is_read))
        barrier |= then(po, release) | then(acquire, po)
        wild = plains & writes
        for a, b in po_same - barrier:
            if (a in wild and b in marked) or (a in marked and b in wild):
                return {"mixed-accesses"}
        return set()
