"""Where a thread may stop for ever: before a lock, before a grace period."""

from __future__ import annotations

from collections.abc import Callable

from mkold.ir.nodes import Op
from mkold.ir.prims import PRIMS, Prim, Shape, When
from mkold.ir.prims.locks import LOCKED, WRITER
from mkold.ir.program import Program
from mkold.lkmm.graph.guards import Guard, both, negate
from mkold.lkmm.graph.values import Value, binary
from mkold.lkmm.sat.waiting import Stand
from mkold.lkmm.unroll.state import State
from mkold.lkmm.unroll.unroller import Unroller


class Blocking(Unroller):
    """``stands``: where a thread may stop."""

    def __init__(self, program: Program, check: Callable[[], None]) -> None:
        super().__init__(program, 0, check)
        self.stands: list[Stand] = []
        self.stops: list[Guard] = []  # the guards of stands and cuts, as they came
        self.standing: set[int] = set()  # nodes that are looks at a lock waited for

    def stop(self, stand: Stand) -> None:
        """The thread may stop here."""
        self.stands.append(stand)
        self.stops.append(stand.guard)

    def may_stop(self, op: Op, state: State) -> None:
        """Before a lock or a grace period: the thread may stop here for ever."""
        row = PRIMS[op.prim]
        if not (row.waits or row.awaits) or state.live == 0:
            return
        stops = self._new_decision(state, None)
        inner = state.under(stops, state.ctrl)
        nodes: tuple[int, ...] = ()
        srcu: Value | None = None
        guard = inner.live
        if row.waits:
            look, guard = self._look(op, row, inner)
            nodes = (look,)
        elif row.awaits == "srcu":
            srcu = self.expr(op.args[0], inner)[0]
        po = self._po[self.thread]
        kind = "lock" if row.waits else "grace"
        self.stop(Stand(guard, self.unit, self.thread, po, kind, nodes, srcu,
                         op.prim, op.what, op.at))  # fmt: skip
        state.live = both(state.live, negate(stops))

    def _look(self, op: Op, row: Prim, state: State) -> tuple[int, Guard]:
        """The look at a lock that is not to be had; where it is not."""
        addr, taint = self.expr(op.args[0], state)
        spins = row.shape is Shape.LOCK
        kind, order = ("LF", "") if spins else ("R", "once")
        must = LOCKED if spins else WRITER if row.when is When.UNEQUAL else None
        node = self.add(state, kind, order, addr=self.settled(addr, state), addr_deps=taint,
                        must=must, what=op.what, prim=op.prim, at=op.at)  # fmt: skip
        self.standing.add(node.id)
        node.value = self.found(node, state)
        if node.must is not None:
            return node.id, state.live
        held = node.value if must is None else binary("eq", node.value, must)
        taken = self.decide(state, held)  # a writer waits for readers too
        self.graph.waits.append((both(state.live, negate(taken)), self.unit))
        return node.id, both(state.live, taken)
