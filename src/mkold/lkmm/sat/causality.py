"""What comes before what in one execution: the model's relations up to happens-before.

Each has the name that it has in linux-kernel.cat:

======================= =======================================================
relation                where
======================= =======================================================
co rf fr, dependencies  ``Causality._base``, ``Causality._dependencies``
carry-dep               ``Causality._carry``
po-unlock-lock-po       ``Causality._handover``
fences                  ``fences``
ppo                     ``Causality._ppo``
cumul-fence, prop       ``Causality._propagation``
hb, pb                  ``Causality._time``
======================= =======================================================

The reformulations are those of the other engine, each exact: initial writes are left out,
since no edge leads to one; ``acyclic hb`` and ``acyclic pb`` together are
``acyclic hb | (prop ; strong-fence)``; the identity in ``prop`` is kept apart.

Source: tools/memory-model/linux-kernel.cat, linux-kernel.bell, lock.cat, as of Linux 6.16.
"""

from __future__ import annotations

from itertools import combinations

from mkold.lkmm.sat.candidate import Candidate
from mkold.lkmm.sat.facts import INIT, Fact, Rules
from mkold.lkmm.sat.fences import Fences
from mkold.lkmm.sat.layout import Layout, Mask
from mkold.lkmm.sat.relations import (
    Base,
    Closure,
    Facts,
    Identity,
    Reasons,
    Rel,
    Seq,
    Union,
    masked,
)


class Causality:
    """The relations of ``candidate``; edges tell their reasons to ``rules`` when asked."""

    def __init__(self, fences: Fences, candidate: Candidate, rules: Rules) -> None:
        self.fences, self.candidate, self.rules = fences, candidate, rules
        self.layout: Layout = fences.layout
        layout, here = self.layout, candidate.happens
        self.reasons = Reasons(rules, layout.ids)
        self.here = layout.of(layout.nodes[n] for n in here)
        self.paths = {thread: fences.of(thread, candidate) for thread in layout.threads}
        self._base()
        self._dependencies()
        self._carry()
        self._handover()
        self._ppo()
        self._propagation()
        self._time()

    # -- algebra ------------------------------------------------------------------

    def union(self, name: str, *parts: Rel, named: bool = False) -> Rel:
        """Any of the relations."""
        return Union(name, parts, self.layout.n, named=named)

    def nothing(self, name: str) -> Rel:
        """No edge at all."""
        return Rel(name, [0] * self.layout.n)

    def identity(self, mask: Mask) -> Rel:
        """Each node of ``mask`` to itself."""
        return Identity("id", [mask & 1 << i for i in range(self.layout.n)])

    def optional(self, rel: Rel) -> Rel:
        """``rel?``."""
        return self.union(rel.name, rel, self.identity(self.here))

    def to(self, rel: Rel, mask: Mask) -> Rel:
        """``rel ; [mask]``."""
        return rel if mask == self.layout.full else masked(rel, [mask] * self.layout.n)

    def among(self, rel: Rel, mask: Mask) -> Rel:
        """``[mask] ; rel ; [mask]``."""
        if mask == self.layout.full:
            return rel
        return masked(rel, [mask if mask >> i & 1 else 0 for i in range(self.layout.n)])

    def marked(self, rel: Rel) -> Rel:
        """``[Marked] ; rel ; [Marked]``."""
        return self.among(rel, self.layout.marked)

    def inside(self, rel: Rel) -> Rel:
        """``rel & int``, without the identity."""
        return masked(rel, [own & ~(1 << i) for i, own in enumerate(self.layout.own)])

    def across(self, rel: Rel) -> Rel:
        """``rel & ext``."""
        return masked(rel, [~own for own in self.layout.own])

    def fence(self, name: str) -> Rel:
        """A relation that the paths alone decide."""
        return self.fences.relation(name, list(self.paths.values()))

    # -- base relations -----------------------------------------------------------

    def _base(self) -> None:
        index, n, candidate = self.layout.index, self.layout.n, self.candidate
        self.rf = Base("rf", n, {
            (index[write], index[read]): (Fact("source", write, read),)
            for read, write in candidate.source.items() if write != INIT
        })  # fmt: skip
        self.co = Base("co", n, {
            (index[a], index[b]): (Fact("co", a, b),)
            for writes in candidate.order.values() for a, b in combinations(writes, 2)
        })  # fmt: skip
        self.fr = self._from_reads()
        self.overwrite = self.union("overwrite", self.co, self.fr)

    def _from_reads(self) -> Rel:
        index, candidate = self.layout.index, self.candidate
        why: dict[tuple[int, int], Facts] = {}
        for read, write in candidate.source.items():
            order = candidate.order.get(candidate.address[read], ())
            later = order if write == INIT else order[list(order).index(write) + 1 :]
            for other in later:
                why[index[read], index[other]] = (Fact("fr", read, other),)
        return Base("fr", self.layout.n, why)

    def _dependencies(self) -> None:
        layout, candidate = self.layout, self.candidate
        index, depends, here = layout.index, candidate.depends, candidate.happens
        found: dict[str, dict[tuple[int, int], Facts]] = {"addr": {}, "data": {}, "ctrl": {}}
        rmw: dict[tuple[int, int], Facts] = {}
        for path in self.paths.values():
            for act in path.acts:
                if act.id not in index:
                    continue
                at = index[act.id]
                sorts = [("addr", act.addr_deps)]
                if act.is_write:
                    sorts += [("data", act.data_deps), ("ctrl", act.ctrl_deps)]
                for sort, reads in sorts:
                    for read in reads:
                        if read in here and read in index and depends(sort, act.id, read):
                            found[sort][index[read], at] = (
                                Fact("happens", read), Fact("happens", act.id),
                                Fact(sort, read, act.id))  # fmt: skip
                if act.is_read and act.rmw in here:
                    rmw[at, index[act.rmw]] = Fact("happens", act.id), Fact("happens", act.rmw)
        self.addr: Rel = Base("addr", layout.n, found["addr"])
        self.data: Rel = Base("data", layout.n, found["data"])
        self.ctrl: Rel = Base("ctrl", layout.n, found["ctrl"])
        self.rmw = Base("rmw", layout.n, rmw)

    # -- ordering -----------------------------------------------------------------

    def _carry(self) -> None:
        """Dependencies handed on through memory by one thread (carry-dep)."""
        layout = self.layout
        passing = layout.mask(lambda n: n.order != "srcu-unlock")
        self.base_data = self.data
        step = Seq("carry-step", self.to(self.data, passing), self.inside(self.rf), named=False)
        if not step:
            return
        carry = Closure("carry-dep", step)
        self.addr = self.union("addr", self.addr, Seq("carry-addr", carry, self.addr))
        self.ctrl = self.union("ctrl", self.ctrl, Seq("carry-ctrl", carry, self.ctrl))
        self.data = self.union("data", self.data, Seq("carry-data", carry, self.data))

    def _handover(self) -> None:
        """po-unlock-lock-po: from before an unlock to after the next lock."""
        self.handover = self.handover_mb = self.nothing("po-unlock-lock-po")
        before = self.fence("unlock-po")
        if not before:
            return
        locks = self.layout.mask(lambda n: n.kind == "LKR")
        step = self.union("po-or-rf", self.fence("unlock-lock"), self.to(self.rf, locks))
        taken = Seq("po-unlock-lock", before, step)
        self.handover = Seq("po-unlock-lock-po", taken, self.fence("lock-po"))
        self.handover_mb = Seq("after-unlock-lock", taken, self.fence("lock-fence"))

    def _ppo(self) -> None:
        union, layout = self.union, self.layout
        po_rel, acq_po = self.fence("po-rel"), self.fence("acq-po")
        self.rmb, self.wmb = self.fence("rmb"), self.fence("wmb")
        full = union("strong-fence", self.fence("mb"), self.fence("gp"))
        self.strong = union("strong-fence", full, self.handover_mb)
        self.releasing = union("A-cumul", self.strong, po_rel)
        self.nonrw_fence = union("nonrw-fence", self.strong, po_rel, acq_po)
        self.fences_all = union("fence", self.nonrw_fence, self.wmb, self.rmb)
        dep = union("dep", self.addr, self.data)
        rfi = self.inside(self.rf)
        parts = [
            self.addr, self.data, self.ctrl, full, po_rel, acq_po, self.wmb, self.rmb,
            self.inside(self.overwrite), self.inside(self.handover_mb),
            self.inside(self.handover), Seq("to-r", self.to(dep, layout.marked), rfi),
        ]  # fmt: skip
        if layout.has_plain:
            to_plain = self.to(self.addr, layout.full & ~layout.marked)
            parts.append(Seq("to-w", to_plain, self.wmb))
        self.ppo = union("ppo", *parts)

    def _propagation(self) -> None:
        """cumul-fence and prop; the identity in ``prop`` is kept apart."""
        union, layout = self.union, self.layout
        self.rfe = self.across(self.rf)
        observed = Seq("A-cumul", self.to(self.rfe, layout.marked), self.releasing)
        fence = union("cumul-fence", self.releasing, observed, self.wmb, self.handover)
        fence = self.marked(fence)
        self.rmw_sequence = Closure("rmw-sequence", Seq("rf-rmw", self.rf, self.rmw))
        if self.rmw_sequence:
            handed_on = Seq("cumul-fence-rmw", fence, self.rmw_sequence)
            fence = union("cumul-fence", fence, handed_on)
        self.cumul = Closure("cumul-fence+", fence)
        over = self.marked(self.across(self.overwrite))
        self.rfe_marked = self.marked(self.rfe)
        led = union("prop", over, self.cumul, Seq("overwritten", over, self.cumul))
        seen = Seq("prop-rfe", led, self.rfe_marked)
        self.prop = union("prop", led, self.rfe_marked, seen, named=True)

    def _time(self) -> None:
        """hb, and pb's step: the axioms happens-before and propagation in one."""
        union = self.union
        self.hb = union("hb", self.marked(union("hb", self.ppo, self.rfe)),
                        self.inside(self.prop))  # fmt: skip
        strong = self.marked(self.strong)
        self.pb = union("pb", strong, Seq("prop-strong", self.prop, strong))
        self.time = union("hb-or-pb", self.hb, self.pb)
