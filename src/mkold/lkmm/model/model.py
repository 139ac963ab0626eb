"""The Linux-kernel memory model: which candidate executions stand, and which race.

Each relation has the name it has in linux-kernel.cat and one place here:

======================= =======================================================
relation                where
======================= =======================================================
co rf fr, coherence,    ``locations`` (built in, word by word), ``candidates``
atomic, lock.cat
po-rel acq-po rmb wmb   ``ordering`` (decided by the path alone)
mb gp, addr data ctrl
carry-dep               ``Model._carry``
po-unlock-lock-po       ``Model._handover``
ppo (to-w, to-r)        ``Model._ppo``
cumul-fence, prop       ``Model._propagation``
hb, happens-before      ``Model._time``
pb, propagation         ``Model._time``
rcu-link rcu-order,     ``grace.Grace``
rcu
rcu-fence, vis, *-vis,  ``plain.Plain``
plain-coherence, races
======================= =======================================================

Reformulations, each exact:

* initial writes are left out: no edge leads to one, so none is in a cycle;
* ``acyclic hb`` and ``acyclic pb`` together are ``acyclic hb | (prop ; strong-fence)``,
  since ``pb`` is the latter step followed by ``hb*``;
* ``hb* ; pb*`` is ``(hb | prop ; strong-fence)*`` for the same reason;
* ``irreflexive rb`` is "no ``rcu-order`` edge is closed by ``rcu-link``", by turning the
  cycle until it starts at the section or grace period.

Source: tools/memory-model/linux-kernel.cat, linux-kernel.bell, as of Linux 6.16
(commits c6ef7379e3 ("tools/memory-model: Distinguish between syntactic and semantic
tags") and following); J. Alglave, L. Maranget, P. E. McKenney, A. Parri, A. Stern,
"Frightening Small Children and Disconcerting Grown-ups", ASPLOS 2018.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mkold.lkmm.graph.events import Life
from mkold.lkmm.masks.candidates import Candidates
from mkold.lkmm.masks.locations import INIT
from mkold.lkmm.model.grace import Grace
from mkold.lkmm.model.plain import Plain
from mkold.lkmm.model.relations import (
    Rel,
    base,
    closure,
    cyclic,
    keep,
    keep_across,
    keep_among,
    keep_inside,
    keep_to,
    seq,
    union,
)
from mkold.lkmm.paths.ordering import Ordering
from mkold.lkmm.paths.paths import Act
from mkold.lkmm.verdict import LOCK_KINDS, Axiom


class Model:
    """The axioms over all candidates at once; ``asked``: words whose end is observed.

    ``rows`` are the candidates that the model allows. ``broken`` lists, for pictures, the
    axiom, the candidates that it alone took away, and the relation with the cycle.
    """

    def __init__(
        self,
        orderings: Sequence[Ordering],
        candidates: Candidates,
        asked: Collection[int] = (),
    ) -> None:
        self.asked = asked
        self.candidates = candidates
        self.acts = candidates.acts
        self.orderings = orderings
        self.rows = candidates.rows
        self.broken: list[tuple[Axiom, int, Rel]] = []
        self.flags: dict[str, int] = {}
        self.races: list[tuple[int, int, int]] = []
        self.has_plain = any(ordering.plain for ordering in orderings)
        self.thread = {act.id: act.thread for act in self.acts.values()}
        self.marked = {act.id for act in self.acts.values() if act.marked}
        self._base()
        self._carry()
        self._handover()
        self._fences()
        self._ppo()
        self._propagation()
        self._time()
        sections = [section for ordering in orderings for section in ordering.sections]
        self.grace: Grace | None = None
        if self.rows and any(section.grace for section in sections):
            self.grace = Grace(self, sections)
            self._forbid(Axiom.RCU, self.grace.violations(), self.grace.order)
        if self.rows and self.has_plain:
            Plain(self).judge()
        self._path_flags()

    def _forbid(self, axiom: Axiom, mask: int, rel: Rel) -> None:
        mask &= self.rows
        if mask:
            self.broken.append((axiom, mask, rel))
            self.rows &= ~mask

    # -- base relations -----------------------------------------------------------

    def _static(self, name: str, attribute: str) -> Rel:
        pairs: list[tuple[int, int]] = []
        for ordering in self.orderings:
            pairs += getattr(ordering, attribute)
        return base(name, pairs, self.rows) if pairs else Rel(name, {})

    def both_marked(self, name: str, rel: Rel) -> Rel:
        return keep_among(name, rel, self.marked) if self.has_plain else rel

    def _base(self) -> None:
        acts = self.acts
        rfe: dict[int, dict[int, int]] = {}
        rfi: dict[int, dict[int, int]] = {}
        for read, sources in self.candidates.rf.items():
            thread = acts[read].thread
            for source, mask in sources.items():
                if source != INIT:
                    where = rfi if acts[source].thread == thread else rfe
                    where.setdefault(source, {})[read] = mask
        self.rfe, self.rfi = Rel("rf", rfe), Rel("rf", rfi)
        co = Rel("co", self.candidates.co)
        fr = Rel("fr", self.candidates.fr())
        self.co, self.fr = co, fr
        overwrite = union("overwrite", co, fr)
        self.overwrite_ext = keep_across("overwrite", overwrite, self.thread)
        self.overwrite_int = keep_inside("overwrite", overwrite, self.thread)
        self.addr = self._static("addr", "addr")
        self.data = self._static("data", "data")
        self.ctrl = self._static("ctrl", "ctrl")
        self.rmw = self._static("rmw", "rmw")

    def _carry(self) -> None:
        """Dependencies handed on through memory by one thread (carry-dep)."""
        stores = keep("data", self.data, lambda _, b: self.acts[b].order != "srcu-unlock")
        self.base_data = self.data
        step = seq("carry-dep", stores, self.rfi)
        if not step:
            return
        carry = closure("carry-dep", step)
        self.addr = union("addr", self.addr, seq("addr", carry, self.addr))
        self.ctrl = union("ctrl", self.ctrl, seq("ctrl", carry, self.ctrl))
        self.data = union("data", self.data, seq("data", carry, self.data))

    def _handover(self) -> None:
        """po-unlock-lock-po: from before an unlock to after the next lock."""
        before = self._static("po", "unlock_po")
        none = Rel("po-unlock-lock-po", {})
        self.handover = self.handover_mb = none
        if not before:
            return
        rf = union("rf", self.rfe, self.rfi)
        locks = keep_to("rf", rf, {a.id for a in self.acts.values() if a.kind == "LKR"})
        step = union("po-or-rf", self._static("po", "unlock_lock"), locks)
        taken = seq("po-unlock-lock", before, step)
        self.handover = seq("po-unlock-lock-po", taken, self._static("po", "lock_po"))
        self.handover_mb = seq("mb", taken, self._static("mb", "lock_fence"))

    def _fences(self) -> None:
        self.po_rel = self._static("po-rel", "po_rel")
        self.acq_po = self._static("acq-po", "acq_po")
        self.rmb = self._static("rmb", "rmb")
        self.wmb = self._static("wmb", "wmb")
        mb, gp = self._static("mb", "mb"), self._static("gp", "gp")
        strong = union("strong-fence", mb, gp)
        rest = (self.po_rel, self.acq_po, self.wmb, self.rmb)
        self.fence_int = union("fence", strong, *rest)
        self.strong_fence = strong
        if self.handover_mb:
            self.strong_fence = union("strong-fence", mb, gp, self.handover_mb)
            inside = keep_inside("mb", self.handover_mb, self.thread)
            self.fence_int = union("fence", strong, *rest, inside)
        self.nonrw_fence = union("nonrw-fence", self.strong_fence, self.po_rel, self.acq_po)
        self.fence = union("fence", self.nonrw_fence, self.wmb, self.rmb)

    # -- instruction execution ordering -------------------------------------------

    def _ppo(self) -> None:
        parts = [
            self.addr,
            self.data,
            self.ctrl,
            self.overwrite_int,
            self.fence_int,
            keep_inside("po-unlock-lock-po", self.handover, self.thread),
        ]
        dep = union("dep", self.addr, self.data)
        if dep:
            to_marked = keep_to("dep", dep, self.marked)
            parts.append(seq("to-r", to_marked, self.rfi))
        if self.has_plain:
            to_plain = keep_to("addr", self.addr, self.acts.keys() - self.marked)
            parts.append(seq("to-w", to_plain, self.wmb))
        self.ppo = union("ppo", *parts)

    def _propagation(self) -> None:
        """cumul-fence and prop; the identity in ``prop`` is kept apart."""
        rfe_marked = keep_to("rf", self.rfe, self.marked) if self.has_plain else self.rfe
        releasing = union("A-cumul", self.strong_fence, self.po_rel)
        fence = union(
            "cumul-fence",
            releasing,
            seq("A-cumul", rfe_marked, releasing),
            self.wmb,
            self.handover,
        )
        fence = self.both_marked("cumul-fence", fence)
        rf = union("rf", self.rfe, self.rfi)
        handed_on = seq("rmw-sequence", rf, self.rmw)
        self.rmw_sequence = closure("rmw-sequence", handed_on)
        if handed_on:
            fence = union("cumul-fence", fence, seq("cumul-fence", fence, self.rmw_sequence))
        self.cumul = closure("cumul-fence", fence)
        overwrite = self.both_marked("overwrite", self.overwrite_ext)
        self.rfe_marked = self.both_marked("rf", self.rfe)
        led = union("prop", overwrite, self.cumul, seq("prop", overwrite, self.cumul))
        self.prop = union("prop", led, self.rfe_marked, seq("prop", led, self.rfe_marked))

    def _time(self) -> None:
        """hb and pb: the axioms happens-before and propagation."""
        inside = keep_inside("prop", self.prop, self.thread)
        ordered = self.both_marked("hb", union("hb", self.ppo, self.rfe))
        self.hb = union("hb", ordered, inside)
        strong = self.both_marked("strong-fence", self.strong_fence)
        self.strong_step = union("pb", strong, seq("pb", self.prop, strong))
        self._forbid(Axiom.HAPPENS_BEFORE, cyclic(self.hb), self.hb)
        if self.strong_step:
            self.time = union("hb-or-pb", self.hb, self.strong_step)
            if self.rows:
                self._forbid(Axiom.PROPAGATION, cyclic(self.time), self.time)
        else:
            self.time = self.hb

    # -- flags that paths decide --------------------------------------------------

    def _path_flags(self) -> None:
        for ordering in self.orderings:
            for flag in ordering.flags:
                self._flag(flag, self.rows)
        of_locks = {act.id: act.address for act in self.acts.values() if _is_of_lock(act)}
        locks = set(of_locks.values())
        if any(
            act.address in locks and act.id not in of_locks and act.node.life is Life.NONE
            for act in (self.acts.values() if locks else ())
        ):
            self._flag("mixed-lock-accesses", self.rows)
        if locks & set(self.asked):
            self._flag("lock-final", self.rows)
        self._srcu_flags()

    def _srcu_flags(self) -> None:
        locks = [act for act in self.acts.values() if act.order == "srcu-lock"]
        unlocks = [act for act in self.acts.values() if act.order == "srcu-unlock"]
        if not locks and not unlocks:
            return
        pass_cookie = srcu_cookies(self)
        for lock in locks:
            matched = dict.fromkeys((u.id for u in unlocks), 0)
            for unlock in unlocks:
                if unlock.address == lock.address:
                    mask = pass_cookie.get(lock.id, unlock.id)
                    matched[unlock.id] = mask
                    self._flag("srcu-bad-value-match", mask & self._differ(lock, unlock))
            self._once_each(list(matched.values()), "unmatched-srcu-lock")
        for unlock in unlocks:
            into = [
                pass_cookie.get(lock.id, unlock.id)
                for lock in locks
                if lock.address == unlock.address
            ]
            some = 0
            for mask in into:
                some |= mask
            self._flag("unmatched-srcu-unlock", ~some)

    def _differ(self, first: Act, second: Act) -> int:
        """Candidates in which two accesses are of different words."""
        words = self.candidates.words(second.value)
        same = 0
        for word, mask in self.candidates.reads.get(first.id, {}).items():
            same |= mask & words.get(word, 0)
        return ~same

    def _once_each(self, masks: list[int], none: str) -> None:
        some = twice = 0
        for mask in masks:
            twice |= some & mask
            some |= mask
        self._flag(none, ~some)
        self._flag("multiple-srcu-matches", twice)

    def _flag(self, flag: str, mask: int) -> None:
        mask &= self.rows
        if mask:
            self.flags[flag] = self.flags.get(flag, 0) | mask


def _is_of_lock(act: Act) -> bool:
    """Whether ``act`` uses a spinlock or an SRCU structure (ALL-LOCKS of lock.cat)."""
    return (
        act.kind in LOCK_KINDS
        or act.kind == "SRCU"
        or act.order in ("srcu-lock", "srcu-unlock")
    )


def srcu_cookies(model: Model) -> Rel:
    """srcu-rscs of linux-kernel.bell, but for ``& loc``: where a lock's cookie goes."""
    acts = model.acts
    data = model.base_data
    stores = keep("data", data, lambda _, b: acts[b].order != "srcu-unlock")
    rf = union("rf", model.rfe, model.rfi)
    carry = closure("carry-srcu-data", seq("carry-srcu-data", stores, rf))
    return union("srcu-rscs", data, seq("srcu-rscs", carry, data))
