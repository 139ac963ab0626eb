"""The model by definition, over one execution, as sets of pairs: see ``engine``.

Stages follow linux-kernel.cat from top to bottom: events, basic relations, fences,
preserved program order and time, grace periods, plain accesses.

Source: tools/memory-model/linux-kernel.cat, linux-kernel.bell, lock.cat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from mkold.lkmm.literal.sets import Events, Pairs, back, cycle, on, plus, then
from mkold.lkmm.paths.drawing import Broken
from mkold.lkmm.paths.paths import Act, Path
from mkold.lkmm.verdict import LOCK_KINDS, Axiom, Edge


class Literal:
    """One execution's relations; ``broken`` applies the axioms, from top to bottom.

    ``rf`` maps reads to what they find; ``chains`` gives for each word its initial write
    (a negative number) and then its writes in coherence order.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        acts: Mapping[int, Act],
        rf: Mapping[int, int],
        chains: Mapping[int, tuple[int, ...]],
    ) -> None:
        self.paths, self.acts, self.chains = paths, acts, chains
        self.rf: Pairs = frozenset((w, r) for r, w in rf.items())
        self.co: Pairs = frozenset(
            (a, b) for chain in chains.values() for i, a in enumerate(chain)
            for b in chain[i + 1 :]
        )  # fmt: skip
        self.fr = frozenset(p for p in then(back(self.rf), self.co) if p[0] != p[1])

    def broken(self) -> Broken | None:
        """The axiom that forbids it, with a cycle; None: it is allowed."""
        self._events()
        found = self._coherent() or self._atomic()
        if found is None:
            self._basic()
            self._fences()
            found = self._in_time() or self._grace() or self._plainly()
        return found

    def steps(self) -> Iterator[tuple[str, Pairs]]:
        """What pictures show beside rf, co and fr."""
        self._basic()
        yield "rmw", self.rmw
        yield "addr", self.addr
        yield "data", self.data
        yield "ctrl", self.ctrl

    # -- events -------------------------------------------------------------------

    def some(self, test: Callable[[Act], bool]) -> Events:
        return frozenset(act.id for act in self.acts.values() if test(act))

    def tagged(self, *tags: str) -> Pairs:
        return on(self.some(lambda a: a.order in tags))

    def kind(self, name: str) -> Pairs:
        return on(self.some(lambda a: a.kind == name))

    def fence(self, *tags: str) -> Pairs:
        """fencerel."""
        return then(self.po, self.tagged(*tags), self.po)

    def internal(self, relation: Pairs) -> Pairs:
        acts = self.acts
        return frozenset(
            (a, b) for a, b in relation
            if a in acts and b in acts and acts[a].thread == acts[b].thread
        )  # fmt: skip

    def external(self, relation: Pairs) -> Pairs:
        return relation - self.internal(relation)

    def same_place(self, relation: Pairs) -> Pairs:
        place = self.place
        return frozenset((a, b) for a, b in relation if place.get(a) == place.get(b))

    def _events(self) -> None:
        acts = self.acts
        self.initial = frozenset(chain[0] for chain in self.chains.values())
        self.everything = frozenset(acts) | self.initial
        self.place = {a.id: a.address for a in acts.values() if a.address >= 0}
        self.place |= {chain[0]: p for p, chain in self.chains.items()}
        self.reads = self.some(lambda a: a.is_read)
        self.writes = self.some(lambda a: a.is_write) | self.initial
        self.memory = self.reads | self.writes
        self.marked = self.some(lambda a: a.marked) | self.initial
        self.plains = self.memory - self.marked
        self.noreturn = self.some(lambda a: a.node.order == "noreturn" and a.is_read)
        self.rmw = frozenset((a.id, a.rmw) for a in acts.values() if a.is_read and a.rmw >= 0)
        apart = {pair for path in self.paths for pair in path.apart}
        self.po = frozenset(
            (a.id, b.id) for a in acts.values() for b in acts.values()
            if a.thread == b.thread and a.node.po < b.node.po and (a.id, b.id) not in apart
        )  # fmt: skip
        inside = frozenset((a, b) for a, b in self.po if {a, b} <= self.memory)
        self.po_same = self.same_place(inside)
        self.opt, self.mark = on(self.everything), on(self.marked)
        self.mem, self.rd, self.wr = on(self.memory), on(self.reads), on(self.writes)
        self.for_rmb = on(self.reads - self.noreturn)

    def _coherent(self) -> Broken | None:
        parts = {"po-loc": self.po_same, "rf": self.rf, "co": self.co, "fr": self.fr}
        return _forbidden(Axiom.COHERENCE, parts)

    def _atomic(self) -> Broken | None:
        for read, write in sorted(self.rmw):
            for between in sorted(self.writes):
                first, second = (read, between), (between, write)
                if first in self.external(self.fr) and second in self.external(self.co):
                    edges = [Edge(read, "fr", between), Edge(between, "co", write),
                             Edge(write, "rmw^-1", read)]  # fmt: skip
                    return Broken(Axiom.ATOMIC, edges, edges)
        return None

    # -- basic relations ----------------------------------------------------------

    def _dependency(self, name: str) -> Pairs:
        return frozenset(
            (read, act.id)
            for path in self.paths for act in path.acts
            for read, guard in getattr(act.node, f"{name}_deps").items()
            if read in self.acts and path.decided.holds(guard) and act.id in self.memory
        )  # fmt: skip

    def _basic(self) -> None:
        po = self.po
        self.data0 = then(self._dependency("data"), self.wr)
        self.not_unlock = on(self.everything - self.some(lambda a: a.order == "srcu-unlock"))
        self.rfi, self.rfe = self.internal(self.rf), self.external(self.rf)
        carry = plus(then(self.data0, self.not_unlock, self.rfi)) | self.opt
        self.addr = then(carry, self._dependency("addr"))
        self.data = then(carry, self.data0)
        self.ctrl = then(carry, self._dependency("ctrl"))
        self.handover = then(po, self.kind("UL"), po | self.rf, self.kind("LKR"), po)
        acquire = on(self.some(lambda a: a.order == "acquire" and a.is_read))
        release = on(self.some(lambda a: a.order == "release" and a.is_write))
        self.acq_po, self.po_rel = then(acquire, po, self.mem), then(self.mem, po, release)

    def _fences(self) -> None:
        po, mem, mb = self.po, self.mem, self.tagged("mb")
        po_opt = po | self.opt
        is_rmw = on(self.some(lambda a: a.node.rmw >= 0 and a.kind not in LOCK_KINDS))
        full = (
            then(mem, self.fence("mb"), mem)
            | then(mem, po, mb, self.rd)
            | then(self.wr, mb, po, mem)
            | then(mem, self.fence("before-atomic"), is_rmw, po_opt, mem)
            | then(mem, po_opt, is_rmw, self.fence("after-atomic"), mem)
            | then(mem, po_opt, self.kind("LKW"), self.fence("after-spinlock"), mem)
            | then(mem, self.handover, self.tagged("after-unlock-lock"), po, mem)
            | then(mem, po_opt, self.tagged("srcu-unlock"),
                   self.fence("after-srcu-read-unlock"), mem)
        )  # fmt: skip
        sync = on(self.some(lambda a: a.order in ("sync-rcu", "sync-srcu")))
        self.wmb = then(self.wr, self.fence("wmb"), self.wr)
        rmb = then(self.for_rmb, self.fence("rmb"), self.for_rmb)
        self.strong = full | then(po, sync, po_opt)
        self.nonrw = self.strong | self.po_rel | self.acq_po
        self.fences = self.nonrw | self.wmb | rmb

    # -- time ---------------------------------------------------------------------

    def _in_time(self) -> Broken | None:
        """happens-before and propagation."""
        mark, opt, wmb = self.mark, self.opt, self.wmb
        dep, overwrite = self.addr | self.data, self.co | self.fr
        to_w = then(dep | self.ctrl, self.wr) | self.internal(overwrite)
        to_w |= then(self.addr, on(self.plains), wmb)
        to_r = then(self.addr, self.rd) | then(dep, mark, self.rfi)
        ppo = to_w | to_r | self.internal(self.fences) | self.internal(self.handover)
        releasing = self.strong | self.po_rel
        self.sequence = plus(then(self.rf, self.rmw)) | opt
        step = releasing | then(self.rfe, mark, releasing) | wmb | self.handover
        self.cumuls = plus(then(mark, step, mark, self.sequence)) | opt
        overwritten = self.external(overwrite) | opt
        self.prop = then(mark, overwritten, self.cumuls, mark, self.rfe | opt, mark)
        inside = frozenset((a, b) for a, b in self.internal(self.prop) if a != b)
        self.hb = then(mark, ppo | self.rfe | inside, mark)
        self.hbs = plus(self.hb) | opt
        self.pb = then(self.prop, self.strong, self.hbs, mark)
        self.pbs = plus(self.pb) | opt
        return _forbidden(Axiom.HAPPENS_BEFORE, {"hb": self.hb}) or _forbidden(
            Axiom.PROPAGATION, {"pb": self.pb}
        )

    def _grace(self) -> Broken | None:
        """rcu; adds ``rcu-fence`` to the fences."""
        link = then(self.po | self.opt, self.hbs, self.pbs, self.prop, self.po)
        self.rscs, self.srcu_rscs = self._rscs(), self._srcu_rscs()
        rscs, srcu_rscs = back(self.rscs), back(self.srcu_rscs)
        rcu_gp, srcu_gp = self.tagged("sync-rcu"), self.kind("SRCU")
        order = rcu_gp | srcu_gp
        while True:
            middle = link | then(link, order, link)
            grown = (
                order
                | then(rcu_gp, middle, rscs) | then(rscs, middle, rcu_gp)
                | self.same_place(then(srcu_gp, middle, srcu_rscs))
                | self.same_place(then(srcu_rscs, middle, srcu_gp))
                | then(order, link, order)
            )  # fmt: skip
            if grown == order:
                break
            order = grown
        rcu_fence = then(self.po, order, self.po | self.opt)
        self.rb = then(self.prop, rcu_fence, self.hbs, self.pbs, self.mark)
        self.fences |= rcu_fence
        self.strong |= rcu_fence
        edges = [Edge(a, "rb", b) for a, b in sorted(self.rb) if a == b]
        return Broken(Axiom.RCU, edges[:1]) if edges else None

    # -- plain accesses -----------------------------------------------------------

    def _visible(self) -> None:
        """``ww-vis``, ``wr-vis`` and ``rw-xbstar``."""
        mark, opt, fences = self.mark, self.opt, self.fences
        xbs = plus(self.hb | self.pb | self.rb) | opt
        everywhere = then(self.strong, mark, xbs) | self.internal(xbs) | opt
        vis = then(self.cumuls, self.rfe | opt, mark, everywhere)
        returning, rmb = on(self.everything - self.noreturn), self.fence("rmb")
        w_pre = then(mark, self.addr | fences | opt)
        r_pre = then(mark, self.addr | self.nonrw | then(self.for_rmb, rmb, returning) | opt)
        w_post = then(fences | opt, mark, self.sequence)
        r_post = then(self.nonrw | then(returning, rmb, self.for_rmb) | opt, mark)
        self.ww_vis = fences | then(self.strong, xbs, w_pre) | then(w_post, vis, w_pre)
        self.wr_vis = fences | then(self.strong, xbs, r_pre) | then(w_post, vis, r_pre)
        self.rw_xbs = fences | then(r_post, xbs, w_pre)

    def _plainly(self) -> Broken | None:
        """plain-coherence; leaves the ``races``."""
        self._visible()
        rf, co, fr, marked, plains = self.rf, self.co, self.fr, self.marked, self.plains
        ww_vis, wr_vis, rw_xbs = self.ww_vis, self.wr_vis, self.rw_xbs
        pre_race = self.external(frozenset(
            (a, b) for a in self.memory for b in self.memory
            if a in plains or (a not in self.initial and b in plains)
        ))  # fmt: skip
        for name, against in (
            ("rf", rf & back(rw_xbs)), ("fr", fr & back(wr_vis)), ("co", co & back(ww_vis)),
        ):  # fmt: skip
            for a, b in sorted(pre_race & against):
                return Broken(Axiom.PLAIN_COHERENCE, [Edge(a, name, b)])
        ww_fine = frozenset(
            (a, b) for a, b in ww_vis
            if (a in marked or (a, b) in rw_xbs) and (b in marked or (a, b) in wr_vis)
        )  # fmt: skip
        found = then(co | self.opt, rf)
        races = (co - ww_fine) | (found - wr_vis - back(rw_xbs)) | (fr - rw_xbs)
        self.races = pre_race & races
        return None

    def _rscs(self) -> Pairs:
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

    def _srcu_rscs(self) -> Pairs:
        locks, unlocks = self.tagged("srcu-lock"), self.tagged("srcu-unlock")
        carried = plus(then(self.data0, self.not_unlock, self.rf))
        cookie = self.data0 | then(carried, self.data0)
        return self.same_place(then(locks, cookie, unlocks))


def _forbidden(axiom: Axiom, parts: Mapping[str, Pairs]) -> Broken | None:
    """The cycle that ``parts`` together make, if there is one."""
    found = cycle(frozenset().union(*parts.values()))
    if not found:
        return None
    named = [
        Edge(a, next(name for name, part in parts.items() if (a, b) in part), b)
        for a, b in found
    ]
    return Broken(axiom, named, named if axiom is Axiom.COHERENCE else ())
