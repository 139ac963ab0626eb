"""Read-modify-writes: exchanges, ``atomic_t``, bits.

Sources: tools/memory-model/linux-kernel.def, Documentation/atomic_t.txt,
Documentation/atomic_bitops.txt, include/linux/atomic/atomic-instrumented.h.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mkold.ir.prims.row import Gives, Order, Prim, Shape, Takes, When

_DEF = "tools/memory-model/linux-kernel.def"
_DOC = "Documentation/atomic_t.txt"
_BITS = "Documentation/atomic_bitops.txt"
_ORDERS = {
    "": Order.MB, "_relaxed": Order.ONCE, "_acquire": Order.ACQUIRE, "_release": Order.RELEASE
}  # fmt: skip
_PLACE, _OPERAND, _AGAINST = Takes.PLACE, Takes.OPERAND, Takes.AGAINST


def _exchanges(prefix: str, family: str) -> Iterator[Prim]:
    for suffix, order in _ORDERS.items():
        compared = Prim(name=f"{prefix}cmpxchg{suffix}", shape=Shape.RMW, order=order,
                        takes=(_PLACE, _AGAINST, _OPERAND), gives=(Gives.OLD,), op="set",
                        when=When.EQUAL, family=family, macro="pvv", source=_DEF)  # fmt: skip
        yield Prim(name=f"{prefix}xchg{suffix}", shape=Shape.RMW, order=order,
                   takes=(_PLACE, _OPERAND), gives=(Gives.OLD,), op="set",
                   family=family, macro="pv", source=_DEF)  # fmt: skip
        yield compared
        yield replace(compared, name=f"{prefix}try_cmpxchg{suffix}", macro=None, source=_DOC,
                      gives=(Gives.DONE, Gives.OLD))  # fmt: skip


def _add_unless() -> Iterator[Prim]:
    for suffix, order in _ORDERS.items():
        fetch = Prim(name=f"atomic_fetch_add_unless{suffix}", shape=Shape.RMW, order=order,
                     takes=(_PLACE, _OPERAND, _AGAINST), gives=(Gives.OLD,), op="add",
                     when=When.UNEQUAL, family="atomic", macro="pvv", source=_DEF)  # fmt: skip
        unless = replace(fetch, name=f"atomic_add_unless{suffix}", gives=(Gives.DONE,))
        yield from (unless, fetch)
        if order is Order.MB:
            yield replace(unless, name="atomic_inc_not_zero", takes=(_PLACE,), operand=1,
                          against=0, macro="p", source=_DOC)  # fmt: skip


def _arithmetic(verb: str, op: str, operand: int | None = None) -> Iterator[Prim]:
    takes = (_PLACE,) if operand is not None else (_PLACE, _OPERAND)

    def row(name: str, order: Order, *gives: Gives) -> Prim:
        return Prim(name=f"atomic_{name}", shape=Shape.RMW, takes=takes, gives=gives,
                    order=order, op=op, operand=operand, family="atomic",
                    macro="vp" if operand is None else "p", source=_DEF)  # fmt: skip

    yield row(verb, Order.NORETURN)
    for suffix, order in _ORDERS.items():
        yield row(f"fetch_{verb}{suffix}", order, Gives.OLD)
        if op in ("add", "sub"):
            yield row(f"{verb}_return{suffix}", order, Gives.NEW)
    if verb in ("sub", "inc", "dec"):
        yield row(f"{verb}_and_test", Order.MB, Gives.ZERO)
    if verb == "add":
        for suffix, order in _ORDERS.items():
            yield row(f"add_negative{suffix}", order, Gives.NEGATIVE)


def _bit(name: str, order: Order, op: str, *gives: Gives) -> Prim:
    return Prim(name=name, shape=Shape.RMW, takes=(_PLACE, Takes.BIT), gives=gives, width=64,
                order=order, op=op, family="bit", macro="vp", source=_BITS)  # fmt: skip


ROWS = [
    *_exchanges("", ""), *_exchanges("atomic_", "atomic"), *_add_unless(),
    *_arithmetic("add", "add"), *_arithmetic("sub", "sub"),
    *_arithmetic("inc", "add", 1), *_arithmetic("dec", "sub", 1),
    *_arithmetic("and", "and"), *_arithmetic("or", "or"),
    *_arithmetic("xor", "xor"), *_arithmetic("andnot", "andnot"),
    _bit("set_bit", Order.NORETURN, "or"),
    _bit("clear_bit", Order.NORETURN, "andnot"),
    _bit("change_bit", Order.NORETURN, "xor"),
    _bit("clear_bit_unlock", Order.RELEASE, "andnot"),
    _bit("test_and_set_bit", Order.MB, "or", Gives.BIT),
    _bit("test_and_clear_bit", Order.MB, "andnot", Gives.BIT),
    _bit("test_and_change_bit", Order.MB, "xor", Gives.BIT),
    _bit("test_and_set_bit_lock", Order.ACQUIRE, "or", Gives.BIT),
]  # fmt: skip
