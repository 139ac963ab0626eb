"""One use of a primitive: adds its events where the path stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mkold.ir.algebra import Algebra
from mkold.ir.nodes import WORD_MASK, Op
from mkold.ir.prims import Prim
from mkold.lkmm.graph.events import WRITE_KINDS, Node
from mkold.lkmm.graph.guards import Guard, both, negate
from mkold.lkmm.graph.values import (
    NO_TAINT,
    Taint,
    Value,
    binary,
    merge_taints,
    taint_under,
    unary,
)
from mkold.lkmm.unroll.builder import Builder
from mkold.lkmm.unroll.state import State

Arg = tuple[Value, Taint]
_IN_EXPRESSIONS = frozenset({"R", "W", "LKR", "LKW", "LF", "RL", "RU"})
T = TypeVar("T")


def _unary(op: str, a: Arg) -> Arg:
    return unary(op, a[0]), a[1]


def _binary(op: str, a: Arg, b: Arg) -> Arg:
    return binary(op, a[0], b[0]), merge_taints(a[1], b[1])


# Values with what they depend on.
ARGS: Algebra[Arg] = Algebra(lambda n: (n & WORD_MASK, NO_TAINT), _unary, _binary)


class Emitter:
    """``args`` are the primitive's, evaluated in ``state``."""

    def __init__(
        self, builder: Builder, op: Op, row: Prim, state: State, args: list[Arg]
    ) -> None:
        self.builder, self.op, self.row = builder, op, row
        self.state, self.args = state, args

    def event(self, kind: str, order: str, **fields: object) -> Node:
        op = self.op
        if op.group and kind in _IN_EXPRESSIONS:
            fields["group"] = self.builder.group(op.group)
            if kind in WRITE_KINDS:
                fields["args_deps"] = merge_taints(*(taint for _, taint in self.args))
        return self.builder.add(
            self.state, kind, order, what=op.what, prim=op.prim, at=op.at, stmt=id(op), **fields
        )

    def read(self, kind: str, order: str, index: int = 0, **fields: object) -> Node:
        address, taint = self.address(index)
        node = self.event(kind, order, addr=address, addr_deps=taint, **fields)
        node.value = self.builder.found(node, self.state)
        return node

    def write(
        self, kind: str, order: str, value: Arg, index: int = 0, **fields: object
    ) -> Node:
        address, taint = self.address(index)
        node = self.event(kind, order, addr=address, addr_deps=taint,
                          value=value[0], data_deps=value[1], **fields)  # fmt: skip
        self.builder.stored(node, self.state)
        return node

    def address(self, index: int = 0) -> Arg:
        """The address ``index`` words behind the one named."""
        address, taint = self.args[0]
        return self.builder.settled(binary("add", address, index), self.state), taint

    def update(self, read: Node, value: Arg, order: str, kind: str = "W") -> Node:
        """The write half of a read-modify-write."""
        node = self.write(kind, order, value, rmw=read.id)
        read.rmw = node.id
        return node

    def under(self, guard: Guard, taint: Taint, act: Callable[[], T]) -> T | None:
        """Do ``act`` where ``guard`` holds, depending on ``taint`` by control."""
        state, done = self.state, None
        live, ctrl = state.live, state.ctrl
        if both(live, guard) != 0:
            before = dict(state.mem)
            state.ctrl = merge_taints(ctrl, taint_under(taint, live))
            state.live = both(live, guard)
            done = act()
            state.mem = self.builder.meet_mem(guard, state.mem, before)
        state.live, state.ctrl = live, ctrl
        return done

    def require(self, cond: Value) -> None:
        """Drop executions that get here with ``cond`` zero: they wait for ever."""
        builder = self.builder
        stuck = both(self.state.live, negate(builder.decide(self.state, cond)))
        builder.graph.waits.append((stuck, builder.unit))

    def check(self, flag: str, cond: Value) -> None:
        """Raise ``flag`` where ``cond`` is not zero."""
        self.builder.flag(flag, self.state, cond)


def seen(node: Node) -> Arg:
    """What a read found."""
    return node.value, {node.id: node.guard}
