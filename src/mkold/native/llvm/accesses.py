"""Each primitive's machine instructions, from its row.

Rules
-----
* A marked load or store is atomic and volatile: never merged, split, or moved out of a
  loop. A plain one is an ordinary access that LLVM may do with as C allows.
* ``mb`` read-modify-writes are ``seq_cst``; off x86 a fence goes before and after, as LKMM
  asks for a full barrier on both sides.
* ``rmb`` is an acquire fence, ``wmb`` a release fence: at least as strong as LKMM's.
* Next to an atomic read-modify-write x86 needs no fence, so ``before-atomic`` and
  ``after-atomic`` only hold the compiler back there, as in the kernel.
* A narrow object is loaded and changed at its width. Stored it is as a whole word, which
  keeps the rest of a word of its own at zero; a part of a word is stored at its width.

The checked build tests each address, and each word read for POISON, before it is used.
"""

from __future__ import annotations

from mkold.ir import access as meaning
from mkold.ir.nodes import WORD_BITS, Op
from mkold.ir.prims import Order, Prim, Shape, Takes
from mkold.ir.program import POISON
from mkold.native.llvm import arithmetic, checks, updates, vectors
from mkold.native.llvm.place import FULL_FENCE, ORDERS, Access
from mkold.native.llvm.writer import Writer

_FENCES = {
    "mb": FULL_FENCE,
    "rmb": "fence acquire",
    "wmb": "fence release",
    "barrier": 'fence syncscope("singlethread") seq_cst',
}
_COMPILER_ONLY = frozenset({"before-atomic", "after-atomic"})


def can_fail(row: Prim, *, checked: bool) -> bool:
    """Whether the primitive may leave the function."""
    if row.shape in (Shape.BUG_ON, Shape.BAD_CALL, Shape.CPU_RELAX):
        return True
    return checked and row.lvalue


def write(w: Writer, row: Prim, op: Op) -> None:
    """Write one primitive."""
    assert not op.signed, "objects kept extended by their sign are litmus tests' alone"
    if not row.lvalue:
        _elsewhere(w, row, op)
        return
    args = [w.word(arg) for arg in op.args]
    access = Access(w, row, op, args, meaning.address(w.algebra, row, args))
    if w.checked:
        n_words = args[row.takes.index(Takes.COUNT)] if Takes.COUNT in row.takes else "1"
        checks.within(access, n_words)
    match row.shape:
        case Shape.LOAD:
            _load(access)
        case Shape.STORE:
            _store(access)
        case Shape.RMW:
            updates.write(access)
        case Shape.LOAD_WHICH:
            vectors.write(access)
        case Shape.POISON:
            _poison(access)
        case _:
            raise AssertionError(f"{row.name} is not linked")


def _load(access: Access) -> None:
    w, row, op = access.w, access.row, access.op
    narrow = op.width != WORD_BITS
    if w.checked and narrow:
        checks.no_poison_around(access)
    marked = "" if row.order is Order.PLAIN else f" {ORDERS[row.order]}"
    kind = "atomic volatile " if marked else ""
    found = w.name(
        f"load {kind}{access.type}, ptr {access.pointer()}{marked}, align {access.align}"
    )
    if w.checked and not narrow:
        checks.no_poison(access, found)
    access.give((arithmetic.widened(w, found, op.width),))


def _store(access: Access) -> None:
    w, row, op = access.w, access.row, access.op
    value = meaning.stored(w.algebra, row, op, access.args)
    type_, align = ("i64", 8) if op.shift is None else (access.type, access.align)
    if op.shift is not None:
        value = arithmetic.narrowed(w, value, op.width)
    if row.after:  # an exchange is what the machine does quickest
        assert row.after == "mb", row.name
        pointer = access.pointer()
        exchange = f"atomicrmw volatile xchg ptr {pointer}, {type_} {value} seq_cst"
        access.fenced(exchange, strong=True)
        return
    marked = "" if row.order is Order.PLAIN else f" {ORDERS[row.order]}"
    kind = "atomic volatile " if marked else ""
    w.line(f"store {kind}{type_} {value}, ptr {access.pointer()}{marked}, align {align}")


def _poison(access: Access) -> None:
    w = access.w
    n_bytes = w.name(f"shl i64 {access.args[1]}, 3")
    byte, at = POISON & 0xFF, access.word_pointer()
    w.line(f"call void @llvm.memset.p0.i64(ptr {at}, i8 {byte}, i64 {n_bytes}, i1 false)")


def _elsewhere(w: Writer, row: Prim, op: Op) -> None:
    """What is about no place in memory."""
    match row.shape:
        case Shape.FENCE:
            _fence(w, row)
        case Shape.BUG_ON:
            condition = w.condition(op.args[0])
            w.fail_if(condition, w.site(row.name, op.what, op), "0")
        case Shape.BAD_CALL:
            word = w.word(op.args[0])
            w.fail_if("true", w.site("bad call", op.what, op), word)
        case Shape.WARN_ON:
            _warn(w, op)
        case Shape.CPU_RELAX:
            w.stop_if(w.name("call i1 @mkold.relax(ptr %b, ptr %pauses)"))
        case Shape.PREFETCH:
            at = w.name(f"getelementptr i64, ptr %b, i64 {w.word(op.args[0])}")
            w.line(f"call void @llvm.prefetch.p0(ptr {at}, i32 0, i32 3, i32 1)")
        case Shape.CPU_ID:
            _give(w, op, "%cpu")
        case Shape.CYCLES:
            _give(w, op, w.name("call i64 @llvm.readcyclecounter()"))
        case _:
            raise AssertionError(f"{row.name} is not linked")


def _give(w: Writer, op: Op, value: str) -> None:
    for dst in op.dsts:
        w.assign(dst, value)


def _fence(w: Writer, row: Prim) -> None:
    assert not row.native, f"{row.name} is not linked"
    tag = "barrier" if row.op in _COMPILER_ONLY and w.is_x86 else row.op
    w.line(_FENCES.get(tag, FULL_FENCE))


def _warn(w: Writer, op: Op) -> None:
    condition = w.condition(op.args[0])
    warn, on = w.label("warn"), w.label("on")
    w.branch(condition, warn, on)
    w.start(warn)
    site = w.site("WARN_ON_ONCE", "", op)
    w.line(f"call void @mkold.warn(ptr %b, i64 %cpu, i64 {site}, i64 0)")
    w.start(on)
    if op.dsts:
        _give(w, op, arithmetic.truth(w, condition))
