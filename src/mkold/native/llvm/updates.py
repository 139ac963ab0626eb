"""Read-modify-writes: one instruction where the machine has it, else a loop around one.

Known limit: a failed ``cmpxchg`` is monotonic for every order, as in LKMM.
"""

from __future__ import annotations

from mkold.ir import access as meaning
from mkold.ir.access import Update
from mkold.ir.nodes import WORD_BITS
from mkold.ir.prims import Gives, Order, When
from mkold.native.llvm import arithmetic, checks
from mkold.native.llvm.place import ORDERS, Access

# What the machine does in one instruction; ``andnot`` is ``and`` with the complement.
_INSTRUCTIONS = {
    "set": "xchg", "add": "add", "sub": "sub", "and": "and", "or": "or", "xor": "xor",
    "andnot": "and",
}  # fmt: skip


def write(access: Access) -> None:
    """Write a read-modify-write and assign its results."""
    row, w = access.row, access.w
    update = meaning.update(w.algebra, row, access.op, access.args)
    narrow = access.op.width != WORD_BITS
    if w.checked and narrow:
        checks.no_poison_around(access)
    done = None
    if row.when is When.ALWAYS:
        old = _unconditional(access, update)
    elif row.when is When.EQUAL and row.op == "set":
        old, done = _compare_exchange(access, update)
    else:
        old = _loop(access, update)
    if w.checked and not narrow:
        checks.no_poison(access, old)
    access.give(update.results(old, done))


def _unconditional(access: Access, update: Update[str]) -> str:
    w, row = access.w, access.row
    operand = update.operand
    if row.op == "andnot":
        operand = w.algebra.unary("not", operand)
    stored = arithmetic.narrowed(w, operand, access.op.width)
    instruction = (
        f"atomicrmw volatile {_INSTRUCTIONS[row.op]} ptr {access.pointer()}, "
        f"{access.type} {stored} {ORDERS[row.order]}"
    )
    old = access.fenced(instruction, strong=row.order is Order.MB)
    return arithmetic.widened(w, old, access.op.width)


def _exchange(access: Access, pointer: str, expected: str, new: str) -> str:
    """A compare-and-swap; its LLVM pair of the old object and whether it was done."""
    w, width, type_ = access.w, access.op.width, access.type
    a, b = (arithmetic.narrowed(w, word, width) for word in (expected, new))
    instruction = (
        f"cmpxchg volatile ptr {pointer}, {type_} {a}, {type_} {b} "
        f"{ORDERS[access.row.order]} monotonic"
    )
    return access.fenced(instruction, strong=access.row.order is Order.MB)


def _seen(access: Access, pair: str) -> str:
    seen = access.w.name(f"extractvalue {{ {access.type}, i1 }} {pair}, 0")
    return arithmetic.widened(access.w, seen, access.op.width)


def _done(access: Access, pair: str) -> str:
    return access.w.name(f"extractvalue {{ {access.type}, i1 }} {pair}, 1")


def _compare_exchange(access: Access, update: Update[str]) -> tuple[str, str | None]:
    assert update.against is not None
    pair = _exchange(access, access.pointer(), update.against, update.operand)
    done = None
    if Gives.DONE in access.row.gives:
        done = arithmetic.truth(access.w, _done(access, pair))
    return _seen(access, pair), done


def _loop(access: Access, update: Update[str]) -> str:
    """Compare-and-swap until it is done or shall not be; the last object seen."""
    w = access.w
    last, pointer = w.new_slot("last"), access.pointer()
    first = w.name(
        f"load atomic volatile {access.type}, ptr {pointer} monotonic, align {access.align}"
    )
    w.line(f"store i64 {arithmetic.widened(w, first, access.op.width)}, ptr {last}")
    again, attempt, out = w.label("again"), w.label("attempt"), w.label("out")
    w.start(again)
    old = w.name(f"load i64, ptr {last}")
    shall = update.done(old)
    assert shall is not None
    w.branch(w.name(f"icmp ne i64 {shall}, 0"), attempt, out)
    w.start(attempt)
    pair = _exchange(access, pointer, old, update.new(old))
    w.line(f"store i64 {_seen(access, pair)}, ptr {last}")
    w.branch(_done(access, pair), out, again)
    w.start(out)
    return w.name(f"load i64, ptr {last}")
