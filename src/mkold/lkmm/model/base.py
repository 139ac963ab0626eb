"""Base relations: what the candidates and each path by itself say.

Initial writes are left out: no edge leads to one, so none is in a cycle.

Source: linux-kernel.cat ("Basic relations").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mkold.lkmm.graph.events import INIT
from mkold.lkmm.graph.values import Value
from mkold.lkmm.model.relations import (
    Rel,
    Rows,
    base,
    keep_across,
    keep_among,
    keep_inside,
    union,
)
from mkold.lkmm.paths.ordering import Ordering
from mkold.lkmm.paths.paths import Act


class Candidates(Protocol):
    """What the model is told of the candidates, which all took the same paths.

    ``rows``: those that stand. ``rf[read][source]`` and ``co[write][later]`` are masks.
    """

    @property
    def acts(self) -> Mapping[int, Act]: ...
    @property
    def rows(self) -> int: ...
    @property
    def rf(self) -> Rows: ...
    @property
    def co(self) -> Rows: ...
    def fr(self) -> Rows: ...
    def words(self, value: Value) -> dict[int, int]: ...


@dataclass(frozen=True, slots=True)
class Base:
    """Relations that all others are made from; ``addr``, ``data`` and ``ctrl`` without
    what is handed on through memory."""

    acts: Mapping[int, Act]
    orderings: Sequence[Ordering]
    rows: int
    thread: dict[int, int]
    marked: set[int]
    has_plain: bool
    rfe: Rel
    rfi: Rel
    co: Rel
    fr: Rel
    overwrite_ext: Rel
    overwrite_int: Rel
    addr: Rel
    data: Rel
    ctrl: Rel
    rmw: Rel

    def static(self, name: str, attribute: str) -> Rel:
        """A relation that the paths decide: an attribute of ``Ordering``."""
        return _static(name, attribute, self.orderings, self.rows)

    def both_marked(self, name: str, rel: Rel) -> Rel:
        """``[Marked] ; rel ; [Marked]``."""
        return keep_among(name, rel, self.marked) if self.has_plain else rel


def _static(name: str, attribute: str, orderings: Sequence[Ordering], rows: int) -> Rel:
    pairs: list[tuple[int, int]] = []
    for ordering in orderings:
        pairs += getattr(ordering, attribute)
    return base(name, pairs, rows) if pairs else Rel(name, {})


def base_relations(orderings: Sequence[Ordering], candidates: Candidates) -> Base:
    """The base relations of ``candidates``, whose paths have these ``orderings``."""
    acts, rows = candidates.acts, candidates.rows
    thread = {act.id: act.thread for act in acts.values()}
    rfe: Rows = {}
    rfi: Rows = {}
    for read, sources in candidates.rf.items():
        for source, mask in sources.items():
            if source != INIT:
                where = rfi if thread[source] == thread[read] else rfe
                where.setdefault(source, {})[read] = mask
    co, fr = Rel("co", candidates.co), Rel("fr", candidates.fr())
    overwrite = union("overwrite", co, fr)
    addr, data, ctrl, rmw = (
        _static(name, name, orderings, rows) for name in ("addr", "data", "ctrl", "rmw")
    )
    return Base(
        acts=acts,
        orderings=orderings,
        rows=rows,
        thread=thread,
        marked={act.id for act in acts.values() if act.marked},
        has_plain=any(ordering.plain for ordering in orderings),
        rfe=Rel("rf", rfe),
        rfi=Rel("rf", rfi),
        co=co,
        fr=fr,
        overwrite_ext=keep_across("overwrite", overwrite, thread),
        overwrite_int=keep_inside("overwrite", overwrite, thread),
        addr=addr,
        data=data,
        ctrl=ctrl,
        rmw=rmw,
    )


def data_stores(base_data: Rel, acts: Mapping[int, Act]) -> Rel:
    """``data ; [~ Srcu-unlock]``: what may be handed on through memory."""
    rows = {
        a: kept
        for a, row in base_data.rows.items()
        if (kept := {b: m for b, m in row.items() if acts[b].order != "srcu-unlock"})
    }
    return Rel("data", rows, "union", (base_data,))
