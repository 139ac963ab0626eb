"""Loads and stores, of a word or of many."""

from __future__ import annotations

from mkold.ir.nodes import POISON_FREE, POISON_INUSE
from mkold.ir.prims.row import Gives, Order, Prim, Shape, Takes

_DEF = "tools/memory-model/linux-kernel.def"


def _load(name: str, order: Order, macro: str | None, family: str = "") -> Prim:
    return Prim(name=name, shape=Shape.LOAD, takes=(Takes.PLACE,), gives=(Gives.OLD,),
                order=order, family=family, macro=macro, source=_DEF)  # fmt: skip


def _store(
    name: str, order: Order, macro: str | None, family: str = "", after: str = ""
) -> Prim:
    return Prim(name=name, shape=Shape.STORE, takes=(Takes.PLACE, Takes.OPERAND), order=order,
                after=after, family=family, macro=macro, source=_DEF)  # fmt: skip


ROWS = [
    _load("load", Order.PLAIN, None),
    _load("READ_ONCE", Order.ONCE, "l"),
    _load("rcu_dereference", Order.ONCE, "l"),
    _load("smp_load_acquire", Order.ACQUIRE, "p"),
    _store("store", Order.PLAIN, None),
    _store("WRITE_ONCE", Order.ONCE, "lv"),
    _store("smp_store_release", Order.RELEASE, "pv"),
    _store("rcu_assign_pointer", Order.RELEASE, "lv"),
    _store("smp_store_mb", Order.ONCE, "lv", after="mb"),
    Prim(name="READ_ONCE_WHICH", shape=Shape.LOAD_WHICH, order=Order.ONCE,
         takes=(Takes.PLACE, Takes.COUNT, Takes.MASK), gives=(Gives.WORD,),
         source="mkold's own: n READ_ONCE at once, for vector loads; which have such a bit"),
    Prim(name="poison", shape=Shape.POISON, takes=(Takes.PLACE, Takes.COUNT),
         operand=POISON_FREE, source="include/linux/poison.h"),
    Prim(name="unpoison", shape=Shape.POISON, takes=(Takes.PLACE, Takes.COUNT),
         operand=POISON_INUSE, source="include/linux/poison.h"),
    _load("atomic_read", Order.ONCE, "p", "atomic"),
    _load("atomic_read_acquire", Order.ACQUIRE, "p", "atomic"),
    _store("atomic_set", Order.ONCE, "pv", "atomic"),
    _store("atomic_set_release", Order.RELEASE, "pv", "atomic"),
]  # fmt: skip
