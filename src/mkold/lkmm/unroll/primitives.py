"""Each primitive's events, from its row in ``mkold.ir.prims``: one case a shape.

Sources: tools/memory-model/linux-kernel.{def,bell}, lock.cat,
Documentation/herd-representation.txt.

Beyond LKMM, which has no events for them:

* a store to a part of a word: a read-modify-write of the word, whose read is tagged
  ``noreturn``; what is stored does not depend on what is read;
* ``BUG_ON``, ``WARN_ON_ONCE``, a wild call: no event, a check.

Within one read-modify-write the write depends on the read by data where the value is
computed from it (``atomic_add`` ...), and not at all for ``xchg`` and ``cmpxchg``: herd has
no control dependency there, and fewer dependencies are the safe side.

Known limit: LKMM knows one size of access; a load of a part of a word reads all of it.
"""

from __future__ import annotations

from collections.abc import Callable

from mkold.base.errors import UnsupportedError
from mkold.ir import access
from mkold.ir.nodes import Op
from mkold.ir.prims import Order, Prim, Shape, When
from mkold.ir.prims.locks import LOCKED, UNLOCKED
from mkold.ir.program import POISON, POISONS
from mkold.lkmm.graph.events import Life, Node
from mkold.lkmm.graph.guards import negate
from mkold.lkmm.graph.values import (
    NO_TAINT,
    Taint,
    Value,
    binary,
    merge_taints,
    phi,
)
from mkold.lkmm.unroll import atomic
from mkold.lkmm.unroll.builder import Builder
from mkold.lkmm.unroll.emit import ARGS, Arg, Emitter, seen
from mkold.lkmm.unroll.state import State

# Accesses that may be kept like locals (see ``oracle``).
_LIKE_LOCALS = (Order.PLAIN, Order.ONCE)


def perform(builder: Builder, op: Op, row: Prim, state: State) -> None:
    """Add the events of ``op`` and assign its results."""
    args = [builder.expr(arg, state) for arg in op.args]
    emit = Emitter(builder, op, row, state, args)
    results = _SHAPES[row.shape](emit)
    atomic.after(emit, results)
    state.env.update(zip(op.dsts, results, strict=False))


# -- accesses -------------------------------------------------------------------------


def _private(emit: Emitter) -> Arg | None:
    """The word of the access, if it may be kept like a local's and was so far."""
    if emit.row.order not in _LIKE_LOCALS or emit.row.after:
        return None
    return emit.builder.load_private(emit.address(), emit.state)


def _kept(emit: Emitter, value: Arg, life: Life, index: int = 0) -> bool:
    """Keep a store like a local's; False: it must be an event."""
    address = emit.address(index)
    if emit.builder.is_watched(address[0], life, emit.state):
        return False
    return emit.builder.store_private(address, value, emit.state)


def _load(emit: Emitter) -> list[Arg]:
    word = _private(emit)
    if word is None:
        word = seen(emit.read("R", emit.row.order.read))
    return [access.loaded(ARGS, word, emit.op)]


def _store(emit: Emitter) -> list[Arg]:
    row, value = emit.row, access.stored(ARGS, emit.row, emit.op, emit.args)
    if emit.op.shift is not None:
        _store_part(emit, value)
    elif row.order not in _LIKE_LOCALS or row.after or not _kept(emit, value, Life.NONE):
        emit.write("W", row.order.write, value, life=_life(emit, value))
    if row.after:
        emit.event("F", row.after)
    return []


def _life(emit: Emitter, value: Arg) -> Life:
    """A plain store of 0 may set up a lock; in a litmus test it is a store like any other."""
    plain = emit.row.order is Order.PLAIN and value[0] == UNLOCKED
    known = emit.builder.program.objects is not None
    return Life.SET_UP if plain and known else Life.NONE


def _store_part(emit: Emitter, value: Arg) -> None:
    word = _private(emit)
    if word is not None:
        merged = access.merged(ARGS, word, value, emit.op)
        emit.builder.store_private(emit.address(), merged, emit.state)
        return
    read = emit.read("R", Order.NORETURN.read)
    whole, _ = access.merged(ARGS, seen(read), value, emit.op)
    emit.update(read, (whole, value[1]), emit.row.order.write)


def _load_which(emit: Emitter) -> list[Arg]:
    n, (mask, mask_taint) = emit.args[1][0], emit.args[2]
    if not isinstance(n, int):
        raise UnsupportedError(f"{emit.op.prim}: the number of words is not a constant")
    value: Value = 0
    taint: Taint = mask_taint
    for index in range(n):
        node = emit.read("R", "once", index)
        has = binary("ne", binary("and", node.value, mask), 0)
        value = binary("or", value, binary("shl", has, index))
        taint = merge_taints(taint, {node.id: node.guard})
    return [(value, taint)]


def _poison(emit: Emitter) -> list[Arg]:
    n, taint = emit.args[1]
    assert emit.row.operand is not None
    value = emit.row.operand, NO_TAINT
    freed = emit.row.operand == POISON
    life = Life.FREED if freed else Life.GIVEN
    for index in range(emit.builder.largest(n, emit.state)):
        more = emit.builder.decide(emit.state, binary("ult", index, n))

        def fill(index: int = index) -> None:
            if not _kept(emit, value, life, index):
                # No compiler moves the free of a lock, as it may move a plain store.
                is_lock = freed and emit.builder.is_lock(emit.address(index)[0], emit.state)
                order = (Order.ONCE if is_lock else Order.PLAIN).write
                emit.write("W", order, value, index, life=life)

        emit.under(more, taint, fill)
    return []


def _update(emit: Emitter) -> list[Arg]:
    row, op = emit.row, emit.op
    update = access.update(ARGS, row, op, emit.args)
    emit.args[0] = access.address(ARGS, row, emit.args)
    must = None
    if row.waits and row.when is When.EQUAL:
        assert update.against is not None
        must = update.against[0]
    read = emit.read("R", row.order.read, conditional=row.can_fail, must=must)
    old = access.found(ARGS, seen(read), op)
    done = update.done(old)

    def write() -> None:
        emit.update(read, update.new(old), row.order.write)

    if row.can_fail and done is not None:
        emit.under(emit.builder.decide(emit.state, done[0]), NO_TAINT, write)
    else:
        if done is not None and read.must is None:
            emit.require(done[0] if must is None else _as_it_was(read, must))
        write()
    return list(update.results(old, done))


# -- fences, locks, sections ----------------------------------------------------------


def _fence(emit: Emitter) -> list[Arg]:
    emit.event("F", emit.row.op)
    return []


def _look(emit: Emitter, kind: str, order: str, must: int) -> Node:
    """A look at a lock that finds it as it must be, or poison: then it goes on as if."""
    read = emit.read(kind, order, must=must)
    if read.must is None:
        emit.require(_as_it_was(read, must))
    return read


def _as_it_was(read: Node, must: Value) -> Value:
    """Whether ``read`` finds ``must`` or poison."""
    found: Value = binary("eq", read.value, must)
    for word in sorted(POISONS):
        found = binary("or", found, binary("eq", read.value, word))
    return found


def _take(emit: Emitter) -> Node:
    read = _look(emit, "LKR", "acquire", UNLOCKED)
    emit.update(read, (LOCKED, NO_TAINT), "", "LKW")
    return read


def _lock(emit: Emitter) -> list[Arg]:
    _take(emit)
    return []


def _trylock(emit: Emitter) -> list[Arg]:
    ok = emit.builder.decide(emit.state, None)
    taken = emit.under(ok, NO_TAINT, lambda: _take(emit))
    failed = emit.under(negate(ok), NO_TAINT, lambda: emit.read("LF", "", must=LOCKED))
    return [(phi(ok, 1, 0), _found(taken, failed))]


def _is_locked(emit: Emitter) -> list[Arg]:
    locked = emit.builder.decide(emit.state, None)
    yes = emit.under(locked, NO_TAINT, lambda: emit.read("RL", "", must=LOCKED))
    no = emit.under(negate(locked), NO_TAINT, lambda: _look(emit, "RU", "", UNLOCKED))
    return [(phi(locked, 1, 0), _found(yes, no))]


def _found(*reads: Node | None) -> Taint:
    return {read.id: read.guard for read in reads if read is not None}


def _unlock(emit: Emitter) -> list[Arg]:
    emit.write("UL", "release", (UNLOCKED, NO_TAINT))
    return []


def _srcu_lock(emit: Emitter) -> list[Arg]:
    return [seen(emit.read("R", "srcu-lock"))]


def _srcu_unlock(emit: Emitter) -> list[Arg]:
    emit.write("W", "srcu-unlock", emit.args[1])
    return []


def _sync_srcu(emit: Emitter) -> list[Arg]:
    address, taint = emit.args[0]
    emit.event("SRCU", "sync-srcu", addr=address, addr_deps=taint)
    return []


# -- what touches no memory -----------------------------------------------------------


def _bug_on(emit: Emitter) -> list[Arg]:
    emit.check(emit.row.op, emit.args[0][0])
    return []


def _bad_call(emit: Emitter) -> list[Arg]:
    emit.check("bad-call", 1)
    return []


def _warn_on(emit: Emitter) -> list[Arg]:
    emit.check("warn-on", emit.args[0][0])
    return [ARGS.binary("ne", emit.args[0], ARGS.word(0))]


def _nothing(emit: Emitter) -> list[Arg]:
    if emit.row.sleeps:
        emit.event("F", emit.row.op)  # it orders nothing, and is there to be shown
    return []


def _cpu_id(emit: Emitter) -> list[Arg]:
    # A function run by call_rcu may run anywhere; it gets a number of its own.
    return [ARGS.word(emit.builder.thread)]


def _cycles(emit: Emitter) -> list[Arg]:
    return [ARGS.word(0)]  # time means nothing here


_SHAPES: dict[Shape, Callable[[Emitter], list[Arg]]] = {
    Shape.LOAD: _load,
    Shape.STORE: _store,
    Shape.RMW: _update,
    Shape.LOAD_WHICH: _load_which,
    Shape.POISON: _poison,
    Shape.FENCE: _fence,
    Shape.LOCK: _lock,
    Shape.TRYLOCK: _trylock,
    Shape.UNLOCK: _unlock,
    Shape.IS_LOCKED: _is_locked,
    Shape.SRCU_LOCK: _srcu_lock,
    Shape.SRCU_UNLOCK: _srcu_unlock,
    Shape.SYNC_SRCU: _sync_srcu,
    Shape.BUG_ON: _bug_on,
    Shape.BAD_CALL: _bad_call,
    Shape.WARN_ON: _warn_on,
    Shape.CPU_RELAX: _nothing,
    Shape.PREFETCH: _nothing,
    Shape.CPU_ID: _cpu_id,
    Shape.CYCLES: _cycles,
}
