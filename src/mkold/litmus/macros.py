"""The macros of C litmus tests: which primitive each name is, and how arguments are given.

A signature has one letter an argument, in the order C gives them: ``l`` an lvalue
(``*x``), ``p`` a pointer (``x``), ``v`` a value, ``c`` a condition on ``VAL``. The
intermediate form takes the address first, then the values in order.

All of it is from the table of primitives (``mkold.ir.prims``), whose rows carry the kernel's
names. All macros of tools/memory-model/linux-kernel.def are here. Beyond them: the bit
operations of Documentation/atomic_bitops.txt, ``atomic_fetch_add_unless``,
``atomic_inc_not_zero``, ``atomic64_t`` and ``atomic_long_t``, reader-writer locks,
``smp_cond_load_acquire`` and its like, ``BUG_ON`` and ``WARN_ON_ONCE``.

herd's own words below the macros (``__load{once}``, ``__fence{mb}`` ...) are found by
``builtin``; few tests have any.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from mkold.ir.prims import PRIMS, Gives, Order, Prim, Shape, When, find, first


@dataclass(frozen=True, slots=True)
class Macro:
    """``prim`` of ``mkold.ir.prims`` and its arguments as C gives them."""

    prim: str
    signature: str
    has_result: bool


def _macro(row: Prim, signature: str | None = None) -> Macro:
    letters = row.macro if signature is None else signature
    assert letters is not None, row.name
    return Macro(row.name, letters, bool(row.gives))


MACROS = {name: _macro(row) for name, row in PRIMS.items() if row.macro is not None}
ATOMIC_OPS = {"+": "add", "-": "sub", "&": "and", "|": "or", "^": "xor", "&~": "andnot"}
_Builtins = Iterator[tuple[tuple[str, str], Macro]]


def _accesses() -> _Builtins:
    for order in (Order.ONCE, Order.ACQUIRE):
        yield ("__load", order.read), _macro(first(shape=Shape.LOAD, order=order), "l")
    yield ("__load", "deref"), _macro(PRIMS["rcu_dereference"])
    yield ("__load", "srcu-lock"), _macro(first(shape=Shape.SRCU_LOCK), "l")
    for order in (Order.ONCE, Order.RELEASE):
        yield ("__store", order.write), _macro(first(shape=Shape.STORE, order=order), "lv")
    yield ("__store", "srcu-unlock"), _macro(first(shape=Shape.SRCU_UNLOCK), "lv")
    for row in reversed(find(shape=Shape.FENCE)):  # of several with one tag the first stays
        yield ("__fence", row.op), _macro(row)


def _locks() -> _Builtins:
    yield ("__lock", ""), _macro(first(shape=Shape.LOCK))
    yield ("__unlock", ""), _macro(first(shape=Shape.UNLOCK))
    yield ("__trylock", ""), _macro(first(shape=Shape.TRYLOCK))
    yield ("__islocked", ""), _macro(first(shape=Shape.IS_LOCKED))
    yield ("__srcu", "srcu-lock"), _macro(first(shape=Shape.SRCU_LOCK))
    yield ("__srcu", "srcu-unlock"), _macro(first(shape=Shape.SRCU_UNLOCK))
    yield ("__srcu", "sync-srcu"), _macro(first(shape=Shape.SYNC_SRCU))


def _atomic(op: str, order: Order, *gives: Gives) -> Macro:
    row = first(shape=Shape.RMW, family="atomic", op=op, order=order, gives=gives,
                operand=None, when=When.ALWAYS)  # fmt: skip
    return _macro(row, "pv")


def _updates() -> _Builtins:
    for order in (Order.MB, Order.ONCE, Order.ACQUIRE, Order.RELEASE):
        tag = order.name.lower()
        swap = {"shape": Shape.RMW, "family": "", "op": "set", "order": order}
        yield ("__xchg", tag), _macro(first(**swap, when=When.ALWAYS))
        yield ("__cmpxchg", tag), _macro(first(**swap, when=When.EQUAL))
        unless = {"shape": Shape.RMW, "family": "atomic", "order": order, "operand": None}
        row = first(**unless, when=When.UNEQUAL, gives=(Gives.DONE,))
        yield ("__atomic_add_unless", tag), _macro(row)
        if order is Order.MB:
            row = first(**unless, when=When.UNEQUAL, gives=(Gives.OLD,))
            yield ("__atomic_add_unless", ""), _macro(row)
        for sign, op in ATOMIC_OPS.items():
            yield (f"__atomic_fetch_op{sign}", tag), _atomic(op, order, Gives.OLD)
            if op in ("add", "sub"):
                yield (f"__atomic_op_return{sign}", tag), _atomic(op, order, Gives.NEW)
    for sign, op in ATOMIC_OPS.items():
        for tag in ("", Order.NORETURN.read):
            yield (f"__atomic_op{sign}", tag), _atomic(op, Order.NORETURN)


@cache
def _builtins() -> dict[tuple[str, str], Macro]:
    return {**dict(_accesses()), **dict(_locks()), **dict(_updates())}


def builtin(name: str, tag: str) -> Macro | None:
    """herd's own word ``name`` with annotation ``tag``, such as ``__load`` with ``once``."""
    return _builtins().get((name, tag))


BUILTIN_NAMES = frozenset(
    {"__load", "__store", "__fence", "__xchg", "__cmpxchg", "__lock", "__unlock",
     "__trylock", "__islocked", "__srcu", "__atomic_op", "__atomic_op_return",
     "__atomic_fetch_op", "__atomic_add_unless"}
)  # fmt: skip
