"""Each primitive's events, by the shape and order of its row in ``mkold.ir.prims``.

Sources: tools/memory-model/linux-kernel.{def,bell}, lock.cat,
Documentation/herd-representation.txt.

Beyond LKMM, which has no events for them:

* ``read_lock``/``write_lock``: a counter of readers, ``WRITER`` while held for writing,
  changed by atomic read-modify-writes with acquire (lock) and release (unlock) order;
* ``call_rcu``: a release store to a word of its own, and a process whose acquire load
  must find it, which then waits for a grace period (Documentation/litmus-tests.txt,
  "Limitations", says to emulate it by such a process);
* ``BUG_ON``, ``WARN_ON_ONCE``: no event, a check.

Within one read-modify-write the write depends on the read by data where the value is
computed from it (``atomic_add`` ...), and not at all for ``xchg`` and ``cmpxchg``: herd has
no control dependency there, and fewer dependencies are the safe side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mkold.base.errors import UnsupportedError
from mkold.ir.nodes import CallRcu, Function, Op
from mkold.ir.prims import Order, Prim, Shape
from mkold.ir.program import POISON
from mkold.lkmm.graph.events import LOCKED, UNLOCKED, Check, Node
from mkold.lkmm.graph.values import (
    NO_TAINT,
    Guard,
    Taint,
    Value,
    binary,
    both,
    merge_taints,
    negate,
    phi,
    taint_under,
    unary,
)

if TYPE_CHECKING:
    from mkold.lkmm.unroll.state import State
    from mkold.lkmm.unroll.unroller import Unroller

Arg = tuple[Value, Taint]
WRITER = (1 << 64) - 1

# Tags of the read and the write of a read-modify-write (herd-representation.txt).
RMW_TAGS = {
    Order.MB: ("mb", "mb"),
    Order.ONCE: ("once", "once"),
    Order.ACQUIRE: ("acquire", "once"),
    Order.RELEASE: ("once", "release"),
    Order.NORETURN: ("noreturn", "once"),
}


# Accesses that may be kept like locals (see ``oracle``).
_LIKE_LOCALS = (Order.PLAIN, Order.ONCE)


def perform(unroller: Unroller, op: Op, row: Prim, state: State) -> None:
    """Add the events of ``op`` and assign its results."""
    args = [unroller.expr(arg, state) for arg in op.args]
    emit = _Emitter(unroller, op, row, state, args)
    results = _SHAPES[row.shape](emit)
    state.env.update(zip(op.dsts, results, strict=False))


class _Emitter:
    """One use of a primitive."""

    def __init__(
        self, unroller: Unroller, op: Op, row: Prim, state: State, args: list[Arg]
    ) -> None:
        self.unroller, self.op, self.row = unroller, op, row
        self.state, self.args = state, args

    def event(self, kind: str, order: str, **fields: object) -> Node:
        op = self.op
        return self.unroller.add(
            self.state, kind, order, what=op.what, prim=op.prim, at=op.at, **fields
        )

    def read(self, kind: str, order: str, index: int = 0, **fields: object) -> Node:
        address, taint = self.address(index)
        node = self.event(kind, order, addr=address, addr_deps=taint, **fields)
        node.value = self.unroller.found(node, self.state)
        return node

    def write(
        self, kind: str, order: str, value: Arg, index: int = 0, **fields: object
    ) -> Node:
        address, taint = self.address(index)
        node = self.event(kind, order, addr=address, addr_deps=taint,
                          value=value[0], data_deps=value[1], **fields)  # fmt: skip
        self.unroller.stored(node, self.state)
        return node

    def address(self, index: int = 0) -> Arg:
        """The address ``index`` words behind the one named."""
        address, taint = self.args[0]
        return self.unroller.settled(binary("add", address, index), self.state), taint

    def update(self, read: Node, value: Arg, order: str, kind: str = "W") -> Node:
        """The write half of a read-modify-write."""
        node = self.write(kind, order, value)
        node.rmw, read.rmw = read.id, node.id
        return node

    def under(self, guard: Guard, taint: Taint, act: Callable[[], object]) -> None:
        """Do ``act`` where ``guard`` holds, depending on ``taint`` by control."""
        state = self.state
        live, ctrl = state.live, state.ctrl
        if both(live, guard) != 0:
            before = dict(state.mem)
            state.ctrl = merge_taints(ctrl, taint_under(taint, live))
            state.live = both(live, guard)
            act()
            state.mem = self.unroller.meet_mem(guard, state.mem, before)
        state.live, state.ctrl = live, ctrl


def _seen(node: Node) -> Arg:
    return node.value, {node.id: node.guard}


def _load(emit: _Emitter) -> list[Arg]:
    if emit.row.order in _LIKE_LOCALS:
        kept = emit.unroller.load_private(emit.address(), emit.state)
        if kept is not None:
            return [kept]
    return [_seen(emit.read("R", emit.row.order.value))]


def _store(emit: _Emitter) -> list[Arg]:
    if emit.row.order in _LIKE_LOCALS and emit.unroller.store_private(
        emit.address(), emit.args[1], emit.state
    ):
        return []
    emit.write("W", emit.row.order.value, emit.args[1])
    return []


def _store_mb(emit: _Emitter) -> list[Arg]:
    emit.write("W", "once", emit.args[1])
    emit.event("F", "mb")
    return []


def _load_any(emit: _Emitter) -> list[Arg]:
    n, (mask, mask_taint) = emit.args[1][0], emit.args[2]
    if type(n) is not int:
        raise UnsupportedError(f"{emit.op.prim}: the number of words is not a constant")
    value: Value = 0
    taint: Taint = mask_taint
    for index in range(n):
        node = emit.read("R", "once", index)
        value = binary("or", value, node.value)
        taint = merge_taints(taint, {node.id: node.guard})
    return [(binary("and", value, mask), taint)]


def _xchg(emit: _Emitter) -> list[Arg]:
    tags = RMW_TAGS[emit.row.order]
    read = emit.read("R", tags[0])
    emit.update(read, emit.args[1], tags[1])
    return [_seen(read)]


def _cmpxchg(emit: _Emitter) -> list[Arg]:
    old, _ = _compare_exchange(emit)
    return [old]


def _try_cmpxchg(emit: _Emitter) -> list[Arg]:
    old, ok = _compare_exchange(emit)
    return [ok, old]


def _compare_exchange(emit: _Emitter) -> tuple[Arg, Arg]:
    """Results: the value seen, and whether the exchange was done."""
    tags = RMW_TAGS[emit.row.order]
    read = emit.read("R", tags[0], conditional=True)
    old, expected = _seen(read), emit.args[1]
    taint = merge_taints(old[1], expected[1])
    equal = binary("eq", old[0], expected[0])
    done = emit.unroller.decide(emit.state, equal)
    emit.under(done, NO_TAINT, lambda: emit.update(read, emit.args[2], tags[1]))
    return old, (equal, taint)


def _unless(emit: _Emitter) -> list[Arg]:
    """``atomic_add_unless(v, a, u)``: add ``a`` unless the value is ``u``."""
    tags = RMW_TAGS[emit.row.order]
    read = emit.read("R", tags[0], conditional=True)
    old, unwanted = _seen(read), emit.args[2]
    taint = merge_taints(old[1], unwanted[1])
    wanted = binary("ne", old[0], unwanted[0])
    done = emit.unroller.decide(emit.state, wanted)
    new = binary("add", old[0], emit.args[1][0]), merge_taints(old[1], emit.args[1][1])
    emit.under(done, NO_TAINT, lambda: emit.update(read, new, tags[1]))
    return [(wanted, taint) if emit.row.result == "ok" else old]


def _fetch(emit: _Emitter) -> list[Arg]:
    tags = RMW_TAGS[emit.row.order]
    operand: Arg = (1, NO_TAINT) if emit.row.operand == "one" else emit.args[1]
    address, address_taint = emit.args[0]
    if emit.row.operand == "bit":
        word = binary("lshr", operand[0], 6)
        emit.args[0] = binary("add", address, word), merge_taints(address_taint, operand[1])
        operand = binary("shl", 1, binary("and", operand[0], 63)), operand[1]
    read = emit.read("R", tags[0])
    old = _seen(read)
    op, amount = emit.row.op, operand[0]
    if op == "andnot":
        op, amount = "and", unary("not", amount)
    new = binary(op, old[0], amount), merge_taints(old[1], operand[1])
    emit.update(read, new, tags[1])
    match emit.row.result:
        case "old":
            return [old]
        case "new":
            return [new]
        case "zero":
            return [(binary("eq", new[0], 0), new[1])]
        case "negative":
            return [(binary("slt", new[0], 0), new[1])]
        case "bit":
            bit = binary("ne", binary("and", old[0], operand[0]), 0)
            return [(bit, new[1])]
    return []


def _fence(emit: _Emitter) -> list[Arg]:
    emit.event("F", emit.row.op)
    return []


def _tagged_fence(tag: str) -> Callable[[_Emitter], list[Arg]]:
    def emit_fence(emit: _Emitter) -> list[Arg]:
        emit.event("F", tag)
        return []

    return emit_fence


def _lock(emit: _Emitter) -> list[Arg]:
    read = emit.read("LKR", "acquire", must=UNLOCKED)
    emit.update(read, (LOCKED, NO_TAINT), "", "LKW")
    return []


def _trylock(emit: _Emitter) -> list[Arg]:
    ok = emit.unroller.decide(emit.state, None)
    emit.under(ok, NO_TAINT, lambda: _lock(emit))
    taken = emit.unroller.graph.nodes[-2]
    emit.under(negate(ok), NO_TAINT, lambda: emit.read("LF", "", must=LOCKED))
    failed = emit.unroller.graph.nodes[-1]
    return [(phi(ok, 1, 0), {taken.id: taken.guard, failed.id: failed.guard})]


def _is_locked(emit: _Emitter) -> list[Arg]:
    locked = emit.unroller.decide(emit.state, None)
    emit.under(locked, NO_TAINT, lambda: emit.read("RL", "", must=LOCKED))
    yes = emit.unroller.graph.nodes[-1]
    emit.under(negate(locked), NO_TAINT, lambda: emit.read("RU", "", must=UNLOCKED))
    no = emit.unroller.graph.nodes[-1]
    return [(phi(locked, 1, 0), {yes.id: yes.guard, no.id: no.guard})]


def _unlock(emit: _Emitter) -> list[Arg]:
    emit.write("UL", "release", (UNLOCKED, NO_TAINT))
    return []


def _read_lock(emit: _Emitter) -> list[Arg]:
    """Waits while there is a writer: executions in which it never goes are not."""
    read = emit.read("R", "acquire")
    _require(emit, binary("ne", read.value, WRITER))
    emit.update(read, (binary("add", read.value, 1), {read.id: read.guard}), "once")
    return []


def _read_unlock(emit: _Emitter) -> list[Arg]:
    read = emit.read("R", "once")
    emit.update(read, (binary("sub", read.value, 1), {read.id: read.guard}), "release")
    return []


def _write_lock(emit: _Emitter) -> list[Arg]:
    read = emit.read("R", "acquire", must=UNLOCKED)
    emit.update(read, (WRITER, NO_TAINT), "once")
    return []


def _write_unlock(emit: _Emitter) -> list[Arg]:
    emit.write("W", "release", (UNLOCKED, NO_TAINT))
    return []


def _require(emit: _Emitter, cond: Value) -> None:
    """Drop executions that get here with ``cond`` zero."""
    graph = emit.unroller.graph
    stuck = both(emit.state.live, negate(emit.unroller.decide(emit.state, cond)))
    graph.waits.append((stuck, emit.unroller.unit))


def _srcu_lock(emit: _Emitter) -> list[Arg]:
    return [_seen(emit.read("R", "srcu-lock"))]


def _srcu_unlock(emit: _Emitter) -> list[Arg]:
    emit.write("W", "srcu-unlock", emit.args[1])
    return []


def _sync_srcu(emit: _Emitter) -> list[Arg]:
    address, taint = emit.args[0]
    emit.event("SRCU", "sync-srcu", addr=address, addr_deps=taint)
    return []


def _poison(emit: _Emitter) -> list[Arg]:
    n, taint = emit.args[1]
    for index in range(emit.unroller.largest(n, emit.state)):
        more = emit.unroller.decide(emit.state, binary("ult", index, n))

        def fill(index: int = index) -> None:
            emit.write("W", "plain", (POISON, NO_TAINT), index)

        emit.under(more, taint, fill)
    return []


def _check(flag: str) -> Callable[[_Emitter], list[Arg]]:
    def emit_check(emit: _Emitter) -> list[Arg]:
        unroller, state = emit.unroller, emit.state
        unroller.graph.checks.append(Check(flag, state.live, emit.args[0][0], unroller.unit))
        return [emit.args[0]]

    return emit_check


def _bad_call(emit: _Emitter) -> list[Arg]:
    unroller, state = emit.unroller, emit.state
    unroller.graph.checks.append(Check("bad-call", state.live, 1, unroller.unit))
    return []


def _nothing(emit: _Emitter) -> list[Arg]:
    return []


def _cpu_id(emit: _Emitter) -> list[Arg]:
    # A function run by call_rcu may run anywhere; it gets a number of its own.
    return [(emit.unroller.thread, NO_TAINT)]


def call_rcu(
    unroller: Unroller, stmt: CallRcu, function: Function, arg: Arg, state: State
) -> None:
    """The caller's half, then the process that waits for a grace period."""
    graph = unroller.graph
    word = graph.private
    graph.private += 1
    common: dict[str, object] = {"prim": "call_rcu", "what": function.name, "at": stmt.at}
    unroller.add(state, "W", "release", addr=word, value=1, **common)
    caller = unroller.thread
    unroller.start_thread(f"{graph.thread_names[caller]}:{function.name}")
    inner = type(state)({}, state.live, NO_TAINT)
    got = unroller.add(inner, "R", "acquire", addr=word, must=1, **common)
    got.value = unroller.found(got, inner)
    unroller.add(inner, "F", "sync-rcu", **common)
    outer, unroller.where = unroller.where, (*unroller.where, id(stmt))
    unroller.call(function, [(arg[0], {got.id: got.guard})], inner)
    unroller.where = outer
    unroller.thread = caller


_SHAPES: dict[Shape, Callable[[_Emitter], list[Arg]]] = {
    Shape.LOAD: _load,
    Shape.STORE: _store,
    Shape.STORE_MB: _store_mb,
    Shape.XCHG: _xchg,
    Shape.CMPXCHG: _cmpxchg,
    Shape.TRY_CMPXCHG: _try_cmpxchg,
    Shape.FETCH: _fetch,
    Shape.UNLESS: _unless,
    Shape.LOAD_ANY: _load_any,
    Shape.FENCE: _fence,
    Shape.LOCK: _lock,
    Shape.TRYLOCK: _trylock,
    Shape.UNLOCK: _unlock,
    Shape.IS_LOCKED: _is_locked,
    Shape.READ_LOCK: _read_lock,
    Shape.READ_UNLOCK: _read_unlock,
    Shape.WRITE_LOCK: _write_lock,
    Shape.WRITE_UNLOCK: _write_unlock,
    Shape.RCU_LOCK: _tagged_fence("rcu-lock"),
    Shape.RCU_UNLOCK: _tagged_fence("rcu-unlock"),
    Shape.SYNC_RCU: _tagged_fence("sync-rcu"),
    Shape.SRCU_LOCK: _srcu_lock,
    Shape.SRCU_UNLOCK: _srcu_unlock,
    Shape.SYNC_SRCU: _sync_srcu,
    Shape.POISON: _poison,
    Shape.BUG_ON: _check("bug-on"),
    Shape.BAD_CALL: _bad_call,
    Shape.WARN_ON: _check("warn-on"),
    Shape.CPU_RELAX: _nothing,
    Shape.CPU_ID: _cpu_id,
    Shape.CYCLES: lambda emit: [(0, NO_TAINT)],  # time means nothing here
}
