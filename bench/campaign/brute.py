"""Every execution of a written-out program, one at a time, by definition.

The relations are those of the engine ``literal``, the events those of a program without loops;
nothing here knows of waiting rounds, of symmetry or of masks.

``hang``: an allowed execution in which every thread has ended or stands, and one stands. A
thread stands

* at the cut of a loop whose last round left the locals as they were and wrote nothing but
  words that were there already (or took a lock and left it), and in which every read finds
  its word's last write in coherence order; writes of last rounds that others stand in don't
  count as later;
* at a lock that it found held by the last write of all;
* before a grace period, while some thread that stands is in a read-side section.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, product

from campaign.stopping import (
    AT_GRACE,
    AT_LOCK,
    AT_SRCU,
    CUT,
    RCU_DEPTH,
    SAME,
    SRCU_DEPTH,
)
from campaign.written_out import WrittenOut
from mkold.ir.prims import PRIMS
from mkold.ir.program import Reg
from mkold.lkmm.known.words import MayValues
from mkold.lkmm.literal.executions import Execution, count, executions
from mkold.lkmm.literal.flags import model_flags
from mkold.lkmm.literal.sets import cycle
from mkold.lkmm.paths.flags import own_flags
from mkold.lkmm.paths.paths import Act, unit_paths
from mkold.lkmm.paths.question import addresses
from mkold.lkmm.sat.walk import Reach
from mkold.lkmm.unroll import unroll

State = tuple[int, ...]


@dataclass(slots=True)
class Found:
    """What all allowed executions add up to; ``states`` of whole and of stopped ones."""

    states: set[State] = field(default_factory=set)
    flags: set[str] = field(default_factory=set)
    hang: bool = False


class Brute:
    """The executions of ``written``; ``n`` candidates, impossible ones included."""

    def __init__(self, written: WrittenOut) -> None:
        self.written, self.program = written, written.program
        self.graph = unroll(self.program)
        may = MayValues(self.graph)
        units = range(len(self.program.threads))
        self.choices = list(product(*(unit_paths(self.graph, u, may) for u in units)))
        self.n = sum(map(count, self.choices))

    def every(self) -> Iterator[Execution]:
        return chain.from_iterable(executions(self.graph, paths) for paths in self.choices)

    def all_there_is(self, *, justified: bool = False) -> Found:
        """States, flags and hangs; of executions that are ``justified``, or of all."""
        found, asked = Found(), frozenset(addresses(self.program))
        reach = Reach(self.graph.decisions)
        for execution in self.every():
            made = execution.relations()
            if made.broken() is not None or (justified and is_circular(execution, reach)):
                continue
            found.states.add(execution.final)
            found.flags |= set(model_flags(made, execution.values, asked))
            own = own_flags(self.program, execution.paths, execution)
            found.flags |= {flag for flag, here in own if here}
            found.hang = found.hang or self.at_rest(execution)
        return found

    def hangs(self) -> bool:
        """Whether threads may wait for ever."""
        return any(
            self.at_rest(execution) and execution.relations().broken() is None
            for execution in self.every()
        )

    # -- who stands ---------------------------------------------------------------

    def at_rest(self, execution: Execution) -> bool:
        """Whether every thread has ended or stands, and one stands."""
        threads = [
            t for t, thread in enumerate(self.program.threads) if thread.name != "choices"
        ]
        cuts = {thread: execution.at(Reg(thread, CUT)) for thread in threads}
        standing = {thread for thread, cut in cuts.items() if cut}
        if not standing:
            return False
        resting = {
            act.id for thread in standing for act in self.round(execution, thread, cuts[thread])
        }
        return all(
            self.stands(execution, thread, cuts[thread], standing, resting)
            for thread in standing
        )

    def round(self, execution: Execution, thread: int, cut: int) -> list[Act]:
        """What a thread did in the last round of the loop at whose cut it is."""
        last = self.written.last
        return [act for act in execution.acts.values()
                if act.thread == thread and cut in last.get(act.node.stmt, ())]  # fmt: skip

    def stands(
        self, execution: Execution, thread: int, cut: int, standing: set[int], resting: set[int]
    ) -> bool:
        if cut in (AT_GRACE, AT_SRCU):
            depth = RCU_DEPTH if cut == AT_GRACE else SRCU_DEPTH
            return any(execution.at(Reg(other, depth)) for other in standing)
        if cut == AT_LOCK:
            looks = [act for act in execution.acts.values()
                     if act.thread == thread and act.is_read and act.address >= 0]  # fmt: skip
            look = max(looks, key=lambda act: act.node.po)
            return self.finds_last(execution, look, set())
        if not execution.at(Reg(thread, SAME)):
            return False
        acts = self.round(execution, thread, cut)
        return quiet(execution, acts) and all(
            self.finds_last(execution, act, resting) for act in acts if act.is_read
        )

    def finds_last(self, execution: Execution, read: Act, resting: set[int]) -> bool:
        order = execution.chains[read.address]
        later = order[order.index(execution.rf[read.id]) + 1 :]
        return resting.issuperset(later)


def is_circular(execution: Execution, reach: Reach) -> bool:
    """Whether some of what happens is justified by itself alone: a read finds what a write
    stores that would not be there, or not be so, but for that read."""
    needs: dict[int, set[int]] = {}
    for act in execution.acts.values():
        parts = (act.node.guard, act.node.addr, 0 if act.is_read else act.node.value)
        reads = frozenset().union(*map(reach.of, parts))
        needs[act.id] = {read for read in reads if read in execution.acts}
        if act.is_read and execution.rf[act.id] >= 0:
            needs[act.id].add(execution.rf[act.id])
    return bool(cycle(frozenset((a, b) for a, some in needs.items() for b in some)))


def quiet(execution: Execution, acts: list[Act]) -> bool:
    """Whether a round leaves every word, and every lock and section, as it found it."""
    taken: Counter[object] = Counter()
    for act in acts:
        row = PRIMS.get(act.node.prim)
        if act.order in ("rcu-lock", "rcu-unlock"):
            taken["rcu"] += 1 if act.order == "rcu-lock" else -1
        if not act.is_write:
            continue
        if act.kind in ("LKW", "UL") or act.order in ("srcu-unlock",):
            taken[act.address] += -1 if row is not None and row.leaves else 1
        elif act.node.rmw < 0 or execution.values[act.node.rmw] != execution.values[act.id]:
            return False
    taken.update(act.address for act in acts if act.order == "srcu-lock")
    return not any(taken.values())
