"""The macros of C litmus tests: which primitive each name is, and how arguments are given.

A signature has one letter an argument, in the order C gives them: ``l`` an lvalue
(``*x``), ``p`` a pointer (``x``), ``v`` a value. The intermediate form takes the address
first, then the values in order.

Derived from the table of primitives (``mkold.ir.prims``), whose rows carry the kernel's
names. All macros of tools/memory-model/linux-kernel.def are here. Beyond them: the bit
operations of Documentation/atomic_bitops.txt, ``atomic_fetch_add_unless``,
``atomic_inc_not_zero``, reader-writer locks, ``BUG_ON`` and ``WARN_ON_ONCE``.

herd's own words below the macros (``__load{once}``, ``__fence{mb}`` ...) are in ``BUILTINS``.
"""

from __future__ import annotations

from dataclasses import dataclass

from mkold.ir.prims import PRIMS, Shape


@dataclass(frozen=True, slots=True)
class Macro:
    """``prim`` of ``mkold.ir.prims``; ``extra`` values follow those given."""

    prim: str
    signature: str
    has_result: bool
    extra: tuple[int, ...] = ()


_BY_SHAPE = {
    Shape.LOAD: "p", Shape.STORE: "pv", Shape.STORE_MB: "lv", Shape.XCHG: "pv",
    Shape.CMPXCHG: "pvv", Shape.FETCH: "vp", Shape.UNLESS: "pvv", Shape.FENCE: "",
    Shape.LOCK: "p", Shape.TRYLOCK: "p", Shape.UNLOCK: "p", Shape.IS_LOCKED: "p",
    Shape.READ_LOCK: "p", Shape.READ_UNLOCK: "p", Shape.WRITE_LOCK: "p",
    Shape.WRITE_UNLOCK: "p", Shape.RCU_LOCK: "", Shape.RCU_UNLOCK: "", Shape.SYNC_RCU: "",
    Shape.SRCU_LOCK: "p", Shape.SRCU_UNLOCK: "pv", Shape.SYNC_SRCU: "p",
    Shape.BUG_ON: "v", Shape.WARN_ON: "v", Shape.CPU_RELAX: "", Shape.CPU_ID: "",
}  # fmt: skip
_ON_LVALUE = {
    "READ_ONCE": "l", "rcu_dereference": "l", "WRITE_ONCE": "lv", "rcu_assign_pointer": "lv",
}  # fmt: skip
_NOT_C = frozenset({"load", "store"})


def _signature(name: str) -> str | None:
    row = PRIMS[name]
    if name in _NOT_C or row.shape not in _BY_SHAPE:
        return None
    if row.shape is Shape.FETCH and row.operand == "one":
        return "p"
    return _ON_LVALUE.get(name, _BY_SHAPE[row.shape])


MACROS: dict[str, Macro] = {
    name: Macro(name, signature, bool(row.n_dsts))
    for name, row in PRIMS.items()
    if (signature := _signature(name)) is not None
}
MACROS["atomic_inc_not_zero"] = Macro("atomic_add_unless", "p", True, (1, 0))

_TAGS = {"mb": "", "once": "_relaxed", "acquire": "_acquire", "release": "_release"}
_LOADS = {
    "once": "READ_ONCE", "acquire": "smp_load_acquire", "srcu-lock": "srcu_read_lock",
    "deref": "rcu_dereference",
}  # fmt: skip
_STORES = {
    "once": "WRITE_ONCE", "release": "smp_store_release", "srcu-unlock": "srcu_read_unlock",
}  # fmt: skip
_FENCES = {
    row.op: name for name, row in PRIMS.items() if row.shape is Shape.FENCE
} | {
    "rcu-lock": "rcu_read_lock", "rcu-unlock": "rcu_read_unlock",
    "sync-rcu": "synchronize_rcu",
}  # fmt: skip
ATOMIC_OPS = {"+": "add", "-": "sub", "&": "and", "|": "or", "^": "xor", "&~": "andnot"}


def _builtins() -> dict[tuple[str, str], Macro]:
    def macro(prim: str, signature: str) -> Macro:
        return Macro(prim, signature, bool(PRIMS[prim].n_dsts))

    table = {
        ("__lock", ""): macro("spin_lock", "p"),
        ("__unlock", ""): macro("spin_unlock", "p"),
        ("__trylock", ""): macro("spin_trylock", "p"),
        ("__islocked", ""): macro("spin_is_locked", "p"),
        ("__srcu", "srcu-lock"): macro("srcu_read_lock", "p"),
        ("__srcu", "srcu-unlock"): macro("srcu_read_unlock", "pv"),
        ("__srcu", "sync-srcu"): macro("synchronize_srcu", "p"),
        ("__atomic_add_unless", ""): macro("atomic_fetch_add_unless", "pvv"),
    }
    table |= {("__load", tag): macro(name, "l") for tag, name in _LOADS.items()}
    table |= {("__store", tag): macro(name, "lv") for tag, name in _STORES.items()}
    table |= {("__fence", tag): macro(name, "") for tag, name in _FENCES.items()}
    for tag, suffix in _TAGS.items():
        table["__xchg", tag] = macro(f"xchg{suffix}", "pv")
        table["__cmpxchg", tag] = macro(f"cmpxchg{suffix}", "pvv")
        table["__atomic_add_unless", tag] = macro(f"atomic_add_unless{suffix}", "pvv")
        for sign, verb in ATOMIC_OPS.items():
            fetch = f"atomic_fetch_{verb}{suffix}"
            table[f"__atomic_fetch_op{sign}", tag] = macro(fetch, "pv")
            if verb in ("add", "sub"):
                both = f"atomic_{verb}_return{suffix}"
                table[f"__atomic_op_return{sign}", tag] = macro(both, "pv")
    for sign, verb in ATOMIC_OPS.items():
        for tag in ("", "noreturn"):
            table[f"__atomic_op{sign}", tag] = macro(f"atomic_{verb}", "pv")
    return table


BUILTINS = _builtins()
BUILTIN_NAMES = frozenset(
    {"__load", "__store", "__fence", "__xchg", "__cmpxchg", "__lock", "__unlock",
     "__trylock", "__islocked", "__srcu", "__atomic_op", "__atomic_op_return",
     "__atomic_fetch_op", "__atomic_add_unless"}
)  # fmt: skip
