"""Order in time: fences, preserved program order, propagation; ``hb`` and ``pb``.

Each function here makes the relations of one section of linux-kernel.cat from those before
it, under the names that they have there.

* ``acyclic hb`` and ``acyclic pb`` together are ``acyclic hb | (prop ; strong-fence)``,
  since ``pb`` is the latter step followed by ``hb*``;
* ``hb* ; pb*`` is ``(hb | prop ; strong-fence)*`` for the same reason.

Source: linux-kernel.cat.
"""

from __future__ import annotations

from dataclasses import dataclass

from mkold.lkmm.model.base import Base, data_stores
from mkold.lkmm.model.relations import Rel, closure, keep_inside, keep_to, seq, union


@dataclass(frozen=True, slots=True)
class Dependencies:
    """``addr``, ``data`` and ``ctrl`` with what ``carry-dep`` adds."""

    addr: Rel
    data: Rel
    ctrl: Rel


@dataclass(frozen=True, slots=True)
class Handover:
    """``po-unlock-lock-po``, and its part beyond smp_mb__after_unlock_lock()."""

    po: Rel
    mb: Rel


@dataclass(frozen=True, slots=True)
class Fences:
    """``all`` is ``fence``; ``inside``: its edges within one thread."""

    strong: Rel
    nonrw: Rel
    all: Rel
    inside: Rel
    po_rel: Rel
    wmb: Rel


@dataclass(frozen=True, slots=True)
class Propagation:
    """``cumul`` is ``cumul-fence+``; ``prop`` lacks the identity."""

    cumul: Rel
    rmw_sequence: Rel
    rfe_marked: Rel
    prop: Rel


@dataclass(frozen=True, slots=True)
class Order:
    """All of it; ``time`` is ``hb | prop ; strong-fence``, ``pb`` its second part."""

    deps: Dependencies
    handover: Handover
    fences: Fences
    propagation: Propagation
    hb: Rel
    pb: Rel
    time: Rel


def order(base: Base) -> Order:
    """The order that the base relations make."""
    deps, handover = carried(base), handed_over(base)
    fences = fence_relations(base, handover)
    ppo = preserved(base, deps, handover, fences)
    propagation = propagated(base, handover, fences)
    inside = keep_inside("prop", propagation.prop, base.thread)
    ordered = base.both_marked("hb", union("hb", ppo, base.rfe))
    hb = union("hb", ordered, inside)
    strong = base.both_marked("strong-fence", fences.strong)
    pb = union("pb", strong, seq("pb", propagation.prop, strong))
    time = union("hb-or-pb", hb, pb) if pb else hb
    return Order(deps, handover, fences, propagation, hb, pb, time)


def carried(base: Base) -> Dependencies:
    """Dependencies handed on through memory by one thread (carry-dep)."""
    addr, data, ctrl = base.addr, base.data, base.ctrl
    step = seq("carry-dep", data_stores(data, base.acts), base.rfi)
    if not step:
        return Dependencies(addr, data, ctrl)
    carry = closure("carry-dep", step)
    return Dependencies(
        union("addr", addr, seq("addr", carry, addr)),
        union("data", data, seq("data", carry, data)),
        union("ctrl", ctrl, seq("ctrl", carry, ctrl)),
    )


def handed_over(base: Base) -> Handover:
    """po-unlock-lock-po: from before an unlock to after the next lock."""
    before = base.static("po", "unlock_po")
    if not before:
        none = Rel("po-unlock-lock-po", {})
        return Handover(none, none)
    rf = union("rf", base.rfe, base.rfi)
    locks = keep_to("rf", rf, {a.id for a in base.acts.values() if a.kind == "LKR"})
    step = union("po-or-rf", base.static("po", "unlock_lock"), locks)
    taken = seq("po-unlock-lock", before, step)
    return Handover(
        seq("po-unlock-lock-po", taken, base.static("po", "lock_po")),
        seq("mb", taken, base.static("mb", "lock_fence")),
    )


def fence_relations(base: Base, handover: Handover) -> Fences:
    """strong-fence, nonrw-fence, fence."""
    po_rel, acq_po = base.static("po-rel", "po_rel"), base.static("acq-po", "acq_po")
    rmb, wmb = base.static("rmb", "rmb"), base.static("wmb", "wmb")
    mb, gp = base.static("mb", "mb"), base.static("gp", "gp")
    strong = union("strong-fence", mb, gp)
    rest = (po_rel, acq_po, wmb, rmb)
    inside = union("fence", strong, *rest)
    if handover.mb:
        strong = union("strong-fence", mb, gp, handover.mb)
        within = keep_inside("mb", handover.mb, base.thread)
        inside = union("fence", inside, within)
    nonrw = union("nonrw-fence", strong, po_rel, acq_po)
    return Fences(strong, nonrw, union("fence", nonrw, wmb, rmb), inside, po_rel, wmb)


def preserved(base: Base, deps: Dependencies, handover: Handover, fences: Fences) -> Rel:
    """ppo: what is preserved of program order."""
    parts = [
        deps.addr,
        deps.data,
        deps.ctrl,
        base.overwrite_int,
        fences.inside,
        keep_inside("po-unlock-lock-po", handover.po, base.thread),
    ]
    dep = union("dep", deps.addr, deps.data)
    if dep:
        to_marked = keep_to("dep", dep, base.marked)
        parts.append(seq("to-r", to_marked, base.rfi))
    if base.has_plain:
        to_plain = keep_to("addr", deps.addr, base.acts.keys() - base.marked)
        parts.append(seq("to-w", to_plain, fences.wmb))
    return union("ppo", *parts)


def propagated(base: Base, handover: Handover, fences: Fences) -> Propagation:
    """cumul-fence, rmw-sequence and prop."""
    rfe_marked = keep_to("rf", base.rfe, base.marked) if base.has_plain else base.rfe
    releasing = union("A-cumul", fences.strong, fences.po_rel)
    cumulative = seq("A-cumul", rfe_marked, releasing)
    fence = union("cumul-fence", releasing, cumulative, fences.wmb, handover.po)
    fence = base.both_marked("cumul-fence", fence)
    rf = union("rf", base.rfe, base.rfi)
    handed_on = seq("rmw-sequence", rf, base.rmw)
    rmw_sequence = closure("rmw-sequence", handed_on)
    if handed_on:
        fence = union("cumul-fence", fence, seq("cumul-fence", fence, rmw_sequence))
    cumul = closure("cumul-fence", fence)
    overwrite = base.both_marked("overwrite", base.overwrite_ext)
    rfe = base.both_marked("rf", base.rfe)
    led = union("prop", overwrite, cumul, seq("prop", overwrite, cumul))
    return Propagation(cumul, rmw_sequence, rfe, union("prop", led, rfe, seq("prop", led, rfe)))
