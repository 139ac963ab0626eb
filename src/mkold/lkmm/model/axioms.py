"""The Linux-kernel memory model: which candidate executions stand, and which race.

Each relation has the name it has in linux-kernel.cat and one place:

======================= =======================================================
relation                where
======================= =======================================================
co rf fr, coherence,    ``masks`` (built in, word by word), ``base``
atomic, lock.cat
po-rel acq-po rmb wmb   ``paths.ordering`` (decided by the path alone)
mb gp, addr data ctrl
carry-dep               ``order.carried``
po-unlock-lock-po       ``order.handed_over``
ppo (to-w, to-r)        ``order.preserved``
cumul-fence, prop       ``order.propagated``
hb, pb                  ``order.order``
srcu-rscs               ``srcu.srcu_cookies``
rcu-link rcu-order      ``grace``
rcu-fence, vis, *-vis   ``plain``
plain-coherence, races  ``plain``
======================= =======================================================

Source: tools/memory-model/linux-kernel.cat, linux-kernel.bell, as of Linux 6.16
(commits c6ef7379e3 ("tools/memory-model: Distinguish between syntactic and semantic
tags") and following); J. Alglave, L. Maranget, P. E. McKenney, A. Parri, A. Stern,
"Frightening Small Children and Disconcerting Grown-ups", ASPLOS 2018.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from mkold.lkmm.graph.events import Life
from mkold.lkmm.model.base import Base, Candidates, base_relations
from mkold.lkmm.model.grace import Grace, grace_periods
from mkold.lkmm.model.order import Order, order
from mkold.lkmm.model.plain import incoherent, mixes, races, racing_pairs, visibility
from mkold.lkmm.model.relations import Rel, cyclic
from mkold.lkmm.model.srcu import srcu_flags
from mkold.lkmm.paths.ordering import Ordering
from mkold.lkmm.paths.paths import Act
from mkold.lkmm.verdict import LOCK_KINDS, Axiom


@dataclass(slots=True)
class Judgement:
    """What the model says of the candidates that took certain paths.

    ``rows`` are those that it allows. ``broken`` lists, for pictures, the axiom, the
    candidates that it alone took away, and the relation with the cycle. ``flags`` and
    ``races`` (pairs of events) come with masks.
    """

    base: Base
    order: Order
    rows: int
    grace: Grace | None = None
    broken: list[tuple[Axiom, int, Rel]] = field(default_factory=list)
    flags: dict[str, int] = field(default_factory=dict)
    races: list[tuple[int, int, int]] = field(default_factory=list)

    def forbid(self, axiom: Axiom, mask: int, rel: Rel) -> None:
        """``axiom`` takes away the candidates in ``mask``."""
        mask &= self.rows
        if mask:
            self.broken.append((axiom, mask, rel))
            self.rows &= ~mask

    def flag(self, flag: str, mask: int) -> None:
        """The candidates in ``mask`` that still stand raise ``flag``."""
        mask &= self.rows
        if mask:
            self.flags[flag] = self.flags.get(flag, 0) | mask


def judge(
    orderings: Sequence[Ordering], candidates: Candidates, asked: Collection[int] = ()
) -> Judgement:
    """The axioms over all candidates at once; ``asked``: words whose end is observed."""
    base = base_relations(orderings, candidates)
    found = Judgement(base, order(base), base.rows)
    _in_time(found)
    found.grace = grace_periods(base, found.order, found.rows)
    if found.grace is not None:
        found.forbid(Axiom.RCU, found.grace.violations(), found.grace.order)
    if found.rows and base.has_plain:
        _plainly(found)
    for flag in (*_path_flags(orderings), *_lock_flags(base.acts.values(), asked)):
        found.flag(flag, found.rows)
    for flag, mask in srcu_flags(base, candidates):
        found.flag(flag, mask)
    return found


def _in_time(found: Judgement) -> None:
    made = found.order
    found.forbid(Axiom.HAPPENS_BEFORE, cyclic(made.hb), made.hb)
    if made.pb and found.rows:
        found.forbid(Axiom.PROPAGATION, cyclic(made.time), made.time)


def _plainly(found: Judgement) -> None:
    """Take away incoherent candidates; then raise the flags."""
    if mixes(found.base):
        found.flag("mixed-accesses", found.rows)
    pairs = racing_pairs(found.base.acts.values())
    if not pairs:
        return
    seen = visibility(found.base, found.order, found.grace)
    for mask, rel in incoherent(seen, pairs):
        found.forbid(Axiom.PLAIN_COHERENCE, mask, rel)
    if not found.rows:
        return
    for a, b, mask in races(seen, pairs):
        mask &= found.rows
        if mask:
            found.flag("data-race", mask)
            found.races.append((a, b, mask))


def _path_flags(orderings: Sequence[Ordering]) -> Iterator[str]:
    for ordering in orderings:
        yield from ordering.flags


def _lock_flags(acts: Collection[Act], asked: Collection[int]) -> Iterator[str]:
    """Locks used like data, or asked for at the end (lock.cat)."""
    mine = {act.id: act.address for act in acts if _is_of_lock(act)}
    locks = set(mine.values())
    if locks and any(
        act.address in locks and act.id not in mine and act.node.life is Life.NONE
        for act in acts
    ):
        yield "mixed-lock-accesses"
    if locks & set(asked):
        yield "lock-final"


def _is_of_lock(act: Act) -> bool:
    """Whether ``act`` uses a spinlock or an SRCU structure (ALL-LOCKS of lock.cat)."""
    return (
        act.kind in LOCK_KINDS
        or act.kind == "SRCU"
        or act.order in ("srcu-lock", "srcu-unlock")
    )  # fmt: skip
