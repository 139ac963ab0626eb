"""What is needed: weaken each ordering primitive, decide again.

For every fence, acquire or release, ONCE mark, read-modify-write, RCU section, grace
period and lock in the functions that a set of cases runs, each weaker form is tried, the
weakest first, until every case holds that held before:

* ``not needed``: the weakest form (dropped, or plain) will do in every case here;
* ``weaker would do``: some weaker form will do, the weakest such is named;
* ``needed``: every weaker form breaks some case, which is named.

Known limits: one place at a time (two that back each other up are each "not needed");
"not needed" speaks of the given cases only; a case that can't be decided in time counts
as broken by the weakening, and is named as such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from mkold.check.claim import Case
from mkold.check.decide import CaseResult, decide_case
from mkold.check.program import build
from mkold.ir.prims import PRIMS, Order, Prim, Shape
from mkold.ir.variant import Drop, Edit, Site, Swap, sites

_STRENGTH = {
    Order.PLAIN: 0,
    Order.NORETURN: 1,
    Order.ONCE: 1,
    Order.ACQUIRE: 2,
    Order.RELEASE: 2,
    Order.MB: 3,
}
_PAIRS = {
    "rcu_read_lock": "rcu_read_unlock",
    "spin_lock": "spin_unlock",
    "read_lock": "read_unlock",
    "write_lock": "write_unlock",
}
_WEAKER_FENCE = {"smp_mb": ("smp_rmb", "smp_wmb")}


@dataclass(frozen=True, slots=True)
class Weaker:
    """One weaker form of a place: ``label`` it; ``edits`` make it."""

    label: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Need:
    """The answer for one place.

    ``verdict`` is ``needed``, ``weaker would do`` or ``not needed``; ``form`` the weakest
    form that does; ``broken_by`` the result of the first case that the next weaker form
    breaks, ``case`` that case's scenario name.
    """

    site: Site
    verdict: str
    form: str
    case: str
    broken_by: CaseResult | None
    n_cases: int
    cpu_s: float


def weaker_forms(site: Site, function_sites: list[Site]) -> tuple[Weaker, ...]:
    """Weaker forms of the primitive at ``site``, the weakest first."""
    row = PRIMS[site.prim]
    match row.shape:
        case Shape.FENCE:
            less = [Weaker(p, (Swap(site.name, p),)) for p in _WEAKER_FENCE.get(row.name, ())]
            return (Weaker("dropped", (Drop(site.name),)), *less)
        case Shape.SYNC_RCU:
            return (
                Weaker("dropped", (Drop(site.name),)),
                Weaker("smp_mb", (Swap(site.name, "smp_mb"),)),
            )
        case Shape.RCU_LOCK | Shape.LOCK | Shape.READ_LOCK | Shape.WRITE_LOCK:
            pair = [s for s in function_sites if s.prim == _PAIRS.get(row.name)]
            ends = [s for s in pair if s.what == site.what]
            return (
                (Weaker("dropped", (Drop(site.name), *(Drop(end.name) for end in ends))),)
                if ends
                else ()
            )
        case _:
            return tuple(Weaker(name, (Swap(site.name, name),)) for name in weaker_prims(row))


def weaker_prims(row: Prim) -> list[str]:
    """Rows that do the same with a weaker order, the weakest first."""
    if row.order not in _STRENGTH:
        return []
    found: dict[Order, Prim] = {}
    for other in PRIMS.values():
        if _same_action(row, other) and _STRENGTH[other.order] < _STRENGTH[row.order]:
            found.setdefault(other.order, other)
    return [p.name for p in sorted(found.values(), key=lambda p: _STRENGTH[p.order])]


def _same_action(a: Prim, b: Prim) -> bool:
    def key(p: Prim) -> tuple[object, ...]:
        return (p.shape, p.op, p.result, p.operand, p.n_args, p.n_dsts)

    same_family = a.name.startswith("atomic_") == b.name.startswith("atomic_")
    marked = a.shape in (Shape.LOAD, Shape.STORE)
    return key(a) == key(b) and b.order in _STRENGTH and (same_family or marked)


def needed(
    cases: Iterable[Case],
    *,
    timeout_s: float,
    progress: Callable[[str], None] = lambda text: None,
) -> Iterator[Need]:
    """Answers for every place in the functions that ``cases`` run, one at a time."""
    held = _cases_that_hold(cases, timeout_s, progress)
    by_site: dict[str, tuple[Site, list[Case], list[Site]]] = {}
    for case in held:
        functions = build(case.scenario, case.edits).program.functions
        for function in functions.values():
            found = list(sites({function.name: function}))
            for site in found:
                entry = by_site.setdefault(site.name, (site, [], found))
                entry[1].append(case)
    for site, its_cases, found in by_site.values():
        forms = weaker_forms(site, found)
        if forms:
            progress(site.name)
            yield _need(site, forms, its_cases, timeout_s)


def _cases_that_hold(
    cases: Iterable[Case], timeout_s: float, progress: Callable[[str], None]
) -> list[Case]:
    held = []
    seen = set()
    for case in cases:
        key = (case.scenario.name, case.edits)
        if key in seen:
            continue
        seen.add(key)
        progress(f"{case.scenario.name} as it is")
        if decide_case(case, timeout_s=timeout_s, show=False).status == "holds":
            held.append(case)
    return held


def _need(site: Site, forms: tuple[Weaker, ...], cases: list[Case], timeout_s: float) -> Need:
    cpu_s, blame_case, blame = 0.0, "", None
    for index, form in enumerate(forms):
        broken = None
        for case in cases:
            tried = replace(case, edits=(*case.edits, *form.edits), label=form.label)
            result = decide_case(tried, timeout_s=timeout_s, show=False)
            cpu_s += result.cpu_s
            if result.status != "holds":
                broken, blame_case = result, case.scenario.name
                break
        if broken is None:
            verdict = "not needed" if index == 0 else "weaker would do"
            return Need(site, verdict, form.label, blame_case, blame, len(cases), cpu_s)
        blame = broken
    return Need(site, "needed", site.prim, blame_case, blame, len(cases), cpu_s)
