"""Each primitive's machine instruction, from its row's shape and order.

Rules
-----
* A marked load or store is atomic and volatile: never merged, split, or moved out of a
  loop. A plain one is an ordinary access that LLVM may do with as C allows.
* ``mb`` read-modify-writes are ``seq_cst``; off x86 a fence goes before and after, as LKMM
  asks for a full barrier on both sides.
* ``rmb`` is an acquire fence, ``wmb`` a release fence: at least as strong as LKMM's.
* Next to an atomic read-modify-write x86 needs no fence, so ``before-atomic`` and
  ``after-atomic`` only hold the compiler back there, as in the kernel.
* ``READ_ONCE_ANY`` loads vectors of 8 words, volatile.

The checked build tests each address, and each word read for POISON, before it is used.

Known limits: a failed ``cmpxchg`` is monotonic for every order, as in LKMM. That an aligned
word of a vector load is read whole is what processors do, not what their manuals promise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mkold.ir import boot
from mkold.ir.nodes import Const, Op
from mkold.ir.prims import Order, Prim, Shape
from mkold.ir.program import POISON

if TYPE_CHECKING:
    from mkold.native.codegen import FunctionWriter

_ORDERS = {
    Order.ONCE: "monotonic",
    Order.NORETURN: "monotonic",
    Order.ACQUIRE: "acquire",
    Order.RELEASE: "release",
    Order.MB: "seq_cst",
}
_RMW = {"add": "add", "sub": "sub", "and": "and", "or": "or", "xor": "xor", "andnot": "and"}
_FENCES = {
    "mb": "fence seq_cst",
    "rmb": "fence acquire",
    "wmb": "fence release",
    "barrier": 'fence syncscope("singlethread") seq_cst',
}
_COMPILER_ONLY = frozenset({"before-atomic", "after-atomic"})
_READS = frozenset(
    {Shape.LOAD, Shape.XCHG, Shape.CMPXCHG, Shape.TRY_CMPXCHG, Shape.FETCH, Shape.UNLESS}
)
_ON_MEMORY = _READS | {Shape.STORE, Shape.STORE_MB, Shape.LOAD_ANY, Shape.POISON}
_VECTOR = 8
# Vectors loaded in a row; more go in a loop.
_UNROLL = 16


def can_fail(row: Prim, *, checked: bool) -> bool:
    """Whether the primitive may leave the function."""
    if row.shape in (Shape.BUG_ON, Shape.BAD_CALL, Shape.CPU_RELAX):
        return True
    return checked and row.shape in _ON_MEMORY


def write(w: FunctionWriter, row: Prim, op: Op) -> None:
    """Write one primitive."""
    if w.checked and row.shape in _ON_MEMORY:
        _check_address(w, row, op)
    match row.shape:
        case Shape.LOAD:
            _results(w, row, op, (_load(w, row, op),))
        case Shape.STORE:
            _store(w, row, op)
        case Shape.STORE_MB:
            _fenced(w, lambda: w.name(f"{_rmw_text(w, 'xchg', op)} seq_cst"))
        case Shape.XCHG:
            _results(w, row, op, (_exchange(w, row, op),))
        case Shape.CMPXCHG | Shape.TRY_CMPXCHG:
            _compare_exchange(w, row, op)
        case Shape.FETCH:
            _fetch(w, row, op)
        case Shape.UNLESS:
            _unless(w, row, op)
        case Shape.LOAD_ANY:
            _load_any(w, row, op)
        case Shape.POISON:
            size = w.name(f"shl i64 {w.word(op.args[1])}, 3")
            byte = POISON & 0xFF
            at = _address(w, op)
            w.line(f"call void @llvm.memset.p0.i64(ptr {at}, i8 {byte}, i64 {size}, i1 false)")
        case _:
            _others(w, row, op)


def _others(w: FunctionWriter, row: Prim, op: Op) -> None:
    match row.shape:
        case Shape.FENCE:
            _fence(w, row.op)
        case Shape.BUG_ON:
            condition = w.condition(op.args[0])
            w.fail_if(condition, w.site("BUG_ON", "", op), "0")
        case Shape.BAD_CALL:
            word = w.word(op.args[0])
            w.fail_if("true", w.site("bad call", op.what, op), word)
        case Shape.WARN_ON:
            _warn(w, row, op)
        case Shape.CPU_RELAX:
            w.stop_if(w.name("call i1 @mkold.relax(ptr %b, ptr %pauses)"))
        case Shape.CPU_ID:
            _results(w, row, op, ("%cpu",))
        case Shape.CYCLES:
            _results(w, row, op, (w.name("call i64 @llvm.readcyclecounter()"),))
        case _:
            raise AssertionError(f"{row.name} is not linked")


def _results(w: FunctionWriter, row: Prim, op: Op, values: tuple[str, ...]) -> None:
    if w.checked and row.shape in (Shape.LOAD, Shape.XCHG):
        _check_poison(w, op, values[0])
    for dst, value in zip(op.dsts, values, strict=False):
        w.assign(dst, value)


def _address(w: FunctionWriter, op: Op) -> str:
    return w.name(f"getelementptr i64, ptr %b, i64 {w.word(op.args[0])}")


def _load(w: FunctionWriter, row: Prim, op: Op) -> str:
    at = _address(w, op)
    if row.order is Order.PLAIN:
        return w.name(f"load i64, ptr {at}, align 8")
    return w.name(f"load atomic volatile i64, ptr {at} {_ORDERS[row.order]}, align 8")


def _store(w: FunctionWriter, row: Prim, op: Op) -> None:
    value = w.word(op.args[1])
    at = _address(w, op)
    if row.order is Order.PLAIN:
        w.line(f"store i64 {value}, ptr {at}, align 8")
        return
    w.line(f"store atomic volatile i64 {value}, ptr {at} {_ORDERS[row.order]}, align 8")


def _fenced(w: FunctionWriter, emit: Callable[[], str], *, strong: bool = True) -> str:
    """Run ``emit`` between two full fences where the target needs them."""
    if strong and not w.is_x86:
        w.line(_FENCES["mb"])
    result = emit()
    if strong and not w.is_x86:
        w.line(_FENCES["mb"])
    return result


def _rmw_text(w: FunctionWriter, op_name: str, op: Op) -> str:
    value = w.word(op.args[1])
    return f"atomicrmw volatile {op_name} ptr {_address(w, op)}, i64 {value}"


def _exchange(w: FunctionWriter, row: Prim, op: Op) -> str:
    text = _rmw_text(w, "xchg", op)
    order = _ORDERS[row.order]
    return _fenced(w, lambda: w.name(f"{text} {order}"), strong=row.order is Order.MB)


def _compare_exchange(w: FunctionWriter, row: Prim, op: Op) -> None:
    expected, new = w.word(op.args[1]), w.word(op.args[2])
    at = _address(w, op)
    text = (
        f"cmpxchg volatile ptr {at}, i64 {expected}, i64 {new} {_ORDERS[row.order]} monotonic"
    )
    pair = _fenced(w, lambda: w.name(text), strong=row.order is Order.MB)
    old = w.name(f"extractvalue {{ i64, i1 }} {pair}, 0")
    if w.checked:
        _check_poison(w, op, old)
    if row.shape is Shape.CMPXCHG:
        _results(w, row, op, (old,))
        return
    ok = w.name(f"extractvalue {{ i64, i1 }} {pair}, 1")
    _results(w, row, op, (w.name(f"zext i1 {ok} to i64"), old))


def _operand(w: FunctionWriter, row: Prim, op: Op) -> str:
    if row.operand == "one":
        return "1"
    value = w.word(op.args[1])
    if row.operand == "bit":
        return w.name(f"shl i64 1, {w.name(f'and i64 {value}, 63')}")
    return value


def _fetch(w: FunctionWriter, row: Prim, op: Op) -> None:
    operand = _operand(w, row, op)
    stored = w.name(f"xor i64 {operand}, -1") if row.op == "andnot" else operand
    at = _address(w, op)
    text = f"atomicrmw volatile {_RMW[row.op]} ptr {at}, i64 {stored} {_ORDERS[row.order]}"
    old = _fenced(w, lambda: w.name(text), strong=row.order is Order.MB)
    if w.checked:
        _check_poison(w, op, old)
    if row.result:
        _results(w, row, op, (_fetch_result(w, row, old, stored, operand),))


def _fetch_result(w: FunctionWriter, row: Prim, old: str, stored: str, operand: str) -> str:
    if row.result == "old":
        return old
    if row.result == "bit":
        hit = w.name(f"and i64 {old}, {operand}")
        return w.name(f"zext i1 {w.name(f'icmp ne i64 {hit}, 0')} to i64")
    new = w.name(f"{_RMW[row.op]} i64 {old}, {stored}")
    if row.result == "new":
        return new
    test = f"icmp eq i64 {new}, 0" if row.result == "zero" else f"icmp slt i64 {new}, 0"
    return w.name(f"zext i1 {w.name(test)} to i64")


def _unless(w: FunctionWriter, row: Prim, op: Op) -> None:
    added, unless = w.word(op.args[1]), w.word(op.args[2])
    at = _address(w, op)
    strong = row.order is Order.MB
    result = "%" + w.label("unless")
    w.slots[result] = result
    first = w.name(f"load atomic volatile i64, ptr {at} monotonic, align 8")
    w.line(f"store i64 {first}, ptr {result}")
    again, attempt, done = w.label("again"), w.label("attempt"), w.label("done")
    w.start(again)
    old = w.name(f"load i64, ptr {result}")
    w.branch(w.name(f"icmp eq i64 {old}, {unless}"), done, attempt)
    w.start(attempt)
    new = w.name(f"add i64 {old}, {added}")
    text = f"cmpxchg volatile ptr {at}, i64 {old}, i64 {new} {_ORDERS[row.order]} monotonic"
    pair = _fenced(w, lambda: w.name(text), strong=strong)
    seen = w.name(f"extractvalue {{ i64, i1 }} {pair}, 0")
    w.line(f"store i64 {seen}, ptr {result}")
    w.branch(w.name(f"extractvalue {{ i64, i1 }} {pair}, 1"), done, again)
    w.start(done)
    final = w.name(f"load i64, ptr {result}")
    if w.checked:
        _check_poison(w, op, final)
    if row.result == "ok":
        final = w.name(f"zext i1 {w.name(f'icmp ne i64 {final}, {unless}')} to i64")
    _results(w, row, op, (final,))


def _load_any(w: FunctionWriter, row: Prim, op: Op) -> None:
    count = op.args[1]
    assert isinstance(count, Const), "the count of READ_ONCE_ANY is bound"
    at, mask = _address(w, op), w.word(op.args[2])
    n_vectors, n_rest = divmod(count.value, _VECTOR)
    total = "zeroinitializer"
    if n_vectors > _UNROLL:
        total = _load_any_loop(w, op, at, n_vectors - n_vectors % _UNROLL)
        start = n_vectors - n_vectors % _UNROLL
    else:
        start = 0
    for i in range(start, n_vectors):
        vector = _vector_at(w, op, at, str(i * _VECTOR))
        total = w.name(f"or <8 x i64> {total}, {vector}")
    word = w.name(f"call i64 @llvm.vector.reduce.or.v8i64(<8 x i64> {total})")
    for i in range(n_vectors * _VECTOR, n_vectors * _VECTOR + n_rest):
        where = w.name(f"getelementptr i64, ptr {at}, i64 {i}")
        one = w.name(f"load atomic volatile i64, ptr {where} monotonic, align 8")
        if w.checked:
            _check_poison(w, op, one)
        word = w.name(f"or i64 {word}, {one}")
    _results(w, row, op, (w.name(f"and i64 {word}, {mask}"),))


def _vector_at(w: FunctionWriter, op: Op, at: str, index: str) -> str:
    where = w.name(f"getelementptr i64, ptr {at}, i64 {index}")
    vector = w.name(f"load volatile <8 x i64>, ptr {where}, align 8")
    if w.checked:
        same = w.name(f"icmp eq <8 x i64> {vector}, splat (i64 {POISON})")
        bad = w.name(f"call i1 @llvm.vector.reduce.or.v8i1(<8 x i1> {same})")
        w.fail_if(bad, w.site("poison read", op.what, op), w.word(op.args[0]))
    return vector


def _load_any_loop(w: FunctionWriter, op: Op, at: str, n_vectors: int) -> str:
    """OR ``n_vectors`` vectors, ``_UNROLL`` a turn."""
    index, total = "%" + w.label("index"), "%" + w.label("total")
    w.slots[index] = index
    w.lines.insert(0, f"  {total} = alloca <8 x i64>")
    w.line(f"store i64 0, ptr {index}")
    w.line(f"store <8 x i64> zeroinitializer, ptr {total}")
    again, out = w.label("vectors"), w.label("out")
    w.start(again)
    i = w.name(f"load i64, ptr {index}")
    value = w.name(f"load <8 x i64>, ptr {total}")
    for k in range(_UNROLL):
        word = w.name(f"add i64 {i}, {k * _VECTOR}")
        value = w.name(f"or <8 x i64> {value}, {_vector_at(w, op, at, word)}")
    w.line(f"store <8 x i64> {value}, ptr {total}")
    following = w.name(f"add i64 {i}, {_UNROLL * _VECTOR}")
    w.line(f"store i64 {following}, ptr {index}")
    more = w.name(f"icmp ult i64 {following}, {n_vectors * _VECTOR}")
    w.branch(more, again, out)
    w.start(out)
    return w.name(f"load <8 x i64>, ptr {total}")


def _fence(w: FunctionWriter, tag: str) -> None:
    if tag in _COMPILER_ONLY and w.is_x86:
        tag = "barrier"
    w.line(_FENCES.get(tag, _FENCES["mb"]))


def _warn(w: FunctionWriter, row: Prim, op: Op) -> None:
    condition = w.condition(op.args[0])
    warn, on = w.label("warn"), w.label("on")
    w.branch(condition, warn, on)
    w.start(warn)
    site = w.site("WARN_ON_ONCE", "", op)
    w.line(f"call void @mkold.warn(ptr %b, i64 %cpu, i64 {site}, i64 0)")
    w.start(on)
    if op.dsts:
        _results(w, row, op, (w.name(f"zext i1 {condition} to i64"),))


# The checked build.


def _check_address(w: FunctionWriter, row: Prim, op: Op) -> None:
    first = w.word(op.args[0])
    total_at = w.name(f"getelementptr i64, ptr %b, i64 {boot.N_WORDS_TOTAL}")
    total = w.name(f"load i64, ptr {total_at}, align 8")
    span = "1"
    if row.shape in (Shape.LOAD_ANY, Shape.POISON):
        span = w.word(op.args[1])
    room = w.name(f"sub i64 {total}, {boot.NULL_WORDS}")
    offset = w.name(f"sub i64 {first}, {boot.NULL_WORDS}")
    outside = w.name(f"icmp uge i64 {offset}, {room}")
    left = w.name(f"sub i64 {room}, {offset}")
    too_long = w.name(f"icmp ugt i64 {span}, {left}")
    bad = w.name(f"or i1 {outside}, {too_long}")
    w.fail_if(bad, w.site("out of bounds", op.what, op), first)


def _check_poison(w: FunctionWriter, op: Op, value: str) -> None:
    bad = w.name(f"icmp eq i64 {value}, {POISON}")
    address = w.word(op.args[0])
    w.fail_if(bad, w.site("poison read", op.what, op), address)
